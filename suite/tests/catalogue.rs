//! Requirements, checks, set-ups and fixtures belong together: what has no counterpart is named.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use kfconform::checks::{self, Setup};
use kfconform::spec::Specs;

#[test]
fn every_requirement_has_exactly_one_check_and_the_reverse() {
    let required: BTreeSet<&str> = Specs::embedded()
        .requirements()
        .iter()
        .map(|requirement| requirement.id.as_str())
        .collect();
    let mut proven = BTreeMap::new();
    for check in checks::all() {
        *proven.entry(check.id).or_insert(0) += 1;
    }
    let twice: Vec<&str> = proven
        .iter()
        .filter(|(_, count)| **count > 1)
        .map(|(id, _)| *id)
        .collect();
    assert_eq!(twice, [""; 0], "these ids have several checks");
    let proven: BTreeSet<&str> = proven.into_keys().collect();
    let without_check: Vec<_> = required.difference(&proven).collect();
    let without_requirement: Vec<_> = proven.difference(&required).collect();
    assert!(
        without_check.is_empty() && without_requirement.is_empty(),
        "requirements without a check: {without_check:?}; checks without a requirement: {without_requirement:?}"
    );
}

/// The check that fails with a set-up is one of those that read it: nobody else would see why.
#[test]
fn a_set_up_fails_a_check_that_needs_it() {
    fn needs(setup: &Setup, wanted: &str) -> bool {
        setup.id == wanted || setup.needs.iter().any(|needed| needs(needed, wanted))
    }
    let mut setups: BTreeMap<&str, &Setup> = BTreeMap::new();
    let mut open: Vec<&Setup> = checks::all()
        .flat_map(|check| check.needs.iter().copied())
        .collect();
    while let Some(setup) = open.pop() {
        if let Some(other) = setups.insert(setup.id, setup) {
            assert!(
                std::ptr::eq(other, setup),
                "two set-ups are called {}",
                setup.id
            );
        } else {
            open.extend(setup.needs);
        }
    }
    for setup in setups.values().filter(|setup| !setup.judge.is_empty()) {
        let judge = checks::find(setup.judge);
        let judge =
            judge.unwrap_or_else(|| panic!("{}: no check is called {}", setup.id, setup.judge));
        assert!(
            judge.needs.iter().any(|needed| needs(needed, setup.id)),
            "{} is judged by {}, which does not need it",
            setup.id,
            judge.id
        );
    }
}

/// A fixture that no code names is dead weight, and usually a check that lost its object.
#[test]
fn every_fixture_is_named_by_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    for file in files(&root.join("suite")) {
        if file.extension().is_some_and(|extension| extension == "rs") {
            code += &fs::read_to_string(file).unwrap();
        }
    }
    let components = Specs::embedded().components();
    for component in components {
        for file in files(&root.join("fixtures").join(component.as_str())) {
            let path = file
                .strip_prefix(root.join("fixtures"))
                .unwrap()
                .to_str()
                .unwrap()
                .replace('\\', "/");
            assert!(
                code.contains(&format!("\"{path}\"")),
                "no code names fixtures/{path}"
            );
        }
    }
}

/// Every file below a folder; none if there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
