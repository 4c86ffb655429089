//! How much of the components' APIs the checks exercise: which operations and fields the recorded traffic of a result
//! asked for, and by which requirements.
//!
//! What there is to exercise stands in `specs/coverage/api.yaml`. Asked for is asked for, whether it was granted: that something is
//! refused is what many requirements are about.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cluster::{Asked, Body, Endpoint, Exchange};
use crate::engine::Recording;
use crate::report::model::{Level, Results};

mod render;

pub use render::{markdown, text};

/// The lists of what there is.
const APIS: &str = include_str!("../../specs/coverage/api.yaml");
/// What a run of everything on the reference exercises; a test makes it.
const REFERENCE: &str = include_str!("../../specs/coverage/reference.json");
/// The deepest that a spec is looked into.
const DEPTH: usize = 8;

/// What the APIs of all components offer.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Apis {
    /// The APIs, by component.
    pub apis: Vec<Api>,
    /// What no requirement is about, and why.
    pub exclusions: Vec<Exclusion>,
}

/// One API, or one kind of the Kubernetes API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// Its name.
    pub name: String,
    /// The component whose it is.
    pub component: String,
    /// The endpoint as evidence names it.
    pub at: String,
    /// The document from which the list is.
    pub source: Option<String>,
    /// The kind's API group.
    pub group: Option<String>,
    /// The kind's plural.
    pub plural: Option<String>,
    /// Its operations; those of a kind are [`VERBS`].
    #[serde(default)]
    pub operations: Vec<String>,
    /// The fields of a kind's spec.
    #[serde(default)]
    pub fields: Vec<String>,
}

/// Something that no requirement is about.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exclusion {
    /// The API's name.
    pub api: String,
    /// Operations and fields of it; `x.*` is all that is below.
    pub what: Vec<String>,
    /// Why.
    pub why: String,
}

/// The operations of a kind.
pub const VERBS: [&str; 4] = ["create", "read", "change", "delete"];

impl Apis {
    /// The lists that the program holds.
    #[expect(clippy::missing_panics_doc, reason = "it cannot: a test reads them")]
    pub fn embedded() -> Self {
        serde_saphyr::from_str(APIS).expect("specs/coverage/api.yaml is valid, or no test passes")
    }

    fn why_excluded(&self, api: &str, what: &str) -> Option<&str> {
        let of = self.exclusions.iter().filter(|e| e.api == api);
        let mut holds = of.filter(|e| e.what.iter().any(|pattern| matches(pattern, what)));
        holds.next().map(|exclusion| exclusion.why.as_str())
    }
}

fn matches(pattern: &str, what: &str) -> bool {
    match pattern.strip_suffix(".*") {
        Some(above) => what
            .strip_prefix(above)
            .is_some_and(|rest| rest.starts_with('.')),
        None => pattern == what,
    }
}

impl Api {
    /// Its operations by name.
    pub fn operations(&self) -> impl Iterator<Item = &str> {
        let verbs = if self.plural.is_some() {
            &VERBS[..]
        } else {
            &[]
        };
        let own = self.operations.iter().map(String::as_str);
        own.chain(verbs.iter().copied())
    }

    /// What of it a request asks for.
    fn asked(&self, asked: &Asked, found: &mut BTreeSet<String>) {
        let here = match &asked.to {
            Endpoint::Kubernetes => self.at == "kubernetes",
            Endpoint::Pod(_) => self.at == "pod",
            Endpoint::Component(name) => self.at == *name,
        };
        if !here {
            return;
        }
        let path = asked.path.split('?').next().unwrap_or_default();
        let path = path.trim_end_matches('/');
        let (Some(group), Some(plural)) = (&self.group, &self.plural) else {
            let made = self.operations.iter().find(|operation| {
                operation.split_once(' ').is_some_and(|(method, template)| {
                    method == asked.method && fits(template.trim_end_matches('/'), path)
                })
            });
            found.extend(made.cloned());
            return;
        };
        let Some(rest) = path
            .strip_prefix("/apis/")
            .and_then(|p| p.strip_prefix(group.as_str()))
        else {
            return;
        };
        // /VERSION[/namespaces/NAMESPACE]/PLURAL[/NAME[/SUB]]
        let mut parts: Vec<&str> = rest.trim_start_matches('/').split('/').skip(1).collect();
        if parts.first() == Some(&"namespaces") && parts.len() > 2 {
            parts.drain(..2);
        }
        if parts.first() != Some(&plural.as_str()) {
            return;
        }
        let verb = match asked.method.as_str() {
            "POST" => "create",
            "GET" => "read",
            "PUT" | "PATCH" => "change",
            "DELETE" => "delete",
            _ => return,
        };
        found.insert(verb.to_owned());
        if let Body::Json(object) = &asked.body
            && matches!(verb, "create" | "change")
        {
            fields(&object["spec"], "", DEPTH, found);
        }
    }
}

