//! What PodDefaults put into pods. All pods are dry runs: nothing is run, the webhook is asked all the same.

use super::{
    judged_by,
    neighbour::{NEIGHBOUR, TENANT, Tenant},
};
use crate::{
    checks::{kube::refused, prelude::*},
    cluster::{Endpoint, discover::items},
};

requirement_checks! {
    "platform/poddefault/requires-selector" => requires_selector, needs [&TENANT];
    "platform/poddefault/injects-environment" => injects_environment, needs [&TENANT];
    "platform/poddefault/injects-volumes" => injects_volumes, needs [&TENANT];
    "platform/poddefault/selects-by-label" => selects_by_label, needs [&TENANT];
    "platform/poddefault/selects-by-expression" => selects_by_expression, needs [&TENANT];
    "platform/poddefault/leaves-other-namespaces" => leaves_other_namespaces, needs [&TENANT, &NEIGHBOUR];
    "platform/poddefault/merges-several" => merges_several, needs [&TENANT];
    "platform/poddefault/keeps-identical-once" => keeps_identical_once, needs [&TENANT];
    "platform/poddefault/refuses-conflict" => refuses_conflict, needs [&TENANT];
    "platform/poddefault/refuses-volume-conflict" => refuses_volume_conflict, needs [&TENANT];
    "platform/poddefault/follows-updates" => follows_updates, needs [&TENANT];
    "platform/poddefault/honours-exclusion" => honours_exclusion, needs [&TENANT];
    "platform/poddefault/keeps-own-command" => keeps_own_command, needs [&TENANT];
    "platform/poddefault/injects-metadata" => injects_metadata, needs [&TENANT];
    "platform/poddefault/injects-scheduling" => injects_scheduling, needs [&TENANT];
    "platform/poddefault/injects-sources" => injects_sources, needs [&TENANT];
    "platform/poddefault/sets-service-account" => sets_service_account, needs [&TENANT];
    "platform/poddefault/adds-containers" => adds_containers, needs [&TENANT];
    "platform/poddefault/marks-pods" => marks_pods, needs [&TENANT];
}

/// The value of the label by which these PodDefaults choose pods; its key is the PodDefault's name.
const CHOSEN: &str = "yes";

/// Makes a PodDefault of these fields that chooses the pods with its name as a label, and gives the name.
async fn default(cx: &Cx, tenant: &Tenant, label: &str, fields: Value) -> Outcome<String> {
    let name = cx.name(label);
    cx.create(&POD_DEFAULT, &pod_default(tenant, &name, fields))
        .await?;
    Ok(name)
}

fn pod_default(tenant: &Tenant, name: &str, fields: Value) -> Value {
    let mut object = json!({
        "apiVersion": POD_DEFAULT.api_version(), "kind": POD_DEFAULT.kind,
        "metadata": {"name": name, "namespace": tenant.namespace},
        "spec": fields,
    });
    if object["spec"]["selector"].is_null() {
        object["spec"]["selector"] = json!({"matchLabels": {name: CHOSEN}});
    }
    object["spec"]["desc"] = json!("made by kfconform");
    object
}

/// A pod of a namespace that these PodDefaults choose.
fn pod(cx: &Cx, tenant: &Tenant, chosen_by: &[&str]) -> Value {
    let mut labels = json!({"sidecar.istio.io/inject": "false"});
    for name in chosen_by {
        labels[*name] = json!(CHOSEN);
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": cx.name("pod"), "namespace": tenant.namespace, "labels": labels,
            "annotations": {"sidecar.istio.io/inject": "false"},
        },
        "spec": {"restartPolicy": "Never", "containers": [cx.container("main", &["step"])]},
    })
}

/// The pod as admission leaves it, once `holds` of it; within the timeout `reconcile`, for a webhook that hears of a
/// PodDefault a moment later.
async fn injected(
    cx: &Cx,
    pod: &Value,
    what: &str,
    holds: impl Fn(&Value) -> bool + Sync,
) -> Outcome<Value> {
    cx.retry("reconcile", || async {
        let seen = cx.dry_run(&POD, pod).await?;
        if holds(&seen) {
            return Ok(seen);
        }
        Err(Stop::unlike(
            format!("a pod that a PodDefault chooses does not {what}"),
            format!("to {what}"),
            seen["spec"]["containers"].to_string(),
        ))
    })
    .await
}

