//! The named ways in which the reference can be made to deviate.

/// One deviation. Its id is the requirement's that it breaks, with `:variant` behind it where there are several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// `component/group/slug` or `component/group/slug:variant`.
    pub id: &'static str,
    /// What the distribution then does.
    pub says: &'static str,
    /// Why other checks fail with it too; none where exactly one must fail.
    pub wide: Option<&'static str>,
}

impl Fault {
    /// A fault that makes exactly its own check fail.
    pub const fn new(id: &'static str, says: &'static str) -> Self {
        Self {
            id,
            says,
            wide: None,
        }
    }

    /// A fault that makes others fail too, and why.
    pub const fn wide(id: &'static str, says: &'static str, why: &'static str) -> Self {
        Self {
            id,
            says,
            wide: Some(why),
        }
    }

    /// The requirement that it breaks.
    pub fn requirement(&self) -> &'static str {
        requirement_of(self.id)
    }
}

/// The requirement's id in a fault's.
pub fn requirement_of(fault: &str) -> &str {
    fault.split(':').next().unwrap_or(fault)
}
