//! The custom resource definition of Notebooks.

use std::{io, sync::LazyLock};

use serde_json::{Value, json};

use super::super::kube::{Crd, World};

/// The CRD as upstream ships it (full schema, descriptions left out).
static CRD: LazyLock<Value> = LazyLock::new(|| {
    let text = crate::fixtures::text("crds/notebooks.kubeflow.org.json")
        .expect("the CRD of Notebooks is embedded");
    serde_json::from_str(text).expect("the embedded CRD is JSON")
});

static READ_CRD: LazyLock<Crd> =
    LazyLock::new(|| Crd::from_value(CRD.clone()).expect("the embedded CRD is a CRD"));

/// Installs the CRD, without what faults leave out of it.
pub(super) fn install(world: &World) -> io::Result<()> {
    let faults: Vec<&str> = world
        .faults()
        .iter()
        .filter(|id| id.starts_with("notebooks/api/") || id.starts_with("notebooks/validation/"))
        .collect();
    if faults.is_empty() {
        world.install(&READ_CRD);
        return Ok(());
    }
    let mut crd = CRD.clone();
    for fault in faults {
        spoil(&mut crd, fault);
    }
    world.install(&Crd::from_value(crd).map_err(io::Error::other)?);
    Ok(())
}

/// Takes out of the CRD what a fault leaves out.
fn spoil(crd: &mut Value, fault: &str) {
    let anything = json!({"x-kubernetes-preserve-unknown-fields": true});
    match fault {
        "notebooks/api/serves-notebooks" => crd["spec"]["scope"] = json!("Cluster"),
        "notebooks/api/serves-v1beta1" => {
            if let Some(versions) = crd["spec"]["versions"].as_array_mut() {
                versions.retain(|version| version["name"] == "v1");
            }
        }
        _ => {}
    }
    let versions = crd["spec"]["versions"].as_array_mut();
    for version in versions.into_iter().flatten() {
        if fault == "notebooks/api/status-subresource" {
            version["subresources"] = json!({});
        }
        let spec = &mut version["schema"]["openAPIV3Schema"]["properties"]["spec"];
        if fault == "notebooks/validation/unknown-fields" {
            spec["x-kubernetes-preserve-unknown-fields"] = json!(true);
        }
        let pod = &mut spec["properties"]["template"]["properties"]["spec"];
        match fault {
            "notebooks/validation/containers-required" => pod["required"] = json!([]),
            "notebooks/validation/containers-not-empty" => {
                pod["properties"]["containers"]["minItems"] = json!(0);
            }
            _ => {}
        }
        let container = &mut pod["properties"]["containers"]["items"];
        match fault {
            "notebooks/validation/container-name" => container["required"] = json!(["image"]),
            "notebooks/validation/container-image" => container["required"] = json!(["name"]),
            "notebooks/validation/field-types" => {
                container["properties"]["command"] = anything.clone();
            }
            "notebooks/validation/quantities" => {
                for field in ["limits", "requests"] {
                    container["properties"]["resources"]["properties"][field] = anything.clone();
                }
            }
            _ => {}
        }
    }
}
