//! Lays the reference out as another distribution does: the same programs under other names, in other namespaces.

use std::{io, time::Duration};

use serde_json::{Value, json};

use super::kube::{
    Resource, World,
    resources::{DEPLOYMENTS, PODS, SERVICES},
};
use crate::spec::{Distribution, Placed, PlacedService};

/// Where the components are that have workloads, as they install themselves.
const WORKLOADS: &[(&str, &str)] = &[
    ("pipelines", "ml-pipeline"),
    ("notebooks", "notebook-controller-deployment"),
    ("platform", "profiles-deployment"),
    ("katib", "katib-controller"),
    ("kserve", "kserve-controller-manager"),
];
/// The Services with an HTTP API: of what, their name, their port.
const HTTP: &[(&str, &str, u16)] = &[
    ("pipelines", "ml-pipeline", 8888),
    ("kfam", "profiles-kfam", 8081),
    ("jupyter-web-app", "jupyter-web-app-service", 80),
    ("dashboard", "centraldashboard", 80),
];
/// The namespace in which all of it installs itself.
const NAMESPACE: &str = "kubeflow";
/// The container that Juju puts before the others.
const CHARM: &str = "docker.io/jujusolutions/charm-base:ubuntu-24.04";

/// The configurations of webhooks.
const HOOKS: [Resource; 2] = [
    Resource::new(
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
    ),
    Resource::new(
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
    ),
];

/// Moves everything to where a distribution has it.
pub(super) async fn lay_out(world: &World, distribution: &Distribution) -> io::Result<()> {
    for placed in distribution.components.values() {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": placed.namespace}});
        world.apply(namespace).await.map_err(io::Error::other)?;
    }
    for (component, usual) in WORKLOADS {
        if let Some(placed) = distribution.components.get(*component) {
            move_workload(world, distribution, usual, placed).await?;
            move_webhooks(world, component, placed).await?;
        }
    }
    for (component, usual, port) in HTTP {
        let placed = distribution.components.get(*component);
        match placed.and_then(|placed| Some((placed, placed.service.as_ref()?))) {
            Some((placed, service)) => {
                move_service(world, (*usual, *port), &placed.namespace, service).await?;
            }
            None => remove(world, &SERVICES, usual).await?,
        }
    }
    Ok(())
}

async fn remove(world: &World, resource: &Resource, name: &str) -> io::Result<()> {
    if world.find(resource, NAMESPACE, name).is_none() {
        return Ok(());
    }
    let deleted = world.delete(resource, NAMESPACE, name).await;
    deleted.map_err(io::Error::other)
}

async fn move_workload(
    world: &World,
    distribution: &Distribution,
    usual: &str,
    placed: &Placed,
) -> io::Result<()> {
    let Some(workload) = &placed.workload else {
        return Ok(());
    };
    let Some(found) = world.find(&DEPLOYMENTS, NAMESPACE, usual) else {
        return Ok(());
    };
    remove(world, &DEPLOYMENTS, usual).await?;
    let mut template = found["spec"]["template"].clone();
    let identity = &distribution.identity;
    if let Some(header) = &identity.header {
        template["spec"]["containers"][0]["env"] = json!([
            {"name": "KUBEFLOW_USERID_HEADER", "value": header},
            {"name": "KUBEFLOW_USERID_PREFIX", "value": identity.prefix},
        ]);
    }
    let mut spec = json!({
        "replicas": 0, "selector": found["spec"]["selector"], "template": template,
    });
    if workload.kind == "StatefulSet" {
        spec["serviceName"] = json!(workload.name);
        let charm = json!({"name": "charm", "image": CHARM});
        if let Some(containers) = spec["template"]["spec"]["containers"].as_array_mut() {
            containers.insert(0, charm);
        }
    }
    let object = json!({
        "apiVersion": "apps/v1", "kind": workload.kind,
        "metadata": {
            "namespace": placed.namespace, "name": workload.name, "labels": found["metadata"]["labels"],
        },
        "spec": spec,
    });
    world
        .apply(object)
        .await
        .map(drop)
        .map_err(io::Error::other)
}

/// Lets the webhooks of a component name the namespace in which it is.
async fn move_webhooks(world: &World, component: &str, placed: &Placed) -> io::Result<()> {
    for resource in &HOOKS {
        for configuration in world.list(resource, None) {
            let mut configuration = Value::clone(&configuration);
            let name = configuration["metadata"]["name"]
                .as_str()
                .unwrap_or_default();
            if !name.contains(component) {
                continue;
            }
            let hooks = configuration["webhooks"].as_array_mut();
            for hook in hooks.into_iter().flatten() {
                hook["clientConfig"]["service"]["namespace"] = json!(placed.namespace);
            }
            world.apply(configuration).await.map_err(io::Error::other)?;
        }
    }
    Ok(())
}

/// What the webhooks lead to: a Service with a ready pod each. Admission itself happens in this process.
pub(super) async fn webhook_servers(world: &World) -> io::Result<()> {
    for configuration in HOOKS.iter().flat_map(|resource| world.list(resource, None)) {
        for hook in configuration["webhooks"].as_array().into_iter().flatten() {
            let service = &hook["clientConfig"]["service"];
            let (Some(namespace), Some(name)) =
                (service["namespace"].as_str(), service["name"].as_str())
            else {
                continue;
            };
            if world.find(&SERVICES, namespace, name).is_some() {
                continue;
            }
            let labels = json!({"app": name});
            let object = json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"namespace": namespace, "name": name, "labels": labels},
                "spec": {
                    "selector": labels,
                    "ports": [{"name": "https-webhook", "port": 443, "targetPort": 9443, "protocol": "TCP"}],
                },
            });
            world.apply(object).await.map_err(io::Error::other)?;
            let pod = format!("{name}-0");
            let made = world.stand_in_pod(namespace, &pod, &labels, &[]).await;
            made.map_err(io::Error::other)?;
        }
    }
    Ok(())
}