/// Whether a path fits a template, in which `{}` stands for one part or a piece of one.
fn fits(template: &str, path: &str) -> bool {
    let (mut wanted, mut parts) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), parts.next()) {
            (None, None) => return true,
            (Some(wanted), Some(part)) => {
                let fits = match wanted.split_once("{}") {
                    // `{}` alone is no action: `runs/{}` is not `runs/{}:archive`.
                    Some((before, after)) => {
                        part.len() > before.len() + after.len()
                            && part.starts_with(before)
                            && part.ends_with(after)
                            && (!after.is_empty() || !part.contains(':'))
                    }
                    None => wanted == part,
                };
                if !fits {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// The paths of all fields of a value; what is in a list counts as in its place.
fn fields(value: &Value, path: &str, depth: usize, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) if depth > 0 => {
            for (key, value) in map {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                fields(value, &path, depth - 1, found);
                found.insert(path);
            }
        }
        Value::Array(items) => {
            for item in items {
                fields(item, path, depth, found);
            }
        }
        _ => {}
    }
}

/// How much of the APIs a result exercised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// The version of this format.
    pub api_version: String,
    /// The kind of this document: `Coverage`.
    pub kind: String,
    /// The APIs, by component.
    pub apis: Vec<Covered>,
}

/// How much of one API was exercised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Covered {
    /// Its name.
    pub name: String,
    /// The component whose it is.
    pub component: String,
    /// Its operations, in the order of the list.
    pub operations: Vec<Item>,
    /// The fields of a kind's spec, likewise.
    pub fields: Vec<Item>,
}

/// One operation or field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// Its name.
    pub what: String,
    /// How much the weightiest requirement weighs by whose check it was exercised; absent if it was by none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// Why no requirement is about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excluded: Option<String>,
    /// The requirements by whose checks it was exercised.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
}

impl Item {
    /// Whether it was neither exercised nor excluded.
    pub fn is_gap(&self) -> bool {
        self.level.is_none() && self.excluded.is_none()
    }
}

impl Coverage {
    /// What a run of everything on the reference exercises, without the requirements.
    #[expect(clippy::missing_panics_doc, reason = "it cannot: a test writes it")]
    pub fn of_reference() -> Self {
        serde_json::from_str(REFERENCE)
            .expect("specs/coverage/reference.json is valid, or no test passes")
    }

    /// The same without the requirements: for a table, which names levels alone.
    #[must_use]
    pub fn summary(mut self) -> Self {
        for api in &mut self.apis {
            for item in api.operations.iter_mut().chain(&mut api.fields) {
                item.by.clear();
            }
        }
        self
    }
}

/// How much of the APIs the recorded traffic of a result exercised.
pub fn coverage(apis: &Apis, results: &Results, recording: &Recording) -> Coverage {
    // What each piece of evidence asks for, by API.
    let asked: BTreeMap<&str, Vec<BTreeSet<String>>> = recording
        .evidence
        .iter()
        .map(|(path, evidence)| (path.as_str(), of(apis, &evidence.exchanges)))
        .collect();
    let mut by: Vec<BTreeMap<&str, Vec<(&str, Level)>>> = vec![BTreeMap::new(); apis.apis.len()];
    let mut seen = BTreeSet::new();
    for check in &results.checks {
        let Some(evidence) = &check.evidence else {
            continue;
        };
        // Each check has evidence of its own. A result in which many name the same is not followed as often as it likes.
        if !seen.insert(evidence.path.as_str()) {
            continue;
        }
        for path in with_setups(recording, &evidence.path) {
            let Some(found) = asked.get(path.as_str()) else {
                continue;
            };
            for (by, found) in by.iter_mut().zip(found) {
                for what in found {
                    let by = by.entry(what.as_str()).or_default();
                    if by.last().is_none_or(|(id, _)| *id != check.id) {
                        by.push((&check.id, check.level));
                    }
                }
            }
        }
    }
    let covered = apis.apis.iter().zip(&by).map(|(api, by)| {
        let item = |what: &str| {
            let of = by.get(what).map(Vec::as_slice).unwrap_or_default();
            let level = of
                .iter()
                .map(|(_, level)| *level)
                .min_by_key(|l| *l != Level::Core);
            let why = || apis.why_excluded(&api.name, what).map(str::to_owned);
            let mut by: Vec<String> = of.iter().map(|(id, _)| (*id).to_owned()).collect();
            by.sort();
            by.dedup();
            Item {
                what: what.to_owned(),
                level,
                excluded: if level.is_none() { why() } else { None },
                by,
            }
        };
        Covered {
            name: api.name.clone(),
            component: api.component.clone(),
            operations: api.operations().map(item).collect(),
            fields: api.fields.iter().map(|field| item(field)).collect(),
        }
    });
    Coverage {
        api_version: crate::API_VERSION.to_owned(),
        kind: "Coverage".to_owned(),
        apis: covered.collect(),
    }
}

