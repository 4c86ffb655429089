//! What the web application makes of a form for a new notebook.

use super::{
    super::{STOPPED, states::value, uid_of},
    App, BAD, refused,
};
use crate::{
    checks::prelude::*,
    cluster::{RUN_LABEL, discover::items},
};

requirement_checks! {
    "notebooks/web-app/creates-as-asked" => creates_as_asked, needs [&FILLED];
    "notebooks/web-app/creates-workspace" => creates_workspace, needs [&FILLED];
    "notebooks/web-app/applies-configurations" => applies_configurations, needs [&FILLED];
    "notebooks/web-app/names-creator" => names_creator, needs [&FILLED];
    "notebooks/web-app/refuses-incomplete" => refuses_incomplete, needs [&FILLED];
    "notebooks/web-app/refuses-duplicates" => refuses_duplicates, needs [&FILLED];
}

setups! {
    /// A notebook that was made by a form in which everything is filled in.
    pub FILLED = "setup/notebooks/filled-form", judge "notebooks/web-app/creates-as-asked", minutes 3, needs [], run: filled;
}

/// A form that was sent, and what came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Filled {
    /// The form, and who sent it.
    pub form: Value,
    pub user: String,
    /// The Notebook that was made.
    pub notebook: Value,
    /// The claim of the name that the form gives to its new workspace; null where there is none.
    pub claim: Value,
}

/// A label by which a PodDefault might be chosen.
const CONFIGURATION: &str = "conformance-chosen";

/// The fields of a form, and what an administrator's setting of each is called where it is not called the same.
fn form(cx: &Cx, name: &str, config: &Value) -> Value {
    let claim = json!({
        "metadata": {"name": format!("{name}-workspace")},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}},
    });
    let claim = match &cx.run.storage_class {
        Some(class) => with(&claim, "spec.storageClassName", json!(class)),
        None => claim,
    };
    let mut form = json!({"name": name, "namespace": cx.namespace()});
    for (field, setting, value) in [
        ("image", "image", json!(cx.run.image)),
        ("imagePullPolicy", "imagePullPolicy", json!("IfNotPresent")),
        ("serverType", "serverType", json!("jupyter")),
        ("cpu", "cpu", json!("0.05")),
        ("cpuLimit", "cpuLimit", json!("0.1")),
        ("memory", "memory", json!("0.0625Gi")),
        ("memoryLimit", "memoryLimit", json!("0.125Gi")),
        ("gpus", "gpus", json!({"num": "none"})),
        ("tolerationGroup", "tolerationGroup", json!("none")),
        ("affinityConfig", "affinityConfig", json!("none")),
        ("configurations", "configurations", json!([CONFIGURATION])),
        ("shm", "shm", json!(true)),
        ("datavols", "dataVolumes", json!([])),
        ("environment", "environment", json!({})),
        (
            "workspace",
            "workspaceVolume",
            json!({"mount": "/home/jovyan", "newPvc": claim}),
        ),
    ] {
        // What an administrator has fixed must not be sent.
        if config[setting]["readOnly"] != true {
            form[field] = value;
        }
    }
    form
}

async fn filled(cx: &Cx) -> Outcome<Value> {
    let app = App::as_owner(cx).await?;
    let config = app.http.read("/api/config").await?["config"].clone();
    let name = cx.name("filled");
    let form = form(cx, &name, &config);
    let answer = app.write("POST", "notebooks", Some(&form)).await?;
    super::accepted(&answer, "the creation of a notebook by the web application")?;
    let notebook = cx
        .until(&NOTEBOOK, &name, "reconcile", "be made", |_| true)
        .await?;
    let claim = cx.get(&CLAIM, &format!("{name}-workspace")).await?;
    if claim.is_some() {
        let label = json!({"metadata": {"labels": {RUN_LABEL: cx.run.id}}});
        cx.patch(&CLAIM, &format!("{name}-workspace"), &label)
            .await?;
    }
    stop(cx, &name).await?;
    let user = super::owner(cx).await?;
    value(&Filled {
        form,
        user,
        notebook,
        claim: claim.unwrap_or_default(),
    })
}

/// Stops a notebook of a form, and marks it as the run's. Without a command the suite's image does not serve: nothing more
/// is looked at than what was made.
async fn stop(cx: &Cx, name: &str) -> Outcome {
    let patch = json!({"metadata": {
        "labels": {RUN_LABEL: cx.run.id},
        "annotations": {STOPPED: "2026-01-01T00:00:00Z"},
    }});
    cx.patch(&NOTEBOOK, name, &patch).await.map(drop)
}

/// The Notebook's first container.
fn container(seen: &Filled) -> &Value {
    &seen.notebook["spec"]["template"]["spec"]["containers"][0]
}

/// Image and resources are those of the form.
pub async fn creates_as_asked(cx: &Cx) -> Outcome {
    let seen: Filled = cx.setup(&FILLED)?;
    let name = name_of(&seen.notebook);
    let (form, made) = (&seen.form, container(&seen));
    for (field, made) in [
        ("image", &made["image"]),
        ("imagePullPolicy", &made["imagePullPolicy"]),
        ("cpu", &made["resources"]["requests"]["cpu"]),
        ("memory", &made["resources"]["requests"]["memory"]),
        ("cpuLimit", &made["resources"]["limits"]["cpu"]),
        ("memoryLimit", &made["resources"]["limits"]["memory"]),
    ] {
        if form[field].is_null() {
            continue;
        }
        // A controller that writes a Notebook may spell an amount otherwise.
        let same = match (amount(made), amount(&form[field])) {
            (Some(made), Some(asked)) => (made - asked).abs() <= asked.abs() * 1e-6,
            _ => *made == form[field],
        };
        if !same {
            return Err(Stop::unlike(
                format!(
                    "{field} of Notebook `{name}`, which was created by a form, is {made}, not {}",
                    form[field]
                ),
                form[field].to_string(),
                made.to_string(),
            ));
        }
    }
    Ok(())
}

