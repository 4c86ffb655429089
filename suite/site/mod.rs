//! The results site: every submission below a folder as pages that any web server, or a file system, serves.
//!
//! A submission is somebody's claim here as in a [review](crate::review), which decides what is shown of it: of an
//! accepted one everything, made again from its evidence; of one that another version of the suite made what it says,
//! marked as such; of a refused one its place and why. The same folder and date give the same bytes.

mod badge;
mod feed;
mod find;
mod pages;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use jiff::civil::Date;

pub use find::Place;

use crate::report::html::{self, Exchanges};
use crate::report::model::{LevelTotals, Outcome, Results, Target};
use crate::review::{self, Options, Refusal, Review, Seen, Verdict};
use crate::seal::Product;
use crate::seal::submission::Record;

/// The most known deviations of one submission that are shown.
const MAX_DEVIATIONS: usize = 100;

/// Why there is no site.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The folder of submissions cannot be looked through.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It holds more than is looked at.
    #[error("{path} holds more than {most} folders of submissions")]
    TooMany {
        /// The folder.
        path: PathBuf,
        /// The most that are looked at.
        most: usize,
    },
    /// The reviews cannot be made.
    #[error("the submissions cannot be reviewed: {0}")]
    Review(std::io::Error),
    /// A page cannot be written.
    #[error("cannot write {path}: {error}")]
    Write {
        /// The page.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// A submission as the site has it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where it is.
    pub place: Place,
    /// What the review came to.
    pub verdict: Verdict,
    /// Why it was not accepted.
    pub refusals: Vec<Refusal>,
    /// What is shown of it; nothing of a refused one.
    pub shown: Option<Shown>,
}

/// What the site tells of a submission.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Whose product it is.
    pub product: Product,
    /// For how long it counts.
    pub record: Record,
    /// What the run came to.
    pub verdict: crate::report::Verdict,
    /// The numbers of checks by component.
    pub totals: IndexMap<String, LevelTotals>,
    /// The versions that the components said.
    pub versions: BTreeMap<String, String>,
    /// What failed and is known upstream: requirement, what is wrong, and the issue.
    pub deviations: Vec<(String, String, String)>,
    /// The profile.
    pub profile: String,
    /// The Kubernetes version.
    pub kubernetes: Option<String>,
    /// The version of the suite.
    pub suite: String,
    /// Its whole report.
    pub report: String,
}

/// Reviews every submission below a folder: `RELEASE/PRODUCT/VERSION`, and samples below `sample/`.
pub fn collect(root: &Path, options: &Options<'_>) -> Result<Vec<Entry>, SiteError> {
    let found = find::find(root)?;
    let mut entries: Vec<Entry> = found.misplaced.into_iter().map(misplaced).collect();
    for sample in [false, true] {
        let places: Vec<&Place> = found.places.iter().filter(|p| p.sample == sample).collect();
        let folders: Vec<PathBuf> = places.iter().map(|place| root.join(place.path())).collect();
        let options = Options {
            allow_sample: sample,
            place: None,
            ..options.clone()
        };
        let seen = review::review_all_seeing(&folders, &options, |review, seen| {
            (shown(&review, seen, &options), review)
        });
        let seen = seen.map_err(SiteError::Review)?;
        entries.extend(
            places
                .into_iter()
                .zip(seen)
                .map(|(place, (shown, review))| Entry {
                    place: place.clone(),
                    verdict: review.verdict,
                    refusals: review.refusals,
                    shown,
                }),
        );
    }
    Ok(entries)
}

/// What is at no place of a submission is refused before anything of it is read.
fn misplaced((path, message): (String, String)) -> Entry {
    Entry {
        place: Place::of_no_submission(path),
        verdict: Verdict::Refused,
        refusals: vec![Refusal {
            rule: "product/place",
            title: "The submission is at RELEASE/PRODUCT/VERSION",
            message,
        }],
        shown: None,
    }
}

