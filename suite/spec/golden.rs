//! Files that follow from `specs/` and are kept in the repository for people and tools: they are current, or a
//! test says how to rewrite them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{Specs, markdown, schemas};

/// Compares a file with what it must hold; with `UPDATE=1` writes it.
fn hold(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let found = fs::read_to_string(&file)
        .unwrap_or_default()
        .replace("\r\n", "\n");
    if found == expected {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, expected).unwrap();
        return;
    }
    let differs = found
        .lines()
        .zip(expected.lines())
        .position(|(found, expected)| found != expected);
    let line = differs.unwrap_or(found.lines().count().min(expected.lines().count()));
    panic!(
        "{path} is not current from line {} on: is `{}`, must be `{}`; run `UPDATE=1 cargo test --lib spec`",
        line + 1,
        found.lines().nth(line).unwrap_or_default(),
        expected.lines().nth(line).unwrap_or_default(),
    );
}

#[test]
fn conformance_md_is_current() {
    let coverage = crate::coverage::markdown(&crate::coverage::Coverage::of_reference());
    hold("CONFORMANCE.md", &markdown(Specs::embedded(), &coverage));
}

#[test]
fn schemas_are_current() {
    for (name, schema) in schemas() {
        let text = serde_json::to_string_pretty(&schema).unwrap();
        hold(&format!("specs/schema/{name}"), &format!("{text}\n"));
    }
}

/// The files themselves are held to their schemas, so that an editor's complaint and the program's agree.
#[test]
fn the_files_satisfy_their_schemas() {
    let schemas: BTreeMap<_, _> = schemas().into_iter().collect();
    let specs = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs");
    let mut files = vec![
        ("profiles.schema.json", specs.join("profiles.yaml")),
        ("program.schema.json", specs.join("program.yaml")),
    ];
    for (schema, folder) in [
        ("requirements.schema.json", "requirements"),
        ("release.schema.json", "releases"),
        ("distribution.schema.json", "distributions"),
    ] {
        let entries = fs::read_dir(specs.join(folder)).unwrap();
        files.extend(entries.map(|entry| (schema, entry.unwrap().path())));
    }
    for (schema, path) in files {
        let validator = jsonschema::validator_for(schemas[schema].as_value()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&value)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    }
}

/// What `certified` needs for each release: a change of it is a change of the mark and is seen as one.
#[test]
fn the_certified_set_of_each_release_is_frozen() {
    let specs = Specs::embedded();
    let certified = specs.profile("certified").unwrap();
    for release in specs.releases() {
        let mut text = format!(
            "# What the profile certified needs for Kubeflow {}; frozen: changing it needs the vote that program.yaml names.\n",
            release.name
        );
        for id in specs.profile_ids(certified, &release.name) {
            text += id;
            text += "\n";
        }
        hold(&format!("specs/frozen/{}.txt", release.name), &text);
    }
}

const IDS: &str = "specs/ids.txt";
const WITHDRAWN: &str = " (withdrawn)";

/// Every id that was ever released stays in `ids.txt`, so that none is renamed, reused or lost. Until the first
/// suite is released nobody relies on ids, and `UPDATE=1` writes the file anew.
#[test]
fn ids_are_never_renamed_reused_or_lost() {
    let specs = Specs::embedded();
    let current: Vec<&str> = specs
        .requirements()
        .iter()
        .map(|requirement| requirement.id.as_str())
        .collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(IDS);
    let text = fs::read_to_string(path).unwrap_or_default();
    let released = !specs.program().suites.is_empty();
    match next_ids(&text, &current, released) {
        Ok(expected) => hold(IDS, &expected),
        Err(error) => panic!("{IDS}: {error}"),
    }
}

/// What `ids.txt` must hold, given what it holds.
fn next_ids(text: &str, current: &[&str], released: bool) -> Result<String, String> {
    let mut listed: BTreeMap<&str, bool> = BTreeMap::new();
    if released {
        let (first, ids) = text.split_once('\n').unwrap_or_default();
        // The count stands in the file, so that a lost line is noticed even when its requirement went with it.
        let count = ids.lines().count();
        if first != header(count) {
            return Err(format!(
                "holds {count} ids but says `{first}`; restore the missing lines"
            ));
        }
        for line in ids.lines() {
            let withdrawn = line.strip_suffix(WITHDRAWN);
            listed.insert(withdrawn.unwrap_or(line), withdrawn.is_some());
        }
    }
    for id in current {
        if listed.insert(id, false) == Some(true) {
            return Err(format!(
                "`{id}` was withdrawn; an id is never reused: choose another"
            ));
        }
    }
    let mut next = header(listed.len()) + "\n";
    for id in listed.keys() {
        next += id;
        next += if current.contains(id) { "" } else { WITHDRAWN };
        next += "\n";
    }
    Ok(next)
}

fn header(count: usize) -> String {
    format!("# Every id that was ever used, {count} in all: none is renamed, reused or removed.")
}

#[test]
fn a_released_id_can_only_be_withdrawn() {
    let first = next_ids("", &["katib/a/b", "katib/a/c"], false).unwrap();
    assert_eq!(
        first.lines().skip(1).collect::<Vec<_>>(),
        ["katib/a/b", "katib/a/c"]
    );
    let withdrawn = next_ids(&first, &["katib/a/b", "katib/a/d"], true).unwrap();
    assert_eq!(
        withdrawn.lines().skip(1).collect::<Vec<_>>(),
        ["katib/a/b", "katib/a/c (withdrawn)", "katib/a/d"]
    );
    assert_eq!(
        next_ids(&withdrawn, &["katib/a/b", "katib/a/d"], true).unwrap(),
        withdrawn
    );

    let reused = next_ids(&withdrawn, &["katib/a/c"], true).unwrap_err();
    assert!(reused.contains("never reused"), "{reused}");
    let lost = next_ids(&first.replace("katib/a/c\n", ""), &["katib/a/b"], true).unwrap_err();
    assert!(lost.contains("restore"), "{lost}");
    // Before the first release a renamed id leaves no trace.
    assert!(
        !next_ids(&first, &["katib/a/b"], false)
            .unwrap()
            .contains("katib/a/c")
    );
}
