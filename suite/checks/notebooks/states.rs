//! The notebooks that are really run. Each is made once and read by many checks.

use super::{CONTAINER, POD_SPEC, STOPPED, base, marked, pods_of};
use crate::checks::prelude::*;

setups! {
    /// A notebook that runs, and what belongs to it.
    pub READY = "setup/notebooks/ready", judge "notebooks/server/becomes-ready", minutes 10, needs [&IMAGE], run: ready;
    /// A notebook that listens on a port of its own choice.
    pub OTHER_PORT = "setup/notebooks/other-port", judge "", minutes 10, needs [&IMAGE], run: other_port;
    /// A notebook that ran and was stopped.
    pub HALTED = "setup/notebooks/halted", judge "notebooks/lifecycle/stops-when-annotated", minutes 15, needs [&IMAGE], run: halted;
    /// The same notebook after it was started again.
    pub RESTARTED = "setup/notebooks/restarted", judge "notebooks/lifecycle/starts-again", minutes 10, needs [&HALTED], run: restarted;
    /// A notebook whose image does not exist, once it should say so.
    pub WAITING = "setup/notebooks/waiting", judge "notebooks/server/reports-waiting", minutes 5, needs [&IMAGE], run: waiting;
}

/// A notebook that reported to be ready, with all that was there then.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ready {
    /// The Notebook.
    pub notebook: Value,
    /// The StatefulSet of its name; null where there is none.
    pub stateful_set: Value,
    /// The Service of its name; null where there is none.
    pub service: Value,
    /// Its pods.
    pub pods: Vec<Value>,
    /// What the server says of itself, asked at its pod; null where it did not answer.
    pub page: Value,
}

/// A notebook that was stopped.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Halted {
    /// What it was before.
    pub before: Ready,
    /// The Notebook after its pods were gone; null where it is gone too.
    pub notebook: Value,
    /// The StatefulSet then; null where there is none.
    pub stateful_set: Value,
}

pub(super) fn value(seen: &impl Serialize) -> Outcome<Value> {
    serde_json::to_value(seen).map_err(|e| Stop::CouldNotRun(CouldNotRun::Defect, e.to_string()))
}

/// The same outcome for a state on which a set-up merely builds: what is wrong there, another check judges.
pub(super) fn given<T>(outcome: Outcome<T>, judge: &str) -> Outcome<T> {
    outcome.map_err(|stop| match stop {
        Stop::Failed(failure) => Stop::CouldNotRun(
            CouldNotRun::SetupFailed,
            format!("{}, which `{judge}` judges", failure.message),
        ),
        other => other,
    })
}

/// Waits for an object to settle and returns it as it is then, be it settled or not: a check says which of it matters.
pub(super) async fn settled(
    cx: &Cx,
    kind: &Kind,
    name: &str,
    holds: impl FnMut(&Value) -> bool + Send,
) -> Outcome<Value> {
    settled_within(cx, kind, name, "reconcile", holds).await
}

/// As [`settled`], within another named timeout.
pub(super) async fn settled_within(
    cx: &Cx,
    kind: &Kind,
    name: &str,
    timeout: &'static str,
    holds: impl FnMut(&Value) -> bool + Send,
) -> Outcome<Value> {
    match cx.until(kind, name, timeout, "settle", holds).await {
        Err(Stop::Failed(_)) => Ok(cx.get(kind, name).await?.unwrap_or_default()),
        settled => settled,
    }
}

/// Waits until a Notebook reports a ready replica.
pub(super) async fn reports_ready(cx: &Cx, name: &str) -> Outcome<Value> {
    let ready = |seen: &Value| seen["status"]["readyReplicas"].as_i64() >= Some(1);
    cx.until(
        &NOTEBOOK,
        name,
        "notebook-ready",
        "report a ready replica",
        ready,
    )
    .await
}

/// Looks at a notebook that is ready and at all that belongs to it. `port` is where its server listens.
pub(super) async fn observe(cx: &Cx, name: &str, port: u16) -> Outcome<Ready> {
    let notebook = settled(cx, &NOTEBOOK, name, |seen| {
        condition(seen, "Ready") == "True" && !seen["status"]["containerState"]["running"].is_null()
    })
    .await?;
    let pods = pods_of(cx, name).await?;
    let pod = pods.first().map(name_of).unwrap_or_default();
    let page = if pod.is_empty() {
        Value::Null
    } else {
        page_of(cx, pod, port).await?
    };
    Ok(Ready {
        stateful_set: cx.get(&STATEFUL_SET, name).await?.unwrap_or_default(),
        service: cx.get(&SERVICE, name).await?.unwrap_or_default(),
        notebook,
        pods,
        page,
    })
}

/// What the server in a pod says of itself and its environment; null where it does not answer. It is asked at the root,
/// where the suite's server answers whatever path it was told to serve under.
pub(super) async fn page_of(cx: &Cx, pod: &str, port: u16) -> Outcome<Value> {
    match cx
        .pod(pod, port)
        .until("/?env=NB_PREFIX&env=SHADE", "serves", "answer", |_| {
            Ok(true)
        })
        .await
    {
        Err(Stop::Failed(_)) => Ok(Value::Null),
        page => page,
    }
}

