//! What a run leaves behind: one model, and pure functions from it to every format that people and machines read.
//!
//! [`model::Results`] is the truth; `junit.xml`, `report.html` and the console text can each be made again from it.

pub mod console;
pub mod diff;
pub mod html;
pub mod junit;
pub mod markdown;
pub mod model;
pub mod plugins;
pub mod progress;
#[cfg(test)]
pub(crate) mod sample;
pub mod text;

pub use model::{CheckResult, Level, Outcome, Results, Verdict};

/// Writes the pages that follow from a run's results, `junit.xml` and `report.html`, beside them. Evidence that is not
/// there, or that a reader would not take, gives no time lines.
pub fn write_beside(
    results: &Results,
    specs: &crate::spec::Specs,
    folder: &std::path::Path,
) -> std::io::Result<()> {
    let path = folder.join(crate::engine::recording::EVIDENCE_FILE);
    let exchanges = crate::engine::Recording::read(&path)
        .map_or_else(|_| html::Exchanges::new(), |r| r.evidence);
    let page = html::render(&html::Report {
        results,
        specs,
        exchanges: &exchanges,
        whose: None,
    });
    std::fs::write(folder.join(junit::JUNIT_FILE), junit::render(results))?;
    std::fs::write(folder.join(html::HTML_FILE), page)
}

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
