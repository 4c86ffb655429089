//! `doctor`: each precondition of a run, with what is wrong and how to mend it.

use std::{collections::BTreeMap, fmt::Write, sync::Arc, time::Duration};

use indexmap::IndexMap;
use serde_json::json;

use super::{
    Done, Failure,
    args::{DoctorArgs, Format},
    exit_code, print, print_json,
    run::{config, image, specs, target},
};
use crate::{
    checks::{Cx, RunContext, Timeouts},
    clock::Clock,
    cluster::{
        Door, Endpoint, Facts, Request, Session, discover, door::DoorOptions, kinds::SELF_ACCESS,
        rbac,
    },
    engine::{self, Plan},
    outcome::{CouldNotRun, Outcome, Stop},
    reference::{Reference, ReferenceOptions},
    report::text::one_line,
    spec::Release,
};

/// One precondition.
struct Finding {
    what: String,
    ok: bool,
    seen: String,
    mend: String,
}

impl Finding {
    fn good(what: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            ok: true,
            seen: seen.into(),
            mend: String::new(),
        }
    }

    fn bad(what: impl Into<String>, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            ok: false,
            seen: seen.into(),
            mend: mend.into(),
        }
    }
}

pub(super) async fn doctor(args: Box<DoctorArgs>) -> Done {
    let config = config(&args.cluster)?;
    let (specs, _) = specs(args.select.specs.as_ref())?;
    let profile = specs
        .profile(&args.select.profile)
        .map_err(Failure::usage)?;
    let release = match &args.select.release {
        Some(name) => specs.release(name).map_err(Failure::usage)?.clone(),
        None => specs.latest_release().clone(),
    };
    let plan = Plan::new(
        &specs,
        profile,
        &release.name,
        &args.select.only,
        &args.select.skip,
    )
    .map_err(Failure::usage)?;
    let mut target = target(&args.cluster);
    let reference = if args.reference {
        let reference = Reference::start(ReferenceOptions::default())
            .await
            .map_err(Failure::incomplete)?;
        target.kubeconfig_text = Some(reference.kubeconfig());
        Some(reference)
    } else {
        None
    };
    let id = engine::new_run_id();
    let connect = Door::connect(
        &target,
        &config,
        DoorOptions {
            run: id.clone(),
            clock: Clock::wall(),
            offset: Duration::ZERO,
            request_timeout: Timeouts::default().get("request"),
        },
    );
    let door = match connect.await {
        Ok(door) => Arc::new(door),
        Err(error) => {
            let finding = Finding::bad(
                "kubeconfig",
                error.to_string(),
                "see it work without a cluster with `kfconform doctor --reference`",
            );
            return answer(&args, &[finding]);
        }
    };
    let session = Session::live(
        Arc::clone(&door),
        "run/discovery",
        1,
        Duration::from_secs(60),
    );
    let facts = match Facts::discover(&session, &config).await {
        Ok(facts) => facts,
        Err(stop) => {
            let (what, mend) = discover::no_look(door.server(), &stop);
            let finding = Finding::bad("Kubernetes API", what, mend);
            return answer(&args, &[finding]);
        }
    };
    let mut findings = vec![Finding::good(
        "Kubernetes API",
        format!("version {}", facts.kubernetes),
    )];
    findings.push(kubernetes_range(&facts, &release));
    let mut components: Vec<&str> = plan
        .items
        .iter()
        .map(|p| p.requirement.component().as_str())
        .collect();
    components.dedup();
    for component in &components {
        findings.push(match facts.components.get(*component) {
            Some(found) => Finding::good(
                format!("component {component}"),
                format!("{}{}", found.version.as_ref().map(|v| format!("version {v}; ")).unwrap_or_default(), found.how),
            ),
            None if facts.not_seen(component).is_some() => Finding::bad(
                format!("component {component}"),
                format!("it could not be looked for: {}", facts.not_seen(component).unwrap_or_default()),
                "see the rights below",
            ),
            None => Finding::bad(
                format!("component {component}"),
                "it was not found",
                format!("install it, or say where it is under `components: {{{component}: …}}` in the file given with --config"),
            ),
        });
    }
    let context = RunContext {
        id,
        namespace: config
            .namespace
            .clone()
            .unwrap_or_else(|| "default".to_owned()),
        image: image(args.registry.as_deref(), &config),
        facts,
        ..RunContext::default()
    };
    let session = Session::live(door, "run/doctor", 1, Duration::from_secs(120));
    findings.extend(installation(&session, &context.facts, &release).await);
    let cx = Cx::new(session, Arc::new(context), BTreeMap::new());
    match look_further(&cx, &components).await {
        Ok(more) => findings.extend(more),
        Err(stop) => findings.push(Finding::bad(
            "further looks",
            stop.message(),
            "see the message",
        )),
    }
    let done = answer(&args, &findings);
    drop(reference);
    done
}

