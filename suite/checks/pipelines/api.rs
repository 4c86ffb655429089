//! The REST API of Pipelines, `v2beta1`, as the checks use it.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::{
    checks::{Cx, Http, query},
    cluster::{Answer, Body, Identity, config::Access, discover::items},
    ensure,
    outcome::{NotApplicable, Outcome, Stop},
};

/// The audience of the tokens that a multi-user API server takes.
pub(super) const AUDIENCE: &str = "pipelines.kubeflow.org";
/// The service account of a namespace that may change what is in it.
pub(super) const EDITOR: &str = "default-editor";
/// Between the parts of an upload. Fixed, so that a replay sends the same bytes.
const BOUNDARY: &str = "kfconform-b7a1e0c4d2";
/// The most that a list gives in one page.
pub(super) const LONGEST_PAGE: &str = "200";

/// A collection of the API: its path, and the keys that stand for it in JSON.
#[derive(Debug, Clone)]
pub(super) struct Collection {
    /// The path below `/apis/v2beta1/`.
    pub(super) path: Cow<'static, str>,
    /// The key of a list's items.
    pub(super) items: &'static str,
    /// The key of an object's id.
    pub(super) id: &'static str,
}

const fn collection(path: &'static str, items: &'static str, id: &'static str) -> Collection {
    Collection {
        path: Cow::Borrowed(path),
        items,
        id,
    }
}

/// Experiments.
pub(super) const EXPERIMENTS: Collection =
    collection("experiments", "experiments", "experiment_id");
/// Pipelines.
pub(super) const PIPELINES: Collection = collection("pipelines", "pipelines", "pipeline_id");
/// Runs.
pub(super) const RUNS: Collection = collection("runs", "runs", "run_id");
/// Recurring runs. Their list is the one whose key is not in snake case.
pub(super) const RECURRING_RUNS: Collection =
    collection("recurringruns", "recurringRuns", "recurring_run_id");

/// The versions of a pipeline.
pub(super) fn versions(pipeline: &str) -> Collection {
    Collection {
        path: Cow::Owned(format!("pipelines/{pipeline}/versions")),
        items: "pipeline_versions",
        id: "pipeline_version_id",
    }
}

/// The API as the user that the run has: the namespace's editor where Pipelines is multi-user.
#[derive(Debug, Clone)]
pub(super) struct Api<'a> {
    /// The HTTP API.
    pub(super) http: Http<'a>,
    /// The namespace that each request names; none in single-user mode.
    namespace: Option<Cow<'a, str>>,
}

impl<'a> Api<'a> {
    /// The API of the cluster under test.
    pub(super) fn of(cx: &'a Cx) -> Self {
        let multi_user = cx.facts().multi_user;
        // A URL that was given comes with the identity that its gateway wants.
        let identity = if multi_user && !by_url(cx) {
            account(cx.namespace(), EDITOR)
        } else {
            Identity::Suite
        };
        Self {
            http: cx.component("pipelines", "/apis/v2beta1", identity),
            namespace: multi_user.then(|| cx.namespace().into()),
        }
    }

    /// The API of a cluster whose users are told apart by the suite's own tokens. Behind a URL that was given it is the
    /// gateway that says who somebody is.
    pub(super) fn of_many_users(cx: &'a Cx) -> Outcome<Self> {
        if by_url(cx) {
            return Err(Stop::NotApplicable(
                NotApplicable::FeatureAbsent,
                "Pipelines is asked by the URL of the configuration, whose gateway says who asks"
                    .to_owned(),
            ));
        }
        Ok(Self::of(cx))
    }

    /// The same as a service account.
    pub(super) fn as_account(&self, namespace: &str, name: &str) -> Self {
        self.as_identity(account(namespace, name))
    }

    /// The same as somebody.
    pub(super) fn as_identity(&self, identity: Identity) -> Self {
        Self {
            http: self.http.as_identity(identity),
            namespace: self.namespace.clone(),
        }
    }

    /// The same about another namespace.
    pub(super) fn of_namespace(&self, namespace: &str) -> Self {
        Self {
            http: self.http.clone(),
            namespace: Some(namespace.to_owned().into()),
        }
    }

    /// The namespace that objects must show; none in single-user mode.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Lists a collection and returns the answer, whatever it is.
    pub(super) async fn try_list(
        &self,
        of: &Collection,
        pairs: &[(&str, &str)],
    ) -> Outcome<Answer> {
        self.http.get(&self.list_path(of, pairs)).await
    }

    /// One page of a list.
    pub(super) async fn list(&self, of: &Collection, pairs: &[(&str, &str)]) -> Outcome<Value> {
        self.http.read(&self.list_path(of, pairs)).await
    }

    /// The path of a list.
    pub(super) fn list_path(&self, of: &Collection, pairs: &[(&str, &str)]) -> String {
        let mut pairs = pairs.to_vec();
        pairs.extend(self.namespace().map(|namespace| ("namespace", namespace)));
        format!("/{}{}", of.path, query(&pairs))
    }

