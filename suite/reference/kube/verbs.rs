//! How writes become objects: decoding, admission, validation, storing. HTTP and the in-process verbs share this.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::admission::{AdmissionRequest, Operation};
use super::auth::User;
use super::builtin;
use super::names;
use super::registry::resources::{CRDS, NAMESPACES};
use super::registry::{self, ResourceType};
use super::schema;
use super::status::{ApiError, FieldError};
use super::store::{Expect, Key, Refused, version_of};
use super::world::World;

/// What to do with fields that a schema does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownFields {
    /// Remove them silently.
    Ignore,
    /// Remove them and say so in a `Warning` header.
    Warn,
    /// Refuse the request.
    Refuse,
}

/// How a write is made.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// Who writes, for admission.
    pub user: User,
    /// Whether to do everything but store.
    pub dry_run: bool,
    /// What to do with unknown fields.
    pub unknown_fields: UnknownFields,
    /// Whether admission hooks are asked.
    pub admission: bool,
    /// The field manager.
    pub manager: String,
    /// The uid of what is new, for whoever keeps it elsewhere, too; none for any.
    pub uid: Option<String>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            user: User::system(),
            dry_run: false,
            unknown_fields: UnknownFields::Ignore,
            admission: true,
            manager: "reference".to_owned(),
            uid: None,
        }
    }
}

/// The outcome of a write.
#[derive(Clone, Debug)]
pub struct Written {
    /// The object, in the version of the request.
    pub object: Arc<Value>,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
}

/// Which part of an object a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Status,
    Scale,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::Status => "status",
            Self::Scale => "scale",
        }
    }
}

/// What a request is about.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) kind: Arc<ResourceType>,
    pub(super) version: String,
    pub(super) key: Key,
    pub(super) part: Part,
}

impl Target {
    pub(super) fn whole(kind: &Arc<ResourceType>, key: Key) -> Self {
        Self {
            kind: kind.clone(),
            version: kind.storage.clone(),
            key,
            part: Part::Whole,
        }
    }
}

/// An object in another version of its type. Versions differ in nothing but their name here, as for all Kubeflow CRDs.
pub(super) fn in_version(kind: &ResourceType, version: &str, object: &Arc<Value>) -> Arc<Value> {
    if version == kind.storage {
        return object.clone();
    }
    let mut object = Value::clone(object);
    object["apiVersion"] = json!(kind.api_version(version));
    Arc::new(object)
}

/// How often a write without resource version is tried again when others write the same object.
const TRIES: usize = 200;

impl World {
    /// Creates an object.
    pub(super) async fn write_new(
        &self,
        target: &Target,
        mut object: Value,
        options: &WriteOptions,
    ) -> Result<Written, ApiError> {
        let kind = &target.kind;
        let mut warnings = decode(target, &mut object, options.unknown_fields)?;
        let metadata = metadata_of(&mut object)?;
        // What only the server may set.
        for key in [
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "resourceVersion",
            "selfLink",
            "managedFields",
        ] {
            metadata.shift_remove(key);
        }
        if kind.namespaced {
            metadata.insert("namespace".to_owned(), json!(target.key.namespace));
        } else {
            metadata.shift_remove("namespace");
        }
        if metadata.get("name").is_none_or(|name| name == "")
            && let Some(prefix) = metadata.get("generateName").and_then(Value::as_str)
        {
            let prefix: String = prefix.chars().take(58).collect();
            metadata.insert(
                "name".to_owned(),
                json!(format!("{prefix}{}", self.ids().suffix())),
            );
        }
        let uid = options.uid.clone().unwrap_or_else(|| self.ids().uid());
        metadata.insert("uid".to_owned(), json!(uid));
        metadata.insert("creationTimestamp".to_owned(), json!(self.stamp()));
        if builtin::has_generation(kind) {
            metadata.insert("generation".to_owned(), json!(1));
        }
        let name = metadata
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let stored = kind.version(&target.version).unwrap_or(kind.stored());
        if stored.status
            && let Some(object) = object.as_object_mut()
        {
            object.shift_remove("status");
        }
        let key = Key::new(&target.key.namespace, &name);
        self.namespace_takes(kind, &key)?;
        if !kind.custom {
            builtin::default(kind, &mut object, || self.next_address());
            super::pods::admit(self, kind, &mut object)?;
        }
        if options.admission {
            let mut request = AdmissionRequest {
                operation: Operation::Create,
                resource: kind.resource.clone(),
                subresource: String::new(),
                object,
                old_object: None,
                namespace: target.key.namespace.clone(),
                name: name.clone(),
                dry_run: options.dry_run,
                user: options.user.clone(),
            };
            self.hooks().mutate(&mut request).await?;
            object = std::mem::take(&mut request.object);
            self.settle(target, &mut object);
            check(target, &name, &object, None)?;
            request.object = object;
            self.hooks().validate(&request).await?;
            object = request.object;
        } else {
            check(target, &name, &object, None)?;
        }
        let defined = self.definition(kind, &mut object)?;
        object["apiVersion"] = json!(kind.stored_api_version());
        if options.dry_run {
            if self.store().read(&kind.resource, &key).is_some() {
                return Err(ApiError::already_exists(&kind.resource, &name));
            }
            return Ok(Written {
                object: in_version(kind, &target.version, &Arc::new(object)),
                warnings,
            });
        }
        if let Some(defined) = defined {
            self.registry().add(defined);
        }
        let object = self
            .store()
            .put(&kind.resource, &key, Expect::Absent, object)
            .map_err(|_| ApiError::already_exists(&kind.resource, &name))?;
        self.created(kind, &object);
        warnings.dedup();
        Ok(Written {
            object: in_version(kind, &target.version, &object),
            warnings,
        })
    }