fn shown(review: &Review, seen: Option<Seen>, options: &Options) -> Option<Shown> {
    let Seen {
        results,
        product: Some(product),
        exchanges,
        ..
    } = seen?
    else {
        return None;
    };
    match review.verdict {
        Verdict::Refused => None,
        Verdict::Accepted => Some(Shown::of(results, product, exchanges, options)),
        // Another version's evidence is not ours to show, and of its claims only such as it could have accepted.
        Verdict::NoVerdict => {
            let of_a_cluster = results.submittable && results.run.target == Target::Cluster;
            let plausible = results.verdict == crate::report::Verdict::Conformant
                && (of_a_cluster || options.allow_sample);
            plausible.then(|| Shown::of(results, product, &Exchanges::new(), options))
        }
    }
}

impl Shown {
    fn of(results: &Results, product: &Product, exchanges: &Exchanges, options: &Options) -> Self {
        let deviating = results
            .checks
            .iter()
            .filter(|c| c.outcome == Outcome::Failed);
        let deviations = deviating.filter_map(|check| {
            let known = check.known_deviation.as_ref()?;
            Some((check.id.clone(), known.summary.clone(), known.issue.clone()))
        });
        let versions = results.components.iter();
        Self {
            product: product.clone(),
            record: Record::new(product, results, options.specs.program()),
            verdict: results.verdict,
            totals: results.totals.clone(),
            versions: versions
                .filter_map(|c| Some((c.name.clone(), c.version.clone()?)))
                .collect(),
            deviations: deviations.take(MAX_DEVIATIONS).collect(),
            profile: results.run.profile.clone(),
            kubernetes: results.cluster.version.clone(),
            suite: results.suite.version.clone(),
            report: html::render(&html::Report {
                results,
                specs: options.specs,
                exchanges,
                whose: Some(product.whose()),
            }),
        }
    }
}

/// How a submission stands on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It counts.
    Valid,
    /// Its time is over.
    Ended,
    /// Another version of the suite made it, and judges it.
    Claimed,
    /// It shows how a submission looks.
    Sample,
    /// It was refused.
    Refused,
}

impl Entry {
    /// How it stands on a day.
    pub fn standing(&self, date: Date) -> Standing {
        match (&self.shown, self.verdict) {
            (None, _) | (_, Verdict::Refused) => Standing::Refused,
            (Some(_), _) if self.place.sample => Standing::Sample,
            (Some(shown), _) if shown.record.valid_until < date => Standing::Ended,
            (Some(_), Verdict::NoVerdict) => Standing::Claimed,
            (Some(_), Verdict::Accepted) => Standing::Valid,
        }
    }
}

/// The files of the site by their path.
pub fn render(entries: &[Entry], date: Date) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    files.insert("index.html".to_owned(), pages::index(entries, date));
    files.insert("feed.json".to_owned(), feed::feed(entries, date));
    let mut distributions: BTreeMap<(bool, &str), Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        if let Some(shown) = &entry.shown {
            files.insert(entry.place.report_page(), shown.report.clone());
            let key = (entry.place.sample, entry.place.product.as_str());
            distributions.entry(key).or_default().push(entry);
        }
    }
    for entries in distributions.values_mut() {
        entries.sort_by_key(|entry| std::cmp::Reverse(newest_first(entry)));
        let newest = entries[0];
        files.insert(newest.place.page(), pages::distribution(entries, date));
        files.insert(newest.place.badge(), badge::badge(newest, date));
    }
    files
}

/// What orders submissions of a product: the release, then the day of the run, then the version.
fn newest_first(entry: &Entry) -> (Option<crate::spec::ReleaseName>, Option<Date>, &str) {
    (
        entry.place.release.parse().ok(),
        entry.shown.as_ref().map(|shown| shown.record.valid_from),
        &entry.place.version,
    )
}

/// Writes the files below a folder.
pub fn write(files: &BTreeMap<String, String>, out: &Path) -> Result<(), SiteError> {
    for (name, text) in files {
        let path = out.join(name);
        let parent = path.parent().unwrap_or(out);
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&path, text))
            .map_err(|error| SiteError::Write { path, error })?;
    }
    Ok(())
}
