//! Names nobody chose: uids, suffixes of generated names, tokens.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use crate::digest::hex;

/// A source of identifiers that do not repeat within a world and differ between worlds.
#[derive(Debug)]
pub(super) struct Ids {
    seed: u64,
    next: AtomicU64,
}

impl Ids {
    pub(super) fn new() -> Self {
        Self {
            // The hasher's random keys are the standard library's only source of randomness; loopback needs no better.
            seed: RandomState::new().hash_one(0_u8),
            next: AtomicU64::new(1),
        }
    }

    fn digest(&self, purpose: &str) -> [u8; 32] {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update(count.to_le_bytes());
        hash.update(purpose);
        hash.finalize().into()
    }

    /// A fresh uid.
    pub(super) fn uid(&self) -> String {
        uuid(self.digest("uid"))
    }

    /// Five characters as they end the names that Kubernetes generates.
    pub(super) fn suffix(&self) -> String {
        letters(&self.digest("suffix"), 5)
    }

    /// A secret for a bearer token.
    pub(super) fn secret(&self) -> String {
        hex(&self.digest("secret"))
    }
}

/// Letters and digits without vowels and look-alikes, which Kubernetes uses for generated suffixes and hashes.
fn letters(bytes: &[u8], count: usize) -> String {
    const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    bytes
        .iter()
        .take(count)
        .map(|byte| char::from(SAFE[usize::from(*byte) % SAFE.len()]))
        .collect()
}

fn uuid(mut bytes: [u8; 32]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex(&bytes[..16]);
    format!(
        "{}-{}-{}-{}-{}",
        &text[..8],
        &text[8..12],
        &text[12..16],
        &text[16..20],
        &text[20..]
    )
}

/// The uid that always belongs to this name.
pub(super) fn uid_of(purpose: &str, name: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(purpose);
    hash.update([0]);
    hash.update(name);
    uuid(hash.finalize().into())
}

/// A short hash of a text, as in the names of ReplicaSets.
pub(super) fn short_hash(text: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(text).into();
    letters(&digest, 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_differ_and_have_their_shape() {
        let ids = Ids::new();
        let (a, b) = (ids.uid(), ids.uid());
        assert_ne!(a, b);
        assert_eq!(a.len(), 36);
        assert_eq!(&a[14..15], "4");
        assert_eq!(ids.suffix().len(), 5);
        assert_eq!(uid_of("crd", "x"), uid_of("crd", "x"));
    }
}
