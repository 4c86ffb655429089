//! Artifacts of versions: where a model is.

use super::{super::prelude::*, change, create, hub, id, ids, model, version};

requirement_checks! {
    "hub/artifact/belongs-to-its-version" => belongs_to_its_version;
    "hub/artifact/is-changed" => is_changed;
}

/// A model artifact of a version.
async fn artifact(hub: &Http<'_>, version: &Value, name: &str) -> Outcome<Value> {
    let body = json!({
        "artifactType": "model-artifact", "name": name, "uri": format!("s3://models/{name}"),
        "modelFormatName": "onnx", "modelFormatVersion": "1",
    });
    let path = format!("/model_versions/{}/artifacts", id(version));
    create(hub, &path, &body).await
}

async fn belongs_to_its_version(cx: &Cx) -> Outcome {
    let hub = hub(cx);
    let model = model(cx, &hub, "model").await?;
    let (one, other) = (
        version(&hub, &model, "v1").await?,
        version(&hub, &model, "v2").await?,
    );
    let first = artifact(&hub, &one, "first").await?;
    let second = artifact(&hub, &other, "second").await?;
    for (version, made) in [(&one, &first), (&other, &second)] {
        let path = format!("/model_versions/{}/artifacts", id(version));
        let list = hub.read(&path).await?;
        ensure_eq!(
            ids(&list),
            vec![id(made)],
            "the artifacts of version {}",
            id(version)
        );
        let read = hub.read(&format!("/model_artifacts/{}", id(made))).await?;
        for key in ["name", "uri", "modelFormatName", "modelFormatVersion"] {
            ensure_eq!(read[key], made[key], "the {key} of the artifact");
        }
        ensure_eq!(
            read["artifactType"],
            "model-artifact",
            "the type of the artifact"
        );
    }
    ensure_eq!(first["uri"], "s3://models/first", "the uri of the artifact");
    Ok(())
}

async fn is_changed(cx: &Cx) -> Outcome {
    let hub = hub(cx);
    let model = model(cx, &hub, "model").await?;
    let version = version(&hub, &model, "v1").await?;
    let made = artifact(&hub, &version, "moved").await?;
    let path = format!("/model_artifacts/{}", id(&made));
    let body =
        json!({"artifactType": "model-artifact", "uri": "s3://elsewhere/moved", "state": "LIVE"});
    change(&hub, &path, &body).await?;
    let read = hub.read(&path).await?;
    for key in ["uri", "state"] {
        ensure_eq!(read[key], body[key], "the {key} of the changed artifact");
    }
    for key in ["id", "name", "modelFormatName"] {
        ensure_eq!(
            read[key],
            made[key],
            "the {key} of an artifact of which other fields were changed"
        );
    }
    Ok(())
}
