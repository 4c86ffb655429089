//! The Services behind which components have APIs of their own.

use serde_json::{Value, json};

use super::{
    Access, Component, Config, Facts, Outcome, Session, Workload, deployment, get, images, items,
    kinds, maybe, name_of, named, tag, text,
};
use crate::cluster::config::{ComponentConfig, IdentityHeader};

/// A Service that is looked for, by the names and labels that distributions give it.
#[derive(Debug)]
pub(in super::super) struct Service {
    /// What the suite calls it: its component or feature, and its endpoint.
    pub name: &'static str,
    /// What it is called, the most usual first.
    called: &'static [&'static str],
    /// Labels of it, in one release or distribution or another.
    labels: &'static [(&'static str, &'static str)],
    /// Its usual port.
    port: u16,
}

/// The API of Pipelines.
const PIPELINES: Service = Service {
    name: "pipelines",
    called: &["ml-pipeline"],
    labels: &[
        ("app", "ml-pipeline"),
        ("app.kubernetes.io/component", "ml-pipeline"),
        ("app.kubernetes.io/name", "kfp-api"),
        ("component", "data-science-pipelines"),
    ],
    port: 8888,
};

/// The services beside the components' own APIs.
pub(in super::super) const SERVICES: [Service; 5] = [
    Service {
        name: "kfam",
        called: &["profiles-kfam"],
        labels: &[
            ("kustomize.component", "profiles"),
            ("app.kubernetes.io/component", "kfam-api"),
            ("app.kubernetes.io/name", "kubeflow-profiles"),
        ],
        port: 8081,
    },
    Service {
        name: "jupyter-web-app",
        called: &["jupyter-web-app-service"],
        labels: &[
            ("kustomize.component", "jupyter-web-app"),
            ("app.kubernetes.io/name", "jupyter-web-app"),
            ("app.kubernetes.io/name", "jupyter-ui"),
        ],
        port: 80,
    },
    Service {
        name: "dashboard",
        called: &["centraldashboard"],
        labels: &[
            ("app", "kubeflow-dashboard"),
            ("app.kubernetes.io/name", "centraldashboard"),
            ("app.kubernetes.io/component", "central-dashboard"),
            ("app.kubernetes.io/name", "kubeflow-dashboard"),
        ],
        port: 80,
    },
    Service {
        name: "katib-db-manager",
        called: &["katib-db-manager"],
        labels: &[
            ("katib.kubeflow.org/component", "db-manager"),
            ("app.kubernetes.io/name", "katib-db-manager"),
        ],
        port: 6789,
    },
    Service {
        name: "katib-ui",
        called: &["katib-ui"],
        labels: &[
            ("katib.kubeflow.org/component", "ui"),
            ("app.kubernetes.io/name", "katib-ui"),
        ],
        port: 80,
    },
];

/// The API of the Hub.
const HUB: Service = Service {
    name: "hub",
    called: &["model-registry-service"],
    labels: &[("app.kubernetes.io/component", "model-registry")],
    port: 8080,
};

/// All that are looked for.
fn known() -> impl Iterator<Item = &'static Service> {
    [&PIPELINES, &HUB].into_iter().chain(&SERVICES)
}

/// How a Service is reached, how that was found, and in which namespace it is.
type Place = (Access, String, Option<String>);

impl Service {
    /// How it is known that a Service of Kubernetes is this one, if it is; the smaller number is the surer sign.
    fn sign(&self, service: &Value) -> Option<(usize, String)> {
        let names = self.called.iter().map(|name| {
            let is = name_of(service) == *name;
            (is, "found by its name".to_owned())
        });
        let labels = self.labels.iter().map(|(key, value)| {
            let is = service["metadata"]["labels"][*key] == *value;
            (is, format!("found by its label {key}={value}"))
        });
        let signs = names.chain(labels).enumerate();
        signs
            .filter(|(_, (is, _))| *is)
            .map(|(rank, (_, how))| (rank, how))
            .next()
    }

    /// The Service, of all that there are: by a name before any label, and, as others of the same label may speak HTTP
    /// too, its usual port before any.
    fn find<'a>(&self, list: &'a Value, namespace: Option<&str>) -> Option<(&'a Value, String)> {
        items(list, "items")
            .filter(|s| namespace.is_none_or(|n| s["metadata"]["namespace"] == n))
            .filter_map(|s| {
                let (rank, how) = self.sign(s)?;
                let port = self.port_of(s)?;
                Some(((rank, port != self.port), s, how))
            })
            .min_by_key(|(rank, ..)| *rank)
            .map(|(_, service, how)| (service, how))
    }

    /// The port of a Service on which it speaks: its usual one, or one that is named for HTTP, or its first.
    fn port_of(&self, service: &Value) -> Option<u16> {
        let ports = || items(&service["spec"], "ports");
        let is_http = |port: &&Value| port["name"].as_str().is_some_and(|n| n.starts_with("http"));
        let found = ports().find(|port| port["port"] == self.port);
        let found = found
            .or_else(|| ports().find(is_http))
            .or_else(|| ports().next())?;
        found["port"]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
    }

    /// Where it is: as the configuration says, else as the list of Services tells.
    async fn place(
        &self,
        session: &Session,
        set: &ComponentConfig,
        list: &Value,
    ) -> Outcome<Option<Place>> {
        if let Some(url) = set.url.clone() {
            let token = set.token.clone();
            let how = "set in the configuration".to_owned();
            return Ok(Some((Access::Url { url, token }, how, None)));
        }
        let (namespace, name, port, how) =
            if let (Some(namespace), Some(name)) = (&set.namespace, &set.service) {
                let request = get(kinds::SERVICE.object_path(namespace, name)).keep(service_of);
                let port = maybe(session, request)
                    .await?
                    .and_then(|s| self.port_of(&s));
                let how = "set in the configuration".to_owned();
                (namespace.clone(), name.clone(), port, how)
            } else {
                let Some((found, how)) = self.find(list, set.namespace.as_deref()) else {
                    return Ok(None);
                };
                let namespace = text(&found["metadata"]["namespace"]);
                (
                    namespace,
                    name_of(found).to_owned(),
                    self.port_of(found),
                    how,
                )
            };
        let port = set.port.or(port).unwrap_or(self.port);
        let how = format!("Service {namespace}/{name} port {port}, {how}");
        let own = Some(namespace.clone());
        let access = Access::Service {
            namespace,
            name,
            port,
        };
        Ok(Some((access, how, own)))
    }
}

