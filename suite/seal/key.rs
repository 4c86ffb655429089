//! Key pairs in cosign's files.
//!
//! `PREFIX.pub` is a PEM `PUBLIC KEY` (SPKI, P-256). `PREFIX.key` is a PEM `ENCRYPTED SIGSTORE
//! PRIVATE KEY` around a line of JSON: PKCS#8 in a NaCl secretbox whose key is scrypt of the
//! password. An empty password is legal there, and still encrypts.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use crypto_secretbox::aead::rand_core::RngCore;
use crypto_secretbox::aead::{Aead, KeyInit, OsRng};
use crypto_secretbox::{Nonce, XSalsa20Poly1305};
use p256::ecdsa::signature::{Signer, Verifier};
use p256::ecdsa::{Signature, SigningKey, VerifyingKey};
use p256::elliptic_curve::zeroize::Zeroizing;
use p256::pkcs8::der::pem;
use p256::pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey, LineEnding,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const PEM_LABEL: &str = "ENCRYPTED SIGSTORE PRIVATE KEY";
/// What cosign called it before 1.0; it still reads both.
const OLD_PEM_LABEL: &str = "ENCRYPTED COSIGN PRIVATE KEY";
const KDF: &str = "scrypt";
const CIPHER: &str = "nacl/secretbox";
/// The cost that cosign writes.
const SCRYPT_N: u32 = 65536;
/// The costs that it reads. Every other is refused before deriving: the file names how much memory
/// that takes.
const READABLE_N: [u32; 3] = [32768, 65536, 131_072];
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 1;
/// The largest key file that is read. Real ones have 653 bytes.
const MAX_KEY_BYTES: u64 = 64 * 1024;

/// Why a key could not be made, read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system refused.
    #[error("cannot {verb} `{}`: {source}", path.display())]
    Io {
        /// `read` or `write`.
        verb: &'static str,
        /// The key's file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The file is too large to be a key.
    #[error("`{}` is larger than {MAX_KEY_BYTES} bytes, so it is no key", path.display())]
    TooLarge {
        /// The key's file.
        path: PathBuf,
    },
    /// The key in a file is not as it should be.
    #[error("`{}`: {source}", path.display())]
    In {
        /// The key's file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<KeyError>,
    },
    /// It is no PEM file with an encrypted private key.
    #[error(
        "it is not an encrypted private key (`{PEM_LABEL}`); `kfconform keygen` makes one, and \
         `cosign import-key-pair` turns a plain key into one"
    )]
    NotEncryptedKey,
    /// What is inside the PEM does not have cosign's shape.
    #[error("the private key is damaged: {0}")]
    Damaged(String),
    /// It uses a derivation or a cipher, or a cost of one, that cosign does not use.
    #[error("the private key uses {0}, which is not supported")]
    Unsupported(String),
    /// The password does not open it. A damaged ciphertext looks the same.
    #[error("the password does not open the private key")]
    Password,
    /// What is inside is not a P-256 key.
    #[error("it is not an ECDSA P-256 {0} key in PEM")]
    NotP256(&'static str),
    /// The operating system gives no random numbers.
    #[error("the operating system gives no random numbers")]
    Random,
}

/// The JSON inside an encrypted private key. Its members' order is cosign's.
#[derive(Serialize, Deserialize)]
struct Encrypted {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: KdfParams,
    salt: String,
}

#[derive(Serialize, Deserialize)]
struct KdfParams {
    #[serde(rename = "N")]
    n: u32,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// The key that signs.
pub struct PrivateKey(SigningKey);

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey(of {})", self.public().hint())
    }
}

