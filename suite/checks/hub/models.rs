//! Registered models.

use super::{super::prelude::*, NO_ID, change, create, hub, id, model, refused_with};

requirement_checks! {
    "hub/model/is-registered" => is_registered;
    "hub/model/needs-a-name" => needs_a_name;
    "hub/model/refuses-a-second-of-its-name" => refuses_a_second_of_its_name;
    "hub/model/is-not-found-by-an-unknown-id" => is_not_found_by_an_unknown_id;
    "hub/model/is-found-by-name" => is_found_by_name;
    "hub/model/is-changed" => is_changed;
    "hub/model/is-archived" => is_archived;
    "hub/model/keeps-custom-properties" => keeps_custom_properties;
}

async fn is_registered(cx: &Cx) -> Outcome {
    let hub = hub(cx);
    let body = json!({
        "name": cx.name("made"), "description": "a model", "owner": "conformance",
        "externalId": cx.name("external"),
    });
    let answer = hub.post("/registered_models", &body).await?;
    hub.accepted(&answer, "POST /registered_models")?;
    ensure_eq!(answer.status, 201, "the status of POST /registered_models");
    let made = answer.json();
    let read = hub
        .read(&format!("/registered_models/{}", id(made)))
        .await?;
    for seen in [made, &read] {
        for key in ["name", "description", "owner", "externalId"] {
            ensure_eq!(seen[key], body[key], "the {key} of the model");
        }
        ensure_eq!(seen["state"], "LIVE", "the state of the model");
        ensure_eq!(seen["id"], made["id"], "the id of the model");
        for key in ["createTimeSinceEpoch", "lastUpdateTimeSinceEpoch"] {
            let time = seen[key].as_str().and_then(|text| text.parse::<u64>().ok());
            ensure!(
                time.is_some_and(|time| time > 0),
                "the {key} of the model is {}, no number in a text",
                seen[key]
            );
        }
    }
    Ok(())
}

async fn needs_a_name(cx: &Cx) -> Outcome {
    let hub = hub(cx);
    model(cx, &hub, "named").await?;
    let answer = hub
        .post("/registered_models", &json!({"description": "a model"}))
        .await?;
    refused_with(
        &answer,
        &[400, 422],
        "the registration of a model without name",
    )
}

async fn refuses_a_second_of_its_name(cx: &Cx) -> Outcome {
    let hub = hub(cx);
    let first = model(cx, &hub, "twice").await?;
    let answer = hub
        .post("/registered_models", &json!({"name": first["name"]}))
        .await?;
    refused_with(
        &answer,
        &[409],
        "the registration of a second model of one name",
    )
}

async fn is_not_found_by_an_unknown_id(cx: &Cx) -> Outcome {
    let hub = hub(cx);
    let path = format!("/registered_models/{NO_ID}");
    let answer = hub.get(&path).await?;
    refused_with(&answer, &[404], &format!("GET {path}"))?;
    let patch = hub
        .request("PATCH", &path)
        .json(json!({"description": "x"}));
    let answer = hub.send(patch).await?;
    refused_with(&answer, &[404], &format!("PATCH {path}"))
}

async fn is_found_by_name(cx: &Cx) -> Outcome {
    let hub = hub(cx);
    let external = cx.name("external");
    let body = json!({"name": cx.name("sought"), "externalId": external});
    let made = create(&hub, "/registered_models", &body).await?;
    model(cx, &hub, "other").await?;
    for by in [
        query(&[("name", made["name"].as_str().unwrap_or_default())]),
        query(&[("externalId", &external)]),
    ] {
        let found = hub.read(&format!("/registered_model{by}")).await?;
        ensure_eq!(found["id"], made["id"], "the id of the model found by {by}");
    }
    let by = query(&[("name", &cx.name("absent"))]);
    let answer = hub.get(&format!("/registered_model{by}")).await?;
    refused_with(
        &answer,
        &[404],
        "the search for a model by a name that none has",
    )
}

async fn is_changed(cx: &Cx) -> Outcome {
    let hub = hub(cx);
    let made = model(cx, &hub, "changed").await?;
    let path = format!("/registered_models/{}", id(&made));
    let changed = change(&hub, &path, &json!({"owner": "somebody"})).await?;
    let read = hub.read(&path).await?;
    for seen in [&changed, &read] {
        ensure_eq!(seen["owner"], "somebody", "the owner of the changed model");
        for key in ["id", "name", "description", "createTimeSinceEpoch"] {
            ensure_eq!(
                seen[key],
                made[key],
                "the {key} of a model of which another field was changed"
            );
        }
    }
    Ok(())
}

async fn is_archived(cx: &Cx) -> Outcome {
    let hub = hub(cx);
    let made = model(cx, &hub, "archived").await?;
    let path = format!("/registered_models/{}", id(&made));
    for state in ["ARCHIVED", "LIVE"] {
        change(&hub, &path, &json!({"state": state})).await?;
        let read = hub.read(&path).await?;
        ensure_eq!(read["state"], state, "the state of the model");
    }
    let patch = hub.request("PATCH", &path).json(json!({"state": "BURIED"}));
    let answer = hub.send(patch).await?;
    refused_with(
        &answer,
        &[400, 422],
        "the change of a model to an unknown state",
    )
}

async fn keeps_custom_properties(cx: &Cx) -> Outcome {
    let hub = hub(cx);
    let properties = json!({
        "word": {"metadataType": "MetadataStringValue", "string_value": "quoted \"text\""},
        "count": {"metadataType": "MetadataIntValue", "int_value": "42"},
        "share": {"metadataType": "MetadataDoubleValue", "double_value": 0.5},
        "flag": {"metadataType": "MetadataBoolValue", "bool_value": true},
    });
    let body = json!({"name": cx.name("custom"), "customProperties": properties});
    let made = create(&hub, "/registered_models", &body).await?;
    let path = format!("/registered_models/{}", id(&made));
    // A change of something else leaves them alone.
    change(&hub, &path, &json!({"description": "changed"})).await?;
    let read = hub.read(&path).await?;
    for seen in [&made, &read] {
        ensure_eq!(
            seen["customProperties"],
            properties,
            "customProperties of the model"
        );
    }
    Ok(())
}
