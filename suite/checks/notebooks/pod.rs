//! The pod of a notebook: what the controller adds to its template, what it leaves alone, and what is told of it.

use std::time::Duration;

use super::{
    CONTAINER, POD_SPEC, base,
    states::{READY, Ready, WAITING, given, observe, on_port, reports_ready, value},
};
use crate::{
    checks::prelude::*,
    cluster::discover::{escape, items},
};

requirement_checks! {
    "notebooks/pod/starts-at-home" => starts_at_home, needs [&READY];
    "notebooks/pod/names-its-port" => names_its_port, needs [&READY];
    "notebooks/pod/shares-volumes" => shares_volumes, needs [&READY];
    "notebooks/pod/keeps-own-settings" => keeps_own_settings, needs [&OWN_SETTINGS];
    "notebooks/pod/runs-all-containers" => runs_all_containers, needs [&OWN_SETTINGS];
    "notebooks/pod/takes-long-name" => takes_long_name, needs [&READY];
    "notebooks/pod/tells-events" => tells_events, needs [&WAITING];
}

setups! {
    /// A notebook whose template says itself what the controller would add, and has more containers than one.
    pub OWN_SETTINGS = "setup/notebooks/own-settings", judge "", minutes 10, needs [&IMAGE], run: own_settings;
}

/// The port that the template of [`OWN_SETTINGS`] names, and that of its second container.
const OWN_PORT: u16 = 8890;
const SECOND_PORT: u16 = 8891;
/// The group that it names for its volumes.
const OWN_GROUP: i64 = 65532;

/// The longest name with which a notebook runs: its pod has a label that is eleven characters longer.
const LONGEST_NAME: usize = 52;

async fn own_settings(cx: &Cx) -> Outcome<Value> {
    let name = cx.name("own");
    let mut notebook = base(cx, &name)?;
    for (field, value) in [
        ("workingDir", json!("/")),
        ("command", json!(on_port(OWN_PORT))),
        (
            "ports",
            json!([{"name": "own", "containerPort": OWN_PORT, "protocol": "TCP"}]),
        ),
    ] {
        notebook = with(&notebook, &format!("{CONTAINER}.{field}"), value);
    }
    let port = SECOND_PORT.to_string();
    let second = cx.container("second", &["notebook", "--port", &port]);
    let before = cx.container("before", &["step", "--print", "ready"]);
    for (field, value) in [
        ("containers.1", second),
        ("initContainers", json!([before])),
        ("securityContext", json!({"fsGroup": OWN_GROUP})),
    ] {
        if field == "containers.1" {
            if let Some(list) = notebook["spec"]["template"]["spec"]["containers"].as_array_mut() {
                list.push(value);
            }
        } else {
            notebook = with(&notebook, &format!("{POD_SPEC}.{field}"), value);
        }
    }
    cx.create(&NOTEBOOK, &notebook).await?;
    given(
        reports_ready(cx, &name).await,
        "notebooks/server/becomes-ready",
    )?;
    value(&observe(cx, &name, OWN_PORT).await?)
}

/// The pod of a notebook and its container of the notebook's name.
fn container(seen: &Ready) -> Outcome<(&Value, &Value)> {
    let name = name_of(&seen.notebook);
    let Some(pod) = seen.pods.first() else {
        return Err(Stop::failed(format!(
            "the ready Notebook `{name}` has no pod"
        )));
    };
    let found = items(&pod["spec"], "containers").find(|c| c["name"] == name);
    let missing = || {
        Stop::failed(format!(
            "the pod of Notebook `{name}` has no container of that name"
        ))
    };
    Ok((pod, found.ok_or_else(missing)?))
}

/// A template that names no directory is started in the home directory.
pub async fn starts_at_home(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    let (_, container) = container(&seen)?;
    ensure_eq!(
        container["workingDir"],
        "/home/jovyan",
        "the working directory of the container of Notebook `{}`",
        name_of(&seen.notebook)
    );
    Ok(())
}

/// A template that names no port has port 8888 under a name.
pub async fn names_its_port(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    let (_, container) = container(&seen)?;
    let named = items(container, "ports").find(|p| p["name"] == "notebook-port");
    ensure_eq!(
        named.map_or(&Value::Null, |port| &port["containerPort"]),
        8888,
        "the number of port `notebook-port` of the container of Notebook `{}`",
        name_of(&seen.notebook)
    );
    Ok(())
}

