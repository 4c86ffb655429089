//! What can be wrong with Notebooks, by what the faults break.

use super::super::Fault;

/// What this part of the reference can do wrong.
pub(in super::super) const FAULTS: &[Fault] = &[
    Fault::wide(
        "notebooks/api/serves-notebooks",
        "Notebooks belong to no namespace",
        "no Notebook can be made in a namespace",
    ),
    Fault::new(
        "notebooks/api/status-subresource",
        "the status of a Notebook is written with the rest of it",
    ),
    Fault::wide(
        "notebooks/api/serves-v1beta1",
        "v1 is the only version that is served",
        "the web application creates notebooks in that version",
    ),
    Fault::new(
        "notebooks/validation/containers-required",
        "a pod template needs no list of containers",
    ),
    Fault::new(
        "notebooks/validation/containers-not-empty",
        "the list of containers may be empty",
    ),
    Fault::new(
        "notebooks/validation/container-name",
        "a container needs no name",
    ),
    Fault::new(
        "notebooks/validation/container-image",
        "a container needs no image",
    ),
    Fault::new(
        "notebooks/validation/field-types",
        "the command of a container may be anything",
    ),
    Fault::new(
        "notebooks/validation/quantities",
        "amounts of resources may be any words",
    ),
    Fault::new(
        "notebooks/validation/unknown-fields",
        "a spec may have any fields",
    ),
    Fault::new(
        "notebooks/server/becomes-ready",
        "ready replicas are never counted",
    ),
    Fault::new(
        "notebooks/server/reports-ready-condition",
        "conditions are never reported",
    ),
    Fault::new(
        "notebooks/server/reports-running-container",
        "the state of a container that runs is not reported",
    ),
    Fault::wide(
        "notebooks/server/one-replica",
        "each notebook has two servers",
        "the web application takes a notebook with one ready replica for ready",
    ),
    Fault::new(
        "notebooks/server/owns-its-parts",
        "the Service names its Notebook as an owner that does not control it",
    ),
    Fault::new("notebooks/server/service-port", "the Service has port 8888"),
    Fault::wide(
        "notebooks/server/service-port:target",
        "the Service leads to a port on which nothing listens",
        "nothing answers through the Service",
    ),
    Fault::new(
        "notebooks/server/own-container-port",
        "the Service leads to port 8888 whatever the container names",
    ),
    Fault::new(
        "notebooks/server/answers-through-service",
        "the Service selects pods by a label that they do not have",
    ),
    Fault::wide(
        "notebooks/server/knows-its-prefix",
        "NB_PREFIX leaves out the namespace",
        "a server serves under the path that it is told",
    ),
    Fault::new(
        "notebooks/server/knows-its-prefix:slash",
        "NB_PREFIX ends with a slash",
    ),
    Fault::new(
        "notebooks/server/keeps-environment",
        "NB_PREFIX replaces the variables of the user",
    ),
    Fault::new(
        "notebooks/server/keeps-pod-template",
        "all notebooks get the same resources",
    ),
    Fault::wide(
        "notebooks/server/labels-reach-pod",
        "the labels of a Notebook stay with it",
        "PodDefaults select the pods of notebooks by these labels",
    ),
    Fault::new(
        "notebooks/server/annotations-reach-pod",
        "the annotations of a Notebook stay with it",
    ),
    Fault::wide(
        "notebooks/server/pod-names-notebook",
        "pods lack the label notebook-name",
        "the web application finds the pod of a notebook by this label",
    ),
    Fault::new(
        "notebooks/server/reports-waiting",
        "the state of a container that waits is not reported",
    ),
    Fault::new(
        "notebooks/server/reports-ended-container",
        "a container that ended is reported as running",
    ),
    Fault::new(
        "notebooks/pod/takes-long-name",
        "a Notebook whose name has more than 40 characters is left alone",
    ),
    Fault::new(
        "notebooks/pod/starts-at-home",
        "a container that names no directory is started in its image's",
    ),
    Fault::new(
        "notebooks/pod/names-its-port",
        "a container that names no port names none in its pod",
    ),
    Fault::new(
        "notebooks/pod/shares-volumes",
        "the files of volumes belong to no group of the notebook's",
    ),
    Fault::new(
        "notebooks/pod/keeps-own-settings",
        "every container is started in the home directory",
    ),
    Fault::new(
        "notebooks/pod/keeps-own-settings:ports",
        "every container names port 8888 and no other",
    ),
    Fault::new(
        "notebooks/pod/runs-all-containers",
        "a pod has the first container only",
    ),
    Fault::new(
        "notebooks/pod/tells-events",
        "what happens to a pod, once it is made, is not told at its Notebook",
    ),
    Fault::new(
        "notebooks/lifecycle/stops-when-annotated",
        "the annotation changes nothing on a notebook that runs",
    ),
    Fault::new(
        "notebooks/lifecycle/keeps-stopped-notebook",
        "a Notebook that is stopped is deleted",
    ),
    Fault::new(
        "notebooks/lifecycle/reports-stopped",
        "the status is written only while there is a pod",
    ),
    Fault::new(
        "notebooks/lifecycle/starts-again",
        "a StatefulSet without replicas is left alone",
    ),
    Fault::new(
        "notebooks/lifecycle/follows-template",
        "a StatefulSet keeps its first template, but for the image",
    ),
    Fault::new(
        "notebooks/lifecycle/follows-image",
        "a StatefulSet keeps its first image",
    ),
    Fault::new(
        "notebooks/workspace/survives-stop",
        "a notebook that was stopped finds an empty directory in place of its claim",
    ),
    Fault::new(
        "notebooks/workspace/survives-stop:claim",
        "the claims of a notebook that is stopped are deleted",
    ),
    Fault::new(
        "notebooks/workspace/outlives-notebook",
        "a notebook owns the claims that it uses",
    ),
    Fault::new(
        "notebooks/lifecycle/removes-stopped",
        "the Service of a stopped notebook has a second owner that outlives it",
    ),
    Fault::wide(
        "notebooks/lifecycle/starts-stopped",
        "a Notebook that is made stopped is started",
        "checks of the web application begin with a notebook that is stopped",
    ),
    Fault::new(
        "notebooks/lifecycle/repairs-service",
        "a Service is made once",
    ),
    Fault::wide(
        "notebooks/lifecycle/removes-its-parts",
        "the Service has a second owner that outlives the Notebook",
        "a notebook that is stopped leaves its Service behind, too",
    ),
    Fault::wide(
        "notebooks/pod-defaults/reach-notebooks",
        "the pods of notebooks are excluded from PodDefaults",
        "PodDefaults that are not applied cannot be in conflict",
    ),
    Fault::new(
        "notebooks/pod-defaults/tell-conflicts",
        "why a pod cannot be made is not told at its Notebook",
    ),
    Fault::new(
        "notebooks/culling/records-activity",
        "when a notebook was last at work is kept nowhere",
    ),
    Fault::new(
        "notebooks/culling/stops-idle",
        "idle notebooks are watched, and left running",
    ),
    Fault::new(
        "notebooks/culling/keeps-busy",
        "a kernel that is busy counts as idle since its last result",
    ),
];