async fn move_service(
    world: &World,
    (usual, port): (&str, u16),
    namespace: &str,
    service: &PlacedService,
) -> io::Result<()> {
    let Some(found) = world.find(&SERVICES, NAMESPACE, usual) else {
        return Ok(());
    };
    let host = format!("{usual}.{NAMESPACE}");
    let mut address = world.resolve("default", &host, port);
    // What stands behind a Service that was just made is known a moment later.
    for _ in 0..400 {
        if address.is_some() {
            break;
        }
        world.clock().sleep(Duration::from_millis(5)).await;
        address = world.resolve("default", &host, port);
    }
    let Some(address) = address else {
        return Err(io::Error::other(format!(
            "nothing is behind Service {usual}"
        )));
    };
    let target = found["spec"]["ports"][0]["targetPort"].clone();
    let target = target.as_u64().and_then(|port| u16::try_from(port).ok());
    let target = target.unwrap_or(port);
    let pods = world.list(&PODS, Some(NAMESPACE));
    let selector = &found["spec"]["selector"];
    for pod in pods
        .iter()
        .filter(|pod| pod["metadata"]["labels"] == *selector)
    {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        remove(world, &PODS, name).await?;
    }
    remove(world, &SERVICES, usual).await?;
    let labels = json!(service.labels);
    let object = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": namespace, "name": service.name, "labels": labels},
        "spec": {
            "selector": labels,
            "ports": [{"name": "http", "port": service.port, "targetPort": target, "protocol": "TCP"}],
        },
    });
    world.apply(object).await.map_err(io::Error::other)?;
    let pod = format!("{}-0", service.name);
    world
        .stand_in_pod(namespace, &pod, &labels, &[(target, address)])
        .await
        .map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use crate::{
        checks::Timeouts,
        clock::Clock,
        cluster::{
            Config, Door, Endpoint, Facts, Identity, Request, Session, Target, config::Access,
            door::DoorOptions,
        },
        reference::{Reference, ReferenceOptions},
        spec::Distribution,
    };

    /// Looks at a reference that is laid out like a distribution, with nothing set.
    async fn is_found(name: &str) {
        crate::install_crypto();
        let distribution = Distribution::find(name).expect("the distribution is known");
        let reference = Reference::start(ReferenceOptions {
            layout: Some(distribution.clone()),
            ..ReferenceOptions::default()
        })
        .await
        .expect("the reference starts");
        let target = Target {
            kubeconfig_text: Some(reference.kubeconfig()),
            ..Target::default()
        };
        let config = Config::default();
        let options = DoorOptions {
            run: "a".to_owned(),
            clock: Clock::wall(),
            offset: Duration::ZERO,
            request_timeout: Timeouts::default().get("request"),
        };
        let door = Door::connect(&target, &config, options).await;
        let door = Arc::new(door.expect("a connection"));
        let limit = Duration::from_secs(60);
        let session = Session::live(door, "run/discovery", 1, limit);
        let facts = Facts::discover(&session, &config).await;
        let facts = facts.expect("the reference is looked at");
        for (component, placed) in &distribution.components {
            let found = facts.components.get(component);
            let found = found.or_else(|| facts.services.get(component));
            let found = found.unwrap_or_else(|| panic!("{component} is not found: {facts:?}"));
            let namespace = Some(placed.namespace.as_str());
            assert_eq!(found.namespace.as_deref(), namespace, "{component}");
            if placed.workload.is_some() {
                assert!(found.version.is_some(), "the version of {component}");
            }
            if let Some(service) = &placed.service {
                let wanted = Access::Service {
                    namespace: placed.namespace.clone(),
                    name: service.name.clone(),
                    port: service.port,
                };
                assert_eq!(found.access.as_ref(), Some(&wanted), "{component}");
            }
        }
        assert_eq!(
            facts.identity.map(|i| i.header),
            distribution.identity.header
        );
        // Whoever asks is told as the distribution tells it.
        if distribution.components.contains_key("dashboard") {
            let to = Endpoint::Component("dashboard".to_owned());
            let user = Identity::user("ada@example.com").expect("a user");
            let request = Request::new(to, "GET", "/api/workgroup/exists").identity(user);
            let answer = session.send(request).await.expect("an answer");
            assert_eq!(answer.json()["hasAuth"], true, "{}", answer.summary());
            assert_eq!(answer.json()["user"], "ada", "{}", answer.summary());
        }
    }

    macro_rules! found {
        ($($test:ident: $name:literal,)*) => {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                is_found($name).await;
            }
        )*};
    }

    found! {
        aws: "aws",
        azure: "azure",
        charmed: "charmed",
        community: "community",
        deploykf: "deploykf",
        google_cloud: "google-cloud",
        ibm_cloud: "ibm-cloud",
        nutanix: "nutanix",
        openshift_ai: "openshift-ai",
        vsphere: "vsphere",
    }
}