    /// How many objects of a collection have `value` in the field `key`.
    pub(super) async fn count(&self, of: &Collection, key: &str, value: &str) -> Outcome<u64> {
        let filter = filter(&[text(key, "EQUALS", value)]);
        let page = self.list(of, &[("filter", &filter)]).await?;
        Ok(total(&page))
    }

    /// Creates an object and returns it.
    pub(super) async fn create(&self, of: &Collection, body: &Value) -> Outcome<Value> {
        self.http
            .write(&format!("/{}", of.path), &self.own(of, body))
            .await
    }

    /// Asks for a creation and returns the answer, whatever it is.
    pub(super) async fn try_create(&self, of: &Collection, body: &Value) -> Outcome<Answer> {
        self.http
            .post(&format!("/{}", of.path), &self.own(of, body))
            .await
    }

    /// A run takes its namespace from its experiment; everything else names it.
    fn own(&self, of: &Collection, body: &Value) -> Value {
        let mut body = body.clone();
        if let Some(namespace) = self.namespace()
            && of.path != RUNS.path
        {
            body["namespace"] = namespace.into();
        }
        body
    }

    /// Reads an object, whatever the answer is.
    pub(super) async fn get(&self, of: &Collection, id: &str) -> Outcome<Answer> {
        self.http.get(&format!("/{}/{id}", of.path)).await
    }

    /// An object that must be there.
    pub(super) async fn need(&self, of: &Collection, id: &str) -> Outcome<Value> {
        self.http.read(&format!("/{}/{id}", of.path)).await
    }

    /// An object must not be there.
    pub(super) async fn absent(&self, of: &Collection, id: &str, what: &str) -> Outcome {
        let answer = self.get(of, id).await?;
        if answer.status == 404 {
            return Ok(());
        }
        Err(Stop::unlike(
            format!("GET of {what} `{id}` was answered with {}", answer.status),
            "404",
            answer.summary(),
        ))
    }

    /// Asks for `:archive`, `:terminate` and the like, and returns the answer, whatever it is.
    pub(super) async fn try_verb(&self, of: &Collection, id: &str, verb: &str) -> Outcome<Answer> {
        let path = format!("/{}/{id}:{verb}", of.path);
        self.http.send(self.http.request("POST", &path)).await
    }

    /// Does `:archive`, `:terminate` and the like, which must succeed.
    pub(super) async fn verb(&self, of: &Collection, id: &str, verb: &str) -> Outcome {
        let answer = self.try_verb(of, id, verb).await?;
        let doing = format!("POST /{}/{id}:{verb}", of.path);
        self.http.accepted(&answer, &doing).map(drop)
    }

    /// Asks for a deletion and returns the answer, whatever it is.
    pub(super) async fn try_delete(&self, of: &Collection, id: &str) -> Outcome<Answer> {
        self.http.delete(&format!("/{}/{id}", of.path)).await
    }

    /// Deletes an object, which must succeed.
    pub(super) async fn delete(&self, of: &Collection, id: &str) -> Outcome {
        let answer = self.try_delete(of, id).await?;
        let doing = format!("DELETE /{}/{id}", of.path);
        self.http.accepted(&answer, &doing).map(drop)
    }

    /// Uploads a file as a pipeline and returns the answer, whatever it is. **Never send what is no well-formed YAML**: up
    /// to 2.17.0 the API server reads it for ever (kubeflow/pipelines#13931).
    pub(super) async fn try_upload(&self, yaml: &str, pairs: &[(&str, &str)]) -> Outcome<Answer> {
        self.try_upload_file("pipeline.yaml", yaml.as_bytes(), pairs)
            .await
    }

    /// Uploads a file of this name as a pipeline and returns the answer, whatever it is.
    pub(super) async fn try_upload_file(
        &self,
        name: &str,
        bytes: &[u8],
        pairs: &[(&str, &str)],
    ) -> Outcome<Answer> {
        let mut pairs = pairs.to_vec();
        pairs.extend(self.namespace().map(|namespace| ("namespace", namespace)));
        self.send_file("/pipelines/upload", name, bytes, &pairs)
            .await
    }

    /// Uploads a pipeline, which must succeed, and returns it.
    pub(super) async fn upload(&self, yaml: &str, pairs: &[(&str, &str)]) -> Outcome<Value> {
        let answer = self.try_upload(yaml, pairs).await?;
        self.http.accepted(&answer, "POST /pipelines/upload")
    }

    /// Uploads a file as a version of a pipeline and returns the answer, whatever it is.
    pub(super) async fn try_upload_version(
        &self,
        yaml: &str,
        pairs: &[(&str, &str)],
    ) -> Outcome<Answer> {
        let yaml = yaml.as_bytes();
        self.send_file("/pipelines/upload_version", "pipeline.yaml", yaml, pairs)
            .await
    }

    /// Uploads a version of a pipeline, which must succeed, and returns it.
    pub(super) async fn upload_version(
        &self,
        yaml: &str,
        pairs: &[(&str, &str)],
    ) -> Outcome<Value> {
        let answer = self.try_upload_version(yaml, pairs).await?;
        self.http
            .accepted(&answer, "POST /pipelines/upload_version")
    }

