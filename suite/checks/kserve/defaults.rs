//! What admission adds to an InferenceService. All of it is asked by dry runs.

use super::{super::prelude::*, merged, predictor, text};

requirement_checks! {
    "kserve/defaults/moves-framework-to-model" => moves_framework_to_model;
    "kserve/defaults/gives-native-frameworks-protocol-v2" => gives_native_frameworks_protocol_v2;
    "kserve/defaults/names-the-container" => names_the_container;
    "kserve/defaults/fills-resources" => fills_resources;
    "kserve/defaults/keeps-given-resources" => keeps_given_resources;
    "kserve/defaults/names-every-component" => names_every_component;
}

const STORAGE: &str = "s3://conformance/model";

/// The predictor that admission makes of `predictor.FRAMEWORK`.
async fn of_framework(cx: &Cx, framework: &str) -> Outcome<Value> {
    let change = json!({"spec": {"predictor": {
        "containers": null,
        framework: {"storageUri": STORAGE},
    }}});
    let object = merged(&predictor(cx, framework)?, &change);
    let stored = cx.dry_run(&INFERENCE_SERVICE, &object).await?;
    Ok(stored["spec"]["predictor"].clone())
}

/// The first container that admission makes of the base predictor with `change` made to its own.
async fn of_container(cx: &Cx, label: &str, change: &Value) -> Outcome<Value> {
    let mut object = predictor(cx, label)?;
    let container = &mut object["spec"]["predictor"]["containers"][0];
    *container = merged(container, change);
    let stored = cx.dry_run(&INFERENCE_SERVICE, &object).await?;
    Ok(stored["spec"]["predictor"]["containers"][0].clone())
}

async fn moves_framework_to_model(cx: &Cx) -> Outcome {
    for framework in [
        "sklearn",
        "xgboost",
        "tensorflow",
        "pytorch",
        "lightgbm",
        "pmml",
        "paddle",
    ] {
        let stored = of_framework(cx, framework).await?;
        let model = &stored["model"];
        ensure_eq!(
            model["modelFormat"]["name"],
            framework,
            "the model format of predictor.{framework}"
        );
        ensure_eq!(
            model["storageUri"],
            STORAGE,
            "the model's storageUri of predictor.{framework}"
        );
        ensure!(
            stored[framework].is_null(),
            "predictor.{framework} is still there beside predictor.model"
        );
    }
    Ok(())
}

async fn gives_native_frameworks_protocol_v2(cx: &Cx) -> Outcome {
    for framework in ["triton", "onnx", "huggingface"] {
        let stored = of_framework(cx, framework).await?;
        ensure_eq!(
            stored["model"]["protocolVersion"],
            "v2",
            "the protocol of predictor.{framework}"
        );
    }
    let other = of_framework(cx, "sklearn").await?;
    ensure!(
        other["model"]["protocolVersion"] != "v2",
        "predictor.sklearn was given protocol v2, which its own server does not speak"
    );
    Ok(())
}

async fn names_the_container(cx: &Cx) -> Outcome {
    for (label, name) in [("other", json!("model")), ("none", Value::Null)] {
        let container = of_container(cx, label, &json!({"name": name})).await?;
        ensure_eq!(
            container["name"],
            "kserve-container",
            "the name of a sole container that was sent with name {name}"
        );
    }
    Ok(())
}

async fn fills_resources(cx: &Cx) -> Outcome {
    let container = of_container(cx, "none", &json!({"resources": null})).await?;
    for kind in ["requests", "limits"] {
        for resource in ["cpu", "memory"] {
            ensure!(
                !text(&container["resources"][kind][resource]).is_empty(),
                "a container without resources was given no {resource} {kind}"
            );
        }
    }
    Ok(())
}

async fn keeps_given_resources(cx: &Cx) -> Outcome {
    let given = json!({
        "requests": {"cpu": "11m", "memory": "17Mi"},
        "limits": {"cpu": "210m", "memory": "111Mi"},
    });
    let container = of_container(cx, "given", &json!({"resources": given})).await?;
    ensure_eq!(
        container["resources"],
        given,
        "the container's resources after admission"
    );
    Ok(())
}

/// What admission makes of a transformer's and an explainer's only container.
async fn names_every_component(cx: &Cx) -> Outcome {
    for component in ["transformer", "explainer"] {
        let change = json!({"spec": {component: {"containers": [{"name": "own", "image": "x"}]}}});
        let object = merged(&predictor(cx, component)?, &change);
        let stored = cx.dry_run(&INFERENCE_SERVICE, &object).await?;
        let container = &stored["spec"][component]["containers"][0];
        ensure_eq!(
            container["name"],
            "kserve-container",
            "the name of the {component}'s sole container"
        );
        ensure!(
            container["resources"]["limits"]["memory"].is_string(),
            "the {component}'s container was given no memory limit"
        );
    }
    Ok(())
}
