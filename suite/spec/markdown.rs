//! `CONFORMANCE.md`: the requirements as a document.

use super::Specs;

/// The whole of `CONFORMANCE.md`.
pub fn markdown(specs: &Specs) -> String {
    let _ = specs;
    String::new()
}
