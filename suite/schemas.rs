//! JSON Schemas (draft 2020-12) of what the suite writes and reads, from the types that do so. The files in
//! `specs/schema/` are these.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

use crate::checks::RunContext;
use crate::cluster::{Config, Evidence};
use crate::coverage::Coverage;
use crate::launch::fleet::{Fleet, Summary};
use crate::review::Review;
use crate::seal::statement::Statement;
use crate::{report, seal, spec};

/// Every schema, by the name of its file.
pub fn all() -> Vec<(&'static str, Schema)> {
    let mut all = spec::schemas().to_vec();
    all.extend([
        ("product.schema.json", seal::product::schema()),
        ("config.schema.json", read::<Config>("config")),
        ("results.schema.json", report::model::schema()),
        ("run.schema.json", read::<RunContext>("run")),
        ("evidence.schema.json", read::<Evidence>("evidence")),
        ("statement.schema.json", read::<Statement>("statement")),
        ("review.schema.json", written::<Vec<Review>>("review")),
        ("coverage.schema.json", read::<Coverage>("coverage")),
        ("diff.schema.json", written::<report::diff::Diff>("diff")),
        ("fleet.schema.json", read::<Fleet>("fleet")),
        (
            "fleet-summary.schema.json",
            written::<Summary>("fleet-summary"),
        ),
    ]);
    all
}

/// Of what is read again.
fn read<T: JsonSchema>(name: &str) -> Schema {
    named(
        name,
        SchemaSettings::draft2020_12()
            .into_generator()
            .into_root_schema_for::<T>(),
    )
}

/// Of what is only written, and so has every field that it may have.
fn written<T: JsonSchema>(name: &str) -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    named(name, settings.into_generator().into_root_schema_for::<T>())
}

fn named(name: &str, mut schema: Schema) -> Schema {
    let id = format!("https://{}/{name}.schema.json", crate::API_VERSION);
    schema.insert("$id".to_owned(), id.into());
    schema
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_schema_files_are_up_to_date_and_no_other_is_there() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/schema");
        for (name, schema) in all() {
            let text = format!("{:#}\n", serde_json::to_value(&schema).unwrap());
            let path = folder.join(name);
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(
                found, text,
                "{name} is not current; run `UPDATE=1 cargo test --lib schema`"
            );
            jsonschema::meta::validate(schema.as_value()).unwrap();
        }
        let there: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let wanted = all().into_iter().map(|(name, _)| name.to_owned());
        assert_eq!(there, wanted.collect());
    }
}
