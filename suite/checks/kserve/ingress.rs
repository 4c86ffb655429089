//! How a service is reached from outside, in the mode without Knative: by an Ingress, or by a route of the Gateway API.

use super::{
    super::prelude::*, inferenceservice::READY, merged, predictor, predictor_name, reach::parts,
    ready, text,
};

requirement_checks! {
    "kserve/ingress/leads-the-host-to-the-service" => leads_the_host_to_the_service, needs [&READY];
    "kserve/ingress/keeps-local-services-inside" => keeps_local_services_inside, needs [&READY];
}

/// What leads from outside to a service: hosts, and the names of the Services behind them.
struct Way {
    hosts: Vec<String>,
    services: Vec<String>,
}

fn texts<'a>(list: impl Iterator<Item = &'a Value>) -> Vec<String> {
    list.filter_map(Value::as_str)
        .map(ToOwned::to_owned)
        .collect()
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

/// The way to a service, by its Ingress or its route.
async fn way(cx: &Cx, service: &str) -> Outcome<Option<Way>> {
    if cx.facts().has("kserve-gateway") {
        let Some(route) = cx.get(&HTTP_ROUTE, service).await? else {
            return Ok(None);
        };
        let spec = &route["spec"];
        let backends = items(spec, "rules").flat_map(|rule| items(rule, "backendRefs"));
        return Ok(Some(Way {
            hosts: texts(items(spec, "hostnames")),
            services: texts(backends.map(|backend| &backend["name"])),
        }));
    }
    let Some(ingress) = cx.get(&INGRESS, service).await? else {
        return Ok(None);
    };
    let rules = || items(&ingress["spec"], "rules");
    let paths = rules().flat_map(|rule| items(&rule["http"], "paths"));
    Ok(Some(Way {
        hosts: texts(rules().map(|rule| &rule["host"])),
        services: texts(paths.map(|path| &path["backend"]["service"]["name"])),
    }))
}

async fn leads_the_host_to_the_service(cx: &Cx) -> Outcome {
    let service: Value = cx.setup(&READY)?;
    let name = text(&service["metadata"]["name"]);
    let way = outside(cx, name).await?;
    let url = text(&service["status"]["url"]);
    let Some((host, _)) = parts(url) else {
        return Err(Stop::failed(format!(
            "status.url of InferenceService `{name}` is no URL"
        )));
    };
    ensure!(
        way.hosts.iter().any(|seen| seen == host),
        "the way from outside to InferenceService `{name}` is for {}, not for {host} of its status.url",
        way.hosts.join(", ")
    );
    ensure!(
        way.services.contains(&predictor_name(name)),
        "the way from outside to InferenceService `{name}` leads to {}",
        way.services.join(", ")
    );
    Ok(())
}

/// The way to a ready service; where there is none, the distribution makes none at all.
async fn outside(cx: &Cx, name: &str) -> Outcome<Way> {
    way(cx, name).await?.ok_or_else(|| {
        Stop::failed(format!(
            "InferenceService `{name}` is ready, and there is neither an Ingress nor a route of its name"
        ))
    })
}

async fn keeps_local_services_inside(cx: &Cx) -> Outcome {
    let twin: Value = cx.setup(&READY)?;
    outside(cx, text(&twin["metadata"]["name"])).await?;
    let local =
        json!({"metadata": {"labels": {"networking.kserve.io/visibility": "cluster-local"}}});
    let service = ready(cx, &merged(&predictor(cx, "local")?, &local)).await?;
    let seen = cx.need(&INFERENCE_SERVICE, &service).await?;
    ensure!(
        way(cx, &service).await?.is_none(),
        "InferenceService `{service}` is for the cluster alone, and there is a way to it from outside"
    );
    let address = text(&seen["status"]["address"]["url"]);
    ensure!(
        parts(address).is_some(),
        "InferenceService `{service}` reports the address {address}, which is no URL"
    );
    Ok(())
}