fn kubernetes_range(facts: &Facts, release: &Release) -> Finding {
    let what = format!("Kubernetes range of Kubeflow {}", release.name);
    let minor = |text: &str| {
        let mut parts = text
            .trim_start_matches('v')
            .split('.')
            .map(|p| p.parse::<u32>().ok());
        Some((parts.next()??, parts.next()??))
    };
    let (min, max) = (&release.kubernetes.min, release.kubernetes.max.as_ref());
    let range = format!(
        "{min} to {}",
        max.map_or_else(|| "any".to_owned(), ToString::to_string)
    );
    let Some(seen) = minor(&facts.kubernetes) else {
        return Finding::bad(
            what,
            format!("`{}` is no version", facts.kubernetes),
            "nothing; the range cannot be compared",
        );
    };
    let fits = minor(min.as_str()).is_none_or(|min| seen >= min)
        && max
            .and_then(|max| minor(max.as_str()))
            .is_none_or(|max| seen <= max);
    if fits {
        Finding::good(what, format!("{} is within {range}", facts.kubernetes))
    } else {
        Finding::bad(
            what,
            format!("{} is outside {range}", facts.kubernetes),
            "judge another release with --release, or use a Kubernetes that this one supports",
        )
    }
}

/// Rights.
async fn look_further(cx: &Cx, components: &[&str]) -> Outcome<Vec<Finding>> {
    let mut findings = Vec::new();
    // What is missing, by the verbs: a missing role is a few lines, not a hundred.
    let mut missing: IndexMap<String, Vec<String>> = IndexMap::new();
    for rule in rbac::rules(components) {
        for resource in rule.resources {
            let mut verbs = Vec::new();
            for verb in rule.verbs {
                let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
                let review = json!({
                    "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                    "spec": {"resourceAttributes": {"group": rule.group, "resource": resource, "subresource": subresource, "verb": verb}},
                });
                // Not as other objects are created: the API server refuses a review that bears labels.
                let request = Request::new(Endpoint::Kubernetes, "POST", SELF_ACCESS.path(""));
                let answer = cx.kube(request.json(review)).await?;
                let Some(allowed) = answer.json()["status"]["allowed"].as_bool() else {
                    let message = format!("the review of rights was answered {}", answer.summary());
                    return Err(Stop::CouldNotRun(CouldNotRun::ApiServer, message));
                };
                if !allowed {
                    verbs.push(*verb);
                }
            }
            if !verbs.is_empty() {
                missing
                    .entry(verbs.join(", "))
                    .or_default()
                    .push(rbac::resource_name(rule.group, resource));
            }
        }
    }
    findings.push(if missing.is_empty() {
        Finding::good("rights", "all that `kfconform rbac` prints")
    } else {
        Finding::bad(
            "rights",
            format!(
                "missing: {}",
                missing
                    .iter()
                    .map(|(verbs, resources)| format!("{verbs} on {}", resources.join(", ")))
                    .collect::<Vec<_>>()
                    .join("; ")
            ),
            "let an administrator apply what `kfconform rbac --bind NAMESPACE/NAME` prints",
        )
    });
    Ok(findings)
}

/// What is to be said of the installation: what is not ready must be mended, what is of another version is only told.
async fn installation(session: &Session, facts: &Facts, release: &Release) -> Vec<Finding> {
    let mut concerns = engine::concerns(session, facts, release).await;
    // What was just started, as the reference was, is given a moment.
    let is_told = |concern: &engine::Concern| concern.what.starts_with("version of ");
    for _ in 0..20 {
        if concerns.iter().all(is_told) {
            break;
        }
        session.pause(Duration::from_millis(500)).await;
        concerns = engine::concerns(session, facts, release).await;
    }
    if concerns.is_empty() {
        let seen = "its Deployments are available, its webhooks are answered, its versions are the release's";
        return vec![Finding::good("installation", seen)];
    }
    let finding = |concern: engine::Concern| Finding {
        ok: is_told(&concern),
        what: concern.what,
        seen: concern.seen,
        mend: concern.mend,
    };
    concerns.into_iter().map(finding).collect()
}

fn answer(args: &DoctorArgs, findings: &[Finding]) -> Done {
    match args.format {
        Format::Json => {
            let rows: Vec<_> = findings
                .iter()
                .map(|f| json!({"what": f.what, "ok": f.ok, "seen": f.seen, "mend": f.mend}))
                .collect();
            print_json(&rows)?;
        }
        Format::Text => {
            let mut text = String::new();
            for finding in findings {
                let _ = writeln!(
                    text,
                    "{:>5}  {}: {}",
                    match (finding.ok, finding.mend.is_empty()) {
                        (true, true) => "ok",
                        (true, false) => "note",
                        (false, _) => "WRONG",
                    },
                    finding.what,
                    one_line(&finding.seen)
                );
                if !finding.mend.is_empty() {
                    let _ = writeln!(text, "       mend: {}", finding.mend);
                }
            }
            let wrong = findings.iter().filter(|f| !f.ok).count();
            let _ = writeln!(
                text,
                "{}",
                if wrong == 0 {
                    "a run can begin".to_owned()
                } else {
                    format!("{wrong} to mend before a run")
                }
            );
            print(&text)?;
        }
    }
    Ok(if findings.iter().all(|f| f.ok) {
        exit_code::OK
    } else {
        exit_code::INCOMPLETE
    })
}