    /// Changes an object by `change`, which is shown the present object in the version of the request and may be
    /// called again when others write meanwhile.
    pub(super) async fn write_change(
        &self,
        target: &Target,
        options: &WriteOptions,
        change: impl Fn(&Value) -> Result<Value, ApiError>,
    ) -> Result<Written, ApiError> {
        let kind = &target.kind;
        let name = &target.key.name;
        for _ in 0..TRIES {
            let current = self
                .store()
                .read(&kind.resource, &target.key)
                .ok_or_else(|| ApiError::not_found(&kind.resource, name))?;
            let shown = in_version(kind, &target.version, &current);
            let wanted = if target.part == Part::Scale {
                let scale = change(&super::scale::of(kind, &shown))?;
                super::scale::apply(&shown, &scale)?
            } else {
                change(&shown)?
            };
            let (mut object, mut warnings) = self.take_in(target, wanted, &current, options)?;
            let mut request = AdmissionRequest {
                operation: Operation::Update,
                resource: kind.resource.clone(),
                subresource: target.part.name().to_owned(),
                object,
                old_object: Some(shown.clone()),
                namespace: target.key.namespace.clone(),
                name: name.clone(),
                dry_run: options.dry_run,
                user: options.user.clone(),
            };
            if options.admission {
                self.hooks().mutate(&mut request).await?;
                self.settle(target, &mut request.object);
                keep(target, &mut request.object, &current);
            }
            count_generation(kind, &mut request.object, &current, &target.version);
            check(target, name, &request.object, Some(&current))?;
            if options.admission {
                self.hooks().validate(&request).await?;
            }
            object = request.object;
            let defined = self.definition(kind, &mut object)?;
            object["apiVersion"] = json!(kind.stored_api_version());
            object["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
            warnings.dedup();
            let answer = |object: &Arc<Value>, warnings: Vec<String>| Written {
                object: in_version(kind, &target.version, object),
                warnings,
            };
            if object == *current {
                return Ok(answer(&current, warnings));
            }
            if options.dry_run {
                return Ok(answer(&Arc::new(object), warnings));
            }
            if let Some(defined) = defined {
                self.registry().add(defined);
            }
            let expect = Expect::Version(version_of(&current));
            let result = if is_finished(&object) {
                // Nothing holds the object any more: this write is its last, and its removal.
                self.store()
                    .put(&kind.resource, &target.key, expect, object)
                    .and_then(|last| {
                        let expect = Expect::Version(version_of(&last));
                        self.store()
                            .remove(&kind.resource, &target.key, expect)
                            .map(|_| last)
                    })
            } else {
                self.store()
                    .put(&kind.resource, &target.key, expect, object)
            };
            match result {
                Ok(object) => return Ok(answer(&object, warnings)),
                Err(Refused::Missing) => return Err(ApiError::not_found(&kind.resource, name)),
                // Whoever names a version learns of the conflict when what was changed is read again.
                Err(_) => {}
            }
        }
        Err(ApiError::conflict(&kind.resource, name))
    }

    /// Reads a changed object: returns it decoded, with warnings.
    fn take_in(
        &self,
        target: &Target,
        mut object: Value,
        current: &Arc<Value>,
        options: &WriteOptions,
    ) -> Result<(Value, Vec<String>), ApiError> {
        let kind = &target.kind;
        let name = &target.key.name;
        let warnings = decode(target, &mut object, options.unknown_fields)?;
        let metadata = metadata_of(&mut object)?;
        if let Some(other) = metadata.get("name").and_then(Value::as_str)
            && other != name
        {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({other}) does not match the name on the URL ({name})"
            )));
        }
        if let Some(version) = metadata.get("resourceVersion").and_then(Value::as_str)
            && !version.is_empty()
            && version != current["metadata"]["resourceVersion"]
        {
            return Err(ApiError::conflict(&kind.resource, name));
        }
        if let Some(uid) = metadata.get("uid").and_then(Value::as_str)
            && !uid.is_empty()
            && uid != current["metadata"]["uid"]
        {
            let cause = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                current["metadata"]["uid"].as_str().unwrap_or_default()
            );
            return Err(ApiError::conflict_because(&kind.resource, name, &cause));
        }
        keep(target, &mut object, current);
        if !kind.custom {
            builtin::default(kind, &mut object, || self.next_address());
        }
        Ok((object, warnings))
    }

    /// Prunes and defaults again what a hook has touched.
    fn settle(&self, target: &Target, object: &mut Value) {
        if target.kind.custom {
            if let Some(schema) = target
                .kind
                .version(&target.version)
                .and_then(|v| v.schema.as_ref())
            {
                schema::prune(schema, object);
                schema::default(schema, object);
            }
        } else {
            builtin::default(&target.kind, object, || self.next_address());
        }
    }

    /// The type that a CRD about to be stored defines.
    fn definition(
        &self,
        kind: &ResourceType,
        object: &mut Value,
    ) -> Result<Option<Arc<ResourceType>>, ApiError> {
        if kind.resource != CRDS {
            return Ok(None);
        }
        let name = Key::of(object).name;
        let wrong = |text: String| {
            let error = FieldError::invalid("spec", &Value::Null, &text);
            ApiError::invalid(kind, &name, &[error])
        };
        let defined = registry::resource_type(object).map_err(|error| wrong(error.to_string()))?;
        if defined.resource.to_string() != name {
            let error = FieldError::invalid(
                "metadata.name",
                &json!(name),
                "must be spec.names.plural+\".\"+spec.group",
            );
            return Err(ApiError::invalid(kind, &name, &[error]));
        }
        if object["status"]["conditions"].is_null() {
            object["status"] = registry::crd_status(object, &self.stamp());
        }
        Ok(Some(Arc::new(defined)))
    }

    /// Whether the namespace of a new object exists and lives.
    fn namespace_takes(&self, kind: &ResourceType, key: &Key) -> Result<(), ApiError> {
        if !kind.namespaced {
            return Ok(());
        }
        let namespace = self
            .store()
            .read(&NAMESPACES, &Key::new("", &key.namespace))
            .ok_or_else(|| ApiError::not_found(&NAMESPACES, &key.namespace))?;
        if namespace["metadata"]["deletionTimestamp"].is_null() {
            return Ok(());
        }
        let cause = format!(
            "unable to create new content in namespace {} because it is being terminated",
            key.namespace
        );
        let mut error = ApiError::forbidden(&kind.resource, &key.name, &cause);
        if let Some(details) = &mut error.details {
            details["causes"] = json!([{
                "reason": "NamespaceTerminating",
                "message": format!("namespace {} is being terminated", key.namespace),
                "field": "metadata.namespace",
            }]);
        }
        Err(error)
    }
}

