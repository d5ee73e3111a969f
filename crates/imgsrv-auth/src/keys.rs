//! Public keys of an issuer (RFC 7517, 7518), and which signatures they verify.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// Most keys of an issuer that are used.
const MAX_KEYS: usize = 64;
/// Most keys tried for a token that names none, or a key id that several keys share.
const MAX_TRIED: usize = 8;
/// Accepted sizes of RSA keys, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Accepted signature algorithms, by kind of key: asymmetric and unbroken ones only.
const RSA: &[Algorithm] = &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256];
const P256: &[Algorithm] = &[Algorithm::ES256];
const P384: &[Algorithm] = &[Algorithm::ES384];
const ED25519: &[Algorithm] = &[Algorithm::EdDSA];

/// Whether tokens signed with `algorithm` are accepted at all.
pub(crate) fn is_accepted(algorithm: Algorithm) -> bool {
    [RSA, P256, P384, ED25519].iter().any(|algorithms| algorithms.contains(&algorithm))
}

struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    public: DecodingKey,
}

impl Key {
    /// The key, if it verifies signatures with an accepted algorithm.
    fn from_jwk(jwk: &Jwk) -> Option<Self> {
        let common = &jwk.common;
        let is_for_signatures = common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature)
            && common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        if !is_for_signatures {
            return None;
        }
        let algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(key) if RSA_BITS.contains(&bits(&key.n)?) => RSA,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => P256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => P384,
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => ED25519,
            _ => return None,
        };
        let is_allowed =
            |algorithm: &Algorithm| common.key_algorithm.is_none_or(|only| only == KeyAlgorithm::from(*algorithm));
        let algorithms = algorithms.iter().copied().filter(is_allowed).collect();
        Some(Self { id: common.key_id.clone(), algorithms, public: DecodingKey::from_jwk(jwk).ok()? })
    }

    fn matches(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        self.algorithms.contains(&algorithm) && id.is_none_or(|id| self.id.as_deref() == Some(id))
    }
}

/// The size of an RSA modulus in base64url; leading zeros do not count.
fn bits(modulus: &str) -> Option<usize> {
    Some(URL_SAFE_NO_PAD.decode(modulus).ok()?.iter().skip_while(|byte| **byte == 0).count() * 8)
}

/// The keys of an issuer.
pub(crate) struct KeySet(Vec<Key>);

/// Result of verifying a signature against a key set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verification {
    /// One of the keys made the signature.
    Valid,
    /// A key with the token's key id exists, and did not make the signature.
    Invalid,
    /// No key matches; the issuer may have published a newer one.
    UnknownKey,
}

impl KeySet {
    /// Parses a JWK set (RFC 7517, section 5). Malformed keys and keys of other kinds are ignored, so one of them does
    /// not make the others unusable.
    pub(crate) fn parse(document: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(document).ok()?;
        let keys = set.keys.into_iter().filter_map(|key| Key::from_jwk(&serde_json::from_value(key).ok()?));
        Some(Self(keys.take(MAX_KEYS).collect()))
    }

    /// Whether one of the matching keys made `signature`, in base64url, of `message`.
    pub(crate) fn verify(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
        message: &str,
        signature: &str,
    ) -> Verification {
        let mut matching = self.0.iter().filter(|key| key.matches(algorithm, id)).take(MAX_TRIED).peekable();
        if matching.peek().is_none() {
            return Verification::UnknownKey;
        }
        let verifies = |key: &Key| {
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.public, algorithm).unwrap_or(false)
        };
        match (matching.any(verifies), id) {
            (true, _) => Verification::Valid,
            (false, Some(_)) => Verification::Invalid,
            // Without a key id, the token may be signed by a newer key.
            (false, None) => Verification::UnknownKey,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rsa_keys_that_are_too_short_or_too_long_are_ignored() {
        for (bytes, expected) in [(0, 0), (128, 0), (255, 0), (256, 1), (1024, 1), (1025, 0)] {
            // Leading zeros do not count.
            for modulus in [vec![0xff; bytes], [vec![0], vec![0xff; bytes]].concat()] {
                let key = json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB"});
                let set = KeySet::parse(json!({"keys": [key]}).to_string().as_bytes()).expect("a set");
                assert_eq!(set.0.len(), expected, "{bytes}");
            }
        }
    }

    #[test]
    fn a_set_is_bounded_and_malformed_keys_are_ignored() {
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([1; 32])});
        let many = vec![key; 100];
        assert_eq!(KeySet::parse(json!({"keys": many}).to_string().as_bytes()).expect("a set").0.len(), MAX_KEYS);
        let odd = json!({"keys": [null, "x", {"kty": 5}, {"kty": "oct", "k": "AAAA"}, {"kty": "RSA"}]});
        assert_eq!(KeySet::parse(odd.to_string().as_bytes()).expect("a set").0.len(), 0);
        for no_set in ["", "[]", "{}", "{\"keys\": {}}", "<html>"] {
            assert!(KeySet::parse(no_set.as_bytes()).is_none(), "{no_set}");
        }
    }
}