/// The Services that are looked for, of all that there are.
pub(super) async fn list(session: &Session) -> Outcome<Value> {
    let list = get(format!("{}?limit=1000", kinds::SERVICE.path(""))).keep(known_of);
    Ok(maybe(session, list).await?.unwrap_or_default())
}

impl Facts {
    /// Finds the services beside the components' own APIs.
    pub(super) async fn services(
        &mut self,
        session: &Session,
        config: &Config,
        list: &Value,
    ) -> Outcome {
        for service in &SERVICES {
            let set = config.component(service.name);
            let Some((access, how, namespace)) = service.place(session, &set, list).await? else {
                let how = format!("a Service {}, or one with its labels", service.called[0]);
                self.feature(service.name, false, &how);
                continue;
            };
            self.feature(service.name, true, &how);
            let found = Component {
                version: set.version,
                endpoint: access.kind().to_owned(),
                how,
                namespace,
                images: vec![],
                access: Some(access),
            };
            self.services.insert(service.name.to_owned(), found);
        }
        Ok(())
    }

    /// Finds the API of Pipelines, and what its server is set to take for who asks.
    pub(super) async fn pipelines(
        &mut self,
        session: &Session,
        config: &Config,
        list: &Value,
    ) -> Outcome {
        let names = &["ml-pipeline", "kfp-api", "ds-pipeline"];
        let server = self
            .behind(session, config, &PIPELINES, list, names)
            .await?;
        if let Some(server) = server {
            let request = get(server.path()).keep(identity_of);
            let seen = maybe(session, request).await?.unwrap_or_default();
            self.identity = identity(&seen);
        }
        Ok(())
    }

    /// Finds the API of the Hub.
    pub(super) async fn hub(
        &mut self,
        session: &Session,
        config: &Config,
        list: &Value,
    ) -> Outcome {
        let names = &["model-registry-deployment", "model-registry"];
        self.behind(session, config, &HUB, list, names).await?;
        Ok(())
    }

    /// Finds a component that is known by its Service, and what runs behind that under one of these names.
    async fn behind(
        &mut self,
        session: &Session,
        config: &Config,
        service: &Service,
        list: &Value,
        names: &'static [&'static str],
    ) -> Outcome<Option<Workload>> {
        let set = config.component(service.name);
        let Some((access, how, namespace)) = service.place(session, &set, list).await? else {
            return Ok(None);
        };
        let server = match &namespace {
            Some(namespace) => deployment(session, namespace, names).await?,
            None => None,
        };
        let images = match &server {
            Some(server) => images(session, server).await?,
            None => vec![],
        };
        self.components.insert(
            service.name.to_owned(),
            Component {
                version: set.version.or_else(|| images.first().and_then(|i| tag(i))),
                endpoint: access.kind().to_owned(),
                how,
                namespace,
                images,
                access: Some(access),
            },
        );
        Ok(server)
    }
}

/// The variables by which the API server of Pipelines is told who tells who asks.
const HEADER: &str = "KUBEFLOW_USERID_HEADER";
const PREFIX: &str = "KUBEFLOW_USERID_PREFIX";

/// Of a workload these two variables, and nothing else.
fn identity_of(workload: &Value) -> Value {
    let containers = items(&workload["spec"]["template"]["spec"], "containers");
    let known = |v: &&Value| v["name"] == HEADER || v["name"] == PREFIX;
    let env: Vec<&Value> = containers
        .flat_map(|c| items(c, "env"))
        .filter(known)
        .collect();
    json!({"env": env})
}

/// The header that they name, where they name one.
fn identity(seen: &Value) -> Option<IdentityHeader> {
    let value = |name: &str| {
        let found = items(seen, "env").find(|v| v["name"] == name)?;
        found["value"].as_str().map(ToOwned::to_owned)
    };
    let header = value(HEADER).filter(|header| !header.is_empty())?;
    Some(IdentityHeader {
        header,
        prefix: value(PREFIX).unwrap_or_default(),
    })
}

fn service_of(service: &Value) -> Value {
    let ports: Vec<Value> = items(&service["spec"], "ports")
        .map(|port| json!({"name": port["name"], "port": port["port"]}))
        .collect();
    json!({"metadata": named(service), "spec": {"ports": ports}})
}

/// Of a Service that is looked for what tells that it is; of others nothing.
fn known_of(service: &Value) -> Value {
    if !known().any(|known| known.sign(service).is_some()) {
        return Value::Null;
    }
    let mut kept = service_of(service);
    for (key, _) in known().flat_map(|known| known.labels) {
        let value = &service["metadata"]["labels"][*key];
        if !value.is_null() {
            kept["metadata"]["labels"][*key] = value.clone();
        }
    }
    kept
}