/// Checks the envelope of an object, prunes and defaults it; returns what to warn of.
fn decode(
    target: &Target,
    object: &mut Value,
    unknown: UnknownFields,
) -> Result<Vec<String>, ApiError> {
    let kind = &target.kind;
    let Some(map) = object.as_object_mut() else {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: \
             json: cannot unmarshal into Go value of type struct {{ APIVersion string; Kind string }}",
            kind.kind
        )));
    };
    let expected = kind.api_version(&target.version);
    match map.get("kind").and_then(Value::as_str) {
        Some(given) if given == kind.kind => {}
        None | Some("") if !kind.custom => {
            map.insert("kind".to_owned(), json!(kind.kind));
        }
        None | Some("") => {
            let text = Value::Object(map.clone()).to_string();
            return Err(ApiError::bad_request(format!(
                "Object 'Kind' is missing in '{text}'"
            )));
        }
        Some(given) => {
            return Err(ApiError::bad_request(format!(
                "the kind in the data ({given}) does not match the expected kind ({})",
                kind.kind
            )));
        }
    }
    match map.get("apiVersion").and_then(Value::as_str) {
        Some(given) if given == expected => {}
        None | Some("") if !kind.custom => {
            map.insert("apiVersion".to_owned(), json!(expected));
        }
        given => {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({}) does not match the expected API version ({expected})",
                given.unwrap_or_default()
            )));
        }
    }
    let namespace = map
        .get("metadata")
        .and_then(|metadata| metadata["namespace"].as_str());
    if let Some(namespace) = namespace
        && kind.namespaced
        && !namespace.is_empty()
        && namespace != target.key.namespace
    {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    shapes(kind.custom, object)?;
    if !kind.custom {
        drop_nulls(object);
        return Ok(Vec::new());
    }
    if let Some(metadata) = object.get_mut("metadata") {
        drop_nulls(metadata);
    }
    let Some(schema) = kind
        .version(&target.version)
        .and_then(|v| v.schema.as_ref())
    else {
        return Ok(Vec::new());
    };
    let found = schema::prune(schema, object);
    if unknown == UnknownFields::Refuse && !found.is_empty() {
        let list: Vec<String> = found
            .iter()
            .map(|path| format!("unknown field \"{path}\""))
            .collect();
        return Err(ApiError::bad_request(format!(
            "{kind} in version \"{}\" cannot be handled as a {kind}: strict decoding error: {}",
            target.version,
            list.join(", "),
            kind = kind.kind
        )));
    }
    schema::default(schema, object);
    if unknown == UnknownFields::Ignore {
        return Ok(Vec::new());
    }
    Ok(found
        .iter()
        .map(|path| format!("unknown field \"{path}\""))
        .collect())
}

