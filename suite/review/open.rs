//! The gates before a submission is looked at: each makes sure that the next can read what it needs, within bounds.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use super::{Options, Refusal, Verdict, case};
use crate::engine::Recording;
use crate::report::html::HTML_FILE;
use crate::report::junit::JUNIT_FILE;
use crate::report::model::{RESULTS_FILE, Results};
use crate::seal::folder::{
    self, ATTESTATION_FILE, EVIDENCE_FILE, KEY_FILE, RESULT_FILES, SUBMISSION_FILES, TRUSTED_ROOT,
    TRUSTED_ROOT_FILE, Verified,
};
use crate::seal::product::{MAX_PRODUCT_BYTES, PRODUCT_FILE, Product};
use crate::seal::{PublicKey, VerifyError};

/// The largest files that are read, in bytes. A run of 200 checks on a real cluster leaves a tenth of each or less.
const LIMITS: [(&str, u64); 8] = [
    (RESULTS_FILE, 8 << 20),
    (JUNIT_FILE, 8 << 20),
    (HTML_FILE, 8 << 20),
    (EVIDENCE_FILE, 8 << 20),
    (PRODUCT_FILE, MAX_PRODUCT_BYTES),
    (KEY_FILE, 4 << 10),
    (ATTESTATION_FILE, folder::MAX_ATTESTATION_BYTES),
    (TRUSTED_ROOT_FILE, TRUSTED_ROOT.len() as u64),
];

/// The longest line of `results.json`, in bytes: every text in it is bounded, and stands on a line of its own.
const MAX_LINE: usize = 128 << 10;
/// The most lines of it. A run of 200 checks leaves 4,000.
const MAX_LINES: usize = 50_000;

/// A folder that is being opened.
pub(super) struct Opening<'a> {
    folder: &'a Path,
    options: &'a Options<'a>,
    /// Whether it is to be a submission, and not a bare result.
    submission: bool,
    key: Option<(PublicKey, bool)>,
    verified: Option<Verified>,
    results: Option<Results>,
    product: Option<Product>,
    recording: Option<Recording>,
}

/// A folder whose every file could be read and is as it was signed.
pub(super) struct Opened {
    pub verified: Verified,
    pub key: PublicKey,
    /// Whether the key is one of those that are known.
    pub key_known: bool,
    pub results: Results,
    pub product: Option<Product>,
    pub recording: Recording,
    pub junit: Vec<u8>,
    pub html: Vec<u8>,
    pub folder: std::path::PathBuf,
}

/// Why a folder could not be opened.
pub(super) struct Closed {
    pub verdict: Verdict,
    pub refusal: Refusal,
    /// What another version of the suite found, as it says; nothing of it was made again.
    pub claimed: Option<Box<(Results, Product)>>,
}

type Pass = Result<(), Shut>;

/// Why a gate stays shut.
enum Shut {
    Refused(String),
    NoVerdict(String),
}

/// A refusal in words.
fn no(why: impl ToString) -> Shut {
    Shut::Refused(why.to_string())
}

/// One gate.
pub(super) struct Gate {
    pub id: &'static str,
    pub title: &'static str,
    pass: fn(&mut Opening) -> Pass,
}

pub(super) const GATES: &[Gate] = &[
    Gate {
        id: "files/set",
        title: "The folder holds the files of a submission and no other",
        pass: files_set,
    },
    Gate {
        id: "files/size",
        title: "No file is larger than any run makes it",
        pass: files_size,
    },
    Gate {
        id: "signature/key",
        title: "The key that signed is known, or is given to be known",
        pass: signature_key,
    },
    Gate {
        id: "signature/valid",
        title: "Every file is as it was signed",
        pass: signature_valid,
    },
    Gate {
        id: "suite/version",
        title: "The result is of the version of the suite that reviews it",
        pass: suite_version,
    },
    Gate {
        id: "results/form",
        title: "results.json is as the suite writes it",
        pass: results_form,
    },
    Gate {
        id: "product/form",
        title: "product.yaml has every field, each as it must be",
        pass: product_form,
    },
    Gate {
        id: "evidence/form",
        title: "The evidence is as the suite packs it",
        pass: evidence_form,
    },
];

