//! A notebook that runs: what it is made of, what it serves and what it reports.

use super::{
    CONTAINER, NAME_LABEL, base, prefix_of,
    states::{OTHER_PORT, READY, Ready, WAITING, settled},
    uid_of,
};
use crate::{checks::prelude::*, cluster::discover::target_port};

requirement_checks! {
    "notebooks/server/becomes-ready" => becomes_ready, needs [&READY];
    "notebooks/server/reports-ready-condition" => reports_ready_condition, needs [&READY];
    "notebooks/server/reports-running-container" => reports_running_container, needs [&READY];
    "notebooks/server/one-replica" => one_replica, needs [&READY];
    "notebooks/server/owns-its-parts" => owns_its_parts, needs [&READY];
    "notebooks/server/service-port" => service_port, needs [&READY];
    "notebooks/server/own-container-port" => own_container_port, needs [&OTHER_PORT];
    "notebooks/server/answers-through-service" => answers_through_service, needs [&READY];
    "notebooks/server/knows-its-prefix" => knows_its_prefix, needs [&READY];
    "notebooks/server/keeps-environment" => keeps_environment, needs [&READY];
    "notebooks/server/keeps-pod-template" => keeps_pod_template, needs [&READY];
    "notebooks/server/labels-reach-pod" => labels_reach_pod, needs [&READY];
    "notebooks/server/annotations-reach-pod" => annotations_reach_pod, needs [&READY];
    "notebooks/server/pod-names-notebook" => pod_names_notebook, needs [&READY];
    "notebooks/server/reports-waiting" => reports_waiting, needs [&WAITING];
    "notebooks/server/reports-ended-container" => reports_ended_container, needs [&IMAGE];
}

/// The status of a notebook whose container runs says one ready replica.
pub async fn becomes_ready(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    let replicas = seen.notebook["status"]["readyReplicas"].as_i64();
    ensure!(
        replicas >= Some(1),
        "Notebook `{}` reports {} ready replicas",
        name_of(&seen.notebook),
        replicas.unwrap_or_default()
    );
    Ok(())
}

/// So does its condition Ready.
pub async fn reports_ready_condition(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    ensure_eq!(
        condition(&seen.notebook, "Ready"),
        "True",
        "condition Ready of the ready Notebook `{}`",
        name_of(&seen.notebook)
    );
    Ok(())
}

/// Its container's state is running, since a moment.
pub async fn reports_running_container(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    let name = name_of(&seen.notebook);
    let state = &seen.notebook["status"]["containerState"];
    ensure!(
        state["running"]["startedAt"]
            .as_str()
            .is_some_and(|t| !t.is_empty()),
        "status.containerState of the ready Notebook `{name}` does not say since when it runs: {state}"
    );
    for other in ["waiting", "terminated"] {
        ensure!(
            state[other].is_null(),
            "status.containerState of the ready Notebook `{name}` is {other} too"
        );
    }
    Ok(())
}

/// One server: a StatefulSet of the same name with one replica, and one pod.
pub async fn one_replica(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    let name = name_of(&seen.notebook);
    ensure!(
        !seen.stateful_set.is_null(),
        "there is no StatefulSet `{name}`"
    );
    ensure_eq!(
        seen.stateful_set["spec"]["replicas"],
        1,
        "spec.replicas of StatefulSet `{name}`"
    );
    ensure_eq!(
        seen.pods.len(),
        1,
        "the number of pods of Notebook `{name}`"
    );
    Ok(())
}

/// The StatefulSet and the Service are controlled by the Notebook, so that they go with it.
pub async fn owns_its_parts(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    let name = name_of(&seen.notebook);
    for (what, part) in [
        ("StatefulSet", &seen.stateful_set),
        ("Service", &seen.service),
    ] {
        ensure!(!part.is_null(), "there is no {what} `{name}`");
        let owners = part["metadata"]["ownerReferences"].as_array();
        let owner = owners
            .into_iter()
            .flatten()
            .find(|owner| owner["controller"] == true);
        let Some(owner) = owner else {
            return Err(Stop::unlike(
                format!("{what} `{name}` is controlled by nothing"),
                format!("Notebook `{name}`"),
                part["metadata"]["ownerReferences"].to_string(),
            ));
        };
        ensure_eq!(
            owner["kind"],
            "Notebook",
            "the kind that controls {what} `{name}`"
        );
        ensure_eq!(
            owner["uid"].as_str().unwrap_or_default(),
            uid_of(&seen.notebook),
            "the uid of the Notebook that controls {what} `{name}`"
        );
    }
    Ok(())
}