fn main_of(pod: &Value) -> &Value {
    &pod["spec"]["containers"][0]
}

/// The values of an environment variable; several, where it is there several times.
fn values<'a>(pod: &'a Value, variable: &'a str) -> Vec<&'a str> {
    let env = items(main_of(pod), "env");
    env.filter(|e| e["name"] == variable)
        .filter_map(|e| e["value"].as_str())
        .collect()
}

fn has_value(pod: &Value, variable: &str, value: &str) -> bool {
    values(pod, variable) == [value]
}

fn has(object: &Value, list: &str, key: &str, name: &str) -> bool {
    items(object, list).any(|item| item[key] == name)
}

fn env(name: &str, value: &str) -> Value {
    json!({"env": [{"name": name, "value": value}]})
}

/// A PodDefault says which pods it is for.
pub async fn requires_selector(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let good = pod_default(&tenant, &cx.name("selector"), env("A", "1"));
    let bad = with(&good, "spec.selector", Value::Null);
    cx.refuses(&POD_DEFAULT, &good, &bad, "without a selector")
        .await
}

/// Variables.
pub async fn injects_environment(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let name = default(cx, &tenant, "env", env("KFC_SHADE", "green")).await?;
    let mut two = pod(cx, &tenant, &[&name]);
    let second = cx.container("second", &["step"]);
    two["spec"]["containers"] = json!([two["spec"]["containers"][0], second]);
    let what = "have the variable of the PodDefault in each container";
    injected(cx, &two, what, |pod| {
        items(&pod["spec"], "containers")
            .all(|c| items(c, "env").any(|e| e["name"] == "KFC_SHADE" && e["value"] == "green"))
    })
    .await
    .map(drop)
}

/// Volumes, and where they are mounted.
pub async fn injects_volumes(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let volume = json!({
        "volumes": [{"name": "kfc-scratch", "emptyDir": {}}],
        "volumeMounts": [{"name": "kfc-scratch", "mountPath": "/kfc/scratch"}],
    });
    let name = default(cx, &tenant, "volume", volume).await?;
    let what = "have the volume of the PodDefault, mounted where it says";
    injected(cx, &pod(cx, &tenant, &[&name]), what, |pod| {
        has(&pod["spec"], "volumes", "name", "kfc-scratch")
            && items(main_of(pod), "volumeMounts")
                .any(|m| m["name"] == "kfc-scratch" && m["mountPath"] == "/kfc/scratch")
    })
    .await
    .map(drop)
}

/// That a pod is left alone, when one that is chosen was seen to be changed.
async fn left_alone(cx: &Cx, pod: &Value, which: &str, variable: &str) -> Outcome {
    let seen = cx.dry_run(&POD, pod).await?;
    ensure!(
        values(&seen, variable).is_empty(),
        "{which} has the variable of the PodDefault, and must not"
    );
    Ok(())
}

/// Only the pods with the label are chosen.
pub async fn selects_by_label(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let name = default(cx, &tenant, "label", env("KFC_LABEL", "1")).await?;
    let chosen = pod(cx, &tenant, &[&name]);
    let what = "have the variable of the PodDefault";
    injected(cx, &chosen, what, |pod| has_value(pod, "KFC_LABEL", "1")).await?;
    let mut other = chosen.clone();
    other["metadata"]["labels"][name.as_str()] = json!("no");
    left_alone(
        cx,
        &other,
        "a pod whose label has another value",
        "KFC_LABEL",
    )
    .await?;
    left_alone(
        cx,
        &pod(cx, &tenant, &[]),
        "a pod without the label",
        "KFC_LABEL",
    )
    .await
}

