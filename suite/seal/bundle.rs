//! The file around the envelope (Sigstore bundle v0.3), as cosign writes it for a key without a log.

use serde::{Deserialize, Serialize};

use super::dsse::{DsseError, Envelope};
use super::key::{PrivateKey, PublicKey};
use super::statement::{Statement, StatementError};

const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// Why a bundle proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It does not have exactly the members of a key-signed attestation without a log.
    #[error("it is not a key-signed attestation bundle: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is of another version.
    #[error("the media type is {0:?}, not `{MEDIA_TYPE}`")]
    MediaType(String),
    /// It says that another key signed.
    #[error("the key {found:?} signed it, not the trusted one `{trusted}`")]
    OtherKey {
        /// The hint in the bundle.
        found: String,
        /// The hint of the key that was asked for.
        trusted: String,
    },
    /// The envelope does not hold.
    #[error(transparent)]
    Dsse(#[from] DsseError),
    /// What is signed is no statement about a test's result.
    #[error(transparent)]
    Statement(#[from] StatementError),
}

/// An attestation with the means to verify it. An unknown member is an error: nothing in the file
/// is left unlooked at.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bundle {
    media_type: String,
    verification_material: VerificationMaterial,
    dsse_envelope: Envelope,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct VerificationMaterial {
    public_key: PublicKeyIdentifier,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublicKeyIdentifier {
    hint: String,
}

impl Bundle {
    /// Signs a statement.
    pub fn sign(statement: &Statement, key: &PrivateKey) -> Self {
        Self::sign_bytes(statement.to_json().as_bytes(), key)
    }

    fn sign_bytes(statement: &[u8], key: &PrivateKey) -> Self {
        Self {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material: VerificationMaterial {
                public_key: PublicKeyIdentifier {
                    hint: key.public().hint(),
                },
            },
            dsse_envelope: Envelope::sign(statement, key),
        }
    }

    /// The text of the file: one line without its end, for every byte of it is to count.
    #[expect(clippy::missing_panics_doc, reason = "it cannot")]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings and lists of them can be written")
    }

    /// The statement in the text of a bundle, once its signature is known to be the key's.
    pub fn verify(json: &[u8], key: &PublicKey) -> Result<Statement, BundleError> {
        Ok(Self::open(json, key)?.0)
    }

    /// The same with the bytes that were signed.
    pub(crate) fn open(json: &[u8], key: &PublicKey) -> Result<(Statement, Vec<u8>), BundleError> {
        let bundle: Self = serde_json::from_slice(json)?;
        if bundle.media_type != MEDIA_TYPE {
            return Err(BundleError::MediaType(bundle.media_type));
        }
        let found = bundle.verification_material.public_key.hint;
        let trusted = key.hint();
        if found != trusted {
            return Err(BundleError::OtherKey { found, trusted });
        }
        let payload = bundle.dsse_envelope.verify(key)?;
        Ok((Statement::parse(&payload)?, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::test_vectors::{read, text};

    fn cosign() -> PublicKey {
        PublicKey::from_pem(&text("cosign.pub")).unwrap()
    }

    #[test]
    fn bundles_of_cosign_verify() {
        // `--statement` keeps our Statement v1, `--predicate` makes cosign write its v0.1.
        for name in [
            "att-statement.sigstore.json",
            "att-predicate.sigstore.json",
            "t6.sigstore.json",
            "rust.att.sigstore.json",
        ] {
            let statement = Bundle::verify(&read(name), &cosign()).expect(name);
            assert_eq!(statement.subject[0].name, "report.json", "{name}");
            assert_eq!(
                statement.predicate.passed_tests,
                ["core.api.profile-crd"],
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_signed_is_byte_for_byte_what_cosign_accepted() {
        let key = PrivateKey::open(&text("cosign.key"), b"secret").unwrap();
        let ours = Bundle::sign_bytes(&read("statement.json"), &key).to_json();
        assert_eq!(
            ours,
            text("rust.att.sigstore.json").replace(",\"keyid\":\"\"", "")
        );
    }

    #[test]
    fn what_cosign_refuses_is_refused() {
        let error = Bundle::verify(&read("rust.att-keyid.sigstore.json"), &cosign()).unwrap_err();
        assert!(
            matches!(error, BundleError::Dsse(DsseError::KeyId(_))),
            "{error}"
        );
    }

    #[test]
    fn each_member_of_a_bundle_counts() {
        let verify = |from: &str, to: &str| {
            let bundle = text("rust.att.sigstore.json");
            assert!(bundle.contains(from), "{from}");
            Bundle::verify(bundle.replacen(from, to, 1).as_bytes(), &cosign())
                .unwrap_err()
                .to_string()
        };
        assert!(verify("v0.3", "v0.2").contains("the media type is"));
        assert!(verify("LneulW0", "LneulW1").contains("not the trusted one"));
        assert!(
            verify("{\"publicKey\"", "{\"tlogEntries\":[],\"publicKey\"").contains("tlogEntries")
        );
        assert!(verify("\"dsseEnvelope\"", "\"messageSignature\"").contains("messageSignature"));
        assert!(
            verify("{\"mediaType\"", "{\"mediaType\":\"\",\"mediaType\"")
                .contains("duplicate field")
        );
        assert!(verify("in-toto+json\"", "in-toto+json\",\"extra\":1").contains("extra"));
        assert!(Bundle::verify(&read("report.sigstore.json"), &cosign()).is_err());
        assert!(Bundle::verify("[".repeat(100_000).as_bytes(), &cosign()).is_err());

        let other = PublicKey::from_pem(&text("nopass.pub")).unwrap();
        let error = Bundle::verify(&read("rust.att.sigstore.json"), &other).unwrap_err();
        assert!(matches!(error, BundleError::OtherKey { .. }), "{error}");
    }
}