impl PrivateKey {
    /// A new key from the operating system's random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        loop {
            let secret = Zeroizing::new(random::<32>()?);
            // Of 2^32 numbers, one is beyond the curve's order.
            if let Ok(key) = SigningKey::from_slice(&*secret) {
                return Ok(Self(key));
            }
        }
    }

    /// Opens a key in cosign's encrypted format.
    pub fn open(text: &str, password: &[u8]) -> Result<Self, KeyError> {
        let damaged = |what: &str| KeyError::Damaged(what.to_owned());
        let (label, json) =
            pem::decode_vec(text.trim().as_bytes()).map_err(|_| KeyError::NotEncryptedKey)?;
        if label != PEM_LABEL && label != OLD_PEM_LABEL {
            return Err(KeyError::NotEncryptedKey);
        }
        let Encrypted {
            kdf,
            cipher,
            ciphertext,
        } = serde_json::from_slice(&json).map_err(|e| KeyError::Damaged(e.to_string()))?;
        let KdfParams { n, r, p } = kdf.params;
        if kdf.name != KDF || !READABLE_N.contains(&n) || (r, p) != (SCRYPT_R, SCRYPT_P) {
            let what = format!("the derivation {:?} with N {n}, r {r}, p {p}", kdf.name);
            return Err(KeyError::Unsupported(what));
        }
        if cipher.name != CIPHER {
            return Err(KeyError::Unsupported(format!(
                "the cipher {:?}",
                cipher.name
            )));
        }
        let decode = |what: &str, text: &str| BASE64.decode(text).map_err(|_| damaged(what));
        let salt = decode("its salt is not base64", &kdf.salt)?;
        let nonce = decode("its nonce is not base64", &cipher.nonce)?;
        let nonce: [u8; 24] = nonce
            .try_into()
            .map_err(|_| damaged("its nonce is not 24 bytes"))?;
        let ciphertext = decode("its ciphertext is not base64", &ciphertext)?;

        let secretbox = XSalsa20Poly1305::new((&*derive(password, &salt, n)?).into());
        let pkcs8 = secretbox
            .decrypt(Nonce::from_slice(&nonce), &ciphertext[..])
            .map_err(|_| KeyError::Password)?;
        let pkcs8 = Zeroizing::new(pkcs8);
        SigningKey::from_pkcs8_der(&pkcs8)
            .map(Self)
            .map_err(|_| KeyError::NotP256("private"))
    }

    /// The key in cosign's encrypted format, with new salt and nonce.
    pub fn encrypt(&self, password: &[u8]) -> Result<String, KeyError> {
        self.encrypt_with(password, &random()?, &random()?)
    }

    fn encrypt_with(
        &self,
        password: &[u8],
        salt: &[u8; 32],
        nonce: &[u8; 24],
    ) -> Result<String, KeyError> {
        let damaged = |what: String| KeyError::Damaged(what);
        let pkcs8 = self.0.to_pkcs8_der().map_err(|e| damaged(e.to_string()))?;
        let secretbox = XSalsa20Poly1305::new((&*derive(password, salt, SCRYPT_N)?).into());
        let ciphertext = secretbox
            .encrypt(Nonce::from_slice(nonce), pkcs8.as_bytes())
            .map_err(|e| damaged(e.to_string()))?;
        let json = serde_json::to_vec(&Encrypted {
            kdf: Kdf {
                name: KDF.to_owned(),
                params: KdfParams {
                    n: SCRYPT_N,
                    r: SCRYPT_R,
                    p: SCRYPT_P,
                },
                salt: BASE64.encode(salt),
            },
            cipher: Cipher {
                name: CIPHER.to_owned(),
                nonce: BASE64.encode(nonce),
            },
            ciphertext: BASE64.encode(ciphertext),
        });
        let json = json.map_err(|e| damaged(e.to_string()))?;
        pem::encode_string(PEM_LABEL, LineEnding::LF, &json).map_err(|e| damaged(e.to_string()))
    }

    /// Reads `PREFIX.key`.
    pub fn read(path: &Path, password: &[u8]) -> Result<Self, KeyError> {
        Self::open(&Zeroizing::new(read(path)?), password).map_err(in_file(path))
    }

    /// Writes `PREFIX.key`, readable by its owner alone, and `PREFIX.pub`. A file that is there
    /// already is never replaced: it may be the only copy of a key.
    pub fn write_pair(
        &self,
        prefix: &Path,
        password: &[u8],
    ) -> Result<(PathBuf, PathBuf), KeyError> {
        let with = |suffix| {
            let mut path = prefix.as_os_str().to_owned();
            path.push(suffix);
            PathBuf::from(path)
        };
        let (key, public) = (with(".key"), with(".pub"));
        if public.exists() {
            // Before the private key is written: half a pair helps nobody.
            return Err(KeyError::Io {
                verb: "write",
                path: public,
                source: std::io::ErrorKind::AlreadyExists.into(),
            });
        }
        write_new(&key, &self.encrypt(password)?, 0o600)?;
        write_new(&public, &self.public().to_pem(), 0o644)?;
        Ok((key, public))
    }

    /// The key that verifies what this one signs.
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.verifying_key())
    }

    /// An ECDSA P-256 signature over the SHA-256 of the message, in ASN.1 DER. It is deterministic
    /// (RFC 6979): the same message always gets the same signature.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = self.0.sign(message);
        signature.to_der().as_bytes().to_vec()
    }
}

