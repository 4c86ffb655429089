//! Which of several serving runtimes a model gets, and what else it brings; see [`super::runtime`] for how that is seen.

use std::time::Duration;

use super::{
    super::prelude::*,
    merged, predictor_name,
    runtime::{
        container_of, create_model, create_runtime, env, format, formats, in_model, runtime,
        until_invalid,
    },
    text,
};

requirement_checks! {
    "kserve/runtime/refuses-two-priorities" => refuses_two_priorities;
    "kserve/runtime/precedes-cluster-runtimes" => precedes_cluster_runtimes;
    "kserve/runtime/is-selected-for-its-protocol" => is_selected_for_its_protocol;
    "kserve/runtime/is-selected-for-its-version" => is_selected_for_its_version;
    "kserve/runtime/is-not-selected-when-disabled" => is_not_selected_when_disabled;
    "kserve/runtime/reports-unsupported-protocol" => reports_unsupported_protocol;
    "kserve/runtime/brings-its-pod-settings" => brings_its_pod_settings;
    "kserve/runtime/is-recorded" => is_recorded;
}

async fn refuses_two_priorities(cx: &Cx) -> Outcome {
    // Admission compares priorities only where the namespace has a runtime already.
    create_runtime(cx, "first", &json!({})).await?;
    let of = |one: u8, two: u8| {
        let formats: Vec<Value> = [("1", one), ("2", two)]
            .into_iter()
            .map(|(version, priority)| json!({"name": cx.name("other"), "version": version, "autoSelect": true, "priority": priority}))
            .collect();
        json!({"spec": {"supportedModelFormats": formats}})
    };
    cx.dry_run(&SERVING_RUNTIME, &runtime(cx, "twin", &of(1, 1))?)
        .await?;
    let bad = runtime(cx, "twin", &of(1, 2))?;
    let until = cx.after("reconcile");
    while cx.try_dry_run(&SERVING_RUNTIME, &bad).await?.is_success() && cx.now_ms() < until {
        cx.pause(Duration::from_millis(250)).await;
    }
    cx.refuses_only(&SERVING_RUNTIME, &bad, "with two priorities for one format")
        .await
}

/// Fails unless the container of a service is that of a runtime, which its variable TAG names.
async fn runs(cx: &Cx, service: &str, runtime: &str) -> Outcome {
    let container = container_of(cx, service).await?;
    ensure_eq!(
        env(&container, "TAG"),
        runtime,
        "variable TAG, which names the runtime, in the container of InferenceService `{service}`"
    );
    Ok(())
}

async fn precedes_cluster_runtimes(cx: &Cx) -> Outcome {
    let of_cluster = cx.list_in(&CLUSTER_SERVING_RUNTIME, "", "").await?;
    let may = |spec: &Value| {
        let protocols = spec["protocolVersions"].as_array();
        spec["disabled"] != true
            && spec["multiModel"] != true
            && spec["workerSpec"].is_null()
            && protocols.is_none_or(|p| p.iter().any(|p| p == "v1"))
    };
    let format = of_cluster
        .iter()
        .map(|runtime| &runtime["spec"])
        .filter(|spec| may(spec))
        .filter_map(|spec| spec["supportedModelFormats"].as_array())
        .flatten()
        .find(|format| format["autoSelect"] == true);
    let Some(format) = format else {
        return Err(Stop::NotApplicable(
            NotApplicable::FeatureAbsent,
            "no ClusterServingRuntime may be selected automatically for protocol v1".to_owned(),
        ));
    };
    // The runtime of the namespace has no priority, and is the last in everything else.
    let own =
        json!({"spec": {"supportedModelFormats": [{"name": format["name"], "autoSelect": true}]}});
    let wanted = create_runtime(cx, "z-own", &own).await?;
    let change = in_model(&json!({"modelFormat": {"name": format["name"]}}));
    let service = create_model(cx, &change).await?;
    runs(cx, &service, &wanted).await
}

