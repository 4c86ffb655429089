//! Where distributions keep what the suite looks for: `specs/distributions/`.
//!
//! A run needs nothing of it: the suite finds things by what is served. It is for readers, and for the reference, which can
//! be laid out like each of them, so that a test shows that they are found.

use std::collections::BTreeMap;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    load::EMBEDDED,
    model::{api_version, date},
};
use crate::API_VERSION;

/// The kind of a file under `specs/distributions/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DistributionKind {
    /// The only one.
    Distribution,
}

/// `specs/distributions/NAME.yaml`: where a distribution keeps things, as far as it is publicly known.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Distribution {
    /// `conformance.kubeflow.org/v1`.
    #[serde(deserialize_with = "api_version")]
    #[schemars(extend("const" = API_VERSION))]
    pub api_version: String,
    /// `Distribution`.
    pub kind: DistributionKind,
    /// The file's name.
    pub name: String,
    /// Its name, as its makers write it.
    pub title: String,
    /// What it is, in a sentence.
    pub about: String,
    /// When this was looked up.
    #[serde(deserialize_with = "date")]
    pub known: Date,
    /// How components are told who asks.
    pub identity: IdentityKnown,
    /// Where each component and service is that it has.
    pub components: BTreeMap<String, Placed>,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Public documents that this comes from.
    pub sources: Vec<String>,
}

/// How a distribution tells its components who asks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityKnown {
    /// The header, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// What stands in it before the user's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Who sets it.
    pub how: String,
}

/// Where a component or service is.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Placed {
    /// The namespace.
    pub namespace: String,
    /// What runs its controller or its server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<PlacedWorkload>,
    /// Its Service, if it has an HTTP API of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<PlacedService>,
}

/// What runs a component.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlacedWorkload {
    /// `Deployment` or `StatefulSet`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// The Service of a component.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlacedService {
    /// Its name.
    pub name: String,
    /// Its port for HTTP.
    pub port: u16,
    /// Its labels, or some of them.
    pub labels: BTreeMap<String, String>,
}

impl Distribution {
    /// The distributions that are known, by name.
    ///
    /// # Panics
    ///
    /// If the embedded files are wrong, which a test would find.
    pub fn all() -> Vec<Self> {
        let files = EMBEDDED
            .get_dir("distributions")
            .expect("the folder is embedded")
            .files();
        let mut all: Vec<Self> = files
            .map(|file| {
                let text = file.contents_utf8().expect("the file is text");
                serde_saphyr::from_str(text)
                    .unwrap_or_else(|error| panic!("specs/{}: {error}", file.path().display()))
            })
            .collect();
        all.sort_by(|a: &Self, b| a.name.cmp(&b.name));
        all
    }

    /// The distribution of a name; else what to say to whoever asked for it.
    pub fn find(name: &str) -> Result<Self, String> {
        let all = Self::all();
        let names: Vec<&str> = all.iter().map(|d| d.name.as_str()).collect();
        let unknown = format!(
            "no distribution is called `{name}`; known are {}",
            names.join(", ")
        );
        all.into_iter().find(|d| d.name == name).ok_or(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_distributions_are_known_each_with_its_sources() {
        let all = Distribution::all();
        assert_eq!(all.len(), 10);
        for distribution in all {
            let name = &distribution.name;
            assert!(
                EMBEDDED
                    .get_file(format!("distributions/{name}.yaml"))
                    .is_some()
            );
            assert!(!distribution.sources.is_empty(), "{name}");
            assert!(
                distribution
                    .sources
                    .iter()
                    .all(|s| s.starts_with("https://"))
            );
            assert!(distribution.components.contains_key("pipelines"), "{name}");
            for placed in distribution
                .components
                .values()
                .filter_map(|p| p.workload.as_ref())
            {
                assert!(matches!(placed.kind.as_str(), "Deployment" | "StatefulSet"));
            }
        }
        assert!(
            Distribution::find("nobody's")
                .unwrap_err()
                .contains("charmed")
        );
    }
}
