//! Deletion: at once, graceful, held by finalizers, and what the garbage collector makes of it.

use std::sync::Arc;

use jiff::ToSpan;
use serde_json::{Value, json};

use super::admission::{AdmissionRequest, Operation};
use super::registry::resources::{CRDS, NAMESPACES, PODS};
use super::status::ApiError;
use super::store::{Expect, Refused, version_of};
use super::verbs::{Target, WriteOptions, in_version, is_finished};
use super::world::World;

/// What happens to the dependents of a deleted object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted after it.
    #[default]
    Background,
    /// They are deleted before it.
    Foreground,
    /// They stay.
    Orphan,
}

/// How an object is deleted.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// What happens to the dependents.
    pub propagation: Propagation,
    /// How long a pod may take to end, in seconds; none means as its spec says.
    pub grace: Option<u64>,
    /// The uid that the object must have.
    pub uid: Option<String>,
    /// The resource version that the object must have.
    pub resource_version: Option<String>,
}

/// The finalizers by which the garbage collector is asked for something.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
pub(super) const ORPHAN: &str = "orphan";

/// The outcome of a deletion.
pub(super) struct Deleted {
    /// The object as it is now, or last was.
    pub(super) object: Arc<Value>,
    /// Whether it is gone, and not only going.
    pub(super) gone: bool,
}

impl DeleteOptions {
    /// Reads `DeleteOptions` from a request's body and query.
    pub(super) fn read(
        body: &Value,
        query: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ApiError> {
        let text = |key: &str| body[key].as_str().map(str::to_owned).or_else(|| query(key));
        let propagation = match text("propagationPolicy").as_deref() {
            Some("Foreground") => Propagation::Foreground,
            Some("Orphan") => Propagation::Orphan,
            None if body["orphanDependents"] == true => Propagation::Orphan,
            None | Some("Background" | "") => Propagation::Background,
            Some(other) => {
                return Err(ApiError::new(
                    422,
                    "Invalid",
                    format!(
                        "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: {other:?}: \
                         supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
                    ),
                ));
            }
        };
        let grace = body["gracePeriodSeconds"]
            .as_u64()
            .or_else(|| query("gracePeriodSeconds").and_then(|text| text.parse().ok()));
        let precondition = |key: &str| body["preconditions"][key].as_str().map(str::to_owned);
        Ok(Self {
            propagation,
            grace,
            uid: precondition("uid"),
            resource_version: precondition("resourceVersion"),
        })
    }
}

impl World {
    /// Deletes an object, or begins to.
    pub(super) async fn write_end(
        &self,
        target: &Target,
        delete: &DeleteOptions,
        options: &WriteOptions,
    ) -> Result<Deleted, ApiError> {
        let kind = &target.kind;
        let name = &target.key.name;
        let missing = || ApiError::not_found(&kind.resource, name);
        loop {
            let current = self
                .store()
                .read(&kind.resource, &target.key)
                .ok_or_else(missing)?;
            for (wanted, key) in [
                (&delete.uid, "uid"),
                (&delete.resource_version, "resourceVersion"),
            ] {
                if let Some(wanted) = wanted
                    && current["metadata"][key] != wanted.as_str()
                {
                    let word = if key == "uid" {
                        "UID"
                    } else {
                        "ResourceVersion"
                    };
                    let cause = format!(
                        "Precondition failed: {word} in precondition: {wanted}, {word} in object meta: {}",
                        current["metadata"][key].as_str().unwrap_or_default()
                    );
                    return Err(ApiError::conflict_because(&kind.resource, name, &cause));
                }
            }
            if options.admission {
                let request = AdmissionRequest {
                    operation: Operation::Delete,
                    resource: kind.resource.clone(),
                    subresource: String::new(),
                    object: Value::Null,
                    old_object: Some(in_version(kind, &target.version, &current)),
                    namespace: target.key.namespace.clone(),
                    name: name.clone(),
                    dry_run: options.dry_run,
                    user: options.user.clone(),
                };
                self.hooks().validate(&request).await?;
            }
            let going = self.mark(target, &current, delete);
            let gone = is_finished(&going);
            if options.dry_run {
                let object = in_version(kind, &target.version, &Arc::new(going));
                return Ok(Deleted { object, gone });
            }
            let expect = Expect::Version(version_of(&current));
            let result = if gone {
                self.store().remove(&kind.resource, &target.key, expect)
            } else if going == *current {
                Ok(current)
            } else {
                self.store().put(&kind.resource, &target.key, expect, going)
            };
            match result {
                Ok(object) => {
                    if gone && kind.resource == CRDS {
                        self.undefine(&object).await;
                    }
                    let object = in_version(kind, &target.version, &object);
                    return Ok(Deleted { object, gone });
                }
                Err(Refused::Missing) => return Err(missing()),
                Err(_) => {}
            }
        }
    }

    /// The object as its deletion leaves it: finished, or waiting for finalizers or for its containers.
    fn mark(&self, target: &Target, current: &Value, delete: &DeleteOptions) -> Value {
        let mut object = current.clone();
        let metadata = &mut object["metadata"];
        let mut finalizers: Vec<Value> = metadata["finalizers"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        finalizers.retain(|f| f != FOREGROUND && f != ORPHAN);
        match delete.propagation {
            Propagation::Background => {}
            Propagation::Foreground => finalizers.push(json!(FOREGROUND)),
            Propagation::Orphan => finalizers.push(json!(ORPHAN)),
        }
        let already = !metadata["deletionTimestamp"].is_null();
        if finalizers.is_empty() {
            metadata
                .as_object_mut()
                .map(|map| map.shift_remove("finalizers"));
        } else {
            metadata["finalizers"] = json!(finalizers);
        }
        let mut grace = 0;
        if target.kind.resource == PODS {
            let phase = &current["status"]["phase"];
            let runs =
                !current["spec"]["nodeName"].is_null() && phase != "Succeeded" && phase != "Failed";
            let spec = current["spec"]["terminationGracePeriodSeconds"]
                .as_u64()
                .unwrap_or(30);
            grace = if runs {
                delete.grace.unwrap_or(spec)
            } else {
                0
            };
            if already {
                let left = metadata["deletionGracePeriodSeconds"].as_u64().unwrap_or(0);
                grace = grace.min(left);
            }
        }
        if !already {
            let until = self
                .clock()
                .now()
                .checked_add(i64::try_from(grace).unwrap_or(0).seconds())
                .unwrap_or_else(|_| self.clock().now());
            metadata["deletionTimestamp"] = json!(super::stamp(until));
            if let Some(generation) = metadata["generation"].as_u64() {
                metadata["generation"] = json!(generation + 1);
            }
        }
        metadata["deletionGracePeriodSeconds"] = json!(grace);
        if target.kind.resource == NAMESPACES {
            object["status"]["phase"] = json!("Terminating");
        }
        object
    }

    /// Removes the type of a deleted CRD and its objects.
    async fn undefine(&self, crd: &Value) {
        let Ok(kind) = super::registry::resource_type(crd) else {
            return;
        };
        let kind = Arc::new(kind);
        for object in self.store().list(&kind.resource, None).1 {
            let target = Target::whole(&kind, super::store::Key::of(&object));
            let options = WriteOptions {
                admission: false,
                ..WriteOptions::default()
            };
            // Deletion of one object may fail because it went by itself: that is fine.
            drop(Box::pin(self.write_end(&target, &DeleteOptions::default(), &options)).await);
        }
        self.registry().remove(&kind.resource);
    }
}