/// The key that verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads the text of `PREFIX.pub`.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        VerifyingKey::from_public_key_pem(text.trim())
            .map(Self)
            .map_err(|_| KeyError::NotP256("public"))
    }

    /// Reads `PREFIX.pub`.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        Self::from_pem(&read(path)?).map_err(in_file(path))
    }

    /// The text of `PREFIX.pub`.
    #[expect(clippy::missing_panics_doc, reason = "it cannot")]
    pub fn to_pem(&self) -> String {
        let pem = self.0.to_public_key_pem(LineEnding::LF);
        pem.expect("a point on the curve has an encoding")
    }

    /// The key's name in bundles: base64 of the SHA-256 of its SPKI encoding.
    #[expect(clippy::missing_panics_doc, reason = "it cannot")]
    pub fn hint(&self) -> String {
        let spki = self.0.to_public_key_der();
        let spki = spki.expect("a point on the curve has an encoding");
        BASE64.encode(Sha256::digest(spki.as_bytes()))
    }

    /// Whether a signature in ASN.1 DER is this key's over the SHA-256 of the message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_der(signature).is_ok_and(|s| self.0.verify(message, &s).is_ok())
    }
}

fn derive(password: &[u8], salt: &[u8], n: u32) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let unsupported = || KeyError::Unsupported(format!("scrypt with N {n}"));
    let log_n = u8::try_from(n.ilog2()).map_err(|_| unsupported())?;
    let params = scrypt::Params::new(log_n, SCRYPT_R, SCRYPT_P).map_err(|_| unsupported())?;
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(password, salt, &params, &mut *key).map_err(|_| unsupported())?;
    Ok(key)
}

fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|_| KeyError::Random)?;
    Ok(bytes)
}

fn in_file(path: &Path) -> impl FnOnce(KeyError) -> KeyError {
    move |source| KeyError::In {
        path: path.to_owned(),
        source: Box::new(source),
    }
}

