//! What serves which model.

use super::{super::prelude::*, create, hub, id, model, version};

requirement_checks! {
    "hub/serving/links-a-service-to-its-model" => links_a_service_to_its_model;
}

async fn links_a_service_to_its_model(cx: &Cx) -> Outcome {
    let hub = hub(cx);
    let model = model(cx, &hub, "model").await?;
    let served = version(&hub, &model, "v1").await?;
    version(&hub, &model, "v2").await?;
    let place = json!({"name": cx.name("place")});
    let place = create(&hub, "/serving_environments", &place).await?;
    let service = json!({
        "name": cx.name("service"), "servingEnvironmentId": place["id"],
        "registeredModelId": model["id"], "modelVersionId": served["id"],
    });
    let service = create(&hub, "/inference_services", &service).await?;
    let path = format!("/inference_services/{}", id(&service));
    let found = hub.read(&format!("{path}/model")).await?;
    ensure_eq!(found["id"], model["id"], "the model of the service");
    let found = hub.read(&format!("{path}/version")).await?;
    ensure_eq!(found["id"], served["id"], "the version of the service");
    let path = format!("/serving_environments/{}/inference_services", id(&place));
    let list = hub.read(&path).await?;
    ensure_eq!(
        super::ids(&list),
        vec![id(&service)],
        "the services of the environment"
    );
    Ok(())
}
