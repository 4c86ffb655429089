//! A run inside the cluster, launched from outside: the reference's pods run the real runner, which reaches the reference by
//! its own service account.

use std::{path::Path, time::Duration};

use kfconform::{
    clock::Clock,
    cluster::{Config, Target},
    engine::{self, Event, Plan, parts},
    hurry, launch,
    launch::{Launch, LaunchError, Launcher, Problem, Settings, State, wire::Order},
    reference::{Reference, ReferenceOptions},
    report::model::Results,
    spec::Specs,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{common, folder, kfconform, program, results};

/// A cheap part of the whole, with a shared set-up that needs pods, and some that need none.
const ONLY: [&str; 2] = ["notebooks/*", "katib/validation/*"];

struct Rig {
    reference: Reference,
    launcher: Launcher,
    heard: mpsc::UnboundedReceiver<Event>,
}

async fn rig(config: &Config) -> Rig {
    let clock = Clock::wall();
    let reference = Reference::start(ReferenceOptions {
        clock,
        runner: Some(launch::runner::program()),
        ..ReferenceOptions::default()
    })
    .await
    .expect("the reference starts");
    let (sender, heard) = mpsc::unbounded_channel();
    let target = Target {
        kubeconfig_text: Some(reference.kubeconfig()),
        ..Target::default()
    };
    let launcher = Launcher::connect(&target, config, sender)
        .await
        .expect("a client");
    Rig {
        reference,
        launcher,
        heard,
    }
}

impl Rig {
    /// Launches a run and follows it to its end.
    async fn launched(&self, order: &Order, settings: &Settings) -> Launch {
        let launcher = &self.launcher;
        let launch = launcher.launch(order, settings).await.expect("launches");
        let started = launcher.until_started(&launch, Duration::from_secs(60));
        started.await.expect("starts");
        launcher.follow(&launch).await.expect("comes to its end");
        launch
    }

    /// Removes a launch, after which there is what was before it.
    async fn removed(&self, launch: &Launch, before: &[String]) {
        let removed = self.launcher.delete(&launch.id, None);
        removed.await.expect("is removed");
        assert_eq!(everything(&self.reference).await, before);
    }
}

fn only(globs: &[&str]) -> Vec<String> {
    globs.iter().map(ToString::to_string).collect()
}

fn order(globs: &[&str], shards: u32) -> Order {
    let specs = Specs::embedded();
    let profile = specs.profile("all").expect("a profile");
    let plan = Plan::new(
        specs,
        profile,
        &specs.latest_release().name,
        &only(globs),
        &[],
    )
    .expect("a plan");
    Order {
        id: engine::new_run_id(),
        profile: "all".to_owned(),
        only: only(globs),
        jobs: 16,
        image: engine::DEFAULT_IMAGE.to_owned(),
        parts: parts::parts(&plan, shards),
        hold_seconds: 3600,
        ..Order::default()
    }
}

/// All that is on a cluster, but for what comes and goes by itself.
async fn everything(reference: &Reference) -> Vec<String> {
    let world = &reference.world;
    let client = reqwest::Client::new();
    let mut all = Vec::new();
    for path in [
        "/api/v1/namespaces",
        "/api/v1/pods",
        "/api/v1/serviceaccounts",
        "/api/v1/configmaps",
        "/api/v1/secrets",
        "/api/v1/services",
        "/api/v1/persistentvolumeclaims",
        "/apis/batch/v1/jobs",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        "/apis/rbac.authorization.k8s.io/v1/rolebindings",
        "/apis/networking.k8s.io/v1/networkpolicies",
        "/apis/kubeflow.org/v1/profiles",
        "/apis/kubeflow.org/v1/notebooks",
    ] {
        let list: Value = client
            .get(format!("{}{path}", world.url()))
            .bearer_auth(world.admin_token())
            .send()
            .await
            .expect("answers")
            .json()
            .await
            .expect("JSON");
        for item in list["items"].as_array().expect("items") {
            let metadata = &item["metadata"];
            all.push(format!(
                "{path} {} {}",
                metadata["namespace"], metadata["name"]
            ));
        }
    }
    all.sort();
    all
}

/// What a result says, without what differs between two runs of one plan.
fn outcomes(results: &Results) -> Vec<(String, String)> {
    let checks = results.checks.iter();
    checks
        .map(|check| (check.id.clone(), check.outcome.to_string()))
        .collect()
}

async fn from_outside(reference: &Reference, globs: &[&str]) -> Results {
    let mut options = common::options(reference);
    options.only = only(globs);
    options.clock = Clock::at(reference.world.clock().now());
    let (events, _) = mpsc::unbounded_channel();
    let (_keep, interrupt) = tokio::sync::watch::channel(engine::Interrupt::No);
    Box::pin(engine::run(options, events, interrupt))
        .await
        .expect("a result")
}

#[test]
fn a_launched_run_is_as_one_from_outside_and_leaves_nothing() {
    kfconform::install_crypto();
    let dir = folder();
    hurry::run(async || {
        let mut rig = rig(&Config::default()).await;
        let outside = Box::pin(from_outside(&rig.reference, &ONLY)).await;
        let before = everything(&rig.reference).await;
        let order = order(&ONLY, 1);
        let launch = rig.launched(&order, &Settings::default()).await;
        let status = rig.launcher.status(&launch).await.expect("a status");
        assert_eq!(
            (status.state, status.done),
            (State::Over, outside.checks.len())
        );
        let out = dir.path().join("one");
        let inside = rig
            .launcher
            .retrieve(&launch, &out, false)
            .await
            .expect("a result");
        assert_eq!(outcomes(&inside), outcomes(&outside));
        assert_eq!((inside.run.complete, &inside.leftovers), (true, &vec![]));
        for name in launch::wire::FILES {
            assert!(out.join(name).exists(), "{name}");
        }
        rig.removed(&launch, &before).await;
        let error = rig.launcher.find(Some(&launch.id), None).await.unwrap_err();
        assert!(matches!(error, LaunchError::Absent(_)), "{error}");
        // The run's own events were heard, each check's once.
        let mut heard = Vec::new();
        while let Ok(event) = rig.heard.try_recv() {
            if let Event::CheckFinished(check) = event {
                heard.push(check.id);
            }
        }
        heard.sort();
        let mut ids: Vec<String> = inside.checks.iter().map(|check| check.id.clone()).collect();
        ids.sort();
        assert_eq!(heard, ids);
        rig.reference.world.shutdown();
    })
    .expect("a runtime");
}

#[test]
fn a_run_in_parts_gives_the_result_of_a_whole_one() {
    kfconform::install_crypto();
    let dir = folder();
    let replayed = hurry::run(async || {
        let rig = rig(&Config::default()).await;
        let outside = Box::pin(from_outside(&rig.reference, &ONLY)).await;
        let before = everything(&rig.reference).await;
        let order = order(&ONLY, 4);
        assert_eq!(order.parts, 4);
        let launch = rig.launched(&order, &Settings::default()).await;
        let out = dir.path().join("four");
        let merged = rig
            .launcher
            .retrieve(&launch, &out, false)
            .await
            .expect("a result");
        assert_eq!(outcomes(&merged), outcomes(&outside));
        assert_eq!(merged.run.planned, outside.run.planned);
        assert_eq!(
            (merged.run.complete, merged.verdict, &merged.leftovers),
            (true, outside.verdict, &vec![])
        );
        rig.removed(&launch, &before).await;
        rig.reference.world.shutdown();
        out
    })
    .expect("a runtime");
    // Every verdict follows from the merged evidence.
    let said = kfconform(dir.path(), &["evidence", "four", "--replay"]);
    assert!(replayed.exists());
    said.exits(0);
}

#[test]
fn what_keeps_a_runner_from_starting_is_named_and_nothing_stays() {
    kfconform::install_crypto();
    hurry::run(async || {
        let rig = rig(&Config::default()).await;
        let before = everything(&rig.reference).await;
        let mut order = order(&ONLY, 1);
        order.image = "registry.example/nothing:1".to_owned();
        let launch = rig.launcher.launch(&order, &Settings::default()).await.expect("launches");
        let error = rig
            .launcher
            .until_started(&launch, Duration::from_secs(300))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, LaunchError::NotStarted { problem: Problem::ImagePull, message } if message.contains("registry.example/nothing:1")),
            "{error}"
        );
        rig.removed(&launch, &before).await;

        // A namespace that is not there is named at once, and what was made before goes.
        let settings = Settings {
            namespace: Some("nowhere".to_owned()),
            ..Settings::default()
        };
        let error = rig.launcher.launch(&self::order(&ONLY, 1), &settings).await.unwrap_err();
        assert!(error.to_string().contains("nowhere"), "{error}");
        assert_eq!(everything(&rig.reference).await, before);
        rig.reference.world.shutdown();
    })
    .expect("a runtime");
}

