//! Making a submission: the review comes first, and nothing that it refuses is written.

use std::path::{Path, PathBuf};

use super::open::limit;
use super::{Options, Review, Verdict, review};
use crate::engine::Recording;
use crate::report::html::{self, HTML_FILE};
use crate::report::model::{RESULTS_FILE, Results};
use crate::seal::PrivateKey;
use crate::seal::folder::{self, EVIDENCE_FILE, FolderError, KEY_FILE, RESULT_FILES, SignError};
use crate::seal::product::{MAX_PRODUCT_BYTES, PRODUCT_FILE, Product, ProductError};

/// Why there is no submission.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// `product.yaml` is not usable.
    #[error(transparent)]
    Product(#[from] ProductError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The result cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Something is there already.
    #[error("{0} is there already; submissions are not overwritten")]
    Exists(PathBuf),
    /// The file system refused.
    #[error("cannot write {path}: {error}")]
    Write {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// What became of it.
#[derive(Debug)]
pub struct Submitted {
    /// What a reviewer will see.
    pub review: Review,
    /// The folder, if the review accepts it; otherwise nothing was written.
    pub folder: Option<PathBuf>,
}

/// Makes a submission of a result folder at `out`, or at its place below `reports/`.
pub async fn submit(
    results: &Path,
    product: &Path,
    key: &PrivateKey,
    out: Option<&Path>,
    options: &Options<'_>,
) -> Result<Submitted, SubmitError> {
    let described = Product::read(product)?;
    let out = out.map_or_else(
        || Path::new("reports").join(described.place()),
        Path::to_owned,
    );
    if out.exists() {
        return Err(SubmitError::Exists(out));
    }
    let parent = out.parent().unwrap_or(Path::new(""));
    let missing: Vec<&Path> = parent
        .ancestors()
        .take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists())
        .collect();
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    let draft = parent.join(format!(".{name}.draft-{}", std::process::id()));
    let writing = |error| SubmitError::Write {
        path: draft.clone(),
        error,
    };
    std::fs::create_dir_all(&draft).map_err(writing)?;
    let made = make(results, product, key, &draft, &out, options).await;
    let accepted = matches!(&made, Ok(review) if review.verdict == Verdict::Accepted);
    if accepted {
        std::fs::rename(&draft, &out).map_err(writing)?;
    } else {
        // What was begun goes, with the folders that were made for it; what cannot be removed is no worse than the refusal.
        drop(std::fs::remove_dir_all(&draft));
        for dir in missing {
            drop(std::fs::remove_dir(dir));
        }
    }
    Ok(Submitted {
        review: made?,
        folder: accepted.then_some(out),
    })
}

/// A submission's page names its product, which a run's does not know. What cannot be read is left to the review.
fn put_page(draft: &Path, product: &Product, options: &Options<'_>) -> Result<(), SubmitError> {
    let results = Results::read(&draft.join(RESULTS_FILE));
    let recording = Recording::read(&draft.join(EVIDENCE_FILE));
    let (Ok(results), Ok(recording)) = (results, recording) else {
        return Ok(());
    };
    let nameless = html::Report {
        results: &results,
        specs: options.specs,
        exchanges: &recording.evidence,
        whose: None,
    };
    let path = draft.join(HTML_FILE);
    // A page that somebody changed stays as it is, for the review to refuse.
    if folder::read(draft, HTML_FILE, limit(HTML_FILE))? == html::render(&nameless).as_bytes() {
        let page = html::render(&html::Report {
            whose: Some(product.whose()),
            ..nameless
        });
        std::fs::write(&path, page).map_err(|error| SubmitError::Write { path, error })?;
    }
    Ok(())
}

async fn make(
    results: &Path,
    product: &Path,
    key: &PrivateKey,
    draft: &Path,
    out: &Path,
    options: &Options<'_>,
) -> Result<Review, SubmitError> {
    let put = |name: &str, bytes: &[u8]| {
        let path = draft.join(name);
        std::fs::write(&path, bytes).map_err(|error| SubmitError::Write { path, error })
    };
    for name in RESULT_FILES {
        put(name, &folder::read(results, name, limit(name))?)?;
    }
    put_page(draft, &Product::read(product)?, options)?;
    put(
        PRODUCT_FILE,
        &folder::read_path(product, MAX_PRODUCT_BYTES)?,
    )?;
    put(KEY_FILE, key.public().to_pem().as_bytes())?;
    folder::sign_for(draft, key, options.specs.program())?;
    let options = Options {
        place: Some(out.to_owned()),
        ..options.clone()
    };
    let mut review = review(draft, &options).await;
    review.folder = out.display().to_string();
    Ok(review)
}
