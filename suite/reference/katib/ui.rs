//! The API behind Katib's pages, as far as it shows and makes Experiments.

use std::{io, sync::Arc};

use futures::FutureExt;
use http::Response;
use serde_json::{Value, json};

use super::{
    super::{
        kube::{Action, User, World},
        web::{Call, Place, USER_HEADER, reply, stand_in},
    },
    EXPERIMENTS, NAMESPACE, text,
};

/// Puts it into a world.
pub(super) async fn install(world: &World) -> io::Result<()> {
    let place = Place {
        namespace: NAMESPACE,
        service: "katib-ui",
        pod: "katib-ui-6d9f7c5b8d-q7zkn",
        labels: json!({"katib.kubeflow.org/component": "ui"}),
        port: (80, "ui"),
        target: 8080,
    };
    let of = world.clone();
    let handler = Arc::new(move |call: Call| {
        let world = of.clone();
        async move {
            match answer(&world, &call).await {
                Ok(body) => reply(200, "text/plain; charset=utf-8", body),
                Err((status, why)) => refusal(status, &why),
            }
        }
        .boxed()
    });
    stand_in(world, place, handler).await
}

fn refusal(status: u16, why: &str) -> Response<String> {
    reply(status, "text/plain; charset=utf-8", format!("{why}\n"))
}

async fn answer(world: &World, call: &Call) -> Result<String, (u16, String)> {
    match call.path.as_str() {
        "/katib/fetch_experiments/" => {
            let namespace = call.asked("namespace");
            if namespace.is_empty() {
                let why = "no 'namespace' query parameter was provided";
                return Err((400, why.to_owned()));
            }
            may(world, call, "list", namespace)?;
            let mut list = world.list(&EXPERIMENTS, Some(namespace));
            if world.has_fault("katib/ui/lists-experiments") {
                list.retain(|experiment| experiment["status"]["completionTime"].is_null());
            }
            let views = list.iter().map(|experiment| {
                let mut view = experiment["status"].clone();
                view["name"] = experiment["metadata"]["name"].clone();
                view["namespace"] = experiment["metadata"]["namespace"].clone();
                view["type"] = json!("hp");
                view
            });
            Ok(views.collect::<Value>().to_string())
        }
        "/katib/create_experiment/" => {
            let body: Value =
                serde_json::from_slice(&call.body).map_err(|e| (500, e.to_string()))?;
            let experiment = body["postData"].clone();
            if experiment.is_null() {
                let why = "Couldn't load the 'postData' field of the request's data";
                return Err((500, why.to_owned()));
            }
            may(world, call, "create", text(&experiment, "namespace"))?;
            if !world.has_fault("katib/ui/creates-experiments") {
                world
                    .create(experiment)
                    .await
                    .map_err(|e| (500, e.message))?;
            }
            Ok(String::new())
        }
        _ => Err((404, "404 page not found".to_owned())),
    }
}

/// Whether whoever asks may, by the rules of the cluster.
fn may(world: &World, call: &Call, verb: &str, namespace: &str) -> Result<(), (u16, String)> {
    let Some(user) = call.header(USER_HEADER).filter(|user| !user.is_empty()) else {
        return Err((401, "user header not present".to_owned()));
    };
    let action = Action {
        verb: verb.to_owned(),
        group: EXPERIMENTS.group().to_owned(),
        resource: EXPERIMENTS.plural().to_owned(),
        namespace: namespace.to_owned(),
        ..Action::default()
    };
    if world.allows(&User::named(user, &[]), &action)
        || world.has_fault("katib/ui/keeps-strangers-out")
    {
        return Ok(());
    }
    Err((
        403,
        format!(
            "User: {user} is not authorized to {verb} kubeflow.org/v1beta1/experiments in namespace: {namespace}"
        ),
    ))
}
