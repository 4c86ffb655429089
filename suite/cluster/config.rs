//! What a person may set where discovery is not enough. Every unknown key is an error.

use std::{collections::BTreeMap, io::Read, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Plugin;

/// The largest configuration file that is read, in bytes.
const MAX_CONFIG: u64 = 1 << 20;

/// The configuration file of a run (`--config`).
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Config {
    /// `conformance.kubeflow.org/v1`.
    pub api_version: Option<String>,
    /// `Config`.
    pub kind: Option<String>,
    /// An existing namespace (a Profile's, where there are Profiles) to run in, instead of one made for the run.
    pub namespace: Option<String>,
    /// The owner of the Profile that is made for the run, where Profiles exist.
    pub profile_owner: Option<String>,
    /// The suite's image, when it is not the default one.
    pub image: Option<String>,
    /// Names of pull secrets for the suite's pods; they must exist in the namespace.
    pub image_pull_secrets: Vec<String>,
    /// Tolerations put on the suite's pods, as in a pod's spec.
    pub tolerations: Vec<Value>,
    /// Node selector put on the suite's pods.
    pub node_selector: BTreeMap<String, String>,
    /// Storage class of the suite's volume claims; the cluster's default when absent.
    pub storage_class: Option<String>,
    /// Whether the run is inside the cluster and reaches Services by their names. Found when absent.
    pub in_cluster: Option<bool>,
    /// How the distribution's gateway tells components who asks.
    pub identity: IdentityHeader,
    /// Where components are, when they are not found: by component name (`pipelines`, `katib`, …), or by the name of one
    /// of the platform's own services (`kfam`, `jupyter-web-app`, `dashboard`).
    pub components: BTreeMap<String, ComponentConfig>,
    /// Literal texts that never may be written, beside those that are redacted anyway.
    pub redact: Vec<String>,
    /// Named timeouts, like `request: 30s`; the same as `--timeout`.
    pub timeouts: BTreeMap<String, String>,
    /// Working groups' own programs that run beside the checks; what they report is shown and counts for nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<Plugin>,
}

/// The header by which the distribution's gateway tells components who asks. Requests as a user carry it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct IdentityHeader {
    /// The header's name.
    pub header: String,
    /// What stands in it before the user's name.
    pub prefix: String,
}

impl Default for IdentityHeader {
    fn default() -> Self {
        Self {
            header: "kubeflow-userid".to_owned(),
            prefix: String::new(),
        }
    }
}

/// Headers that say something else than who asks, or that are never written down.
const NO_IDENTITY: [&str; 6] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "host",
    "transfer-encoding",
];

/// Where one component is.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ComponentConfig {
    /// Base URL of its HTTP API (without `/apis/…`).
    pub url: Option<String>,
    /// A bearer token for that URL.
    pub token: Option<String>,
    /// A file that holds the bearer token.
    pub token_file: Option<String>,
    /// Namespace of its Service or controller.
    pub namespace: Option<String>,
    /// Name of its Service.
    pub service: Option<String>,
    /// Port of its Service.
    pub port: Option<u16>,
    /// Its version, where it cannot be read off its image.
    pub version: Option<String>,
    /// KServe: the deployment mode's word (`Standard`, `RawDeployment`, …).
    pub mode: Option<String>,
}

/// How a component's HTTP API is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// At a URL, with a token if it wants one.
    Url {
        /// Base URL.
        url: String,
        /// Bearer token; never written.
        #[serde(skip)]
        token: Option<String>,
    },
    /// At a Service: by its name inside the cluster, by port-forward from outside.
    Service {
        /// The Service's namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its port.
        port: u16,
    },
}

impl Access {
    /// The endpoint kind as it stands in results.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Url { .. } => "url",
            Self::Service { .. } => "service",
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        error: String,
    },
    /// It is no configuration; the message has line, column and what is allowed.
    #[error("the configuration {path} is not valid: {error}")]
    Invalid {
        /// The file, with line and column where there is one place.
        path: String,
        /// Why, with the place.
        error: String,
    },
}

