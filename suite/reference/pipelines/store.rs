//! Pipelines and their versions as Kubernetes objects, as the API server of 2.17.0 keeps them with
//! `--pipelinesStoreKubernetes`, and its webhooks for them.
//!
//! The database beside the objects knows the same: before a request what was written as objects is taken in, and after it
//! the objects are made to be what the database is. So everything else of the API is the same with this store and without
//! it. What has no name that Kubernetes takes, or no namespace, has no object. (The real API server refuses it.)

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    NAMESPACE, Server,
    model::{Pipeline, Seconds, Version, without_empty},
    template,
};
use crate::reference::kube::{
    AdmissionRequest, ApiError, Crd, Denied, Operation, Resource, World, WriteOptions, merge,
};

const GROUP: &str = "pipelines.kubeflow.org";
const PIPELINES: Resource = Resource::new(GROUP, "pipelines");
const VERSIONS: Resource = Resource::new(GROUP, "pipelineversions");
/// The label by which a version says which pipeline it is of.
const PIPELINE_LABEL: &str = "pipelines.kubeflow.org/pipeline-id";

/// The CRDs as upstream ships them, without descriptions.
static CRDS: LazyLock<[Crd; 2]> = LazyLock::new(|| {
    ["pipelines", "pipelineversions"].map(|plural| {
        let text = crate::fixtures::text(&format!("crds/{plural}.{GROUP}.json"));
        let crd = serde_json::from_str(text.expect("the CRD is embedded"));
        Crd::from_value(crd.expect("the CRD is JSON")).expect("the CRD is a CRD")
    })
});

/// Serves the kinds and asks the webhooks. Nobody looks for their configurations, since they are asked in this process.
pub(super) fn install(world: &World) {
    for crd in &*CRDS {
        world.install(crd);
    }
    let writes = [Operation::Create, Operation::Update];
    let asked = world.clone();
    world.mutating(&VERSIONS, &writes, move |request| {
        let linked = link(&asked, request);
        async move { linked }
    });
    let asked = world.clone();
    world.validating(&VERSIONS, &writes, move |request| {
        let judged = judge(&asked, &request);
        async move { judged }
    });
}

fn broken(world: &World, fault: &str) -> bool {
    world.has_fault(&format!("pipelines/store/{fault}"))
}