#[test]
fn a_pod_that_is_gone_takes_its_result_along_unless_a_volume_keeps_it() {
    kfconform::install_crypto();
    let dir = folder();
    hurry::run(async || {
        let rig = rig(&Config::default()).await;
        let before = everything(&rig.reference).await;
        for storage in [None, Some("1Gi".to_owned())] {
            let mut order = order(&["katib/validation/*"], 1);
            order.storage = storage.is_some();
            order.hold_seconds = 60;
            let settings = Settings {
                storage: storage.clone(),
                ..Settings::default()
            };
            let launch = rig.launched(&order, &settings).await;
            // Nobody takes the result, and the pod ends.
            tokio::time::sleep(Duration::from_secs(120)).await;
            let state = rig.launcher.status(&launch).await.expect("a status").state;
            let out = dir.path().join(format!("stored-{}", storage.is_some()));
            let retrieved = rig.launcher.retrieve(&launch, &out, false).await;
            if storage.is_some() {
                let results = retrieved.expect("the volume keeps it");
                assert!(results.run.complete);
                assert_eq!(state, State::Stored);
            } else {
                let error = retrieved.unwrap_err();
                assert!(matches!(error, LaunchError::Lost { .. }), "{error}");
                assert_eq!(state, State::Lost);
            }
            rig.removed(&launch, &before).await;
        }
        rig.reference.world.shutdown();
    })
    .expect("a runtime");
}