/// Opens a folder, through every gate. The ids of the gates that were passed go to `held`.
pub(super) fn open(
    folder: &Path,
    options: &Options<'_>,
    held: &mut Vec<&'static str>,
) -> Result<Opened, Closed> {
    let mut opening = Opening {
        folder,
        options,
        submission: false,
        key: None,
        verified: None,
        results: None,
        product: None,
        recording: None,
    };
    let closed = |gate: &Gate, shut: Shut| {
        let (verdict, message) = match shut {
            Shut::Refused(message) => (Verdict::Refused, message),
            Shut::NoVerdict(message) => (Verdict::NoVerdict, message),
        };
        Closed {
            verdict,
            refusal: Refusal {
                rule: gate.id,
                title: gate.title,
                message: case::fit(&message),
            },
            claimed: None,
        }
    };
    for gate in GATES {
        (gate.pass)(&mut opening).map_err(|shut| {
            let closed = closed(gate, shut);
            let claimed = (closed.verdict == Verdict::NoVerdict).then(|| opening.claimed());
            Closed {
                claimed: claimed.flatten(),
                ..closed
            }
        })?;
        held.push(gate.id);
    }
    let last = &GATES[GATES.len() - 1];
    let junit = opening
        .read(JUNIT_FILE)
        .map_err(|shut| closed(last, shut))?;
    let html = opening.read(HTML_FILE).map_err(|shut| closed(last, shut))?;
    let Opening {
        key: Some((key, key_known)),
        verified: Some(verified),
        results: Some(results),
        product,
        recording: Some(recording),
        ..
    } = opening
    else {
        unreachable!("each gate that was passed has left what it read");
    };
    Ok(Opened {
        verified,
        key,
        key_known,
        results,
        product,
        recording,
        junit,
        html,
        folder: folder.to_owned(),
    })
}

impl Opening<'_> {
    /// The results and the product, where this version can read another's.
    fn claimed(&self) -> Option<Box<(Results, Product)>> {
        let bytes = self.read(RESULTS_FILE).ok()?;
        let results = Results::parse(&bytes, Path::new(RESULTS_FILE)).ok()?;
        let product = Product::parse(&self.read(PRODUCT_FILE).ok()?, PRODUCT_FILE).ok()?;
        Some(Box::new((results, product)))
    }

    /// The bytes of a signed file, which are those that were signed: it could have been changed since that was seen.
    fn read(&self, name: &str) -> Result<Vec<u8>, Shut> {
        let bytes = folder::read(self.folder, name, limit(name)).map_err(no)?;
        let verified = self.verified.as_ref();
        let signed = verified.and_then(|v| v.files.iter().find(|file| file.name == name));
        if signed.is_none_or(|file| file.sha256 != crate::digest::sha256(&bytes)) {
            return Err(no(format!("`{name}` is not what was signed")));
        }
        Ok(bytes)
    }
}

/// The most bytes that are read of a file of a submission.
pub(super) fn limit(name: &str) -> u64 {
    let known = LIMITS.iter().find(|(known, _)| *known == name);
    known.map_or(0, |(_, limit)| *limit)
}

fn files_set(opening: &mut Opening) -> Pass {
    let present = folder::files(opening.folder).map_err(no)?;
    opening.submission = SUBMISSION_FILES.iter().any(|name| present.contains(*name));
    let extra = if opening.submission {
        &SUBMISSION_FILES[..]
    } else {
        &[]
    };
    let wanted: BTreeSet<&str> = [ATTESTATION_FILE, TRUSTED_ROOT_FILE]
        .iter()
        .chain(&RESULT_FILES)
        .chain(extra)
        .copied()
        .collect();
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|name| !present.contains(**name))
        .copied()
        .collect();
    let other: Vec<&str> = present
        .iter()
        .map(String::as_str)
        .filter(|name| !wanted.contains(name))
        .collect();
    match (missing.as_slice(), other.as_slice()) {
        ([], []) => Ok(()),
        ([], other) => Err(no(format!(
            "{} does not belong to a submission",
            other.join(", ")
        ))),
        (missing, _) => Err(no(format!("there is no {}", missing.join(", no ")))),
    }
}

fn files_size(opening: &mut Opening) -> Pass {
    for name in folder::files(opening.folder).map_err(no)? {
        let path = opening.folder.join(&name);
        let size = std::fs::symlink_metadata(path).map_err(no)?.len();
        if size > limit(&name) {
            return Err(no(format!(
                "`{name}` has {size} bytes, more than {}",
                limit(&name)
            )));
        }
    }
    Ok(())
}