fn denied(message: &str) -> Denied {
    let webhook = "pipelineversions.pipelines.kubeflow.org";
    Denied::by(webhook, 400, Some("BadRequest"), message)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The mutating webhook: says on a version which pipeline it is of.
fn link(world: &World, request: AdmissionRequest) -> Result<Value, Denied> {
    let mut version = request.object;
    let name = text(&version["spec"]["pipelineName"]);
    let Some(pipeline) = world.find(&PIPELINES, &request.namespace, name) else {
        if broken(world, "refuses-unknown-pipeline") {
            return Ok(version);
        }
        let why = if name.is_empty() {
            let namespace = &request.namespace;
            format!("Failed to get the Pipeline {namespace}/: resource name may not be empty")
        } else {
            "The spec.pipelineName doesn't map to an existing Pipeline object".to_owned()
        };
        return Err(denied(&why));
    };
    let metadata = &pipeline["metadata"];
    if !broken(world, "links-versions") {
        let label = json!({PIPELINE_LABEL: metadata["uid"], "pipelines.kubeflow.org/pipeline": metadata["name"]});
        merge(&mut version, &json!({"metadata": {"labels": label}}));
    }
    let silent = if request.dry_run {
        "links-versions:owner"
    } else {
        "removes-versions-with-pipeline"
    };
    if !broken(world, silent) {
        let owner = json!({
            "apiVersion": format!("{GROUP}/v2beta1"), "kind": "Pipeline", "name": metadata["name"],
            "uid": metadata["uid"], "blockOwnerDeletion": true,
        });
        // An owner reference to another pipeline is put right.
        let owners = version["metadata"]["ownerReferences"].as_array().cloned();
        let others = owners.into_iter().flatten();
        let others =
            others.filter(|o| o["kind"] != "Pipeline" || o["apiVersion"] != owner["apiVersion"]);
        version["metadata"]["ownerReferences"] = others.chain([owner.clone()]).collect();
    }
    Ok(version)
}

/// The validating webhook: a new version must be a pipeline, and one that is there must stay what it is.
fn judge(world: &World, request: &AdmissionRequest) -> Result<(), Denied> {
    let spec = &request.object["spec"];
    let Some(old) = &request.old_object else {
        return match template::validate(&spec["pipelineSpec"]) {
            Err(why) if !broken(world, "refuses-broken-specs") => {
                // What is not even taken for a pipeline is none to this webhook.
                let why = why.replace("unknown template format", "no pipeline spec is provided");
                Err(denied(&format!(
                    "The pipeline spec is invalid: failed to parse the pipeline spec: InvalidInputError: {why}: pipeline spec is invalid"
                )))
            }
            _ => Ok(()),
        };
    };
    let changes = |key: &str| spec[key] != old["spec"][key];
    let fixed = [
        ("description", ""),
        ("codeSourceURL", ""),
        ("pipelineName", "keeps-specs-unchanged:pipeline"),
        ("versionName", ""),
        ("pipelineSpec", "keeps-specs-unchanged"),
        ("platformSpec", ""),
        ("pipelineSpecURI", ""),
    ];
    if fixed
        .iter()
        .any(|(key, fault)| changes(key) && !broken(world, fault))
    {
        return Err(denied(
            "Pipeline spec is immutable; only mutable fields (display_name, tags) can be updated",
        ));
    }
    Ok(())
}

/// When an object was made.
fn created(object: &Value) -> Seconds {
    let stamp = text(&object["metadata"]["creationTimestamp"]).parse::<Timestamp>();
    stamp.map_or(0, Timestamp::as_second)
}

/// The display name of an object, which is another name of it where it has none.
fn display_name(object: &Value, name: &str) -> String {
    match text(&object["spec"]["displayName"]) {
        "" => name.to_owned(),
        display_name => display_name.to_owned(),
    }
}

fn tags(object: &Value) -> serde_json::Map<String, Value> {
    let tags = object["spec"]["tags"].as_object();
    tags.cloned().unwrap_or_default()
}

/// The name of a version's object: the pipeline's before its own, unless it is the same.
fn object_name(pipeline: &Pipeline, version: &Version) -> String {
    if version.name == pipeline.name {
        return version.name.clone();
    }
    format!("{}-{}", pipeline.name, version.name)
}

/// The objects that the API server knows, by their uids: how they are called, and which of their changes it has seen.
#[derive(Debug, Default)]
pub(super) struct Known(BTreeMap<String, Seen>);

/// What of an object may change: its display name and its tags.
type Shown = (String, serde_json::Map<String, Value>);

#[derive(Debug)]
struct Seen {
    resource: Resource,
    namespace: String,
    name: String,
    version: String,
}

impl Known {
    /// Notes what was written, so that it is not taken for somebody's change.
    fn note(&mut self, id: String, written: Result<Arc<Value>, ApiError>) {
        match written {
            Ok(object) => {
                let resource = if object["kind"] == "Pipeline" {
                    &PIPELINES
                } else {
                    &VERSIONS
                };
                self.0.insert(id, Seen::of(resource, &object));
            }
            Err(error) => tracing::debug!(%error, id, "cannot write the object"),
        }
    }
}

impl Seen {
    fn of(resource: &Resource, object: &Value) -> Self {
        let metadata = &object["metadata"];
        Self {
            resource: resource.clone(),
            namespace: text(&metadata["namespace"]).to_owned(),
            name: text(&metadata["name"]).to_owned(),
            version: text(&metadata["resourceVersion"]).to_owned(),
        }
    }
}

impl Server {
    fn flawed(&self, fault: &str) -> bool {
        broken(self.world(), fault)
    }

    /// Where the object of a pipeline of this namespace is.
    fn home(&self, namespace: &str) -> String {
        if self.multi_user {
            namespace.to_owned()
        } else {
            NAMESPACE.to_owned()
        }
    }

    /// Takes in what was made, changed and deleted as objects since the last request.
    pub(super) fn take_in(&self, known: &mut Known) {
        let mut there = BTreeSet::new();
        for resource in [&PIPELINES, &VERSIONS] {
            let namespace = (!self.multi_user).then_some(NAMESPACE);
            for object in self.world().list(resource, namespace) {
                let uid = text(&object["metadata"]["uid"]).to_owned();
                let version = &object["metadata"]["resourceVersion"];
                let seen = known.0.get(&uid);
                if seen.is_none_or(|seen| seen.version != text(version)) {
                    let is_new = seen.is_none();
                    known.0.insert(uid.clone(), Seen::of(resource, &object));
                    self.learn(resource, &uid, &object, is_new);
                }
                there.insert(uid);
            }
        }
        let gone: Vec<_> = known
            .0
            .keys()
            .filter(|uid| !there.contains(*uid))
            .cloned()
            .collect();
        for uid in gone {
            known.0.remove(&uid);
            self.with(|db| {
                db.pipelines.remove(&uid);
                db.versions.remove(&uid);
            });
        }
    }

    /// Takes in one object.
    fn learn(&self, resource: &Resource, uid: &str, object: &Value, is_new: bool) {
        let (metadata, spec) = (&object["metadata"], &object["spec"]);
        let name = text(&metadata["name"]).to_owned();
        let namespace = if self.multi_user {
            text(&metadata["namespace"]).to_owned()
        } else {
            String::new()
        };
        self.with(|db| {
            if !is_new && !self.flawed("serves-objects:change") {
                if let Some(pipeline) = db.pipelines.get_mut(uid) {
                    pipeline.display_name = display_name(object, &pipeline.name);
                    pipeline.tags = tags(object);
                }
                if let Some(version) = db.versions.get_mut(uid) {
                    version.display_name = display_name(object, &version.name);
                    version.tags = tags(object);
                }
            }
            if !is_new {
                return;
            }
            if *resource == PIPELINES {
                let display_name = if self.flawed("serves-objects") {
                    name.clone()
                } else {
                    display_name(object, &name)
                };
                let pipeline = Pipeline {
                    id: uid.to_owned(),
                    display_name,
                    name,
                    description: text(&spec["description"]).to_owned(),
                    created: created(object),
                    namespace,
                    tags: tags(object),
                };
                db.pipelines.insert(uid.to_owned(), pipeline);
                return;
            }
            let of = text(&spec["pipelineName"]);
            let mut pipelines = db.pipelines.values();
            let Some(pipeline) = pipelines.find(|p| p.name == of && p.namespace == namespace)
            else {
                return;
            };
            let name = match text(&spec["versionName"]) {
                "" => name,
                name => name.to_owned(),
            };
            let mut of_pipeline = spec["pipelineSpec"].clone();
            let plain = of_pipeline["root"]["inputDefinitions"].is_null();
            if plain && self.flawed("runs-objects") {
                of_pipeline["deploymentSpec"] = json!({});
            }
            let version = Version {
                id: uid.to_owned(),
                pipeline: pipeline.id.clone(),
                display_name: display_name(object, &name),
                name,
                description: text(&spec["description"]).to_owned(),
                created: created(object),
                spec: if spec["platformSpec"].is_object() {
                    json!({"pipeline_spec": of_pipeline, "platform_spec": spec["platformSpec"]})
                } else {
                    of_pipeline
                },
                tags: tags(object),
            };
            db.versions.insert(uid.to_owned(), version);
        });
    }

    /// Makes the objects what the database is after a request.
    pub(super) async fn write_out(&self, known: &mut Known) {
        let gone = self.with(|db| {
            let is_there =
                |id: &String| db.pipelines.contains_key(id) || db.versions.contains_key(id);
            let gone = known.0.keys().filter(|id| !is_there(id));
            gone.cloned().collect::<Vec<_>>()
        });
        for id in gone {
            self.remove_object(known, &id).await;
        }
        let shown = self.with(|db| {
            let pipelines = db.pipelines.values();
            let pipelines = pipelines.map(|p| (&p.id, &p.name, &p.display_name, &p.tags));
            let versions = db.versions.values();
            let versions = versions.map(|v| (&v.id, &v.name, &v.display_name, &v.tags));
            let all = pipelines.chain(versions);
            let known = all.filter(|(id, ..)| known.0.contains_key(*id));
            let owned = known.map(|(id, name, display_name, tags)| {
                let shown = (display_name.clone(), tags.clone());
                (id.clone(), name.clone(), shown)
            });
            owned.collect::<Vec<_>>()
        });
        for (id, name, shown) in shown {
            self.show(known, id, &name, shown).await;
        }
        // Pipelines first, as a version needs its own.
        let new = self.with(|db| {
            let pipelines = db.pipelines.values();
            let pipelines = pipelines.filter(|pipeline| !known.0.contains_key(&pipeline.id));
            let pipelines = pipelines.map(|p| (p.id.clone(), self.pipeline_object(p)));
            let versions = db.versions.values();
            let versions = versions.filter(|version| !known.0.contains_key(&version.id));
            let versions = versions.filter_map(|version| {
                let pipeline = db.pipelines.get(&version.pipeline)?;
                Some((version.id.clone(), self.version_object(pipeline, version)))
            });
            pipelines.chain(versions).collect::<Vec<_>>()
        });
        for (id, object) in new {
            self.create_object(known, id, object).await;
        }
    }

    async fn remove_object(&self, known: &mut Known, id: &str) {
        let Some(seen) = known.0.get(id) else {
            return;
        };
        let stays = if seen.resource == PIPELINES {
            "keeps-pipelines:deletion"
        } else {
            "keeps-versions:deletion"
        };
        // Versions that outlive their pipeline, by a fault, would go with its object.
        let orphans = self.with(|db| db.versions.values().any(|version| version.pipeline == id));
        if self.flawed(stays) || orphans {
            return;
        }
        let world = self.world();
        let deleted = world.delete(&seen.resource, &seen.namespace, &seen.name);
        if let Err(error) = deleted.await {
            tracing::debug!(%error, name = seen.name, "cannot delete the object");
        }
        known.0.remove(id);
    }

    /// Gives an object the display name and tags that the database has.
    async fn show(&self, known: &mut Known, id: String, name: &str, shown: Shown) {
        let Some(seen) = known.0.get(&id) else {
            return;
        };
        let world = self.world();
        let Some(found) = world.find(&seen.resource, &seen.namespace, &seen.name) else {
            return;
        };
        // One that has no display name is not given one that it was not asked to have.
        if (display_name(&found, name), tags(&found)) == shown {
            return;
        }
        let mut found = Value::clone(&found);
        let (display_name, tags) = shown;
        let spec = json!({"displayName": display_name, "tags": tags});
        merge(
            &mut found,
            &json!({"spec": {"displayName": null, "tags": null}}),
        );
        merge(&mut found, &json!({"spec": without_empty(spec)}));
        let updated = world.update(found).await;
        known.note(id, updated);
    }

    /// Creates an object that has this id.
    async fn create_object(&self, known: &mut Known, id: String, object: Value) {
        let options = WriteOptions {
            uid: Some(id.clone()),
            ..WriteOptions::default()
        };
        let made = match self.world().create_with(object, &options).await {
            Ok(made) if made["kind"] == "PipelineVersion" => self.mark_ready(&made).await,
            made => made,
        };
        known.note(id, made);
    }

    /// Says on a version that was made through the API that it may be run.
    async fn mark_ready(&self, version: &Value) -> Result<Arc<Value>, ApiError> {
        let metadata = &version["metadata"];
        let status = json!({"conditions": [{
            "type": "PipelineVersionStatus", "status": "True", "reason": "READY", "message": "READY",
        }]});
        let (namespace, name) = (text(&metadata["namespace"]), text(&metadata["name"]));
        let world = self.world();
        world.set_status(&VERSIONS, namespace, name, status).await
    }

    fn pipeline_object(&self, pipeline: &Pipeline) -> Value {
        let mut spec = json!({
            "displayName": pipeline.display_name, "description": pipeline.description,
            "tags": pipeline.tags,
        });
        if self.flawed("keeps-pipelines") {
            spec["description"].take();
        }
        json!({
            "apiVersion": format!("{GROUP}/v2beta1"), "kind": "Pipeline",
            "metadata": {"namespace": self.home(&pipeline.namespace), "name": pipeline.name},
            "spec": without_empty(spec),
        })
    }

    fn version_object(&self, pipeline: &Pipeline, version: &Version) -> Value {
        let mut spec = json!({
            "displayName": version.display_name, "description": version.description,
            "pipelineName": pipeline.name, "versionName": version.name,
            "pipelineSpec": template::pipeline(&version.spec), "tags": version.tags,
        });
        if version.spec["platform_spec"].is_object() {
            spec["platformSpec"] = version.spec["platform_spec"].clone();
        }
        if self.flawed("keeps-versions")
            && let Some(Value::Object(flag)) =
                spec.pointer_mut("/pipelineSpec/root/inputDefinitions/parameters/flag")
        {
            flag.shift_remove("defaultValue");
        }
        json!({
            "apiVersion": format!("{GROUP}/v2beta1"), "kind": "PipelineVersion",
            "metadata": {
                "namespace": self.home(&pipeline.namespace), "name": object_name(pipeline, version),
            },
            "spec": without_empty(spec),
        })
    }
}
