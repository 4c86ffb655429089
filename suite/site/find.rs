//! Where submissions are: `RELEASE/PRODUCT/VERSION`, and whatever lies about instead.

use std::path::Path;

use super::SiteError;
use crate::outcome::shorten;
use crate::report::text::one_line;
use crate::spec::ReleaseName;

/// The most folders that are looked into, on all levels.
const MOST: usize = 20_000;
/// What else may be in the folder: samples are found apart, keys are no submissions.
const SAMPLE: &str = "sample";
const KEYS: &str = "keys";

/// Where a submission is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Whether it is below `sample/`.
    pub sample: bool,
    /// The Kubeflow release; the whole path of what is no submission.
    pub release: String,
    /// The product's name in paths.
    pub product: String,
    /// Its version.
    pub version: String,
}

impl Place {
    /// Something that is at no place of a submission.
    pub fn of_no_submission(path: String) -> Self {
        Self {
            sample: false,
            release: path,
            product: String::new(),
            version: String::new(),
        }
    }

    /// The path below the folder of submissions.
    pub fn path(&self) -> String {
        if self.product.is_empty() {
            return self.release.clone();
        }
        let below = self.below();
        format!("{below}{}/{}/{}", self.release, self.product, self.version)
    }

    fn below(&self) -> &'static str {
        if self.sample { "sample/" } else { "" }
    }

    /// Where the site has its report.
    pub fn report_page(&self) -> String {
        format!("reports/{}.html", self.path())
    }

    /// Where the site has the page of its product.
    pub fn page(&self) -> String {
        format!("{}distributions/{}.html", self.below(), self.product)
    }

    /// Where the site has the badge of its product.
    pub fn badge(&self) -> String {
        format!("{}badges/{}.svg", self.below(), self.product)
    }
}

/// What a folder of submissions holds.
#[derive(Debug, Default)]
pub struct Found {
    /// The places of submissions, in order.
    pub places: Vec<Place>,
    /// What is no place of a submission, with why.
    pub misplaced: Vec<(String, String)>,
}

/// Looks through a folder of submissions, and follows no link.
pub fn find(root: &Path) -> Result<Found, SiteError> {
    let mut walk = Walk {
        root,
        left: MOST,
        found: Found::default(),
    };
    walk.releases("", false)?;
    let mut found = walk.found;
    found.places.sort();
    found.misplaced.sort();
    Ok(found)
}

struct Walk<'a> {
    root: &'a Path,
    left: usize,
    found: Found,
}

impl Walk<'_> {
    fn releases(&mut self, below: &str, sample: bool) -> Result<(), SiteError> {
        for name in self.folders(below, true)? {
            let path = format!("{below}{name}");
            if below.is_empty() && name == SAMPLE {
                self.releases("sample/", true)?;
            } else if below.is_empty() && name == KEYS {
            } else if name.parse::<ReleaseName>().is_ok() {
                self.products(&path, sample, &name)?;
            } else {
                self.misplaced(&path, "the name is no release like `26.03`");
            }
        }
        Ok(())
    }

    fn products(&mut self, below: &str, sample: bool, release: &str) -> Result<(), SiteError> {
        for product in self.folders(&format!("{below}/"), false)? {
            let path = format!("{below}/{product}");
            if !is_product(&product) {
                self.misplaced(
                    &path,
                    "the name of a product's folder has small letters, digits and dashes",
                );
                continue;
            }
            for version in self.folders(&format!("{path}/"), false)? {
                if is_version(&version) {
                    self.found.places.push(Place {
                        sample,
                        release: release.to_owned(),
                        product: product.clone(),
                        version,
                    });
                } else {
                    self.misplaced(&format!("{path}/{version}"), "the name is no version");
                }
            }
        }
        Ok(())
    }

    fn misplaced(&mut self, path: &str, why: &str) {
        let path = shorten(&one_line(path), 300);
        self.found.misplaced.push((path, why.to_owned()));
    }

    /// The names of the folders in a folder. What is none is misplaced, but for `files` of the first level.
    fn folders(&mut self, below: &str, files: bool) -> Result<Vec<String>, SiteError> {
        let path = self.root.join(below);
        let read = |error| SiteError::Read {
            path: path.clone(),
            error,
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(read)? {
            let entry = entry.map_err(read)?;
            self.left = self.left.checked_sub(1).ok_or_else(|| SiteError::TooMany {
                path: self.root.to_owned(),
                most: MOST,
            })?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // The entry's own type: a link is a link, wherever it leads.
            let kind = entry.file_type().map_err(read)?;
            if kind.is_dir() {
                names.push(name);
            } else if kind.is_symlink() || !files {
                self.misplaced(&format!("{below}{name}"), "it is no folder");
            }
        }
        names.sort();
        Ok(names)
    }
}

fn is_product(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=120).contains(&name.len())
        && name.chars().all(plain)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
}

fn is_version(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    (1..=64).contains(&name.len())
        && name.chars().all(plain)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn submissions_are_found_and_what_lies_about_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "26.03/aurora/1.0.0",
            "1.10/aurora/0.9.0+x",
            "sample/26.03/sample-platform/1.0.0",
            "sample/sample/26.03",
            "keys/aurora",
            "latest/aurora/1.0.0",
            "26.03/Aurora/1.0.0",
            "26.03/-x/1.0.0",
            "26.03/aurora/.draft",
            "26.03/aurora/<b>\u{202e}",
        ] {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        std::fs::write(dir.path().join("README.md"), "").unwrap();
        std::fs::write(dir.path().join("26.03/aurora/note.txt"), "").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("/", dir.path().join("26.03/linked")).unwrap();
        let found = find(dir.path()).unwrap();
        let places: Vec<String> = found.places.iter().map(Place::path).collect();
        assert_eq!(
            places,
            [
                "1.10/aurora/0.9.0+x",
                "26.03/aurora/1.0.0",
                "sample/26.03/sample-platform/1.0.0"
            ]
        );
        let misplaced: Vec<&str> = found
            .misplaced
            .iter()
            .map(|(path, _)| path.as_str())
            .collect();
        for path in [
            "latest",
            "26.03/Aurora",
            "26.03/-x",
            "26.03/aurora/.draft",
            "26.03/aurora/<b>\\u{202e}",
            "26.03/aurora/note.txt",
            "sample/sample",
        ] {
            assert!(misplaced.contains(&path), "{path}: {misplaced:?}");
        }
        assert_eq!(misplaced.len(), 7 + usize::from(cfg!(unix)));
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        assert!(matches!(
            find(Path::new("no/such/folder")),
            Err(SiteError::Read { .. })
        ));
    }
}