fn signature_key(opening: &mut Opening) -> Pass {
    let trust = &opening.options.trust;
    let own = if opening.submission {
        let bytes = folder::read(opening.folder, KEY_FILE, limit(KEY_FILE)).map_err(no)?;
        let text = std::str::from_utf8(&bytes).map_err(no)?;
        let key = PublicKey::from_pem(text).map_err(|e| no(format!("`{KEY_FILE}`: {e}")))?;
        if key.to_pem() != text {
            return Err(no(format!("`{KEY_FILE}` holds more than a key")));
        }
        Some(key)
    } else {
        None
    };
    let attestation = || {
        folder::read(
            opening.folder,
            ATTESTATION_FILE,
            folder::MAX_ATTESTATION_BYTES,
        )
    };
    opening.key = match (own, trust.as_slice()) {
        (Some(own), []) => Some((own, false)),
        (Some(own), trust) if trust.iter().any(|key| key.hint() == own.hint()) => Some((own, true)),
        (Some(own), _) => {
            return Err(no(format!(
                "the key {} is none of those that are trusted",
                own.hint()
            )));
        }
        (None, []) => {
            return Err(no(
                "a bare result does not hold the key that signed it; name that with --trust",
            ));
        }
        (None, [key]) => Some((*key, true)),
        (None, trust) => {
            let attestation = attestation().map_err(no)?;
            let signs =
                |key: &&PublicKey| crate::seal::bundle::Bundle::verify(&attestation, key).is_ok();
            let Some(key) = trust.iter().find(signs) else {
                return Err(no("none of the trusted keys signed it"));
            };
            Some((*key, true))
        }
    };
    Ok(())
}

fn signature_valid(opening: &mut Opening) -> Pass {
    let Some((key, _)) = &opening.key else {
        return Err(no("there is no key"));
    };
    let verified = folder::verify(opening.folder, key).map_err(|error| match error {
        VerifyError::Subject(why) => no(format!("what was signed is no list of files: {why}")),
        error => no(error),
    })?;
    opening.verified = Some(verified);
    Ok(())
}

/// The verdict of one version is not another's to give: its checks or specs may differ.
fn suite_version(opening: &mut Opening) -> Pass {
    #[derive(Deserialize)]
    struct Header {
        suite: Suite,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Suite {
        version: String,
        #[serde(default)]
        specs_digest: String,
        #[serde(default)]
        specs_overridden: bool,
    }
    let bytes = opening.read(RESULTS_FILE)?;
    let Ok(Header { suite: theirs }) = serde_json::from_slice::<Header>(&bytes) else {
        // The next gate says what is wrong.
        return Ok(());
    };
    let ours = env!("CARGO_PKG_VERSION");
    let specs = opening.options.specs;
    let version = theirs.version.parse().ok();
    let released = version.and_then(|version| specs.program().suite(&version));
    if theirs.version != ours {
        let so = match released {
            Some(_) => format!("review it with kfconform {}", theirs.version),
            None => "no such version is released, as far as this one knows".to_owned(),
        };
        return Err(Shut::NoVerdict(format!(
            "this is kfconform {ours}, the result is of {}: {so}",
            theirs.version
        )));
    }
    if theirs.specs_digest == specs.digest() || theirs.specs_overridden {
        return Ok(());
    }
    match released {
        // It is this program that was not released so.
        Some(released) if released.specs == theirs.specs_digest => Err(Shut::NoVerdict(format!(
            "this is not kfconform {ours} as it was released, the result is of that: review it with the released program"
        ))),
        // What was released is known, and is not what they had: a rule refuses it.
        Some(_) => Ok(()),
        None => Err(Shut::NoVerdict(format!(
            "kfconform {ours} is not released, and the result is of another build of it: its requirements have the digest \
             `{}`, these `{}`; make the result anew with this program",
            theirs.specs_digest,
            specs.digest()
        ))),
    }
}

fn results_form(opening: &mut Opening) -> Pass {
    let bytes = opening.read(RESULTS_FILE)?;
    let mut lines = bytes.split(|byte| *byte == b'\n').enumerate();
    if let Some((at, line)) = lines.find(|(at, line)| *at > MAX_LINES || line.len() > MAX_LINE) {
        return Err(no(format!(
            "`{RESULTS_FILE}` is larger than any run makes it: line {} has {} bytes",
            at + 1,
            line.len()
        )));
    }
    let results = Results::parse(&bytes, Path::new(RESULTS_FILE)).map_err(no)?;
    if results.to_json().as_bytes() != bytes {
        return Err(no(format!(
            "`{RESULTS_FILE}` holds something that the suite does not write, or not as it writes it"
        )));
    }
    opening.results = Some(results);
    Ok(())
}

fn product_form(opening: &mut Opening) -> Pass {
    if opening.submission {
        let bytes = opening.read(PRODUCT_FILE)?;
        opening.product = Some(Product::parse(&bytes, PRODUCT_FILE).map_err(no)?);
    }
    Ok(())
}

fn evidence_form(opening: &mut Opening) -> Pass {
    let bytes = opening.read(EVIDENCE_FILE)?;
    opening.recording = Some(Recording::unpack(bytes.as_slice()).map_err(no)?);
    Ok(())
}