    async fn send_file(
        &self,
        path: &str,
        name: &str,
        file: &[u8],
        pairs: &[(&str, &str)],
    ) -> Outcome<Answer> {
        let mut body = format!(
            "--{BOUNDARY}\r\n\
             Content-Disposition: form-data; name=\"uploadfile\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        body.extend(file);
        body.extend(format!("\r\n--{BOUNDARY}--\r\n").into_bytes());
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        let request = self
            .http
            .request("POST", &format!("{path}{}", query(pairs)))
            .content(&content_type, Body::of(&body));
        self.http.send(request).await
    }

    /// Changes an object, which must succeed, and returns it as the answer has it.
    pub(super) async fn change(&self, of: &Collection, id: &str, to: &Value) -> Outcome<Value> {
        let answer = self.try_change(of, id, to).await?;
        self.http
            .accepted(&answer, &format!("PATCH /{}/{id}", of.path))
    }

    /// Asks for a change of an object and returns the answer, whatever it is.
    pub(super) async fn try_change(
        &self,
        of: &Collection,
        id: &str,
        to: &Value,
    ) -> Outcome<Answer> {
        let request = self.http.request("PATCH", &format!("/{}/{id}", of.path));
        self.http.send(request.json(to.clone())).await
    }

    /// Waits until a run has ended, and returns it. Its tasks may be shown as they were for a moment longer: the run's state is
    /// kept before they are.
    pub(super) async fn finished(&self, run: &str, timeout: &'static str) -> Outcome<Value> {
        let path = format!("/{}/{run}", RUNS.path);
        let ended = self
            .http
            .until_kept(&path, timeout, "reach a final state", Some(brief), |run| {
                Ok(is_final(word(run, "state")))
            })
            .await?;
        let shown = |run: &Value| {
            !items(&run["run_details"], "task_details").any(|task| word(task, "state") == "RUNNING")
        };
        // What was stopped may stay as it was.
        if word(&ended, "state") == "CANCELED" || shown(&ended) {
            return Ok(ended);
        }
        self.http.settled(&path, "reconcile", None, shown).await
    }
}

/// Whether the configuration says by which URL Pipelines is asked.
fn by_url(cx: &Cx) -> bool {
    let pipelines = cx.facts().components.get("pipelines");
    let access = pipelines.and_then(|component| component.access.as_ref());
    matches!(access, Some(Access::Url { .. }))
}

/// A service account with a token that Pipelines takes.
fn account(namespace: &str, name: &str) -> Identity {
    Identity::ServiceAccount {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        audience: Some(AUDIENCE.to_owned()),
    }
}

/// Of a run that goes on its state alone: it shows as much as a hundred pods, and is asked for again and again.
pub(super) fn brief(run: &Value) -> Value {
    if is_final(word(run, "state")) {
        run.clone()
    } else {
        json!({"run_id": run["run_id"], "state": run["state"]})
    }
}

/// Whether a run stays in this state.
pub(super) fn is_final(state: &str) -> bool {
    matches!(state, "SUCCEEDED" | "FAILED" | "CANCELED" | "SKIPPED")
}

/// A field's text; empty where it is absent.
pub(super) fn word<'v>(object: &'v Value, key: &str) -> &'v str {
    object[key].as_str().unwrap_or_default()
}

/// The id of an object, which a successful answer must carry.
pub(super) fn id_of(of: &Collection, object: &Value) -> Outcome<String> {
    let id = word(object, of.id);
    ensure!(
        !id.is_empty()
            && id.len() <= 100
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
        "an object of `{}` has no usable `{}`: {}",
        of.path,
        of.id,
        crate::outcome::show(&object[of.id])
    );
    Ok(id.to_owned())
}

/// The objects of a page.
pub(super) fn objects<'v>(
    of: &Collection,
    page: &'v Value,
) -> impl Iterator<Item = &'v Value> + use<'v> {
    items(page, of.items)
}

/// What the objects of a page have in a field.
pub(super) fn column(of: &Collection, page: &Value, key: &str) -> Vec<String> {
    objects(of, page).map(|o| word(o, key).to_owned()).collect()
}

/// The number of all matches that a page reports; a zero is left out by the API.
pub(super) fn total(page: &Value) -> u64 {
    let size = &page["total_size"];
    size.as_u64()
        .or_else(|| size.as_str().and_then(|s| s.parse().ok()))
        .unwrap_or(0)
}

/// A predicate over a text field.
pub(super) fn text(key: &str, operation: &str, value: &str) -> Value {
    json!({"key": key, "operation": operation, "string_value": value})
}

/// A predicate over a text field that holds for any of some values.
pub(super) fn one_of(key: &str, values: &[&str]) -> Value {
    json!({"key": key, "operation": "IN", "string_values": {"values": values}})
}

/// A filter: all predicates must hold.
pub(super) fn filter(predicates: &[Value]) -> String {
    json!({"predicates": predicates}).to_string()
}

/// An int64, which the API writes as a string.
pub(super) fn int64(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}
