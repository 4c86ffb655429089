//! Signing a result folder, and telling whether one is as it was signed.
//!
//! The formats are those of Sigstore, to the byte, so that stock cosign 2.6 and 3 take what is
//! written here and the reverse: keys in cosign's encrypted PEM, an in-toto Statement v1 with the
//! test-result v0.1 predicate, signed as DSSE with ECDSA P-256 in a bundle v0.3.
//!
//! There is no transparency log: a signature says who claims, not when, nor that a cluster ran.

pub mod bundle;
pub mod dsse;
pub mod folder;
pub mod key;
pub mod product;
pub mod statement;
pub mod submission;

pub use folder::{SignError, Verified, VerifyError, sign, verify};
pub use key::{KeyError, PrivateKey, PublicKey};
pub use product::Product;

#[cfg(test)]
pub(crate) mod test_vectors {
    //! What real cosign 3.1 wrote (`rust.*`: what it accepted of ours), with the password `secret`.

    /// The bytes of a file in fixtures/cosign.
    pub fn read(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/cosign/");
        std::fs::read(format!("{folder}{name}")).expect(name)
    }

    /// The text of a file in fixtures/cosign.
    pub fn text(name: &str) -> String {
        String::from_utf8(read(name)).expect(name)
    }
}
