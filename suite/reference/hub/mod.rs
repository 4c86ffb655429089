//! The Hub: the REST API of Model Registry 0.3.7 for models, versions, artifacts and what serves them, over a store in
//! memory. Experiments and their runs are left out.

mod answer;
mod faults;
mod store;

use std::{
    io,
    sync::{Arc, Mutex},
};

use futures::{FutureExt, future::BoxFuture};
use serde_json::json;

pub(super) use faults::FAULTS;

use super::{
    kube::World,
    web::{Call, Place, stand_in},
};
use answer::Registry;

/// Where the registry lives.
const NAMESPACE: &str = "kubeflow";
/// Its image, whose tag tells the version.
const IMAGE: &str = "ghcr.io/kubeflow/model-registry/server:v0.3.7";

/// Puts the registry into a world.
pub(super) fn install(world: &World) -> BoxFuture<'_, io::Result<()>> {
    async move {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        world.apply(namespace).await.map_err(io::Error::other)?;
        let labels = json!({"component": "model-registry-server"});
        let container = json!({"name": "rest-container", "image": IMAGE});
        let deployment =
            super::deployment(NAMESPACE, "model-registry-deployment", &labels, &container);
        world.apply(deployment).await.map_err(io::Error::other)?;
        let registry = Arc::new(Registry {
            world: world.clone(),
            store: Mutex::default(),
        });
        let place = Place {
            namespace: NAMESPACE,
            service: "model-registry-service",
            pod: "model-registry-deployment-6b8f7d9c5-x2v4m",
            labels,
            port: (8080, "http-api"),
            target: 8080,
        };
        let handler = Arc::new(move |call: Call| {
            let registry = registry.clone();
            async move { registry.answer(&call) }.boxed()
        });
        stand_in(world, place, handler).await
    }
    .boxed()
}
