//! Results to render in tests: one that is conformant, and one that has everything in it.

use jiff::{Timestamp, ToSpan};

use super::model::{
    ApiVersion, Attempt, CheckResult, Cluster, Component, EndpointKind, Evidence, Feature, Image,
    Kind, KnownDeviation, Level, Outcome, Results, Run, Selection, SetupResult, Suite, Target,
    Timing, Verdict,
};

fn started() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().expect("a timestamp")
}

fn evidence(id: &str) -> Evidence {
    Evidence {
        path: format!("checks/{id}.jsonl"),
        sha256: "ab".repeat(32),
    }
}

/// A check of this id that passed.
pub fn check(id: &str) -> CheckResult {
    CheckResult {
        id: id.to_owned(),
        component: id.split('/').next().unwrap_or_default().to_owned(),
        level: Level::Core,
        title: format!("The requirement {id} is met"),
        outcome: Outcome::Passed,
        reason: None,
        message: None,
        expected: None,
        observed: None,
        last_state: None,
        started: started() + 1.second(),
        seconds: 1.5,
        attempts: Vec::new(),
        evidence: Some(evidence(id)),
        known_deviation: None,
    }
}

/// A whole run of a cluster in which both checks passed.
pub fn conformant() -> Results {
    let checks = vec![
        check("notebooks/server/becomes-ready"),
        check("katib/experiment/reaches-goal"),
    ];
    let mut results = Results {
        api_version: ApiVersion::V1,
        kind: Kind::Results,
        suite: Suite {
            version: "0.1.0".to_owned(),
            commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
            binary_digest: Some("cd".repeat(32)),
            specs_digest: "ef".repeat(32),
            specs_overridden: false,
        },
        run: Run {
            id: "r7k2m".to_owned(),
            started: started(),
            finished: started() + 90.seconds(),
            target: Target::Cluster,
            profile: "certified".to_owned(),
            release: "1.10".to_owned(),
            arguments: vec!["run".to_owned(), "--release".to_owned(), "1.10".to_owned()],
            complete: true,
            jobs: 16,
            faults: Vec::new(),
            selection: Selection::default(),
            timeouts: [("ready".to_owned(), 300.0)].into(),
            planned: checks.iter().map(|c| c.id.clone()).collect(),
            resumed: None,
        },
        cluster: Cluster {
            version: Some("v1.33.1".to_owned()),
            platform: Some("kind".to_owned()),
            architecture: Some("amd64".to_owned()),
            id_digest: Some("01".repeat(32)),
        },
        components: vec![
            Component {
                name: "katib".to_owned(),
                version: Some("0.18.0".to_owned()),
                endpoint_kind: Some(EndpointKind::KubernetesApi),
                how_found: "validating webhook katib.kubeflow.org".to_owned(),
            },
            Component {
                name: "notebooks".to_owned(),
                version: None,
                endpoint_kind: Some(EndpointKind::PortForward),
                how_found: "API group kubeflow.org".to_owned(),
            },
        ],
        verdict: Verdict::Incomplete,
        reasons: Vec::new(),
        totals: indexmap::IndexMap::new(),
        checks,
        setups: vec![SetupResult {
            id: "katib/completed-experiment".to_owned(),
            outcome: Outcome::Passed,
            message: None,
            started: started(),
            seconds: 72.25,
            evidence: Some(evidence("katib/completed-experiment")),
        }],
        features: [(
            "profiles".to_owned(),
            Feature {
                present: true,
                how: "API group kubeflow.org serves profiles".to_owned(),
            },
        )]
        .into(),
        images: vec![Image {
            name: "ghcr.io/kubeflow/kfconform:0.1.0".to_owned(),
            digest: Some(format!("sha256:{}", "23".repeat(32))),
        }],
        plugins: Vec::new(),
        leftovers: Vec::new(),
        timing: Timing::default(),
        submittable: false,
        not_submittable_because: Vec::new(),
    };
    results.judge();
    results
}

/// A run in which every outcome, every optional field and every kind of hostile text occurs.
pub fn mixed() -> Results {
    let mut results = conformant();
    results.checks = vec![
        check("katib/experiment/reaches-goal"),
        CheckResult {
            outcome: Outcome::Failed,
            reason: Some("wrong-answer".to_owned()),
            message: Some(
                "the optimal trial is `a`, not `b`\nsecond line \u{1b}[31mred\u{1b}[0m".to_owned(),
            ),
            expected: Some("parameter `lr` = `0.3` & <b>bold</b>".to_owned()),
            observed: Some("parameter `lr` = `0.1` ]]> \u{0}\u{8}\u{fffe}".to_owned()),
            last_state: Some("{\n  \"phase\": \"Running\"\n}".to_owned()),
            seconds: 61.042,
            attempts: vec![Attempt {
                run: "r7k2l".to_owned(),
                outcome: Outcome::CouldNotRun,
                reason: Some("cluster-unreachable".to_owned()),
                message: Some("connection refused".to_owned()),
                started: started(),
                seconds: 0.25,
                evidence: Some(evidence("katib/experiment/optimal-trial.1")),
            }],
            known_deviation: Some(KnownDeviation {
                issue: "https://github.com/kubeflow/katib/issues/1".to_owned(),
                summary: "The optimal trial is the first one".to_owned(),
            }),
            ..check("katib/experiment/optimal-trial")
        },
        CheckResult {
            level: Level::Extended,
            outcome: Outcome::NotApplicable,
            reason: Some("feature-absent".to_owned()),
            message: Some("the cluster has no `profiles`".to_owned()),
            seconds: 0.0,
            evidence: None,
            ..check("notebooks/profile/is-isolated")
        },
        CheckResult {
            outcome: Outcome::CouldNotRun,
            reason: Some("no-permission".to_owned()),
            message: Some("may not `create` `notebooks.kubeflow.org` in `kfc-r7k2m`".to_owned()),
            seconds: 0.004,
            ..check("notebooks/server/becomes-ready")
        },
    ];
    results.run.planned = results.checks.iter().map(|c| c.id.clone()).collect();
    results
        .run
        .planned
        .push("notebooks/server/stops".to_owned());
    results.leftovers = vec!["Notebook/kfc-r7k2m/one".to_owned()];
    results.judge();
    results
}
