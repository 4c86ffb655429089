//! The workspace of a notebook: a claimed volume in its home directory.

use super::{
    CONTAINER, POD_SPEC, STOPPED, base, pods_of,
    states::{RESTARTED, Ready, given, gone, reports_ready, settled, value},
    uid_of,
};
use crate::checks::prelude::*;

requirement_checks! {
    "notebooks/workspace/survives-stop" => survives_stop, needs [&RESTARTED, &KEPT];
    "notebooks/workspace/outlives-notebook" => outlives_notebook, needs [&KEPT];
}

setups! {
    /// A notebook with a workspace in which a file was written before it was stopped and started again.
    pub KEPT = "setup/notebooks/workspace", judge "", minutes 15, needs [&IMAGE], run: kept;
}

/// What was seen of a workspace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The Notebook's name, and its claim as it was made.
    pub name: String,
    /// The claim when the notebook had a file in it.
    pub claim: Value,
    /// Whether the notebook became ready again after it was stopped.
    pub started: bool,
    /// What is in the file after that; null where there is none.
    pub file: Value,
}

/// What is written to the file.
const CONTENT: &str = "a day's work";
const FILE: &str = "/files/work.txt";

async fn kept(cx: &Cx) -> Outcome<Value> {
    let name = cx.name("work");
    let mut claim = cx.fixture("notebooks/claim.yaml", &[("name", &name)])?;
    if let Some(class) = &cx.run.storage_class {
        claim = with(&claim, "spec.storageClassName", json!(class));
    }
    cx.create(&CLAIM, &claim).await?;
    let volume = json!({"name": "workspace", "persistentVolumeClaim": {"claimName": name}});
    let notebook = with(
        &base(cx, &name)?,
        &format!("{POD_SPEC}.volumes"),
        json!([volume]),
    );
    let notebook = with(
        &notebook,
        &format!("{CONTAINER}.volumeMounts"),
        json!([{"name": "workspace", "mountPath": "/home/jovyan"}]),
    );
    cx.create(&NOTEBOOK, &notebook).await?;
    let first = server(cx, &name, &[]).await?;
    let request = first.1.request("PUT", FILE);
    let request = request.content("text/plain", Body::Text(CONTENT.to_owned()));
    let answer = first.1.send(request).await?;
    if !answer.is_success() {
        return Err(Stop::CouldNotRun(
            CouldNotRun::SetupFailed,
            format!(
                "the server of Notebook `{name}` cannot write to its workspace: {}",
                answer.summary()
            ),
        ));
    }
    let claim = cx.need(&CLAIM, &name).await?;
    for stopped in [json!("2026-01-01T00:00:00Z"), Value::Null] {
        let patch = json!({"metadata": {"annotations": {STOPPED: stopped}}});
        let answer = cx.try_patch(&NOTEBOOK, &name, &patch).await?;
        if answer.status == 404 {
            return Err(Stop::CouldNotRun(
                CouldNotRun::SetupFailed,
                format!(
                    "Notebook `{name}` is gone after it was stopped, which `notebooks/lifecycle/keeps-stopped-notebook` judges"
                ),
            ));
        }
        super::super::kube::accepted(&answer, &format!("the change of Notebook `{name}`"))?;
        if !stopped.is_null() {
            given(
                gone(cx, &name).await,
                "notebooks/lifecycle/stops-when-annotated",
            )?;
            // Else the status still speaks of the pod that is gone.
            settled(cx, &NOTEBOOK, &name, |seen| {
                seen["status"]["readyReplicas"].as_i64().unwrap_or_default() == 0
            })
            .await?;
        }
    }
    // Whether it starts at all, another check judges; whether it starts with its workspace, this one's.
    let second = match server(cx, &name, &first.0).await {
        Err(Stop::Failed(_) | Stop::CouldNotRun(CouldNotRun::SetupFailed, _)) => None,
        second => Some(second?),
    };
    let file = match &second {
        Some((_, server)) => server.get(FILE).await?,
        None => {
            return value(&Kept {
                name,
                claim,
                started: false,
                file: Value::Null,
            });
        }
    };
    value(&Kept {
        name,
        claim,
        started: true,
        file: if file.is_success() {
            file.text().into()
        } else {
            Value::Null
        },
    })
}

/// The pods of a notebook once it is ready, and its server at the first of them. Those of `before` are over: a status may
/// still speak of them.
async fn server<'a>(cx: &'a Cx, name: &str, before: &[String]) -> Outcome<(Vec<String>, Http<'a>)> {
    given(
        reports_ready(cx, name).await,
        "notebooks/server/becomes-ready",
    )?;
    let mut pods = pods_of(cx, name).await?;
    pods.retain(|pod| !before.iter().any(|uid| uid == uid_of(pod)));
    let Some(pod) = pods.first() else {
        return Err(Stop::failed(format!(
            "the ready Notebook `{name}` has no pod"
        )));
    };
    let server = cx.pod(name_of(pod), 8888);
    server.until("/", "serves", "answer", |_| Ok(true)).await?;
    Ok((
        pods.iter().map(|pod| uid_of(pod).to_owned()).collect(),
        server,
    ))
}

/// What was written before the notebook was stopped is there after it was started again.
pub async fn survives_stop(cx: &Cx) -> Outcome {
    let _: Ready = cx.setup(&RESTARTED)?;
    let seen: Kept = cx.setup(&KEPT)?;
    ensure!(
        seen.started,
        "Notebook `{}`, which has a workspace, did not become ready again after it was stopped",
        seen.name
    );
    ensure_eq!(
        seen.file,
        CONTENT,
        "the file in the workspace of Notebook `{}` after it was stopped and started again",
        seen.name
    );
    Ok(())
}

/// The claim of a notebook is its user's: it stays when the notebook is deleted.
pub async fn outlives_notebook(cx: &Cx) -> Outcome {
    let seen: Kept = cx.setup(&KEPT)?;
    let name = &seen.name;
    if cx.get(&CLAIM, name).await?.is_none() {
        return Err(Stop::CouldNotRun(
            CouldNotRun::SetupFailed,
            format!(
                "the claim of Notebook `{name}` is gone after the notebook was stopped, which `notebooks/workspace/survives-stop` judges"
            ),
        ));
    }
    cx.delete(&NOTEBOOK, name).await?;
    cx.until_gone(&NOTEBOOK, name, "gone").await?;
    given(
        gone(cx, name).await,
        "notebooks/lifecycle/removes-its-parts",
    )?;
    // All that goes with the notebook is gone: a claim that went with it would be going.
    let claim = cx.need(&CLAIM, name).await?;
    ensure_eq!(
        uid_of(&claim),
        uid_of(&seen.claim),
        "the uid of the claim of Notebook `{name}` after the deletion of the notebook"
    );
    ensure!(
        claim["metadata"]["deletionTimestamp"].is_null(),
        "the claim of Notebook `{name}` is being deleted, since the notebook was"
    );
    let owners = claim["metadata"]["ownerReferences"].as_array();
    ensure!(
        !owners
            .into_iter()
            .flatten()
            .any(|o| o["kind"] == "Notebook"),
        "the claim of Notebook `{name}` belongs to the notebook"
    );
    Ok(())
}