async fn ready(cx: &Cx) -> Outcome<Value> {
    let name = cx.name("ready");
    let notebook = base(cx, &name)?;
    let notebook = marked(
        notebook,
        "labels",
        "conformance.kubeflow.org/desk",
        "window",
    );
    let notebook = marked(
        notebook,
        "annotations",
        "conformance.kubeflow.org/note",
        "a b",
    );
    let notebook = with(
        &notebook,
        &format!("{POD_SPEC}.volumes"),
        json!([{"name": "scratch", "emptyDir": {"sizeLimit": "16Mi"}}]),
    );
    let notebook = with(
        &notebook,
        &format!("{CONTAINER}.volumeMounts"),
        json!([{"name": "scratch", "mountPath": "/scratch"}]),
    );
    cx.create(&NOTEBOOK, &notebook).await?;
    reports_ready(cx, &name).await?;
    value(&observe(cx, &name, 8888).await?)
}

/// The command of a server that listens on `port`.
pub(super) fn on_port(port: u16) -> Vec<String> {
    format!("kfconform workload notebook --port {port} --show-env NB_PREFIX --show-env SHADE")
        .split(' ')
        .map(ToOwned::to_owned)
        .collect()
}

async fn other_port(cx: &Cx) -> Outcome<Value> {
    let name = cx.name("port");
    let notebook = base(cx, &name)?;
    let notebook = with(
        &notebook,
        &format!("{CONTAINER}.command"),
        json!(on_port(9999)),
    );
    let notebook = with(
        &notebook,
        &format!("{CONTAINER}.ports"),
        json!([{"name": "web", "containerPort": 9999, "protocol": "TCP"}]),
    );
    cx.create(&NOTEBOOK, &notebook).await?;
    given(
        reports_ready(cx, &name).await,
        "notebooks/server/becomes-ready",
    )?;
    value(&observe(cx, &name, 9999).await?)
}

async fn halted(cx: &Cx) -> Outcome<Value> {
    let name = cx.name("halt");
    cx.create(&NOTEBOOK, &base(cx, &name)?).await?;
    given(
        reports_ready(cx, &name).await,
        "notebooks/server/becomes-ready",
    )?;
    let before = observe(cx, &name, 8888).await?;
    let stop = json!({"metadata": {"annotations": {STOPPED: "2026-01-01T00:00:00Z"}}});
    cx.patch(&NOTEBOOK, &name, &stop).await?;
    gone(cx, &name).await?;
    let notebook = settled(cx, &NOTEBOOK, &name, |seen| {
        seen["status"]["readyReplicas"].as_i64() == Some(0)
            && seen["status"]["containerState"]["running"].is_null()
    })
    .await?;
    value(&Halted {
        before,
        notebook,
        stateful_set: cx.get(&STATEFUL_SET, &name).await?.unwrap_or_default(),
    })
}

/// A registry that does not answer is given up slowly, and not before other images were pulled.
async fn waiting(cx: &Cx) -> Outcome<Value> {
    let name = cx.name("noimage");
    // The domain `invalid` is reserved: no registry can ever answer there.
    let notebook = with(
        &base(cx, &name)?,
        &format!("{CONTAINER}.image"),
        json!("kfconform.invalid/none:0"),
    );
    cx.create(&NOTEBOOK, &notebook).await?;
    let pulled = |seen: &Value| {
        let reason = &seen["status"]["containerState"]["waiting"]["reason"];
        reason.as_str().unwrap_or_default().contains("Image")
    };
    settled_within(cx, &NOTEBOOK, &name, "notebook-ready", pulled).await
}

/// Waits until no pod of a notebook is left.
pub(super) async fn gone(cx: &Cx, name: &str) -> Outcome {
    // A pod that was about to start may come after the first one went.
    for _ in 0..3 {
        let pods = pods_of(cx, name).await?;
        if pods.is_empty() {
            return Ok(());
        }
        for pod in &pods {
            cx.until_gone(&POD, name_of(pod), "notebook-stopped")
                .await?;
        }
    }
    Err(Stop::failed(format!(
        "pods of Notebook `{name}` come again and again"
    )))
}

async fn restarted(cx: &Cx) -> Outcome<Value> {
    let halted: Halted = cx.setup(&HALTED)?;
    let name = name_of(given(
        kept(&halted),
        "notebooks/lifecycle/keeps-stopped-notebook",
    )?)
    .to_owned();
    given(
        reported(&halted.notebook),
        "notebooks/lifecycle/reports-stopped",
    )?;
    let start = json!({"metadata": {"annotations": {STOPPED: null}}});
    cx.patch(&NOTEBOOK, &name, &start).await?;
    reports_ready(cx, &name).await?;
    value(&observe(cx, &name, 8888).await?)
}

/// The stopped Notebook, which must still be there.
pub(super) fn kept(halted: &Halted) -> Outcome<&Value> {
    if halted.notebook.is_null() {
        let name = name_of(&halted.before.notebook);
        return Err(Stop::unlike(
            format!("Notebook `{name}` is gone after it was stopped"),
            "the Notebook",
            "404 Not Found",
        ));
    }
    Ok(&halted.notebook)
}

/// A stopped notebook reports that nothing runs.
pub(super) fn reported(notebook: &Value) -> Outcome {
    let name = name_of(notebook);
    let status = &notebook["status"];
    ensure_eq!(
        status["readyReplicas"].as_i64().unwrap_or_default(),
        0,
        "status.readyReplicas of the stopped Notebook `{name}`"
    );
    ensure!(
        status["containerState"]["running"].is_null(),
        "the stopped Notebook `{name}` reports a running container"
    );
    ensure!(
        condition(notebook, "Ready") != "True",
        "the stopped Notebook `{name}` reports the condition Ready"
    );
    Ok(())
}