/// A selector may be an expression.
pub async fn selects_by_expression(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let label = cx.name("expression");
    let mut fields = env("KFC_EXPRESSION", "1");
    // The web application of stock Kubeflow lists no PodDefault without `matchLabels`.
    fields["selector"] = json!({
        "matchLabels": {format!("{label}-too"): CHOSEN},
        "matchExpressions": [{"key": label, "operator": "In", "values": ["one", "two"]}],
    });
    default(cx, &tenant, "expression", fields).await?;
    let with_value = |value: &str| {
        let mut pod = pod(cx, &tenant, &[&format!("{label}-too")]);
        pod["metadata"]["labels"][label.as_str()] = json!(value);
        pod
    };
    let what = "have the variable of the PodDefault";
    injected(cx, &with_value("two"), what, |pod| {
        has_value(pod, "KFC_EXPRESSION", "1")
    })
    .await?;
    let other = "a pod whose label has none of the values";
    left_alone(cx, &with_value("three"), other, "KFC_EXPRESSION").await
}

/// The pods of other namespaces are not meant.
pub async fn leaves_other_namespaces(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let neighbour: Tenant = cx.setup(&NEIGHBOUR)?;
    let name = default(cx, &tenant, "here", env("KFC_HERE", "1")).await?;
    let what = "have the variable of the PodDefault";
    injected(cx, &pod(cx, &tenant, &[&name]), what, |pod| {
        has_value(pod, "KFC_HERE", "1")
    })
    .await?;
    let other = pod(cx, &neighbour, &[&name]);
    left_alone(
        cx,
        &other,
        "a pod of another Profile's namespace",
        "KFC_HERE",
    )
    .await
}

/// Two PodDefaults go together.
pub async fn merges_several(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let one = default(cx, &tenant, "one", env("KFC_ONE", "1")).await?;
    let two = default(cx, &tenant, "two", env("KFC_TWO", "2")).await?;
    let what = "have the variables of both PodDefaults";
    injected(cx, &pod(cx, &tenant, &[&one, &two]), what, |pod| {
        has_value(pod, "KFC_ONE", "1") && has_value(pod, "KFC_TWO", "2")
    })
    .await
    .map(drop)
}

/// What two PodDefaults, or the pod itself, say alike is there once.
pub async fn keeps_identical_once(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let with_own = |own: &str| json!({"env": [{"name": own, "value": "1"}, {"name": "KFC_SAME", "value": "same"}]});
    let one = default(cx, &tenant, "one", with_own("KFC_FIRST")).await?;
    let two = default(cx, &tenant, "two", with_own("KFC_SECOND")).await?;
    let mut own = pod(cx, &tenant, &[&one]);
    own["spec"]["containers"][0]["env"] = json!([{"name": "KFC_SAME", "value": "same"}]);
    let what = "have the variable of its own that no other gives it";
    let both = injected(cx, &pod(cx, &tenant, &[&one, &two]), what, |pod| {
        has_value(pod, "KFC_FIRST", "1") && has_value(pod, "KFC_SECOND", "1")
    })
    .await
    .map_err(|stop| judged_by(stop, "platform/poddefault/merges-several"))?;
    let own = injected(cx, &own, what, |pod| has_value(pod, "KFC_FIRST", "1")).await?;
    for (pod, whose) in [(both, "two PodDefaults"), (own, "a PodDefault and the pod")] {
        ensure_eq!(
            values(&pod, "KFC_SAME"),
            ["same"],
            "the values of a variable that {whose} give alike"
        );
    }
    Ok(())
}

/// A pod whose PodDefaults contradict each other, or the pod, is refused; `which` names the contradiction.
async fn contradicts(cx: &Cx, pod: &Value, which: &str) -> Outcome {
    cx.retry("reconcile", || async {
        let answer = cx.try_dry_run(&POD, pod).await?;
        refused(&answer, &format!("a pod with {which}"))
    })
    .await
}

