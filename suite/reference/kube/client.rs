//! The verbs of a world for components in the same process: no HTTP, no authorization, full admission.

use std::sync::Arc;

use serde_json::{Value, json};

use super::delete::DeleteOptions;
use super::patch;
use super::registry::resources::EVENTS;
use super::registry::{Resource, ResourceType};
use super::selectors::LabelSelector;
use super::status::ApiError;
use super::store::Key;
use super::verbs::{Part, Target, WriteOptions};
use super::world::World;

impl World {
    /// The resource type of objects that say this `apiVersion` and `kind`, if the server has it.
    pub fn resource_of(&self, api_version: &str, kind: &str) -> Option<Resource> {
        self.registry()
            .by_kind(api_version, kind)
            .map(|t| t.resource.clone())
    }

    /// Whether the server has this resource type.
    pub fn has_resource(&self, resource: &Resource) -> bool {
        self.registry().get(resource).is_some()
    }

    /// One object, in its storage version. `namespace` is empty for cluster-scoped types.
    ///
    /// # Errors
    /// 404 when it does not exist.
    pub fn get(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Value>, ApiError> {
        self.find(resource, namespace, name)
            .ok_or_else(|| ApiError::not_found(resource, name))
    }

    /// One object, if it exists.
    pub fn find(&self, resource: &Resource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.store().read(resource, &Key::new(namespace, name))
    }

    /// All objects of a type, or those of one namespace, in order of namespace and name.
    pub fn list(&self, resource: &Resource, namespace: Option<&str>) -> Vec<Arc<Value>> {
        self.store().list(resource, namespace).1
    }

    /// The objects whose labels a selector matches.
    pub fn select(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        selector: &LabelSelector,
    ) -> Vec<Arc<Value>> {
        let mut objects = self.list(resource, namespace);
        objects.retain(|object| selector.matches(object));
        objects
    }

    /// Creates an object; `apiVersion`, `kind`, `metadata.namespace` and `metadata.name` (or `generateName`) say which.
    pub async fn create(&self, object: Value) -> Result<Arc<Value>, ApiError> {
        self.create_with(object, &WriteOptions::default()).await
    }

    /// As `create`, as another user, as a dry run or without admission.
    pub async fn create_with(
        &self,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Value>, ApiError> {
        let mut target = self.target(&object)?;
        target.key.name.clear();
        Ok(self.write_new(&target, object, options).await?.object)
    }

    /// Replaces an object. 409 if it has another resource version than `object`, unless that has none.
    pub async fn update(&self, object: Value) -> Result<Arc<Value>, ApiError> {
        self.update_with(object, &WriteOptions::default()).await
    }

    /// As `update`, as another user, as a dry run or without admission.
    pub async fn update_with(
        &self,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Arc<Value>, ApiError> {
        let target = self.target(&object)?;
        let change = |_: &Value| Ok(object.clone());
        Ok(self.write_change(&target, options, change).await?.object)
    }

    /// Replaces the `status` of an object. 409 if it has another resource version than `object`, unless that has none.
    pub async fn update_status(&self, object: Value) -> Result<Arc<Value>, ApiError> {
        let target = Target {
            part: Part::Status,
            ..self.target(&object)?
        };
        let change = |_: &Value| Ok(object.clone());
        Ok(self
            .write_change(&target, &WriteOptions::default(), change)
            .await?
            .object)
    }

    /// Sets the whole `status` of an object, whatever its resource version.
    pub async fn set_status(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        status: Value,
    ) -> Result<Arc<Value>, ApiError> {
        let target = Target {
            part: Part::Status,
            ..self.stored(resource, namespace, name)?
        };
        let change = |current: &Value| {
            let mut object = current.clone();
            object["status"] = status.clone();
            Ok(object)
        };
        Ok(self
            .write_change(&target, &WriteOptions::default(), change)
            .await?
            .object)
    }

    /// Changes an object by a JSON merge patch (RFC 7396).
    pub async fn patch_merge(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        merge: Value,
    ) -> Result<Arc<Value>, ApiError> {
        let target = self.stored(resource, namespace, name)?;
        self.merge(&target, &merge).await
    }

    /// Changes the status of an object by a JSON merge patch of the whole object: `{"status": {…}}`.
    pub async fn patch_status(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        merge: Value,
    ) -> Result<Arc<Value>, ApiError> {
        let target = Target {
            part: Part::Status,
            ..self.stored(resource, namespace, name)?
        };
        self.merge(&target, &merge).await
    }

    async fn merge(&self, target: &Target, merge: &Value) -> Result<Arc<Value>, ApiError> {
        let change = |current: &Value| {
            let mut object = current.clone();
            patch::merge(&mut object, merge);
            Ok(object)
        };
        Ok(self
            .write_change(target, &WriteOptions::default(), change)
            .await?
            .object)
    }

    /// Creates the object, or merges it into the one that is there. Nothing is written when nothing differs, so that
    /// controllers can call it at every reconcile.
    pub async fn apply(&self, object: Value) -> Result<Arc<Value>, ApiError> {
        let target = self.target(&object)?;
        if self
            .store()
            .read(&target.kind.resource, &target.key)
            .is_none()
        {
            match self.create(object.clone()).await {
                Err(error) if error.is_already_exists() => {}
                result => return result,
            }
        }
        self.merge(&target, &object).await
    }

    /// Deletes an object and, in the background, its dependents.
    ///
    /// # Errors
    /// 404 when it does not exist.
    pub async fn delete(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<(), ApiError> {
        self.delete_with(resource, namespace, name, &DeleteOptions::default())
            .await
    }

    /// As `delete`, with options.
    pub async fn delete_with(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        delete: &DeleteOptions,
    ) -> Result<(), ApiError> {
        let target = self.stored(resource, namespace, name)?;
        self.write_end(&target, delete, &WriteOptions::default())
            .await?;
        Ok(())
    }

    /// Adds a finalizer; nothing happens when it is there.
    pub async fn add_finalizer(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        finalizer: &str,
    ) -> Result<(), ApiError> {
        self.change_finalizers(resource, namespace, name, |list| {
            if !list.iter().any(|f| f == finalizer) {
                list.push(json!(finalizer));
            }
        })
        .await
    }

    /// Removes a finalizer; if it was the last one of a deleted object, that is gone.
    pub async fn remove_finalizer(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        finalizer: &str,
    ) -> Result<(), ApiError> {
        self.change_finalizers(resource, namespace, name, |list| {
            list.retain(|f| f != finalizer);
        })
        .await
    }

    async fn change_finalizers(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        edit: impl Fn(&mut Vec<Value>),
    ) -> Result<(), ApiError> {
        let target = self.stored(resource, namespace, name)?;
        let edited = |object: &Value| {
            let mut list = object["metadata"]["finalizers"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            edit(&mut list);
            json!(list)
        };
        // A write that changes nothing would still go through admission.
        if let Some(object) = self.find(resource, namespace, name)
            && object["metadata"]["finalizers"] == edited(&object)
        {
            return Ok(());
        }
        let change = |current: &Value| {
            let mut object = current.clone();
            object["metadata"]["finalizers"] = edited(current);
            Ok(object)
        };
        match self
            .write_change(&target, &WriteOptions::default(), change)
            .await
        {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Records an Event about an object: `kind` is `Normal` or `Warning`.
    pub async fn event(
        &self,
        about: &Value,
        kind: &str,
        reason: &str,
        message: &str,
        component: &str,
    ) {
        let metadata = &about["metadata"];
        let name = metadata["name"].as_str().unwrap_or_default();
        let namespace = metadata["namespace"].as_str().unwrap_or("default");
        let now = self.stamp();
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": format!("{name}."), "namespace": namespace},
            "involvedObject": reference(about),
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": component},
            "reportingComponent": component,
            "reportingInstance": "",
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
        });
        // Events are best effort, as everywhere: the namespace may be going.
        if let Ok(target) = self.stored(&EVENTS, namespace, "") {
            drop(
                self.write_new(&target, event, &WriteOptions::default())
                    .await,
            );
        }
    }

    /// What a request about this object in its own version is about.
    fn target(&self, object: &Value) -> Result<Target, ApiError> {
        let text = |key: &str| object[key].as_str().unwrap_or_default();
        let api_version = text("apiVersion");
        let kind = self
            .registry()
            .by_kind(api_version, text("kind"))
            .ok_or_else(ApiError::unknown_resource)?;
        let version = super::registry::split_api_version(api_version).1.to_owned();
        let mut key = Key::of(object);
        if !kind.namespaced {
            key.namespace.clear();
        }
        Ok(Target {
            kind,
            version,
            key,
            part: Part::Whole,
        })
    }

    /// What a request about this object in its storage version is about.
    pub(super) fn stored(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Target, ApiError> {
        let kind: Arc<ResourceType> = self
            .registry()
            .get(resource)
            .ok_or_else(ApiError::unknown_resource)?;
        Ok(Target::whole(&kind, Key::new(namespace, name)))
    }
}

/// An ObjectReference to an object.
pub fn reference(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut reference = json!({"apiVersion": object["apiVersion"], "kind": object["kind"]});
    for key in ["namespace", "name", "uid", "resourceVersion"] {
        if !metadata[key].is_null() {
            reference[key] = metadata[key].clone();
        }
    }
    reference
}

/// The owner reference of a controller on its dependents: `controller` and `blockOwnerDeletion` are true.
pub fn owner(object: &Value) -> Value {
    json!({
        "apiVersion": object["apiVersion"],
        "kind": object["kind"],
        "name": object["metadata"]["name"],
        "uid": object["metadata"]["uid"],
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Whether `owner` is the controller of `object`.
pub fn is_owned_by(object: &Value, owner: &Value) -> bool {
    let references = object["metadata"]["ownerReferences"].as_array();
    references.is_some_and(|list| {
        list.iter()
            .any(|r| r["uid"] == owner["metadata"]["uid"] && r["controller"] == true)
    })
}

/// The condition of a type in `status.conditions`.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"]
        .as_array()?
        .iter()
        .find(|c| c["type"] == kind)
}

/// Sets a condition in a status (`{"conditions": […]}`). `lastTransitionTime` moves only when the status of the
/// condition does.
pub fn set_condition(
    status: &mut Value,
    kind: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: &str,
) {
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else {
        return;
    };
    let mut new = json!({"type": kind, "status": value, "lastTransitionTime": now});
    if !reason.is_empty() {
        new["reason"] = json!(reason);
    }
    if !message.is_empty() {
        new["message"] = json!(message);
    }
    match conditions.iter_mut().find(|c| c["type"] == kind) {
        Some(old) => {
            if old["status"] == value {
                new["lastTransitionTime"] = old["lastTransitionTime"].clone();
            }
            *old = new;
        }
        None => conditions.push(new),
    }
}
