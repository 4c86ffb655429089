//! What can be wrong with the web application for notebooks.

use super::super::Fault;

/// What this part of the reference can do wrong.
pub(in super::super) const FAULTS: &[Fault] = &[
    Fault::new(
        "notebooks/web-app/answers-probes",
        "probes are asked who they are",
    ),
    Fault::new(
        "notebooks/web-app/needs-identity",
        "who does not say who they are may read everything",
    ),
    Fault::new(
        "notebooks/web-app/needs-identity:writes",
        "who does not say who they are may write",
    ),
    Fault::new(
        "notebooks/web-app/keeps-strangers-out",
        "everybody may read in every namespace",
    ),
    Fault::new(
        "notebooks/web-app/keeps-strangers-out:writes",
        "everybody may write in every namespace",
    ),
    Fault::new(
        "notebooks/web-app/refuses-forged-requests",
        "cookie and header need not be equal",
    ),
    Fault::new(
        "notebooks/web-app/refuses-forged-requests:cookie",
        "no cookie is needed",
    ),
    Fault::new(
        "notebooks/web-app/offers-defaults",
        "the form has no defaults",
    ),
    Fault::new(
        "notebooks/web-app/lists-notebooks",
        "the list of notebooks is empty",
    ),
    Fault::new(
        "notebooks/web-app/lists-notebooks:phase",
        "a notebook that is ready is shown as waiting",
    ),
    Fault::new(
        "notebooks/web-app/shows-notebook",
        "a notebook is shown without its spec",
    ),
    Fault::new(
        "notebooks/web-app/shows-pod",
        "the pod of a notebook is not found",
    ),
    Fault::new(
        "notebooks/web-app/shows-events",
        "the list of a notebook's events is empty",
    ),
    Fault::new(
        "notebooks/web-app/shows-stopped",
        "a notebook that is stopped is shown as ready",
    ),
    Fault::new(
        "notebooks/web-app/creates-as-asked",
        "every notebook gets the first image of the form",
    ),
    Fault::new(
        "notebooks/web-app/creates-as-asked:resources",
        "every notebook gets the resources of the form",
    ),
    Fault::new(
        "notebooks/web-app/creates-workspace",
        "the claim of a new workspace is not made",
    ),
    Fault::new(
        "notebooks/web-app/creates-workspace:mount",
        "the claim of a new workspace is made, and not mounted",
    ),
    Fault::new(
        "notebooks/web-app/applies-configurations",
        "configurations are forgotten",
    ),
    Fault::new(
        "notebooks/web-app/names-creator",
        "everything was created by the web application itself",
    ),
    Fault::new(
        "notebooks/web-app/refuses-incomplete",
        "a notebook without a name is given one",
    ),
    Fault::new(
        "notebooks/web-app/refuses-incomplete:image",
        "a notebook without an image is given one that does not exist",
    ),
    Fault::new(
        "notebooks/web-app/refuses-duplicates",
        "a second notebook of a name is said to be created",
    ),
    Fault::new(
        "notebooks/web-app/stops-and-starts",
        "a notebook that is to stop is left running",
    ),
    Fault::new(
        "notebooks/web-app/stops-and-starts:start",
        "a notebook that is to start is left stopped",
    ),
    Fault::new(
        "notebooks/web-app/refuses-second-stop",
        "a stopped notebook may be stopped again",
    ),
    Fault::new(
        "notebooks/web-app/refuses-empty-change",
        "a change of nothing is done",
    ),
    Fault::new(
        "notebooks/web-app/deletes",
        "a notebook is said to be deleted, and stays",
    ),
    Fault::new(
        "notebooks/web-app/deletes:unknown",
        "the deletion of what is not there succeeds",
    ),
    Fault::new(
        "notebooks/web-app/lists-claims",
        "the list of claims is empty",
    ),
    Fault::new(
        "notebooks/web-app/lists-claims:size",
        "the sizes of claims are not shown",
    ),
    Fault::new(
        "notebooks/web-app/lists-configurations",
        "the list of configurations is empty",
    ),
    Fault::new(
        "notebooks/web-app/lists-configurations:words",
        "a configuration is shown by its name, whatever it says of itself",
    ),
];
