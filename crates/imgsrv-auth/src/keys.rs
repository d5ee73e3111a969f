//! Keys that an issuer publishes (RFC 7517, 7518), and what they may verify.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;

/// Keys of an issuer that are looked at.
const MAX_KEYS: usize = 64;
/// Keys that are tried for a token that names none, or a name that several have.
const MAX_TRIED: usize = 8;
/// The sizes of RSA keys that are used, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// How a token may be signed: with a private key, in ways that are not broken. There is no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Algorithm {
    name: &'static str,
    kind: KeyKind,
    library: jsonwebtoken::Algorithm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

const ALGORITHMS: &[Algorithm] = &[
    Algorithm { name: "RS256", kind: KeyKind::Rsa, library: jsonwebtoken::Algorithm::RS256 },
    Algorithm { name: "RS384", kind: KeyKind::Rsa, library: jsonwebtoken::Algorithm::RS384 },
    Algorithm { name: "RS512", kind: KeyKind::Rsa, library: jsonwebtoken::Algorithm::RS512 },
    Algorithm { name: "PS256", kind: KeyKind::Rsa, library: jsonwebtoken::Algorithm::PS256 },
    Algorithm { name: "ES256", kind: KeyKind::P256, library: jsonwebtoken::Algorithm::ES256 },
    Algorithm { name: "ES384", kind: KeyKind::P384, library: jsonwebtoken::Algorithm::ES384 },
    Algorithm { name: "EdDSA", kind: KeyKind::Ed25519, library: jsonwebtoken::Algorithm::EdDSA },
];

impl Algorithm {
    /// The algorithm of that name (RFC 7518, section 3.1; RFC 8037, section 3.1).
    pub(crate) fn named(name: &str) -> Option<Self> {
        ALGORITHMS.iter().copied().find(|algorithm| algorithm.name == name)
    }
}

/// A key as it is published. What is not known of it does not matter.
#[derive(Deserialize)]
struct Published {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

struct Key {
    id: Option<String>,
    kind: KeyKind,
    /// The only algorithm that the key is for, if its issuer says so.
    only: Option<String>,
    public: DecodingKey,
}

impl Key {
    /// The key, if it verifies signatures in a way that we take.
    fn read(published: Published) -> Option<Self> {
        let signs = published.r#use.is_none_or(|purpose| purpose == "sig")
            && published.key_ops.is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        if !signs {
            return None;
        }
        let (x, y) = (published.x.as_deref(), published.y.as_deref());
        let (kind, public) = match (published.kty.as_str(), published.crv.as_deref()) {
            ("RSA", _) => {
                let (modulus, exponent) = (published.n?, published.e?);
                let bits = URL_SAFE_NO_PAD.decode(&modulus).ok()?.iter().skip_while(|byte| **byte == 0).count() * 8;
                RSA_BITS.contains(&bits).then_some(())?;
                (KeyKind::Rsa, DecodingKey::from_rsa_components(&modulus, &exponent).ok()?)
            }
            ("EC", Some("P-256")) => (KeyKind::P256, DecodingKey::from_ec_components(x?, y?).ok()?),
            ("EC", Some("P-384")) => (KeyKind::P384, DecodingKey::from_ec_components(x?, y?).ok()?),
            ("OKP", Some("Ed25519")) => (KeyKind::Ed25519, DecodingKey::from_ed_components(x?).ok()?),
            _ => return None,
        };
        Some(Self { id: published.kid, kind, only: published.alg, public })
    }

    fn fits(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        self.kind == algorithm.kind
            && self.only.as_deref().is_none_or(|only| only == algorithm.name)
            && id.is_none_or(|id| self.id.as_deref() == Some(id))
    }
}

/// The keys of an issuer.
pub(crate) struct KeySet(Vec<Key>);

/// What a set of keys says of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signed {
    /// One of them made it.
    Yes,
    /// None of those that could have made it did.
    No,
    /// None of them could have made it: perhaps one that is newer.
    UnknownKey,
}

impl KeySet {
    /// Reads a JWK set (RFC 7517, section 5). Keys of other kinds and malformed ones are passed over.
    pub(crate) fn read(document: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(document).ok()?;
        let published = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        Some(Self(published.filter_map(Key::read).take(MAX_KEYS).collect()))
    }

    /// Whether one of the keys that fit made `signature`, in base64url, of `message`.
    pub(crate) fn verify(&self, algorithm: Algorithm, id: Option<&str>, message: &str, signature: &str) -> Signed {
        let mut fitting = self.0.iter().filter(|key| key.fits(algorithm, id)).take(MAX_TRIED).peekable();
        if fitting.peek().is_none() {
            return Signed::UnknownKey;
        }
        let made = |key: &Key| {
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.public, algorithm.library).unwrap_or(false)
        };
        match (fitting.any(made), id) {
            (true, _) => Signed::Yes,
            (false, Some(_)) => Signed::No,
            // A key that is not named may be one that is newer.
            (false, None) => Signed::UnknownKey,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rsa_keys_that_are_too_short_or_too_long_are_passed_over() {
        for (bytes, expected) in [(0, 0), (128, 0), (255, 0), (256, 1), (1024, 1), (1025, 0)] {
            // A leading zero does not make a modulus longer.
            for modulus in [vec![0xff; bytes], [vec![0], vec![0xff; bytes]].concat()] {
                let key = json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB"});
                let set = KeySet::read(json!({"keys": [key]}).to_string().as_bytes()).expect("a set");
                assert_eq!(set.0.len(), expected, "{bytes}");
            }
        }
    }

    #[test]
    fn a_set_is_bounded_and_what_is_odd_in_it_passed_over() {
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([1; 32])});
        let many = vec![key; 100];
        assert_eq!(KeySet::read(json!({"keys": many}).to_string().as_bytes()).expect("a set").0.len(), MAX_KEYS);
        let odd = json!({"keys": [null, "x", {"kty": 5}, {"kty": "oct", "k": "AAAA"}, {"kty": "RSA"}]});
        assert_eq!(KeySet::read(odd.to_string().as_bytes()).expect("a set").0.len(), 0);
        for no_set in ["", "[]", "{}", "{\"keys\": {}}", "<html>"] {
            assert!(KeySet::read(no_set.as_bytes()).is_none(), "{no_set}");
        }
    }
}