fn read(path: &Path) -> Result<String, KeyError> {
    let io = |source| KeyError::Io {
        verb: "read",
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(io)?;
    let mut text = String::new();
    file.take(MAX_KEY_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(io)?;
    if text.len() as u64 > MAX_KEY_BYTES {
        return Err(KeyError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(text)
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), KeyError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| KeyError::Io {
            verb: "write",
            path: path.to_owned(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::test_vectors::{read, text};

    #[test]
    fn keys_of_cosign_are_opened() {
        for (name, password) in [("cosign", "secret"), ("imported", "secret"), ("nopass", "")] {
            let key = PrivateKey::open(&text(&format!("{name}.key")), password.as_bytes()).unwrap();
            let public = PublicKey::from_pem(&text(&format!("{name}.pub"))).unwrap();
            assert_eq!(key.public(), public, "{name}");
            assert_eq!(public.to_pem(), text(&format!("{name}.pub")));
        }
    }

    #[test]
    fn a_signature_of_cosign_verifies_and_none_over_other_bytes_does() {
        let public = PublicKey::from_pem(&text("cosign.pub")).unwrap();
        let signature = BASE64.decode(text("report.sig").trim()).unwrap();
        assert!(public.verifies(&read("report.json"), &signature));
        assert!(!public.verifies(&read("tampered.json"), &signature));
        let other = PublicKey::from_pem(&text("nopass.pub")).unwrap();
        assert!(!other.verifies(&read("report.json"), &signature));
    }

    #[test]
    fn a_blob_bundle_of_cosign_verifies() {
        let bundle: serde_json::Value =
            serde_json::from_slice(&read("report.sigstore.json")).unwrap();
        let public = PublicKey::from_pem(&text("cosign.pub")).unwrap();
        assert_eq!(
            bundle["verificationMaterial"]["publicKey"]["hint"],
            public.hint()
        );
        let signature = bundle["messageSignature"]["signature"].as_str().unwrap();
        assert!(public.verifies(&read("report.json"), &BASE64.decode(signature).unwrap()));
    }

    #[test]
    fn what_is_written_is_byte_for_byte_what_cosign_accepted() {
        let key = PrivateKey(SigningKey::from_slice(&[7; 32]).unwrap());
        let written = key.encrypt_with(b"pw2", &[3; 32], &[9; 24]).unwrap();
        assert_eq!(written, text("rust.key"));
        assert_eq!(key.public().to_pem(), text("rust.pub"));
        let key = PrivateKey::open(&text("cosign.key"), b"secret").unwrap();
        let signature = key.sign(&read("report.json"));
        assert_eq!(BASE64.encode(signature), text("rust.sig"));
    }

    #[test]
    fn a_new_pair_opens_with_its_password_only_and_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = folder.path().join("a.b");
        let key = PrivateKey::generate().unwrap();
        let (private, public) = key.write_pair(&prefix, b"x").unwrap();
        assert!(private.ends_with("a.b.key") && public.ends_with("a.b.pub"));
        assert_eq!(PublicKey::read(&public).unwrap(), key.public());
        assert_eq!(
            PrivateKey::read(&private, b"x").unwrap().public(),
            key.public()
        );
        for wrong in ["y", ""] {
            let error = PrivateKey::read(&private, wrong.as_bytes()).unwrap_err();
            let KeyError::In { source, .. } = error else {
                panic!("{error}");
            };
            assert!(matches!(*source, KeyError::Password), "{source}");
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                std::fs::metadata(&private).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        let again = PrivateKey::generate().unwrap();
        assert_ne!(again.public(), key.public());
        assert!(matches!(
            again.write_pair(&prefix, b"x"),
            Err(KeyError::Io { verb: "write", .. })
        ));
        assert_eq!(PublicKey::read(&public).unwrap(), key.public());
        std::fs::remove_file(&private).unwrap();
        assert!(again.write_pair(&prefix, b"x").is_err());
        assert!(!private.exists());
        let error = PublicKey::read(&{
            std::fs::write(&private, "x").unwrap();
            private
        });
        let error = error.unwrap_err().to_string();
        assert!(
            error.ends_with("a.b.key`: it is not an ECDSA P-256 public key in PEM"),
            "{error}"
        );
    }

    /// `rust.key` with another JSON inside, its PEM put on one line of 64 columns each.
    fn altered(change: impl Fn(&str) -> String) -> Result<PrivateKey, KeyError> {
        let original = text("rust.key");
        let (label, json) = pem::decode_vec(original.trim().as_bytes()).unwrap();
        let json = change(&String::from_utf8(json).unwrap());
        let text = pem::encode_string(label, LineEnding::LF, json.as_bytes()).unwrap();
        PrivateKey::open(&text, b"pw2")
    }

    #[test]
    fn only_the_costs_of_cosign_are_derived() {
        altered(str::to_owned).unwrap();
        for (from, to) in [
            ("65536", "1073741824"),
            ("65536", "16384"),
            ("65536", "0"),
            ("\"r\":8", "\"r\":1048576"),
            ("\"p\":1", "\"p\":1048576"),
            ("scrypt", "argon2"),
            ("nacl/secretbox", "none"),
        ] {
            let error = altered(|json| json.replace(from, to)).unwrap_err();
            assert!(matches!(error, KeyError::Unsupported(_)), "{to}: {error}");
        }
        // Readable costs derive another key than the one that encrypted.
        for n in ["32768", "131072"] {
            let error = altered(|json| json.replace("65536", n)).unwrap_err();
            assert!(matches!(error, KeyError::Password), "{n}: {error}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_reason() {
        let open = |text: &str| PrivateKey::open(text, b"").unwrap_err();
        assert!(matches!(open(""), KeyError::NotEncryptedKey));
        assert!(matches!(
            open(&text("cosign.pub")),
            KeyError::NotEncryptedKey
        ));
        for (from, to) in [
            ("\"N\":65536", "\"N\":-1"),
            ("\"nonce\":\"", "\"nonce\":\"AAAA"),
            ("\"salt\":\"", "\"salt\":\"*"),
            ("{", "["),
        ] {
            let error = altered(|json| json.replacen(from, to, 1)).unwrap_err();
            assert!(matches!(error, KeyError::Damaged(_)), "{to}: {error}");
        }
        assert!(matches!(
            PublicKey::from_pem("x"),
            Err(KeyError::NotP256("public"))
        ));
        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("large");
        std::fs::write(&large, vec![b' '; MAX_KEY_BYTES as usize + 1]).unwrap();
        assert!(matches!(
            PublicKey::read(&large),
            Err(KeyError::TooLarge { .. })
        ));
    }

    #[test]
    fn a_private_key_does_not_show_itself() {
        let key = PrivateKey::open(&text("rust.key"), b"pw2").unwrap();
        assert_eq!(
            format!("{key:?}"),
            format!("PrivateKey(of {})", key.public().hint())
        );
    }
}
