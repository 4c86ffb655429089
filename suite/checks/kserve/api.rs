//! Which kinds KServe serves, and that they have a schema.

use super::{super::prelude::*, merged, predictor};

requirement_checks! {
    "kserve/api/serves-inferenceservices" => serves_inferenceservices;
    "kserve/api/serves-runtimes-and-graphs" => serves_runtimes_and_graphs;
    "kserve/api/refuses-wrong-types" => refuses_wrong_types;
}

async fn serves_inferenceservices(cx: &Cx) -> Outcome {
    let list = resources(cx, "v1beta1").await?;
    serves(&list, &INFERENCE_SERVICE)?;
    ensure!(
        list.iter().any(|r| r["name"] == "inferenceservices/status"),
        "serving.kserve.io/v1beta1 does not serve the status of inferenceservices as a subresource"
    );
    Ok(())
}

async fn serves_runtimes_and_graphs(cx: &Cx) -> Outcome {
    let list = resources(cx, "v1alpha1").await?;
    for kind in [
        &SERVING_RUNTIME,
        &CLUSTER_SERVING_RUNTIME,
        &INFERENCE_GRAPH,
        &TRAINED_MODEL,
    ] {
        serves(&list, kind)?;
    }
    Ok(())
}

async fn refuses_wrong_types(cx: &Cx) -> Outcome {
    let good = predictor(cx, "types")?;
    let bad = merged(
        &good,
        &json!({"spec": {"predictor": {"minReplicas": "one"}}}),
    );
    cx.refuses(
        &INFERENCE_SERVICE,
        &good,
        &bad,
        "whose minReplicas is a word",
    )
    .await
}

/// What a version of KServe's API group serves.
async fn resources(cx: &Cx, version: &str) -> Outcome<Vec<Value>> {
    let path = format!("/apis/serving.kserve.io/{version}");
    let request = Request::new(crate::cluster::Endpoint::Kubernetes, "GET", path.as_str());
    let answer = cx.kube(request).await?;
    ensure!(
        answer.is_success(),
        "GET {path} was answered with {}",
        answer.summary()
    );
    Ok(answer.json()["resources"]
        .as_array()
        .cloned()
        .unwrap_or_default())
}

fn serves(list: &[Value], kind: &Kind) -> Outcome {
    let Some(found) = list.iter().find(|r| r["name"] == kind.plural) else {
        return Err(Stop::unlike(
            format!("{} does not serve {}", kind.api_version(), kind.plural),
            kind.plural,
            "absent",
        ));
    };
    ensure_eq!(found["kind"], kind.kind, "the kind of {}", kind.plural);
    ensure_eq!(
        found["namespaced"],
        kind.namespaced,
        "whether {} are namespaced",
        kind.plural
    );
    for verb in [
        "create", "delete", "get", "list", "patch", "update", "watch",
    ] {
        ensure!(
            found["verbs"]
                .as_array()
                .is_some_and(|v| v.iter().any(|v| v == verb)),
            "{} of {} cannot be asked to {verb}",
            kind.plural,
            kind.api_version()
        );
    }
    Ok(())
}
