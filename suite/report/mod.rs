//! What a run leaves behind: one model, and pure functions from it to every format that people and machines read.
//!
//! [`model::Results`] is the truth; `junit.xml`, `report.html` and the console text can each be made again from it.

pub mod console;
pub mod html;
pub mod junit;
pub mod model;
pub mod progress;
#[cfg(test)]
pub(crate) mod sample;
pub mod text;

pub use model::{CheckResult, Level, Outcome, Results, Verdict};

/// Writes a file in such a way that a crash leaves either the old one or the new one, never a part.
pub fn write_whole(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;

    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    std::fs::rename(&temporary, path)
}