/// What requests ask for, by API.
fn of(apis: &Apis, exchanges: &[Exchange]) -> Vec<BTreeSet<String>> {
    let each = apis.apis.iter().map(|api| {
        let mut found = BTreeSet::new();
        for exchange in exchanges {
            api.asked(&exchange.asked, &mut found);
        }
        found
    });
    each.collect()
}

/// The paths of a check's evidence and of that of the set-ups that it builds on.
fn with_setups(recording: &Recording, path: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut next = vec![path.to_owned()];
    while let Some(path) = next.pop() {
        if let Some(evidence) = recording.evidence.get(&path)
            && all.insert(path)
        {
            let uses = evidence.uses.iter();
            next.extend(uses.map(|(id, attempt)| crate::cluster::Evidence::path(id, *attempt)));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_template_fits_what_it_stands_for() {
        for (template, path, fit) in [
            ("/v1/runs/{}", "/v1/runs/a", true),
            ("/v1/runs/{}", "/v1/runs/a:archive", false),
            ("/v1/runs/{}:archive", "/v1/runs/a:archive", true),
            ("/v1/runs/{}:archive", "/v1/runs/:archive", false),
            ("/v1/runs/{}", "/v1/runs", false),
            ("/v1/runs", "/v1/runs/a", false),
            ("/v1/pipelines/names/{}", "/v1/pipelines/names/x", true),
        ] {
            assert_eq!(fits(template, path), fit, "{template} {path}");
        }
    }

    #[test]
    fn what_is_in_a_list_counts_as_in_its_place() {
        let mut found = BTreeSet::new();
        let spec = json!({"a": {"b": 1}, "c": [{"d": [{"e": 1}]}, {"f": null}]});
        fields(&spec, "", DEPTH, &mut found);
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, ["a", "a.b", "c", "c.d", "c.d.e", "c.f"]);
    }

    #[test]
    fn every_list_can_be_read_and_every_exclusion_is_of_something_there() {
        let apis = Apis::embedded();
        for exclusion in &apis.exclusions {
            let api = apis.apis.iter().find(|api| api.name == exclusion.api);
            let api = api.unwrap_or_else(|| panic!("no API {}", exclusion.api));
            for what in &exclusion.what {
                let mut all = api
                    .operations()
                    .chain(api.fields.iter().map(String::as_str));
                assert!(
                    all.any(|one| matches(what, one)),
                    "{} has no {what}",
                    api.name
                );
            }
        }
        let names: BTreeSet<&str> = apis.apis.iter().map(|api| api.name.as_str()).collect();
        assert_eq!(names.len(), apis.apis.len());
        for component in [
            "pipelines",
            "notebooks",
            "platform",
            "katib",
            "kserve",
            "trainer",
            "spark",
            "hub",
        ] {
            assert!(
                apis.apis.iter().any(|api| api.component == component),
                "{component}"
            );
        }
    }

    #[test]
    fn a_request_exercises_its_operation_and_its_fields() {
        let apis = Apis::embedded();
        let notebook = apis.apis.iter().find(|api| api.name == "Notebook").unwrap();
        let mut found = BTreeSet::new();
        let path = "/apis/kubeflow.org/v1/namespaces/n/notebooks?dryRun=All";
        let body = json!({"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}});
        let request = crate::cluster::Request::new(Endpoint::Kubernetes, "POST", path).json(body);
        notebook.asked(&request.asked, &mut found);
        assert!(found.contains("create") && found.contains("template.spec.containers.image"));
        assert!(!found.contains("read"));
        let other = crate::cluster::Request::new(
            Endpoint::Kubernetes,
            "GET",
            "/apis/kubeflow.org/v1/namespaces/n/poddefaults",
        );
        notebook.asked(&other.asked, &mut found);
        assert!(!found.contains("read"));
    }
}
