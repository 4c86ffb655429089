//! An embedded Kubernetes API server with the controllers and the kubelet that Kubeflow's components rely on.
//!
//! It runs in this process, speaks HTTP/1.1 on the loopback interface, and is honest enough for kube clients and
//! `kubectl`. It knows nothing of Kubeflow: components register their types, admission hooks and controllers with a
//! [`World`]. A toy component, whole:
//!
//! ```
//! use kfconform::reference::kube::{Crd, Denied, Key, Next, Operation, Resource, Watch, World, WorldOptions, owner};
//! use kfconform::reference::kube::resources::CONFIG_MAPS;
//! use serde_json::json;
//!
//! const TOYS: Resource = Resource::new("example.org", "toys");
//!
//! fn install(world: &World) {
//!     world.install(&Crd::open("example.org", &["v1"], "Toy", "toys", true).expect("is a fixed text"));
//!     world.mutating(&TOYS, &[Operation::Create, Operation::Update], |mut request| async move {
//!         if request.object["spec"]["colour"].is_null() {
//!             request.object["spec"]["colour"] = json!("red");
//!         }
//!         Ok(request.object)
//!     });
//!     let lenient = world.has_fault("toys/admission/refuses-green"); // Read faults from the world, never globally.
//!     world.validating(&TOYS, &[Operation::Create, Operation::Update], move |request| async move {
//!         if request.object["spec"]["colour"] == "green" && !lenient {
//!             return Err(Denied::by("toys.example.org", 403, Some("Forbidden"), "green is sold out"));
//!         }
//!         Ok(())
//!     });
//!     let watches = vec![Watch::on(&TOYS), Watch::owned(&CONFIG_MAPS, "Toy")];
//!     // The world comes as an argument: a captured clone would do too, but must not outlive its owner's shutdown.
//!     world.controller("toys", watches, |world: World, key: Key| async move {
//!         let Some(toy) = world.find(&TOYS, &key.namespace, &key.name) else {
//!             return Ok(Next::Wait);
//!         };
//!         world.apply(json!({
//!             "apiVersion": "v1", "kind": "ConfigMap",
//!             "metadata": {"namespace": key.namespace, "name": key.name, "ownerReferences": [owner(&toy)]},
//!             "data": {"colour": toy["spec"]["colour"]},
//!         })).await?;
//!         world.patch_status(&TOYS, &key.namespace, &key.name, json!({"status": {"phase": "Painted"}})).await?;
//!         Ok(Next::Wait)
//!     });
//! }
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let world = World::start(WorldOptions::default()).await.unwrap();
//! install(&world);
//! world.create(json!({"apiVersion": "example.org/v1", "kind": "Toy",
//!     "metadata": {"namespace": "default", "name": "ball"}, "spec": {}})).await.unwrap();
//! # while world.find(&CONFIG_MAPS, "default", "ball").is_none() { tokio::task::yield_now().await; }
//! # });
//! ```
//!
//! A world has its own [`Clock`](crate::clock::Clock): components take the time from `world.clock()` and wait by
//! `world.clock().sleep(…)` or [`Next::After`], so that minutes can pass in a second. Long-lived tasks of a component
//! are started by [`World::spawn`], which ends them with the world.

mod admission;
mod auth;
mod bootstrap;
mod builtin;
mod chaos;
mod client;
mod controller;
mod delete;
mod discovery;
mod gc;
mod http;
mod ids;
mod jobs;
mod kubelet;
mod lists;
mod logs;
mod mounts;
mod names;
mod namespaces;
mod patch;
mod podrun;
mod pods;
mod portforward;
mod probe;
mod proxy;
mod registry;
mod reviews;
mod routes;
mod runtime;
mod scale;
mod schema;
mod selectors;
mod services;
mod status;
mod store;
mod table;
mod verbs;
mod watch;
mod workloads;
mod world;

#[cfg(test)]
mod tests;

pub use admission::{AdmissionRequest, Denied, Operation};
pub use auth::{Action, User};
pub use chaos::{Chaos, Trouble};
pub use client::{condition, is_owned_by, owner, reference, set_condition};
pub use controller::{Next, Watch};
pub use delete::{DeleteOptions, Propagation};
pub use patch::merge;
pub use registry::{Crd, CrdError, Resource, resources, split_api_version};
pub use runtime::{
    ContainerStart, ImageError, LogSink, PodNetwork, Program, Running, Runtime, Stop,
};
pub use selectors::{FieldSelector, LabelSelector};
pub use status::{ApiError, FieldError};
pub use store::{Change, Event, Key};
pub use verbs::{UnknownFields, WriteOptions};
pub use world::{Faults, World, WorldOptions};

use base64::Engine;
use jiff::Timestamp;

/// A time as Kubernetes writes it: RFC 3339 in UTC, whole seconds.
pub fn stamp(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Base64 as in Secrets.
fn encode(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn encode_url(bytes: &[u8]) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

fn decode_url(text: &str) -> Option<Vec<u8>> {
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .ok()
}