/// An amount of a resource as a number, where the text is one: `50m`, `0.05`, `64Mi`.
fn amount(value: &Value) -> Option<f64> {
    const UNITS: [(&str, f64); 8] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("m", 0.001),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("", 1.0),
    ];
    let text = value.as_str()?;
    let parsed = |(unit, factor): &(&str, f64)| {
        let number = text.strip_suffix(unit)?;
        Some(number.parse::<f64>().ok()? * factor)
    };
    UNITS.iter().find_map(parsed)
}

/// A new workspace is claimed as the form says, and mounted where it says.
pub async fn creates_workspace(cx: &Cx) -> Outcome {
    let seen: Filled = cx.setup(&FILLED)?;
    let name = name_of(&seen.notebook);
    let workspace = &seen.form["workspace"];
    if workspace.is_null() {
        return Err(Stop::NotApplicable(
            NotApplicable::FeatureAbsent,
            "an administrator has fixed what workspaces are".to_owned(),
        ));
    }
    let wanted = &workspace["newPvc"];
    let claim = name_of(wanted);
    ensure!(!seen.claim.is_null(), "there is no claim `{claim}`");
    for field in ["accessModes", "resources"] {
        ensure_eq!(
            seen.claim["spec"][field],
            wanted["spec"][field],
            "{field} of claim `{claim}`, which was created by a form"
        );
    }
    let volumes = &seen.notebook["spec"]["template"]["spec"];
    let volume = items(volumes, "volumes")
        .find(|volume| volume["persistentVolumeClaim"]["claimName"] == claim);
    let mounted = volume.is_some_and(|volume| {
        items(container(&seen), "volumeMounts")
            .any(|m| m["name"] == volume["name"] && m["mountPath"] == workspace["mount"])
    });
    ensure!(
        mounted,
        "Notebook `{name}` does not mount the claim `{claim}` at {}",
        workspace["mount"]
    );
    Ok(())
}

/// Chosen configurations are labels of the Notebook, by which PodDefaults select its pod.
pub async fn applies_configurations(cx: &Cx) -> Outcome {
    let seen: Filled = cx.setup(&FILLED)?;
    if seen.form["configurations"].is_null() {
        return Err(Stop::NotApplicable(
            NotApplicable::FeatureAbsent,
            "an administrator has fixed which configurations are chosen".to_owned(),
        ));
    }
    ensure_eq!(
        seen.notebook["metadata"]["labels"][CONFIGURATION],
        "true",
        "label {CONFIGURATION} of Notebook `{}`, for which this configuration was chosen",
        name_of(&seen.notebook)
    );
    Ok(())
}

/// The Notebook says who created it.
pub async fn names_creator(cx: &Cx) -> Outcome {
    let seen: Filled = cx.setup(&FILLED)?;
    ensure_eq!(
        seen.notebook["metadata"]["annotations"]["notebooks.kubeflow.org/creator"],
        seen.user.as_str(),
        "annotation notebooks.kubeflow.org/creator of Notebook `{}`",
        name_of(&seen.notebook)
    );
    Ok(())
}

/// A form without a name or an image is refused, and nothing is made of it; the same form with both is accepted.
pub async fn refuses_incomplete(cx: &Cx) -> Outcome {
    let seen: Filled = cx.setup(&FILLED)?;
    let app = App::as_owner(cx).await?;
    let name = cx.name("half");
    // A claim of the same name would be a reason of its own.
    let whole = with(&seen.form, "name", json!(name));
    let whole = with(&whole, "workspace", Value::Null);
    for field in ["name", "image"] {
        if whole[field].is_null() {
            continue;
        }
        let form = with(&whole, field, Value::Null);
        let answer = app.write("POST", "notebooks", Some(&form)).await?;
        let what = format!("the creation of a notebook by a form without {field}");
        refused(&answer, &BAD, &what)?;
    }
    let made = cx.get(&NOTEBOOK, &name).await?;
    ensure!(
        made.is_none(),
        "Notebook `{name}` was made of a form that was refused"
    );
    app.done("POST", "notebooks", Some(&whole)).await?;
    stop(cx, &name).await
}

/// A second notebook of the same name is refused; the first stays.
pub async fn refuses_duplicates(cx: &Cx) -> Outcome {
    let seen: Filled = cx.setup(&FILLED)?;
    let name = name_of(&seen.notebook);
    let app = App::as_owner(cx).await?;
    let answer = app.write("POST", "notebooks", Some(&seen.form)).await?;
    refused(
        &answer,
        &BAD,
        "the creation of a second notebook of the same name",
    )?;
    let now = cx.need(&NOTEBOOK, name).await?;
    ensure_eq!(
        uid_of(&now),
        uid_of(&seen.notebook),
        "the uid of Notebook `{name}` after another of its name was asked for"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_the_same_however_it_is_spelt() {
        for (a, b) in [("0.05", "50m"), ("0.0625Gi", "64Mi"), ("1k", "1000")] {
            let (a, b) = (amount(&json!(a)).unwrap(), amount(&json!(b)).unwrap());
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
        assert_eq!(amount(&json!("kubeflow/kfconform:0.1.0")), None);
    }
}
