//! A working group's own program, which runs beside the checks. What it reports is shown and counts for nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::spec::parse_duration;

/// The most plugins of a run.
pub const MAX_PLUGINS: usize = 8;
/// How long a plugin may take where it is not told.
const TIMEOUT: Duration = Duration::from_secs(600);
/// The longest that one may be given: nothing waits for it in vain for much longer than for the checks.
const LONGEST: Duration = Duration::from_secs(2 * 3600);

/// A container that follows Sonobuoy's contract for plugins: it writes JUnit into the folder that `SONOBUOY_RESULTS_DIR` names
/// (also `/tmp/results`), and then a file `done` there that holds the result's path. What it reports is added to the result
/// as evidence that no verdict reads.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Plugin {
    /// Its name: lower-case letters, digits and dashes, at most 40.
    #[schemars(regex(pattern = "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"))]
    pub name: String,
    /// Its image, as a node pulls it. `--registry` does not rewrite it.
    #[schemars(length(min = 1))]
    pub image: String,
    /// Its command, instead of the image's.
    pub command: Vec<String>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment. It is recorded: nothing secret belongs here.
    pub env: BTreeMap<String, String>,
    /// The user that it runs as; 65532 when absent. Never root: its pod is within Pod Security's level `restricted`.
    #[schemars(range(min = 1))]
    pub run_as_user: Option<u32>,
    /// A service account of the run's namespace whose token it is given; none when absent.
    pub service_account_name: Option<String>,
    /// Its requests and limits as in a pod's spec, instead of 100m and 128Mi of at most 1 and 1Gi.
    pub resources: Option<Value>,
    /// How long it may take, like `10m` (which it is when absent), at most `2h`.
    pub timeout: Option<String>,
}

impl Plugin {
    /// How long it may take.
    pub fn limit(&self) -> Duration {
        let said = self.timeout.as_deref();
        let said = said.and_then(|text| parse_duration(text).ok());
        said.unwrap_or(TIMEOUT).min(LONGEST)
    }

    /// What is wrong with it.
    fn fault(&self) -> Option<String> {
        let name = self.name.as_bytes();
        let letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let ends = name.first().is_some_and(letter) && name.last().is_some_and(letter);
        if !ends || name.len() > 40 || !name.iter().all(|byte| letter(byte) || *byte == b'-') {
            return Some(format!(
                "`{}` is no name: lower-case letters, digits and dashes, at most 40",
                self.name
            ));
        }
        if self.image.trim().is_empty() {
            return Some(format!("{}: `image` is missing", self.name));
        }
        if self.run_as_user == Some(0) {
            return Some(format!(
                "{}: `runAsUser` is root, which a restricted pod may not be",
                self.name
            ));
        }
        match self.timeout.as_deref().map(parse_duration) {
            Some(Err(why)) => Some(format!("{}: timeout: {why}", self.name)),
            Some(Ok(limit)) if limit > LONGEST => {
                Some(format!("{}: timeout: the longest is `2h`", self.name))
            }
            _ => None,
        }
    }

    /// What is wrong with these.
    pub(super) fn fault_of(plugins: &[Self]) -> Option<String> {
        if plugins.len() > MAX_PLUGINS {
            return Some(format!("there are more than {MAX_PLUGINS}"));
        }
        let mut names = BTreeSet::new();
        plugins.iter().find_map(|plugin| {
            plugin.fault().or_else(|| {
                (!names.insert(plugin.name.as_str()))
                    .then(|| format!("`{}` is there twice", plugin.name))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::cluster::Config;

    #[test]
    fn a_plugin_that_cannot_be_is_refused_with_why() {
        let refused = |plugins: &str| {
            Config::parse(&format!("plugins: {plugins}\n"), "k.yaml")
                .unwrap_err()
                .to_string()
        };
        for (plugins, why) in [
            ("[{name: A, image: x}]", "no name"),
            ("[{name: a-, image: x}]", "no name"),
            ("[{name: ../a, image: x}]", "no name"),
            ("[{image: x}]", "no name"),
            ("[{name: a}]", "`image` is missing"),
            ("[{name: a, image: x, runAsUser: 0}]", "root"),
            ("[{name: a, image: x, timeout: 3h}]", "2h"),
            ("[{name: a, image: x, timeout: soon}]", "no duration"),
            ("[{name: a, image: x}, {name: a, image: y}]", "twice"),
            ("[{name: a, image: x, imgae: y}]", "imgae"),
        ] {
            assert!(
                refused(plugins).contains(why),
                "{plugins}: {}",
                refused(plugins)
            );
        }
        let many: Vec<String> = (0..9)
            .map(|n| format!("{{name: a{n}, image: x}}"))
            .collect();
        assert!(refused(&format!("[{}]", many.join(", "))).contains("more than 8"));
    }

    #[test]
    fn a_configuration_without_plugins_is_what_it_was() {
        let config = Config::default();
        assert!(!serde_json::to_string(&config).unwrap().contains("plugins"));
    }
}