/// Two values for one variable.
pub async fn refuses_conflict(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let one = default(cx, &tenant, "one", env("KFC_SHADE", "green")).await?;
    let two = default(cx, &tenant, "two", env("KFC_SHADE", "blue")).await?;
    let what = "have the variable of the PodDefault";
    for (name, value) in [(&one, "green"), (&two, "blue")] {
        let single = pod(cx, &tenant, &[name]);
        injected(cx, &single, what, |pod| has_value(pod, "KFC_SHADE", value)).await?;
    }
    let both = pod(cx, &tenant, &[&one, &two]);
    contradicts(cx, &both, "two PodDefaults that give a variable two values").await?;
    let mut own = pod(cx, &tenant, &[&one]);
    own["spec"]["containers"][0]["env"] = json!([{"name": "KFC_SHADE", "value": "red"}]);
    contradicts(
        cx,
        &own,
        "a variable of another value than its PodDefault's",
    )
    .await
}

/// Two volumes of one name, or in one place.
pub async fn refuses_volume_conflict(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let volume = |name: &str, source: Value, path: &str| {
        let mut volume = json!({"name": name});
        volume["emptyDir"] = source;
        json!({"volumes": [volume], "volumeMounts": [{"name": name, "mountPath": path}]})
    };
    let memory = json!({"medium": "Memory"});
    let one = default(cx, &tenant, "one", volume("kfc-a", json!({}), "/kfc/a")).await?;
    let name = default(cx, &tenant, "name", volume("kfc-a", memory, "/kfc/a")).await?;
    let path = default(cx, &tenant, "path", volume("kfc-b", json!({}), "/kfc/a")).await?;
    let what = "have the volume of the PodDefault";
    for (default, volume) in [(&one, "kfc-a"), (&name, "kfc-a"), (&path, "kfc-b")] {
        let single = pod(cx, &tenant, &[default]);
        let seen = injected(cx, &single, what, |pod| {
            has(&pod["spec"], "volumes", "name", volume)
                && has(main_of(pod), "volumeMounts", "name", volume)
        });
        seen.await
            .map_err(|stop| judged_by(stop, "platform/poddefault/injects-volumes"))?;
    }
    for (other, which) in [
        (&name, "two volumes of one name"),
        (&path, "two volumes in one place"),
    ] {
        contradicts(cx, &pod(cx, &tenant, &[&one, other]), which).await?;
    }
    Ok(())
}

/// The next pod gets what a PodDefault says now.
pub async fn follows_updates(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let name = default(cx, &tenant, "update", env("KFC_SHADE", "green")).await?;
    let pod = pod(cx, &tenant, &[&name]);
    let what = "have the variable of the PodDefault as it was made";
    injected(cx, &pod, what, |pod| has_value(pod, "KFC_SHADE", "green")).await?;
    let path = POD_DEFAULT.object_path(&tenant.namespace, &name);
    let change = Request::new(Endpoint::Kubernetes, "PATCH", path).content(
        "application/merge-patch+json",
        Body::Json(json!({"spec": env("KFC_SHADE", "blue")})),
    );
    let answer = cx.kube(change).await?;
    ensure!(
        answer.is_success(),
        "the change of PodDefault `{name}` was answered with {}",
        answer.summary()
    );
    let what = "have the variable of the PodDefault as it was changed";
    injected(cx, &pod, what, |pod| has_value(pod, "KFC_SHADE", "blue"))
        .await
        .map(drop)
}

/// A pod may ask to be left alone.
pub async fn honours_exclusion(cx: &Cx) -> Outcome {
    const EXCLUDE: &str = "poddefault.admission.kubeflow.org/exclude";
    let tenant: Tenant = cx.setup(&TENANT)?;
    let name = default(cx, &tenant, "exclude", env("KFC_EXCLUDE", "1")).await?;
    let mut excluded = pod(cx, &tenant, &[&name]);
    let what = "have the variable of the PodDefault";
    injected(cx, &excluded, what, |pod| {
        has_value(pod, "KFC_EXCLUDE", "1")
    })
    .await?;
    excluded["metadata"]["annotations"][EXCLUDE] = json!("true");
    left_alone(
        cx,
        &excluded,
        "a pod with the annotation that excludes it",
        "KFC_EXCLUDE",
    )
    .await
}