/// A template without a security context of the pod has the group of the home directory.
pub async fn shares_volumes(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    let (pod, _) = container(&seen)?;
    ensure_eq!(
        pod["spec"]["securityContext"]["fsGroup"],
        100,
        "securityContext.fsGroup of the pod of Notebook `{}`",
        name_of(&seen.notebook)
    );
    Ok(())
}

/// What the template says itself is left as it is.
pub async fn keeps_own_settings(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&OWN_SETTINGS)?;
    let name = name_of(&seen.notebook);
    let (pod, container) = container(&seen)?;
    ensure_eq!(
        container["workingDir"],
        "/",
        "the working directory of the container of Notebook `{name}`, whose template names one"
    );
    let ports: Vec<&Value> = items(container, "ports")
        .map(|p| &p["containerPort"])
        .collect();
    ensure_eq!(
        json!(ports),
        json!([OWN_PORT]),
        "the ports of the container of Notebook `{name}`, whose template names one"
    );
    ensure_eq!(
        pod["spec"]["securityContext"]["fsGroup"],
        OWN_GROUP,
        "securityContext.fsGroup of the pod of Notebook `{name}`, whose template names one"
    );
    Ok(())
}

/// Containers beside the first run too, and those that come before it have run.
pub async fn runs_all_containers(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&OWN_SETTINGS)?;
    let name = name_of(&seen.notebook);
    let (pod, _) = container(&seen)?;
    let status = |list: &str, name: &str| {
        let mut found = items(&pod["status"], list);
        found
            .find(|s| s["name"] == name)
            .cloned()
            .unwrap_or_default()
    };
    let second = status("containerStatuses", "second");
    ensure!(
        !second["state"]["running"].is_null(),
        "the second container of Notebook `{name}` does not run in its pod: {}",
        second["state"]
    );
    let before = status("initContainerStatuses", "before");
    ensure_eq!(
        before["state"]["terminated"]["exitCode"],
        0,
        "the exit code of the init container of Notebook `{name}` in its pod"
    );
    Ok(())
}

/// A notebook with the longest name that its pod's labels allow runs as any other.
pub async fn takes_long_name(cx: &Cx) -> Outcome {
    // Where no notebook becomes ready, this one tells nothing of its name.
    let _: Ready = cx.setup(&READY)?;
    let start = cx.name("long");
    let name = format!("{start}-{}", "x".repeat(LONGEST_NAME - start.len() - 1));
    cx.create(&NOTEBOOK, &base(cx, &name)?).await?;
    reports_ready(cx, &name).await?;
    let seen = observe(cx, &name, 8888).await?;
    ensure_eq!(
        seen.page["notebook"],
        "kfconform",
        "what answers in the pod of Notebook `{name}`"
    );
    ensure!(!seen.service.is_null(), "there is no Service `{name}`");
    Ok(())
}

/// The events about a Notebook, asked for until `holds` of one of them or the time is up: whether it did, and what was
/// told last.
pub(super) async fn told(
    cx: &Cx,
    name: &str,
    holds: impl Fn(&Value) -> bool,
) -> Outcome<(bool, String)> {
    let until = cx.after("reconcile");
    let of = escape(&format!(
        "involvedObject.kind=Notebook,involvedObject.name={name}"
    ));
    let path = format!("{}?fieldSelector={of}", EVENT.path(cx.namespace()));
    let mut wait = Duration::from_millis(100);
    loop {
        let request = Request::new(crate::cluster::Endpoint::Kubernetes, "GET", path.clone());
        let answer = cx.kube(request).await?;
        let list = super::super::kube::accepted(&answer, "the listing of events")?;
        let found = items(&list, "items").any(&holds);
        if found || cx.now_ms() >= until {
            let last = items(&list, "items").last();
            let last = last.map_or_else(
                || "nothing was told at all".to_owned(),
                |event| format!("the last: {}", event["message"]),
            );
            return Ok((found, last));
        }
        cx.pause(wait).await;
        wait = wait.mul_f64(1.5).min(Duration::from_millis(1500));
    }
}

/// A warning about the pod is told at the Notebook.
pub async fn tells_events(cx: &Cx) -> Outcome {
    let seen: Value = cx.setup(&WAITING)?;
    let name = name_of(&seen);
    let (found, last) = told(cx, name, |event| event["type"] == "Warning").await?;
    ensure!(
        found,
        "no event of type Warning is about Notebook `{name}`, whose image does not exist; {last}"
    );
    Ok(())
}