/// Built-in types know no nulls: a null is an absent field.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Members that the server itself looks into must have the shape that it expects: anything else is undecodable.
fn shapes(custom: bool, object: &Value) -> Result<(), ApiError> {
    const MAPS: [&str; 14] = [
        "/metadata",
        "/metadata/labels",
        "/metadata/annotations",
        "/spec",
        "/spec/names",
        "/spec/selector",
        "/spec/selector/matchLabels",
        "/spec/strategy",
        "/spec/template",
        "/spec/template/metadata",
        "/spec/template/metadata/labels",
        "/spec/template/metadata/annotations",
        "/spec/template/spec",
        "/status",
    ];
    // Only built-in types have all of these; what a CRD calls the same is for its schema to say.
    let count = if custom { 3 } else { MAPS.len() };
    for path in &MAPS[..count] {
        if object
            .pointer(path)
            .is_some_and(|value| !value.is_object() && !value.is_null())
        {
            return Err(ApiError::bad_request(format!(
                "json: cannot unmarshal into Go struct field {} of an object",
                path.replace('/', ".")
            )));
        }
    }
    Ok(())
}

fn metadata_of(object: &mut Value) -> Result<&mut Map<String, Value>, ApiError> {
    if object["metadata"].is_null() {
        object["metadata"] = json!({});
    }
    object["metadata"].as_object_mut().ok_or_else(|| {
        ApiError::bad_request(
            "json: cannot unmarshal into Go struct field .metadata of type v1.ObjectMeta",
        )
    })
}

