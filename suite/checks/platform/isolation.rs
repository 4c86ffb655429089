//! Who is in one Profile neither sees nor changes what is in another one's namespace.
//!
//! The neighbour speaks with the token of its own service account. What it is refused in the run's namespace it must be
//! granted at home: else a missing right would pass for isolation.

use super::{
    has_notebooks, judged_by,
    neighbour::{NEIGHBOUR, Tenant},
    rights::{Deed, Who, may, may_not, rights},
};
use crate::{checks::prelude::*, cluster::Endpoint};

requirement_checks! {
    "platform/isolation/reads-no-notebooks" => reads_no_notebooks, needs [&NEIGHBOUR];
    "platform/isolation/changes-no-notebooks" => changes_no_notebooks, needs [&NEIGHBOUR];
    "platform/isolation/reads-no-secrets" => reads_no_secrets, needs [&NEIGHBOUR];
    "platform/isolation/reads-no-pods" => reads_no_pods, needs [&NEIGHBOUR];
    "platform/isolation/runs-no-pods" => runs_no_pods, needs [&NEIGHBOUR];
    "platform/isolation/changes-no-config" => changes_no_config, needs [&NEIGHBOUR];
    "platform/isolation/uses-no-kinds" => uses_no_kinds, needs [&NEIGHBOUR];
    "platform/isolation/owner-stays-at-home" => owner_stays_at_home, needs [&NEIGHBOUR];
}

/// The check that judges what the neighbour may do at home.
const AT_HOME: &str = "platform/access/editor-works-in-namespace";
const NOTEBOOKS_AT_HOME: &str = "platform/access/notebooks-follow-roles";

/// A request of the neighbour's editor is granted at home and refused in the run's namespace. `request` makes it for a
/// namespace, `what` says it, `judge` is the check of the right at home.
async fn only_at_home(
    cx: &Cx,
    neighbour: &Tenant,
    what: &str,
    judge: &str,
    request: impl Fn(&str) -> Request,
) -> Outcome {
    // What somebody's objects hold is nobody's business.
    let send = |namespace: &str| {
        let request = request(namespace).identity(neighbour.identity("default-editor"));
        cx.kube(request.keep(|object| json!({"metadata": {"name": object["metadata"]["name"]}})))
    };
    let home = send(&neighbour.namespace).await?;
    if !home.is_success() {
        return Err(Stop::CouldNotRun(
            CouldNotRun::SetupFailed,
            format!(
                "the neighbour's editor cannot {what} at home (`{judge}` judges its rights): {}",
                home.summary()
            ),
        ));
    }
    let abroad = send(cx.namespace()).await?;
    match abroad.status {
        403 => Ok(()),
        200..=299 => Err(Stop::unlike(
            format!(
                "service account `{}` can {what} in namespace `{}`, which is another Profile's, and must not",
                neighbour.account("default-editor"),
                cx.namespace()
            ),
            "403 Forbidden",
            abroad.status.to_string(),
        )),
        _ => Err(Stop::CouldNotRun(
            CouldNotRun::ApiServer,
            format!(
                "{what} in another Profile's namespace: {}",
                abroad.summary()
            ),
        )),
    }
}

fn list_of(kind: Kind) -> impl Fn(&str) -> Request {
    move |namespace| Request::new(Endpoint::Kubernetes, "GET", kind.path(namespace))
}

/// A creation that stores nothing.
fn dry_run(kind: Kind, object: Value) -> impl Fn(&str) -> Request {
    move |namespace| {
        let object = with(&object, "metadata.namespace", json!(namespace));
        let path = format!("{}?dryRun=All", kind.path(namespace));
        Request::new(Endpoint::Kubernetes, "POST", path).json(object)
    }
}

/// By the cluster's own answer, the neighbour's editor may do these at home, and none of them in the run's namespace.
async fn rights_end_at_home(cx: &Cx, neighbour: &Tenant, judge: &str, deeds: &[Deed]) -> Outcome {
    let editor = Who::account(&neighbour.namespace, "default-editor");
    may(cx, &editor, &neighbour.namespace, deeds)
        .await
        .map_err(|stop| judged_by(stop, judge))?;
    may_not(cx, &editor, cx.namespace(), deeds).await
}

/// Notebooks are not seen.
pub async fn reads_no_notebooks(cx: &Cx) -> Outcome {
    has_notebooks(cx)?;
    let neighbour: Tenant = cx.setup(&NEIGHBOUR)?;
    let (judge, what) = (NOTEBOOKS_AT_HOME, "list Notebooks");
    only_at_home(cx, &neighbour, what, judge, list_of(NOTEBOOK)).await?;
    let deeds: &[Deed] = &[
        ("get", "kubeflow.org", "notebooks"),
        ("watch", "kubeflow.org", "notebooks"),
    ];
    rights_end_at_home(cx, &neighbour, judge, deeds).await
}

/// Notebooks are not made, changed or deleted.
pub async fn changes_no_notebooks(cx: &Cx) -> Outcome {
    has_notebooks(cx)?;
    let neighbour: Tenant = cx.setup(&NEIGHBOUR)?;
    let name = cx.name("foreign");
    let notebook = cx.fixture("notebooks/notebook.yaml", &[("name", &name)])?;
    let (judge, what) = (NOTEBOOKS_AT_HOME, "make a Notebook");
    only_at_home(cx, &neighbour, what, judge, dry_run(NOTEBOOK, notebook)).await?;
    let deeds: &[Deed] = &[
        ("patch", "kubeflow.org", "notebooks"),
        ("delete", "kubeflow.org", "notebooks"),
    ];
    rights_end_at_home(cx, &neighbour, judge, deeds).await
}

