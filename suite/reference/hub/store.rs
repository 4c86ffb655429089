//! What is registered.

use serde_json::Value;

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// A registered model.
    Model,
    /// A version of a model.
    Version,
    /// A model artifact.
    Artifact,
    /// A place where models are served.
    Environment,
    /// A service in such a place.
    Service,
}

impl Sort {
    /// What a collection of the API holds.
    pub fn of(collection: &str) -> Option<Self> {
        Some(match collection {
            "registered_models" => Self::Model,
            "model_versions" => Self::Version,
            "model_artifacts" | "artifacts" => Self::Artifact,
            "serving_environments" => Self::Environment,
            "inference_services" => Self::Service,
            _ => return None,
        })
    }

    /// What a search of the API is for.
    pub fn sought(path: &str) -> Option<Self> {
        Some(match path {
            "registered_model" => Self::Model,
            "model_version" => Self::Version,
            "model_artifact" | "artifact" => Self::Artifact,
            "serving_environment" => Self::Environment,
            "inference_service" => Self::Service,
            _ => return None,
        })
    }

    /// Its name in sentences.
    pub fn says(self) -> &'static str {
        match self {
            Self::Model => "registered model",
            Self::Version => "model version",
            Self::Artifact => "model artifact",
            Self::Environment => "serving environment",
            Self::Service => "inference service",
        }
    }

    /// The key of an object that names what it belongs to.
    pub fn parent_key(self) -> Option<&'static str> {
        match self {
            Self::Version => Some("registeredModelId"),
            Self::Service => Some("servingEnvironmentId"),
            _ => None,
        }
    }

    /// The fields that a client gives, beside those of all.
    pub fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Model => &[
                "owner", "state", "language", "maturity", "tasks", "provider",
            ],
            Self::Version => &["author", "state", "registeredModelId"],
            Self::Artifact => &[
                "artifactType",
                "uri",
                "state",
                "modelFormatName",
                "modelFormatVersion",
                "storageKey",
                "storagePath",
                "serviceAccountName",
            ],
            Self::Environment => &[],
            Self::Service => &[
                "servingEnvironmentId",
                "registeredModelId",
                "modelVersionId",
                "runtime",
                "desiredState",
            ],
        }
    }
}

/// Something that is registered.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its id.
    pub id: u64,
    /// What it is.
    pub sort: Sort,
    /// What it belongs to.
    pub parent: Option<u64>,
    /// The object as it is answered.
    pub object: Value,
}

/// All that is registered, oldest first.
#[derive(Debug, Default)]
pub(super) struct Store {
    last: u64,
    entries: Vec<Entry>,
}

impl Store {
    /// The next id.
    pub fn next_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Adds something.
    pub fn add(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// What has an id.
    pub fn get(&self, sort: Sort, id: &str) -> Option<&Entry> {
        let id: u64 = id.parse().ok()?;
        self.of(sort).find(|entry| entry.id == id)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, sort: Sort, id: u64) -> Option<&mut Entry> {
        self.entries
            .iter_mut()
            .find(|entry| entry.sort == sort && entry.id == id)
    }

    /// All of a sort, oldest first.
    pub fn of(&self, sort: Sort) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.sort == sort)
    }
}
