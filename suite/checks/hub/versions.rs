//! Versions of models.

use super::{super::prelude::*, change, hub, id, ids, model, refused_with, version};

requirement_checks! {
    "hub/version/belongs-to-its-model" => belongs_to_its_model;
    "hub/version/refuses-a-second-of-its-name" => refuses_a_second_of_its_name;
    "hub/version/is-found-by-name" => is_found_by_name;
    "hub/version/is-changed" => is_changed;
}

async fn belongs_to_its_model(cx: &Cx) -> Outcome {
    let hub = hub(cx);
    let (one, other) = (
        model(cx, &hub, "one").await?,
        model(cx, &hub, "other").await?,
    );
    let first = version(&hub, &one, "v1").await?;
    let second = version(&hub, &other, "v1").await?;
    for (model, version) in [(&one, &first), (&other, &second)] {
        ensure_eq!(
            version["registeredModelId"],
            model["id"],
            "the registeredModelId of the version"
        );
        let list = hub
            .read(&format!("/registered_models/{}/versions", id(model)))
            .await?;
        ensure_eq!(
            ids(&list),
            vec![id(version)],
            "the versions of model {}",
            id(model)
        );
        let read = hub
            .read(&format!("/model_versions/{}", id(version)))
            .await?;
        ensure_eq!(read["name"], "v1", "the name of the version");
        ensure_eq!(read["state"], "LIVE", "the state of the version");
    }
    Ok(())
}

async fn refuses_a_second_of_its_name(cx: &Cx) -> Outcome {
    let hub = hub(cx);
    let model = model(cx, &hub, "twice").await?;
    version(&hub, &model, "v1").await?;
    version(&hub, &model, "v2").await?;
    let body = json!({"name": "v1", "registeredModelId": model["id"]});
    let answer = hub.post("/model_versions", &body).await?;
    refused_with(&answer, &[409], "a second version of one name of a model")
}

async fn is_found_by_name(cx: &Cx) -> Outcome {
    let hub = hub(cx);
    let (one, other) = (
        model(cx, &hub, "one").await?,
        model(cx, &hub, "other").await?,
    );
    let made = version(&hub, &one, "v1").await?;
    version(&hub, &other, "v1").await?;
    let by = query(&[("name", "v1"), ("parentResourceId", id(&one))]);
    let found = hub.read(&format!("/model_version{by}")).await?;
    ensure_eq!(
        found["id"],
        made["id"],
        "the id of the version found by {by}"
    );
    let by = query(&[("name", "v2"), ("parentResourceId", id(&one))]);
    let answer = hub.get(&format!("/model_version{by}")).await?;
    refused_with(
        &answer,
        &[404],
        "the search for a version that a model has not",
    )
}

async fn is_changed(cx: &Cx) -> Outcome {
    let hub = hub(cx);
    let model = model(cx, &hub, "model").await?;
    let made = version(&hub, &model, "v1").await?;
    let path = format!("/model_versions/{}", id(&made));
    let body = json!({"author": "somebody", "state": "ARCHIVED"});
    change(&hub, &path, &body).await?;
    let read = hub.read(&path).await?;
    for key in ["author", "state"] {
        ensure_eq!(read[key], body[key], "the {key} of the changed version");
    }
    for key in ["id", "name", "registeredModelId"] {
        ensure_eq!(
            read[key],
            made[key],
            "the {key} of a version of which other fields were changed"
        );
    }
    Ok(())
}