/// A reference in a process of its own, and its kubeconfig.
struct Served(std::process::Child);

impl Served {
    fn start(dir: &Path) -> Self {
        let mut command = program(dir, &["reference", "--kubeconfig", "k.yaml"]);
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let child = Self(command.spawn().expect("the program starts"));
        for _ in 0..600 {
            if std::fs::read_to_string(dir.join("k.yaml"))
                .is_ok_and(|text| text.contains("current-context"))
            {
                return child;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the reference writes no kubeconfig");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn the_commands_go_hand_in_hand() {
    let dir = folder();
    let _served = Served::start(dir.path());
    let only = "katib/validation/*";
    let said = kfconform(
        dir.path(),
        &[
            "launch",
            "--kubeconfig",
            "k.yaml",
            "--profile",
            "all",
            "--only",
            only,
            "--detach",
            "--format",
            "json",
        ],
    )
    .exits(0);
    let launched: Value = serde_json::from_str(&said.out).expect("JSON");
    let id = launched["id"].as_str().expect("an id");
    let said = kfconform(dir.path(), &["status", "--kubeconfig", "k.yaml", "--wait"]).exits(0);
    assert!(said.out.contains("conformant"), "{}", said.out);
    let said = kfconform(dir.path(), &["logs", id, "--kubeconfig", "k.yaml"]).exits(0);
    assert!(said.out.contains("the verdict: conformant"), "{}", said.out);
    kfconform(
        dir.path(),
        &[
            "retrieve",
            id,
            "--kubeconfig",
            "k.yaml",
            "--out",
            "r",
            "--quiet",
        ],
    )
    .exits(0);
    assert_eq!(results(&dir.path().join("r"))["run"]["id"], id);
    kfconform(dir.path(), &["delete", id, "--kubeconfig", "k.yaml"]).exits(0);
    kfconform(dir.path(), &["status", id, "--kubeconfig", "k.yaml"]).exits(2);

    // All of it in one command, of a run that only looks.
    let said = kfconform(
        dir.path(),
        &[
            "launch",
            "--kubeconfig",
            "k.yaml",
            "--dry-run",
            "--namespace",
            "default",
            "--out",
            "look",
            "--delete",
        ],
    )
    .exits(0);
    assert!(said.out.contains("works"), "{}", said.out);
    let said = kfconform(dir.path(), &["status", "--kubeconfig", "k.yaml"]).exits(2);
    assert!(said.err.contains("there is no launch"), "{}", said.err);
}

#[test]
fn what_is_launched_has_the_printed_rights_and_is_within_restricted() {
    let dir = folder();
    let config = "tolerations: [{operator: Exists}]\nnodeSelector: {disk: fast}\nimagePullSecrets: [ours]\nstorageClass: slow\n\
                  components: {pipelines: {url: \"https://x.example\", token: a-secret-token}}\n";
    std::fs::write(dir.path().join("c.yaml"), config).expect("written");
    std::fs::write(
        dir.path().join("ca.pem"),
        "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
    )
    .expect("written");
    let said = kfconform(
        dir.path(),
        &[
            "launch",
            "--ca",
            "ca.pem",
            "--print",
            "--format",
            "json",
            "--config",
            "c.yaml",
            "--storage",
            "2Gi",
            "--registry",
            "mirror.example/kf",
            "--env",
            "HTTPS_PROXY=http://proxy:3128",
            "--shards",
            "3",
        ],
    )
    .exits(0);
    let list: Value = serde_json::from_str(&said.out).expect("JSON");
    let items = list["items"].as_array().expect("items");
    let of = |kind: &str| {
        items
            .iter()
            .find(|item| item["kind"] == kind)
            .unwrap_or(&Value::Null)
    };
    let printed: Value = serde_json::from_str(
        &kfconform(dir.path(), &["rbac", "--format", "json"])
            .exits(0)
            .out,
    )
    .expect("JSON");
    assert_eq!(of("ClusterRole")["rules"], printed["items"][0]["rules"]);
    let job = of("Job");
    assert_eq!(job["spec"]["completionMode"], "Indexed");
    assert_eq!(job["spec"]["completions"], 3);
    let pod = &job["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(
        container["securityContext"]["allowPrivilegeEscalation"],
        false
    );
    assert_eq!(
        container["securityContext"]["capabilities"]["drop"],
        json!(["ALL"])
    );
    for kind in ["requests", "limits"] {
        for resource in ["cpu", "memory"] {
            assert!(
                container["resources"][kind][resource].is_string(),
                "{kind} {resource}"
            );
        }
    }
    assert!(
        container["image"]
            .as_str()
            .expect("an image")
            .starts_with("mirror.example/kf/kfconform:")
    );
    assert_eq!(container["env"][0]["name"], "HTTPS_PROXY");
    assert_eq!(container["env"][1]["value"], "/etc/kfconform/ca.crt");
    assert!(of("ConfigMap")["data"]["ca.crt"].is_string());
    assert_eq!(pod["tolerations"][0]["operator"], "Exists");
    assert_eq!(pod["nodeSelector"]["disk"], "fast");
    assert_eq!(pod["imagePullSecrets"][0]["name"], "ours");
    assert_eq!(
        of("PersistentVolumeClaim")["spec"]["storageClassName"],
        "slow"
    );
    assert_eq!(
        of("Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"],
        "restricted"
    );
    assert_eq!(
        job["spec"]["template"]["metadata"]["labels"]["sidecar.istio.io/inject"],
        "false"
    );
    assert_eq!(of("NetworkPolicy")["spec"]["egress"], json!([{}]));
    assert_eq!(of("NetworkPolicy")["spec"]["ingress"], json!([]));
    // A token is no matter of a ConfigMap.
    assert!(!of("ConfigMap").to_string().contains("a-secret-token"));
    assert!(of("Secret").to_string().contains("a-secret-token"));
}

#[test]
fn a_fleet_has_a_result_of_each_and_a_summary() {
    let dir = folder();
    let _served = Served::start(dir.path());
    std::fs::write(
        dir.path().join("fleet.yaml"),
        "apiVersion: conformance.kubeflow.org/v1\nkind: Fleet\nclusters:\n- {name: one, kubeconfig: k.yaml}\n\
         - {name: none, kubeconfig: nothing.yaml}\n",
    )
    .expect("written");
    let said = kfconform(
        dir.path(),
        &[
            "fleet",
            "fleet.yaml",
            "--profile",
            "all",
            "--only",
            "katib/validation/*",
            "--out",
            "f",
            "--format",
            "json",
        ],
    )
    .exits(2);
    let summary: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(summary["clusters"][0]["verdict"], "conformant");
    assert_eq!(summary["clusters"][1]["code"], 2);
    assert!(
        summary["clusters"][1]["error"]
            .as_str()
            .expect("an error")
            .contains("nothing.yaml")
    );
    assert_eq!(results(&dir.path().join("f/one"))["verdict"], "conformant");
    assert!(dir.path().join("f/fleet.json").exists());
}
