//! The run's own namespace: a Profile's where Profiles exist, else a plain one.

use serde_json::{Value, json};

use crate::{
    checks::Cx,
    cluster::{
        RUN_LABEL,
        kinds::{NAMESPACE, PROFILE, SERVICE_ACCOUNT},
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

/// Asks for the namespace of a run, or looks at the one that was configured.
pub(super) async fn create(cx: &Cx, configured: bool, owner: Option<&str>) -> Outcome {
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
pub(super) async fn usable(cx: &Cx, configured: bool) -> Outcome {
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
    Ok(())
}

/// A failure to make the namespace says nothing about the components under test.
pub(super) fn not_prepared(stop: Stop) -> Stop {
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
