//! What makes a platform of the components: Profiles, access management, PodDefaults and the dashboard, as the Community Distribution
//! 26.03 has them.
//!
//! Where its answers were seen on the real programs they are theirs, but that access management refuses whoever has no
//! identity, which is documented and which stock 1.10 does not do. `fixtures/observed/platform.json` holds them to it.

mod dashboard;
mod faults;
mod kfam;
mod poddefault;
mod profile;
mod roles;

use std::{io, sync::LazyLock};

use futures::{FutureExt, future::BoxFuture};
use serde_json::{Value, json};

use super::kube::{Crd, World};

pub(super) use faults::FAULTS;

/// The namespace of the controllers.
const NAMESPACE: &str = "kubeflow";
/// The images, whose tags tell the version.
const CONTROLLER: &str = "ghcr.io/kubeflow/kubeflow/profile-controller:v1.10.0";
const WEBHOOK: &str = "ghcr.io/kubeflow/kubeflow/poddefaults-webhook:v1.10.0";

/// The CRDs as upstream ships them (full schemas, descriptions left out).
static CRDS: LazyLock<[Value; 2]> = LazyLock::new(|| {
    ["profiles.kubeflow.org", "poddefaults.kubeflow.org"].map(|name| {
        let text = crate::fixtures::text(&format!("crds/{name}.json"));
        serde_json::from_str(text.expect("the CRD is embedded")).expect("the CRD is JSON")
    })
});

static READ_CRDS: LazyLock<[Crd; 2]> = LazyLock::new(|| {
    CRDS.clone()
        .map(|crd| Crd::from_value(crd).expect("the embedded CRD is a CRD"))
});

/// Of Istio only what the controllers write; nothing enforces it.
static POLICIES: LazyLock<Crd> = LazyLock::new(|| {
    let versions = ["v1", "v1beta1"];
    Crd::open(
        "security.istio.io",
        &versions,
        "AuthorizationPolicy",
        "authorizationpolicies",
        true,
    )
    .expect("an open CRD is a CRD")
});

/// Puts the platform into a world.
pub(super) fn install(world: &World) -> BoxFuture<'_, io::Result<()>> {
    async move {
        install_crds(world)?;
        world.install(&POLICIES);
        let labels = json!({"kustomize.component": "profiles"});
        for object in installation(&labels).into_iter().chain(roles::roles(world)) {
            world.apply(object).await.map_err(io::Error::other)?;
        }
        profile::start(world);
        poddefault::start(world);
        kfam::start(world, &labels).await?;
        dashboard::start(world).await
    }
    .boxed()
}

/// Installs the CRDs, without what faults leave out of them.
fn install_crds(world: &World) -> io::Result<()> {
    let spoils = |id: &&str| {
        id.starts_with("platform/profile/refuses-")
            || matches!(
                *id,
                "platform/profile/serves-v1beta1"
                    | "platform/profile/status-subresource"
                    | "platform/poddefault/requires-selector"
            )
    };
    let faults: Vec<&str> = world.faults().iter().filter(spoils).collect();
    if faults.is_empty() {
        for crd in &*READ_CRDS {
            world.install(crd);
        }
        return Ok(());
    }
    let mut crds = CRDS.clone();
    for fault in faults {
        for crd in &mut crds {
            spoil(crd, fault);
        }
    }
    for crd in crds {
        world.install(&Crd::from_value(crd).map_err(io::Error::other)?);
    }
    Ok(())
}

/// Takes out of a CRD what a fault leaves out.
fn spoil(crd: &mut Value, fault: &str) {
    let is_profile = crd["spec"]["names"]["kind"] == "Profile";
    let versions = crd["spec"]["versions"].as_array_mut();
    let Some(versions) = versions else {
        return;
    };
    if !is_profile {
        for version in versions {
            if fault == "platform/poddefault/requires-selector" {
                version["schema"]["openAPIV3Schema"]["properties"]["spec"]["required"] = json!([]);
            }
        }
        return;
    }
    if fault == "platform/profile/serves-v1beta1" {
        versions.retain(|version| version["name"] == "v1");
    }
    for version in versions {
        if fault == "platform/profile/status-subresource" {
            version["subresources"] = json!({});
        }
        let spec = &mut version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        match fault {
            "platform/profile/refuses-owner-without-name" => {
                spec["owner"]["required"] = json!(["kind"]);
            }
            "platform/profile/refuses-owner-without-kind" => {
                spec["owner"]["required"] = json!(["name"]);
            }
            "platform/profile/refuses-bad-quota" => {
                spec["resourceQuotaSpec"]["properties"]["hard"]["additionalProperties"] =
                    json!({"x-kubernetes-preserve-unknown-fields": true});
            }
            _ => {}
        }
    }
}

/// What an installation consists of beside the CRDs and roles.
fn installation(labels: &Value) -> Vec<Value> {
    let webhook_labels = json!({"app": "poddefaults", "kustomize.component": "poddefaults"});
    let (label, value) = poddefault::LABEL;
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        super::deployment(
            NAMESPACE,
            "profiles-deployment",
            labels,
            &json!({"name": "manager", "image": CONTROLLER}),
        ),
        super::deployment(
            NAMESPACE,
            "admission-webhook-deployment",
            &webhook_labels,
            &json!({"name": "admission-webhook", "image": WEBHOOK}),
        ),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "admission-webhook-mutating-webhook-configuration", "labels": webhook_labels},
            "webhooks": [{
                "name": poddefault::WEBHOOK, "admissionReviewVersions": ["v1beta1", "v1"],
                "clientConfig": {"service": {
                    "namespace": NAMESPACE, "name": "admission-webhook-service", "path": "/apply-poddefault", "port": 443,
                }},
                "failurePolicy": "Fail", "sideEffects": "None",
                "namespaceSelector": {"matchLabels": {label: value}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            }],
        }),
    ]
}
