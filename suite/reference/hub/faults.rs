//! What the Hub can do wrong.

use super::super::Fault;

/// The ways in which the reference's Hub can be made to deviate.
pub(in super::super) const FAULTS: &[Fault] = &[
    Fault::new("hub/model/is-registered", "a new model has no state"),
    Fault::new("hub/model/needs-a-name", "a model needs no name"),
    Fault::new(
        "hub/model/refuses-a-second-of-its-name",
        "models may share a name",
    ),
    Fault::new(
        "hub/model/is-not-found-by-an-unknown-id",
        "an unknown id is a bad request",
    ),
    Fault::new(
        "hub/model/is-found-by-name",
        "a search by an external id finds nothing",
    ),
    Fault::new(
        "hub/model/is-changed",
        "a change of a model drops the description that it does not name",
    ),
    Fault::new("hub/model/is-archived", "a model's state may be any word"),
    Fault::new(
        "hub/model/keeps-custom-properties",
        "a change of a model drops its custom properties",
    ),
    Fault::new(
        "hub/version/belongs-to-its-model",
        "a version does not say whose it is",
    ),
    Fault::new(
        "hub/version/refuses-a-second-of-its-name",
        "versions of a model may share a name",
    ),
    Fault::new(
        "hub/version/is-found-by-name",
        "a search for a version looks through all models",
    ),
    Fault::new(
        "hub/version/is-changed",
        "the author of a version stays as it was",
    ),
    Fault::new(
        "hub/artifact/belongs-to-its-version",
        "a version lists the artifacts of all",
    ),
    Fault::new(
        "hub/artifact/is-changed",
        "the place of an artifact stays as it was",
    ),
    Fault::new(
        "hub/list/pages",
        "each page begins with the last one of the page before",
    ),
    Fault::new("hub/list/orders", "lists begin with the oldest, always"),
    Fault::new(
        "hub/list/filters",
        "a filter by the beginning of a name lets all through",
    ),
    Fault::new(
        "hub/list/refuses-bad-filters",
        "a filter that cannot be read lets all through",
    ),
    Fault::new(
        "hub/serving/links-a-service-to-its-model",
        "a service serves the latest version, whatever it says",
    ),
];