/// Secrets are not seen.
pub async fn reads_no_secrets(cx: &Cx) -> Outcome {
    let neighbour: Tenant = cx.setup(&NEIGHBOUR)?;
    let kind = Kind::namespaced("", "v1", "Secret", "secrets");
    only_at_home(cx, &neighbour, "list Secrets", AT_HOME, list_of(kind)).await?;
    rights_end_at_home(
        cx,
        &neighbour,
        AT_HOME,
        &[("get", "", "secrets"), ("create", "", "secrets")],
    )
    .await
}

/// Pods are not seen, nor their logs.
pub async fn reads_no_pods(cx: &Cx) -> Outcome {
    let neighbour: Tenant = cx.setup(&NEIGHBOUR)?;
    only_at_home(cx, &neighbour, "list Pods", AT_HOME, list_of(POD)).await?;
    rights_end_at_home(
        cx,
        &neighbour,
        AT_HOME,
        &[("get", "", "pods"), ("get", "", "pods/log")],
    )
    .await
}

/// Pods are not run, nor entered.
pub async fn runs_no_pods(cx: &Cx) -> Outcome {
    let neighbour: Tenant = cx.setup(&NEIGHBOUR)?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": cx.name("foreign"), "annotations": {"sidecar.istio.io/inject": "false"}},
        "spec": {"containers": [cx.container("main", &["step"])]},
    });
    only_at_home(cx, &neighbour, "run a Pod", AT_HOME, dry_run(POD, pod)).await?;
    rights_end_at_home(
        cx,
        &neighbour,
        AT_HOME,
        &[("delete", "", "pods"), ("create", "", "pods/exec")],
    )
    .await
}

/// What programs are configured with is not changed.
pub async fn changes_no_config(cx: &Cx) -> Outcome {
    let neighbour: Tenant = cx.setup(&NEIGHBOUR)?;
    let kind = Kind::namespaced("", "v1", "ConfigMap", "configmaps");
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": cx.name("foreign")}, "data": {"key": "value"},
    });
    only_at_home(
        cx,
        &neighbour,
        "make a ConfigMap",
        AT_HOME,
        dry_run(kind, map),
    )
    .await?;
    let deeds: &[Deed] = &[("patch", "", "configmaps"), ("delete", "", "configmaps")];
    rights_end_at_home(cx, &neighbour, AT_HOME, deeds).await
}

/// Of each component's kinds: what the neighbour may use at home, it may not use elsewhere.
pub async fn uses_no_kinds(cx: &Cx) -> Outcome {
    const USES: &[Deed] = &[
        ("list", "kubeflow.org", "experiments"),
        ("create", "kubeflow.org", "experiments"),
        ("list", "kubeflow.org", "trials"),
        ("list", "kubeflow.org", "poddefaults"),
        ("list", "serving.kserve.io", "inferenceservices"),
        ("create", "serving.kserve.io", "inferenceservices"),
        ("list", "pipelines.kubeflow.org", "runs"),
        ("create", "pipelines.kubeflow.org", "runs"),
        ("list", "pipelines.kubeflow.org", "experiments"),
        ("list", "pipelines.kubeflow.org", "pipelines"),
        ("delete", "pipelines.kubeflow.org", "jobs"),
        ("list", "argoproj.io", "workflows"),
        ("list", "", "services"),
    ];
    let neighbour: Tenant = cx.setup(&NEIGHBOUR)?;
    let editor = Who::account(&neighbour.namespace, "default-editor");
    // Which components bring roles is not asked here: what is not granted at home is not installed.
    let home = rights(cx, &editor, &neighbour.namespace, USES).await?;
    let granted: Vec<Deed> = USES
        .iter()
        .zip(home)
        .filter(|(_, yes)| *yes)
        .map(|(d, _)| *d)
        .collect();
    if granted.is_empty() {
        let why =
            format!("the neighbour's editor may use nothing at home, which `{AT_HOME}` judges");
        return Err(Stop::CouldNotRun(CouldNotRun::SetupFailed, why));
    }
    may_not(cx, &editor, cx.namespace(), &granted).await
}

/// The neighbour's owner decides about the neighbour's namespace alone.
pub async fn owner_stays_at_home(cx: &Cx) -> Outcome {
    const DEEDS: &[Deed] = &[
        ("list", "", "pods"),
        ("list", "", "secrets"),
        ("create", "", "pods"),
        ("create", "rbac.authorization.k8s.io", "rolebindings"),
        ("delete", "rbac.authorization.k8s.io", "rolebindings"),
    ];
    let neighbour: Tenant = cx.setup(&NEIGHBOUR)?;
    let owner = Who::user(&neighbour.owner);
    may(cx, &owner, &neighbour.namespace, DEEDS)
        .await
        .map_err(|stop| judged_by(stop, "platform/access/owner-manages-namespace"))?;
    may_not(cx, &owner, cx.namespace(), DEEDS).await
}