/// Puts back what a write of this part of the object may not change.
fn keep(target: &Target, object: &mut Value, current: &Value) {
    const FIXED: [&str; 9] = [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "selfLink",
        "resourceVersion",
    ];
    let has_status = target
        .kind
        .version(&target.version)
        .unwrap_or(target.kind.stored())
        .status;
    if target.part == Part::Status {
        let status = object.get("status").cloned();
        let api_version = object["apiVersion"].clone();
        *object = current.clone();
        object["apiVersion"] = api_version;
        match status {
            Some(status) => object["status"] = status,
            None => {
                object.as_object_mut().map(|map| map.shift_remove("status"));
            }
        }
        return;
    }
    for key in FIXED {
        match current["metadata"].get(key) {
            Some(value) => object["metadata"][key] = value.clone(),
            None => {
                object["metadata"]
                    .as_object_mut()
                    .map(|map| map.shift_remove(key));
            }
        }
    }
    if !current["metadata"]["deletionTimestamp"].is_null() {
        // Nobody can hold back what is being deleted: finalizers can only go.
        let old = current["metadata"]["finalizers"].as_array();
        if let Some(new) = object["metadata"]
            .get_mut("finalizers")
            .and_then(Value::as_array_mut)
        {
            new.retain(|finalizer| old.is_some_and(|old| old.contains(finalizer)));
        }
    }
    for key in ["finalizers", "ownerReferences", "labels", "annotations"] {
        let empty = object["metadata"]
            .get(key)
            .is_some_and(|value| match value {
                Value::Array(items) => items.is_empty(),
                Value::Object(map) => map.is_empty(),
                _ => false,
            });
        if empty {
            object["metadata"]
                .as_object_mut()
                .map(|map| map.shift_remove(key));
        }
    }
    if has_status {
        match current.get("status") {
            Some(status) => object["status"] = status.clone(),
            None => {
                object.as_object_mut().map(|map| map.shift_remove("status"));
            }
        }
    }
}

fn count_generation(kind: &ResourceType, object: &mut Value, current: &Value, version: &str) {
    if !builtin::has_generation(kind) {
        return;
    }
    let has_status = kind.version(version).unwrap_or(kind.stored()).status;
    let body = |key: &str| {
        !matches!(key, "metadata" | "apiVersion" | "kind") && (key != "status" || !has_status)
    };
    let count = |value: &Value| {
        value
            .as_object()
            .map_or(0, |map| map.keys().filter(|k| body(k)).count())
    };
    let changed = count(object) != count(current)
        || object
            .as_object()
            .into_iter()
            .flatten()
            .any(|(key, value)| body(key) && current.get(key) != Some(value));
    let before = current["metadata"]["generation"].as_u64().unwrap_or(1);
    object["metadata"]["generation"] = json!(before + u64::from(changed));
}

/// Checks an object before it is stored.
fn check(
    target: &Target,
    name: &str,
    object: &Value,
    current: Option<&Value>,
) -> Result<(), ApiError> {
    let kind = &target.kind;
    let mut errors = Vec::new();
    if current.is_none() {
        errors.extend(names::check_name(kind, name));
    }
    if target.part == Part::Whole {
        errors.extend(names::check_metadata(&object["metadata"]));
        if current.is_some() && kind.custom && object["metadata"]["resourceVersion"].is_null() {
            errors.push(FieldError::invalid(
                "metadata.resourceVersion",
                &json!(0),
                "must be specified for an update",
            ));
        }
    }
    if kind.custom {
        if let Some(schema) = kind
            .version(&target.version)
            .and_then(|v| v.schema.as_ref())
        {
            errors.extend(schema::validate(schema, object));
        }
    } else if target.part != Part::Status {
        errors.extend(builtin::validate(kind, object, current));
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(ApiError::invalid(kind, name, &errors))
    }
}

/// Whether an object is deleted and nothing holds it any more.
pub(super) fn is_finished(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let none = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    !metadata["deletionTimestamp"].is_null()
        && metadata["deletionGracePeriodSeconds"].as_u64().unwrap_or(0) == 0
        && none(&metadata["finalizers"])
        && (object["kind"] != "Namespace" || none(&object["spec"]["finalizers"]))
}
