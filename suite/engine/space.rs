//! The run's own namespace: a Profile's where Profiles exist, else a plain one.

use serde_json::{Value, json};

use crate::{
    checks::Cx,
    cluster::{
        Endpoint, RUN_LABEL, Request,
        kinds::{NAMESPACE, NETWORK_POLICY, PROFILE, SERVICE_ACCOUNT},
    },
    ensure,
    outcome::{CouldNotRun, Outcome, Stop},
};

/// Labels that our own namespace carries: what the components and the cluster's policies look for.
fn labels(run: &str) -> Value {
    json!({
        RUN_LABEL: run,
        "katib.kubeflow.org/metrics-collector-injection": "enabled",
        "pod-security.kubernetes.io/enforce": "baseline",
        "istio-injection": "disabled",
    })
}

/// Makes the namespace of a run ready for pods, unless a run that goes on finds it there. The first value: whether there
/// may be something to remove. No failure says anything of the components under test.
pub(super) async fn prepare(
    cx: &Cx,
    goes_on: bool,
    configured: bool,
    owner: Option<&str>,
) -> (bool, Outcome) {
    if goes_on && let Ok(Some(found)) = cx.get(&NAMESPACE, cx.namespace()).await {
        if found["metadata"]["deletionTimestamp"].is_null() {
            return (true, Ok(()));
        }
        // Whoever was told to end removes it. In one that goes, everything fails or vanishes.
        if let Err(stop) = cx.until_gone(&NAMESPACE, cx.namespace(), "cleanup").await {
            return (true, Err(not_prepared(stop)));
        }
    }
    if let Err(stop) = create(cx, configured, owner).await {
        // Of any other answer nobody knows whether it made something.
        let refused = matches!(stop, Stop::CouldNotRun(CouldNotRun::NoPermission, _));
        return (goes_on || configured || !refused, Err(not_prepared(stop)));
    }
    let usable = usable(cx, configured).await;
    (true, usable.map_err(not_prepared))
}

/// Asks for the namespace of a run, or looks at the one that was configured.
async fn create(cx: &Cx, configured: bool, owner: Option<&str>) -> Outcome {
    let name = cx.namespace();
    if configured {
        ensure!(
            cx.get(&NAMESPACE, name).await?.is_some(),
            "the configured namespace `{name}` does not exist"
        );
        return Ok(());
    }
    if cx.facts().profiles {
        let owner = owner.unwrap_or("kfconform@conformance.kubeflow.org");
        let profile = json!({
            "apiVersion": "kubeflow.org/v1", "kind": "Profile",
            "metadata": {"name": name},
            "spec": {"owner": {"kind": "User", "name": owner}},
        });
        cx.create(&PROFILE, &profile).await?;
    } else {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": labels(&cx.run.id)},
        });
        cx.create(&NAMESPACE, &namespace).await?;
    }
    Ok(())
}

/// Waits until pods can be made in the namespace of a run.
async fn usable(cx: &Cx, configured: bool) -> Outcome {
    if configured {
        return Ok(());
    }
    let account = if cx.facts().profiles {
        "default-editor"
    } else {
        "default"
    };
    cx.until(&SERVICE_ACCOUNT, account, "namespace", "appear", |_| true)
        .await?;
    if cx.facts().profiles {
        // The Profile's controller made the namespace; ours is only the label by which clean-up finds it.
        let label = json!({"metadata": {"labels": {RUN_LABEL: cx.run.id}}});
        cx.patch(&NAMESPACE, cx.namespace(), &label).await?;
    }
    open(cx).await;
    Ok(())
}

/// Lets everybody into the run's own namespace and out of it. Where each new namespace gets a policy that denies, no
/// controller would reach what it made there, nor one pod another, and that would read as the distribution's fault. Policies
/// add up, so that one is enough; a cluster that does not let us make it may have none that denies.
async fn open(cx: &Cx) {
    let policy = cx.own(&json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": cx.namespace()},
        "spec": {
            "podSelector": {}, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{}], "egress": [{}],
        },
    }));
    let path = NETWORK_POLICY.path(cx.namespace());
    let request = Request::new(Endpoint::Kubernetes, "POST", path).json(policy);
    drop(cx.session.send(request).await);
}

fn not_prepared(stop: Stop) -> Stop {
    match stop {
        Stop::Failed(failure) => {
            let seen = failure
                .last_state
                .map(|s| format!("; last seen: {s}"))
                .unwrap_or_default();
            Stop::CouldNotRun(
                CouldNotRun::SetupFailed,
                format!("the run's namespace: {}{seen}", failure.message),
            )
        }
        other => other,
    }
}
