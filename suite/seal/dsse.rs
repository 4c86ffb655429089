//! The signed envelope (Dead Simple Signing Envelope 1.0).

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{Deserialize, Serialize};

use super::key::{PrivateKey, PublicKey};

/// The payload type of in-toto statements.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// Why an envelope proves nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DsseError {
    /// Its payload is of another type.
    #[error("the payload type is {0:?}, not `{PAYLOAD_TYPE}`")]
    PayloadType(String),
    /// It has no signature, or several: cosign asks for exactly one.
    #[error("the envelope has {0} signatures, not exactly one")]
    Signatures(usize),
    /// The signature carries a key id, with which cosign verifies none.
    #[error("the signature carries the key id {0:?}, which cosign does not accept")]
    KeyId(String),
    /// A field is not standard base64 with padding.
    #[error("the {0} is not base64")]
    Base64(&'static str),
    /// The signature is not the key's, or over something else.
    #[error("the signature does not match: the statement was changed, or another key signed it")]
    Signature,
}

/// A payload and the signature over it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    /// The payload in base64.
    payload: String,
    /// What the payload is.
    payload_type: String,
    /// The signatures.
    signatures: Vec<EnvelopeSignature>,
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeSignature {
    /// ASN.1 DER in base64.
    sig: String,
    /// Read because others write it, even though only an empty one is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
}

/// What is signed: the pre-authentication encoding of type and payload.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    )
    .into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

impl Envelope {
    /// Signs an in-toto statement.
    pub fn sign(payload: &[u8], key: &PrivateKey) -> Self {
        Self {
            payload: BASE64.encode(payload),
            payload_type: PAYLOAD_TYPE.to_owned(),
            signatures: vec![EnvelopeSignature {
                sig: BASE64.encode(key.sign(&pae(PAYLOAD_TYPE, payload))),
                keyid: None,
            }],
        }
    }

    /// The payload, once its one signature is known to be the key's. Nothing looks into the
    /// payload before.
    pub fn verify(&self, key: &PublicKey) -> Result<Vec<u8>, DsseError> {
        if self.payload_type != PAYLOAD_TYPE {
            return Err(DsseError::PayloadType(self.payload_type.clone()));
        }
        let [signature] = &self.signatures[..] else {
            return Err(DsseError::Signatures(self.signatures.len()));
        };
        if let Some(id) = signature.keyid.as_ref().filter(|id| !id.is_empty()) {
            return Err(DsseError::KeyId(id.clone()));
        }
        let decode = |what, text: &str| BASE64.decode(text).map_err(|_| DsseError::Base64(what));
        let payload = decode("payload", &self.payload)?;
        let signature = decode("signature", &signature.sig)?;
        if key.verifies(&pae(&self.payload_type, &payload), &signature) {
            Ok(payload)
        } else {
            Err(DsseError::Signature)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::test_vectors::{read, text};

    fn envelope(name: &str) -> Envelope {
        serde_json::from_slice(&read(name)).unwrap()
    }

    fn cosign() -> PublicKey {
        PublicKey::from_pem(&text("cosign.pub")).unwrap()
    }

    #[test]
    fn the_encoding_is_that_of_the_specification() {
        let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            expected
        );
        assert_eq!(pae("ä", b""), "DSSEv1 2 ä 0 ".as_bytes());
    }

    #[test]
    fn an_envelope_of_cosign_verifies() {
        let payload = envelope("att.dsse.json").verify(&cosign()).unwrap();
        assert_eq!(payload, read("att.intoto.json"));
    }

    #[test]
    fn what_is_signed_is_byte_for_byte_what_cosign_accepted() {
        let key = PrivateKey::open(&text("cosign.key"), b"secret").unwrap();
        let ours = Envelope::sign(&read("statement.json"), &key);
        // The accepted file spells an empty key id; leaving it out is what cosign itself does.
        let accepted = text("rust.dsse.json").replace(",\"keyid\":\"\"", "");
        assert_eq!(serde_json::to_string(&ours).unwrap(), accepted);
        assert_eq!(ours.verify(&cosign()), Ok(read("statement.json")));
        assert_eq!(
            envelope("rust.dsse.json").verify(&cosign()),
            Ok(read("statement.json"))
        );
    }

    #[test]
    fn each_part_of_an_envelope_counts() {
        let verify = |change: fn(&mut Envelope)| {
            let mut envelope = envelope("att.dsse.json");
            change(&mut envelope);
            envelope.verify(&cosign()).unwrap_err()
        };
        let unlike = |e: &mut Envelope| e.payload_type = "application/json".to_owned();
        assert_eq!(
            verify(unlike),
            DsseError::PayloadType("application/json".to_owned())
        );
        assert_eq!(verify(|e| e.signatures.clear()), DsseError::Signatures(0));
        assert_eq!(
            verify(|e| e.signatures.push(e.signatures[0].clone())),
            DsseError::Signatures(2)
        );
        assert_eq!(
            verify(|e| e.signatures[0].keyid = Some("x".to_owned())),
            DsseError::KeyId("x".to_owned())
        );
        assert_eq!(
            verify(|e| e.payload.push(' ')),
            DsseError::Base64("payload")
        );
        assert_eq!(
            verify(|e| { e.signatures[0].sig = e.signatures[0].sig.replace('=', "") }),
            DsseError::Base64("signature")
        );
        assert_eq!(
            verify(|e| e.payload = BASE64.encode("{}")),
            DsseError::Signature
        );
        assert_eq!(
            verify(|e| e.signatures[0].sig = BASE64.encode("0")),
            DsseError::Signature
        );
        let other = PublicKey::from_pem(&text("nopass.pub")).unwrap();
        assert_eq!(
            envelope("att.dsse.json").verify(&other),
            Err(DsseError::Signature)
        );
    }
}