/// Where a port of a notebook's Service leads.
fn leads_to(seen: &Ready, port: u16) -> Outcome<u16> {
    let name = name_of(&seen.notebook);
    ensure!(!seen.service.is_null(), "there is no Service `{name}`");
    let pod = seen.pods.first().unwrap_or(&Value::Null);
    target_port(&seen.service, pod, port).ok_or_else(|| {
        Stop::unlike(
            format!("Service `{name}` has no port {port} that leads to a port of the pod"),
            format!("port {port}"),
            seen.service["spec"]["ports"].to_string(),
        )
    })
}

/// The port that a notebook's Service has. That it is 80 is the business of [`service_port`] alone.
fn port_of(service: &Value) -> u16 {
    let port = service["spec"]["ports"][0]["port"].as_u64();
    port.and_then(|p| u16::try_from(p).ok()).unwrap_or(80)
}

/// Port 80 of the Service of the same name leads to port 8888.
pub async fn service_port(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    ensure_eq!(
        leads_to(&seen, 80)?,
        8888,
        "the port to which port 80 of Service `{}` leads",
        name_of(&seen.notebook)
    );
    Ok(())
}

/// Or to the first port that the container names.
pub async fn own_container_port(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&OTHER_PORT)?;
    let name = name_of(&seen.notebook);
    ensure_eq!(
        leads_to(&seen, port_of(&seen.service))?,
        9999,
        "the port to which Service `{name}` leads"
    );
    ensure_eq!(
        seen.page["notebook"],
        "kfconform",
        "what answers on port 9999 of Notebook `{name}`"
    );
    Ok(())
}

/// Through the Service the server answers under its path.
pub async fn answers_through_service(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    let name = name_of(&seen.notebook);
    let server = cx.service(name, port_of(&seen.service)).await?;
    let path = format!("{}/", prefix_of(&seen.notebook));
    let page = server
        .until(&path, "serves", "answer", |_| Ok(true))
        .await?;
    ensure_eq!(
        page["notebook"],
        "kfconform",
        "the server behind Service `{name}`"
    );
    Ok(())
}

/// The page of a server that must have answered at its own pod.
fn page(seen: &Ready) -> Outcome<&Value> {
    if seen.page.is_null() {
        let name = name_of(&seen.notebook);
        return Err(Stop::CouldNotRun(
            CouldNotRun::SetupFailed,
            format!("the server of Notebook `{name}` does not answer at its pod"),
        ));
    }
    Ok(&seen.page)
}

/// The container's environment says under which path it serves.
pub async fn knows_its_prefix(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    ensure_eq!(
        page(&seen)?["env"]["NB_PREFIX"]
            .as_str()
            .unwrap_or_default(),
        prefix_of(&seen.notebook),
        "NB_PREFIX in the container of Notebook `{}`",
        name_of(&seen.notebook)
    );
    Ok(())
}

/// What the user put into the environment is there too.
pub async fn keeps_environment(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    ensure_eq!(
        page(&seen)?["env"]["SHADE"].as_str().unwrap_or_default(),
        "green",
        "the variable SHADE in the container of Notebook `{}`",
        name_of(&seen.notebook)
    );
    Ok(())
}

/// The one pod of a notebook, as the API shows it.
fn pod(seen: &Ready) -> Outcome<&Value> {
    let name = name_of(&seen.notebook);
    seen.pods
        .first()
        .ok_or_else(|| Stop::failed(format!("the ready Notebook `{name}` has no pod")))
}