impl Config {
    /// Reads a configuration file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let read = |error: String| ConfigError::Read {
            path: shown.clone(),
            error,
        };
        // One byte more than is allowed tells a file that is too large, whatever its kind.
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_CONFIG + 1).read_to_string(&mut text))
            .map_err(|e| read(e.to_string()))?;
        if text.len() as u64 > MAX_CONFIG {
            return Err(read(format!("it is larger than {MAX_CONFIG} bytes")));
        }
        Self::parse(&text, &shown)
    }

    /// Parses a configuration; `path` is named in errors.
    pub fn parse(text: &str, path: &str) -> Result<Self, ConfigError> {
        let invalid = |error: String| ConfigError::Invalid {
            path: path.to_owned(),
            error,
        };
        let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
        let mut config: Self = if text.trim().is_empty() {
            Self::default()
        } else {
            serde_saphyr::from_str_with_options(text, options).map_err(|e| {
                let (at, error) = crate::spec::read_error(&e);
                let path = at.map_or_else(
                    || path.to_owned(),
                    |(line, column)| format!("{path}:{line}:{column}"),
                );
                ConfigError::Invalid { path, error }
            })?
        };
        if config
            .api_version
            .as_deref()
            .is_some_and(|v| v != crate::API_VERSION)
        {
            return Err(invalid(format!(
                "apiVersion must be `{}`",
                crate::API_VERSION
            )));
        }
        if config.kind.as_deref().is_some_and(|v| v != "Config") {
            return Err(invalid("kind must be `Config`".to_owned()));
        }
        let IdentityHeader { header, prefix } = &config.identity;
        let unusable = http::HeaderName::from_bytes(header.as_bytes()).is_err()
            || NO_IDENTITY.contains(&header.to_ascii_lowercase().as_str());
        if unusable {
            return Err(invalid(format!(
                "identity.header: `{header}` is no header that could say who asks"
            )));
        }
        if http::HeaderValue::from_str(prefix).is_err() {
            return Err(invalid(
                "identity.prefix has a line break or another control character".to_owned(),
            ));
        }
        let known: Vec<&str> = crate::COMPONENTS
            .into_iter()
            .chain(super::discover::SERVICES.map(|service| service.name))
            .collect();
        for (name, component) in &mut config.components {
            if !known.contains(&name.as_str()) {
                let unknown = crate::spec::Unknown::new("component", name, known);
                return Err(invalid(format!("components: {unknown}")));
            }
            let authority = component
                .url
                .as_deref()
                .and_then(|url| url.split_once("://"));
            if authority.is_some_and(|(_, rest)| {
                rest.split(['/', '?', '#'])
                    .next()
                    .is_some_and(|a| a.contains('@'))
            }) {
                return Err(invalid(format!(
                    "components.{name}.url holds a user or a password, and would be recorded; use `token` or `tokenFile`"
                )));
            }
            if let Some(file) = &component.token_file {
                let token = std::fs::read_to_string(file)
                    .map_err(|e| invalid(format!("components.{name}.tokenFile {file}: {e}")))?;
                component.token = Some(token.trim().to_owned());
            }
        }
        if let Some(short) = config
            .redact
            .iter()
            .find(|text| text.len() < super::redact::SHORTEST)
        {
            return Err(invalid(format!(
                "redact: a text of {} bytes would hit innocent text everywhere; the shortest has {}",
                short.len(),
                super::redact::SHORTEST
            )));
        }
        if let Some(fault) = Plugin::fault_of(&config.plugins) {
            return Err(invalid(format!("plugins: {fault}")));
        }
        Ok(config)
    }

    /// What the configuration says of one component.
    pub fn component(&self, name: &str) -> ComponentConfig {
        self.components.get(name).cloned().unwrap_or_default()
    }

    /// What the configuration says of components, without what is secret or this machine's own.
    pub(crate) fn public_components(&self) -> BTreeMap<String, ComponentConfig> {
        let public = |component: &ComponentConfig| ComponentConfig {
            token: None,
            token_file: None,
            ..component.clone()
        };
        let all = self.components.iter();
        all.map(|(name, component)| (name.clone(), public(component)))
            .collect()
    }

    /// What stands for the configuration of a run where it may not be told itself. A token that is read from a file may be
    /// another one later.
    pub(crate) fn digest(&self, run: &str) -> String {
        let mut config = self.clone();
        for component in config.components.values_mut() {
            if component.token_file.is_some() {
                component.token = None;
            }
        }
        let config = serde_json::to_string(&config).expect("a configuration is JSON");
        crate::digest::sha256(format!("{run}\n{config}"))
    }

    /// What the configuration holds that never may be written: its tokens, what it names, and whose Profile it is.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = String> {
        let tokens = self.components.values().filter_map(|c| c.token.clone());
        let named = self.redact.iter().chain(&self.profile_owner).cloned();
        tokens.chain(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_an_error_with_its_place() {
        let error = Config::parse("namespace: a\nnamespce: b\n", "k.yaml")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("namespce") && error.contains("k.yaml") && error.contains('2'),
            "{error}"
        );
        let error = Config::parse("components: {katip: {}}\n", "k.yaml")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("katip") && error.contains("katib"),
            "{error}"
        );
    }

    #[test]
    fn the_identity_header_can_be_set_to_what_is_one() {
        assert_eq!(
            Config::default().identity,
            IdentityHeader {
                header: "kubeflow-userid".to_owned(),
                prefix: String::new()
            }
        );
        let text = "identity: {header: x-user, prefix: \"accounts:\"}\n";
        let config = Config::parse(text, "k.yaml").unwrap();
        assert_eq!(config.identity.header, "x-user");
        for header in ["\"\"", "Authorization", "a b"] {
            let text = format!("identity: {{header: {header}}}\n");
            let error = Config::parse(&text, "k.yaml").unwrap_err().to_string();
            assert!(error.contains("identity.header"), "{error}");
        }
    }

    #[test]
    fn components_can_be_placed() {
        let text = "components:\n  pipelines: {url: \"https://kf.example/pipeline\", token: abc}\n";
        let config = Config::parse(text, "k.yaml").unwrap();
        assert_eq!(
            config.component("pipelines").url.as_deref(),
            Some("https://kf.example/pipeline")
        );
        assert_eq!(config.secrets().collect::<Vec<_>>(), ["abc"]);
    }
}
