//! The files that checks apply, embedded in the binary.

use include_dir::{Dir, include_dir};
use serde_json::Value;

/// What a run needs of fixtures/: what checks apply, and the resource definitions that the reference serves.
static FIXTURES: [(&str, Dir<'static>); 8] = [
    (
        "pipelines",
        include_dir!("$CARGO_MANIFEST_DIR/fixtures/pipelines"),
    ),
    (
        "notebooks",
        include_dir!("$CARGO_MANIFEST_DIR/fixtures/notebooks"),
    ),
    (
        "platform",
        include_dir!("$CARGO_MANIFEST_DIR/fixtures/platform"),
    ),
    ("katib", include_dir!("$CARGO_MANIFEST_DIR/fixtures/katib")),
    (
        "kserve",
        include_dir!("$CARGO_MANIFEST_DIR/fixtures/kserve"),
    ),
    (
        "trainer",
        include_dir!("$CARGO_MANIFEST_DIR/fixtures/trainer"),
    ),
    ("spark", include_dir!("$CARGO_MANIFEST_DIR/fixtures/spark")),
    ("crds", include_dir!("$CARGO_MANIFEST_DIR/fixtures/crds")),
];

/// A file of fixtures/, as it is.
pub fn text(path: &str) -> Result<&'static str, String> {
    path.split_once('/')
        .and_then(|(folder, file)| {
            let (_, embedded) = FIXTURES.iter().find(|(name, _)| *name == folder)?;
            embedded.get_file(file)?.contents_utf8()
        })
        .ok_or_else(|| format!("there is no fixture `fixtures/{path}`"))
}

/// A YAML file of fixtures/ with its `<<mark>>`s filled in.
pub fn load(path: &str, marks: &[(&str, &str)]) -> Result<Value, String> {
    serde_saphyr::from_str(&fill(path, marks)?).map_err(|e| format!("fixtures/{path}: {e}"))
}

/// A file of fixtures/ as text, with its `<<mark>>`s filled in. A mark that is not known is an error.
pub fn fill(path: &str, marks: &[(&str, &str)]) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text(path)?;
    while let Some((before, after)) = rest.split_once("<<") {
        let (mark, after) = after
            .split_once(">>")
            .ok_or_else(|| format!("fixtures/{path}: `<<` without `>>`"))?;
        // The later ones win, so that a check can override a mark.
        let value = marks
            .iter()
            .rev()
            .find(|(name, _)| *name == mark)
            .map(|(_, value)| *value);
        out.push_str(before);
        out.push_str(
            value.ok_or_else(|| format!("fixtures/{path}: nothing is known of `<<{mark}>>`"))?,
        );
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}