/// The pod is made as its template says.
pub async fn keeps_pod_template(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    let name = name_of(&seen.notebook);
    let made = pod(&seen)?;
    let container = made["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|c| c["name"] == name);
    let Some(container) = container else {
        return Err(Stop::failed(format!(
            "the pod of Notebook `{name}` has no container of that name"
        )));
    };
    let wanted = seen
        .notebook
        .pointer(&format!("/{}", CONTAINER.replace('.', "/")))
        .unwrap_or(&Value::Null);
    for field in ["image", "command", "resources"] {
        ensure_eq!(
            container[field],
            wanted[field],
            "{field} of the container of Notebook `{name}`"
        );
    }
    let mounts = container["volumeMounts"].as_array();
    ensure!(
        mounts
            .into_iter()
            .flatten()
            .any(|m| m["name"] == "scratch" && m["mountPath"] == "/scratch"),
        "the container of Notebook `{name}` lacks the mount of volume `scratch` that its template has"
    );
    let volumes = made["spec"]["volumes"].as_array();
    ensure!(
        volumes
            .into_iter()
            .flatten()
            .any(|v| v["name"] == "scratch" && !v["emptyDir"].is_null()),
        "the pod of Notebook `{name}` lacks the volume `scratch` that its template has"
    );
    ensure_eq!(
        made["spec"]["terminationGracePeriodSeconds"],
        20,
        "terminationGracePeriodSeconds of the pod of Notebook `{name}`"
    );
    Ok(())
}

/// The labels of the Notebook are on its pod: PodDefaults, quotas and network policies select by them.
pub async fn labels_reach_pod(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    let name = name_of(&seen.notebook);
    let labels = &pod(&seen)?["metadata"]["labels"];
    for (key, value) in [
        ("conformance.kubeflow.org/desk", "window"),
        ("sidecar.istio.io/inject", "false"),
    ] {
        ensure_eq!(
            labels[key].as_str().unwrap_or_default(),
            value,
            "label {key} of the pod of Notebook `{name}`"
        );
    }
    Ok(())
}

/// So are its annotations.
pub async fn annotations_reach_pod(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    let annotations = &pod(&seen)?["metadata"]["annotations"];
    ensure_eq!(
        annotations["conformance.kubeflow.org/note"]
            .as_str()
            .unwrap_or_default(),
        "a b",
        "annotation conformance.kubeflow.org/note of the pod of Notebook `{}`",
        name_of(&seen.notebook)
    );
    Ok(())
}

/// The pod says by its label which notebook it is.
pub async fn pod_names_notebook(cx: &Cx) -> Outcome {
    let seen: Ready = cx.setup(&READY)?;
    let name = name_of(&seen.notebook);
    ensure_eq!(
        pod(&seen)?["metadata"]["labels"][NAME_LABEL]
            .as_str()
            .unwrap_or_default(),
        name,
        "label {NAME_LABEL} of the pod of Notebook `{name}`"
    );
    Ok(())
}

/// A notebook whose image does not exist says that it waits, and why.
pub async fn reports_waiting(cx: &Cx) -> Outcome {
    let seen: Value = cx.setup(&WAITING)?;
    let name = name_of(&seen);
    let status = &seen["status"];
    let state = &status["containerState"];
    let reason = state["waiting"]["reason"].as_str().unwrap_or_default();
    ensure!(
        !reason.is_empty(),
        "Notebook `{name}`, whose image does not exist, does not report why it waits: {state}"
    );
    ensure_eq!(
        status["readyReplicas"].as_i64().unwrap_or_default(),
        0,
        "status.readyReplicas of Notebook `{name}`, whose image does not exist"
    );
    ensure!(
        condition(&seen, "Ready") != "True",
        "Notebook `{name}`, whose image does not exist, reports the condition Ready"
    );
    Ok(())
}

/// A notebook whose server ends says so.
pub async fn reports_ended_container(cx: &Cx) -> Outcome {
    let name = cx.name("ends");
    let notebook = with(
        &base(cx, &name)?,
        &format!("{CONTAINER}.command"),
        json!(["kfconform", "workload", "step", "--exit", "3"]),
    );
    cx.create(&NOTEBOOK, &notebook).await?;
    let ended = |state: &Value| {
        !state["terminated"].is_null() || state["waiting"]["reason"] == "CrashLoopBackOff"
    };
    let seen = settled(cx, &NOTEBOOK, &name, |seen| {
        ended(&seen["status"]["containerState"])
    })
    .await?;
    let state = &seen["status"]["containerState"];
    ensure!(
        ended(state),
        "Notebook `{name}`, whose server ended with code 3, does not report it: {state}"
    );
    if !state["terminated"].is_null() {
        ensure_eq!(
            state["terminated"]["exitCode"],
            3,
            "the exit code that Notebook `{name}` reports"
        );
    }
    Ok(())
}