/// A command is for containers that have none.
pub async fn keeps_own_command(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let command = json!(["kfconform", "workload", "step", "--print", "by default"]);
    let name = default(cx, &tenant, "command", json!({"command": command})).await?;
    let own = pod(cx, &tenant, &[&name]);
    let bare = with(&own, "spec.containers.0.command", Value::Null);
    let what = "have the command of the PodDefault where it has none of its own";
    injected(cx, &bare, what, |pod| main_of(pod)["command"] == command).await?;
    let seen = cx.dry_run(&POD, &own).await?;
    ensure_eq!(
        main_of(&seen)["command"],
        main_of(&own)["command"],
        "the command of a container that has its own"
    );
    Ok(())
}

/// Labels and annotations.
pub async fn injects_metadata(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let fields =
        json!({"labels": {"kfc-label": "given"}, "annotations": {"kfc-annotation": "given"}});
    let name = default(cx, &tenant, "metadata", fields).await?;
    let what = "have the label and the annotation of the PodDefault";
    injected(cx, &pod(cx, &tenant, &[&name]), what, |pod| {
        pod["metadata"]["labels"]["kfc-label"] == "given"
            && pod["metadata"]["annotations"]["kfc-annotation"] == "given"
    })
    .await
    .map(drop)
}

/// Tolerations and pull secrets.
pub async fn injects_scheduling(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let fields = json!({
        "tolerations": [{"key": "kfc.example.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "imagePullSecrets": [{"name": "kfc-registry"}],
    });
    let name = default(cx, &tenant, "scheduling", fields).await?;
    let what = "have the toleration and the pull secret of the PodDefault";
    injected(cx, &pod(cx, &tenant, &[&name]), what, |pod| {
        has(&pod["spec"], "tolerations", "key", "kfc.example.com/gpu")
            && has(&pod["spec"], "imagePullSecrets", "name", "kfc-registry")
    })
    .await
    .map(drop)
}

/// Variables out of a ConfigMap.
pub async fn injects_sources(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let source = json!({"configMapRef": {"name": "kfc-settings", "optional": true}});
    let name = default(cx, &tenant, "sources", json!({"envFrom": [source]})).await?;
    let what = "take variables from where the PodDefault says";
    injected(cx, &pod(cx, &tenant, &[&name]), what, |pod| {
        items(main_of(pod), "envFrom").any(|e| e["configMapRef"]["name"] == "kfc-settings")
    })
    .await
    .map(drop)
}

/// The account that the pod works as.
pub async fn sets_service_account(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let fields = json!({"serviceAccountName": "default-viewer"});
    let name = default(cx, &tenant, "account", fields).await?;
    let what = "work as the service account of the PodDefault";
    injected(cx, &pod(cx, &tenant, &[&name]), what, |pod| {
        pod["spec"]["serviceAccountName"] == "default-viewer"
    })
    .await
    .map(drop)
}

/// Containers before the pod's own, and beside them.
pub async fn adds_containers(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let fields = json!({
        "initContainers": [cx.container("kfc-before", &["step"])],
        "sidecars": [cx.container("kfc-beside", &["step"])],
    });
    let name = default(cx, &tenant, "containers", fields).await?;
    let what = "have the containers of the PodDefault, and its own first";
    let seen = injected(cx, &pod(cx, &tenant, &[&name]), what, |pod| {
        has(&pod["spec"], "initContainers", "name", "kfc-before")
            && has(&pod["spec"], "containers", "name", "kfc-beside")
    })
    .await?;
    ensure_eq!(
        main_of(&seen)["name"],
        "main",
        "the first container of a pod that got another one"
    );
    Ok(())
}

/// A pod says which PodDefaults changed it.
pub async fn marks_pods(cx: &Cx) -> Outcome {
    let tenant: Tenant = cx.setup(&TENANT)?;
    let name = default(cx, &tenant, "mark", env("KFC_MARK", "1")).await?;
    let key = format!("poddefault.admission.kubeflow.org/poddefault-{name}");
    let what = format!("have the variable of the PodDefault and the annotation `{key}`");
    injected(cx, &pod(cx, &tenant, &[&name]), &what, |pod| {
        has_value(pod, "KFC_MARK", "1") && !pod["metadata"]["annotations"][key.as_str()].is_null()
    })
    .await
    .map(drop)
}