async fn is_selected_for_its_protocol(cx: &Cx) -> Outcome {
    let of = |protocol: &str, priority: u8| {
        merged(
            &formats(cx, &json!({"autoSelect": true, "priority": priority})),
            &json!({"spec": {"protocolVersions": [protocol]}}),
        )
    };
    create_runtime(cx, "a-first", &of("v1", 2)).await?;
    let wanted = create_runtime(cx, "b-second", &of("v2", 1)).await?;
    let service = create_model(cx, &in_model(&json!({"protocolVersion": "v2"}))).await?;
    runs(cx, &service, &wanted).await
}

async fn is_selected_for_its_version(cx: &Cx) -> Outcome {
    let of = |version: &str, priority: u8| {
        formats(
            cx,
            &json!({"version": version, "autoSelect": true, "priority": priority}),
        )
    };
    create_runtime(cx, "a-first", &of("1", 2)).await?;
    let wanted = create_runtime(cx, "b-second", &of("2", 1)).await?;
    let model = json!({"modelFormat": {"name": format(cx), "version": "2"}});
    let service = create_model(cx, &in_model(&model)).await?;
    runs(cx, &service, &wanted).await
}

async fn is_not_selected_when_disabled(cx: &Cx) -> Outcome {
    let of = |priority: u8| formats(cx, &json!({"autoSelect": true, "priority": priority}));
    let disabled = merged(&of(2), &json!({"spec": {"disabled": true}}));
    create_runtime(cx, "a-first", &disabled).await?;
    let wanted = create_runtime(cx, "b-second", &of(1)).await?;
    let service = create_model(cx, &json!({})).await?;
    runs(cx, &service, &wanted).await
}

async fn reports_unsupported_protocol(cx: &Cx) -> Outcome {
    let only_v1 = json!({"spec": {"protocolVersions": ["v1"]}});
    let runtime = create_runtime(cx, "runtime", &only_v1).await?;
    let change = in_model(&json!({"runtime": runtime, "protocolVersion": "v2"}));
    let service = create_model(cx, &change).await?;
    until_invalid(cx, &service, "NoSupportingRuntime").await?;
    Ok(())
}

async fn brings_its_pod_settings(cx: &Cx) -> Outcome {
    let selector = json!({"kubernetes.io/os": "linux"});
    let toleration = json!({"key": "conformance.kubeflow.org/none", "operator": "Exists", "effect": "NoSchedule"});
    let change = json!({"spec": {
        "nodeSelector": selector,
        "tolerations": [toleration],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
    }});
    let runtime = create_runtime(cx, "runtime", &change).await?;
    let service = create_model(cx, &in_model(&json!({"runtime": runtime}))).await?;
    container_of(cx, &service).await?;
    let deployment = cx.need(&DEPLOYMENT, &predictor_name(&service)).await?;
    let pod = &deployment["spec"]["template"]["spec"];
    ensure_eq!(
        pod["nodeSelector"],
        selector,
        "the node selector of pods of a runtime that has one"
    );
    let has = |list: &str, wanted: &dyn Fn(&Value) -> bool| {
        pod[list].as_array().is_some_and(|l| l.iter().any(wanted))
    };
    ensure!(
        has("tolerations", &|t| t["key"] == toleration["key"]),
        "pods of a runtime with a toleration have not got it: {}",
        pod["tolerations"]
    );
    ensure!(
        has("volumes", &|v| v["name"] == "scratch"),
        "pods of a runtime with a volume have not got it: {}",
        pod["volumes"]
    );
    Ok(())
}

async fn is_recorded(cx: &Cx) -> Outcome {
    let runtime = create_runtime(cx, "runtime", &json!({})).await?;
    let service = create_model(cx, &json!({})).await?;
    container_of(cx, &service).await?;
    let seen = cx
        .until(
            &INFERENCE_SERVICE,
            &service,
            "reconcile",
            "record the runtime that was selected for it",
            |service| !text(&service["status"]["servingRuntimeName"]).is_empty(),
        )
        .await?;
    ensure_eq!(
        seen["status"]["servingRuntimeName"],
        runtime.as_str(),
        "status.servingRuntimeName of InferenceService `{service}`"
    );
    Ok(())
}
