//! JSON Schemas of the files in `specs/`, from the types that read them.

use schemars::Schema;
use schemars::generate::SchemaSettings;

use super::distribution::Distribution;
use super::model::{ProfileFile, Program, Release, RequirementFile};

/// The schemas by the name of their file in `specs/schema/`.
pub fn schemas() -> [(&'static str, Schema); 5] {
    let generator = || SchemaSettings::draft2020_12().into_generator();
    [
        (
            "requirements.schema.json",
            generator().into_root_schema_for::<RequirementFile>(),
        ),
        (
            "profiles.schema.json",
            generator().into_root_schema_for::<ProfileFile>(),
        ),
        (
            "release.schema.json",
            generator().into_root_schema_for::<Release>(),
        ),
        (
            "distribution.schema.json",
            generator().into_root_schema_for::<Distribution>(),
        ),
        (
            "program.schema.json",
            generator().into_root_schema_for::<Program>(),
        ),
    ]
}
