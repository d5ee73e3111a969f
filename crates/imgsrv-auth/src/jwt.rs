//! Strict parsing of signed tokens in compact form (RFC 7515, section 3.1; RFC 7519).

use crate::keys;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use imgsrv_domain::{
    oidc::{ClaimValue, Claims, IssuerUrl, OidcIdentity, VerifiedToken},
    time::Timestamp,
};
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// Most bytes of a token.
const MAX_BYTES: usize = 16 << 10;
/// Most bytes of a key id.
const MAX_KEY_ID: usize = 256;
/// Tolerated difference between the issuer's clock and the catalog's.
const LEEWAY: Duration = Duration::from_secs(30);
/// RFC 3339 cannot express times from here on, at the end of the year 9999, in every time zone.
const END_OF_TIME: f64 = 253_402_207_200.0;
/// Accepted `typ` headers beside none: a JWT, or an access token of RFC 9068. Other kinds, such as logout tokens, are
/// signed with the same keys and mean something else (RFC 8725, section 3.11).
const TYPES: &[&str] = &["jwt", "application/jwt", "at+jwt", "application/at+jwt"];

/// Header parameters that are refused with any value. Keys embedded in a token or referenced by it prove nothing;
/// critical extensions (RFC 7515, section 4.1.11) and other payload encodings (RFC 7797; RFC 7516, section 4.1.3) are
/// not supported.
const REFUSED: &[&str] = &["jwk", "jku", "x5u", "crit", "b64", "zip"];

/// The header parameters that are used.
#[derive(Deserialize)]
struct Header {
    alg: Algorithm,
    kid: Option<String>,
    typ: Option<String>,
}

/// A parsed token. Nothing in it is verified.
pub(crate) struct Unverified<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
    /// The signed part of the token.
    pub(crate) message: &'a str,
    /// The signature, in base64url.
    pub(crate) signature: &'a str,
    claims: Map<String, Value>,
}

impl<'a> Unverified<'a> {
    /// Parses a token; `None` if it cannot be authentic.
    pub(crate) fn parse(token: &'a str) -> Option<Self> {
        if token.len() > MAX_BYTES {
            return None;
        }
        let (message, signature) = token.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        if signature.is_empty() || claims.contains('.') {
            return None;
        }
        let header: Map<String, Value> = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        if REFUSED.iter().any(|name| header.contains_key(*name)) {
            return None;
        }
        let header: Header = serde_json::from_value(header.into()).ok()?;
        let known = header.typ.is_none_or(|typ| TYPES.iter().any(|known| typ.eq_ignore_ascii_case(known)));
        if !known || !keys::is_accepted(header.alg) || header.kid.as_ref().is_some_and(|id| id.len() > MAX_KEY_ID) {
            return None;
        }
        let claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        Some(Self { algorithm: header.alg, key_id: header.kid, message, signature, claims })
    }

    /// The issuer that the token claims.
    pub(crate) fn issuer(&self) -> Option<IssuerUrl> {
        self.claims.get("iss")?.as_str()?.parse().ok()
    }

    /// The identity and claims, if they are valid at `now` (RFC 7519, sections 4.1.2 to 4.1.6).
    pub(crate) fn validated(self, issuer: &IssuerUrl, now: Timestamp) -> Result<VerifiedToken, &'static str> {
        if self.issuer().as_ref() != Some(issuer) {
            return Err("it has a different issuer");
        }
        let subject = self.claims.get("sub").and_then(Value::as_str).ok_or("sub is missing")?;
        let subject = subject.parse().map_err(|_| "sub is not a text of 1 to 1024 bytes")?;
        let expires_at = self.time("exp")?.ok_or("exp is missing")?;
        if expires_at.plus(LEEWAY) <= now {
            return Err("it has expired");
        }
        if self.time("nbf")?.is_some_and(|time| time > now.plus(LEEWAY)) {
            return Err("it is not valid yet");
        }
        if self.time("iat")?.is_some_and(|time| time > now.plus(LEEWAY)) {
            return Err("it was issued in the future");
        }
        let audience = match self.claims.get("aud") {
            None => Vec::new(),
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(several)) => {
                let strings: Option<_> = several.iter().map(|value| value.as_str().map(str::to_owned)).collect();
                strings.ok_or("aud is not a list of strings")?
            }
            Some(_) => return Err("aud is not a string"),
        };
        let identity = OidcIdentity { issuer: issuer.clone(), subject };
        Ok(VerifiedToken { identity, audience, expires_at, claims: claims(self.claims) })
    }

    /// A `NumericDate` (RFC 7519, section 2): seconds since the epoch, with an optional fraction.
    fn time(&self, name: &'static str) -> Result<Option<Timestamp>, &'static str> {
        const MALFORMED: &str = "exp, nbf or iat is not a time";
        let Some(value) = self.claims.get(name) else { return Ok(None) };
        let seconds = value.as_f64().filter(|seconds| (0.0..END_OF_TIME).contains(seconds)).ok_or(MALFORMED)?;
        let since = Duration::try_from_secs_f64(seconds).map_err(|_| MALFORMED)?;
        Ok(Some(Timestamp::from_micros(0).plus(since)))
    }
}

fn claims(map: Map<String, Value>) -> Claims {
    map.into_iter().map(|(name, value)| (name, claim(value))).collect()
}

/// Converts a claim. The JSON parser bounds the nesting.
fn claim(value: Value) -> ClaimValue {
    match value {
        Value::Null => ClaimValue::Null,
        Value::Bool(value) => ClaimValue::Bool(value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => ClaimValue::Int(value),
            (None, Some(value)) => ClaimValue::UInt(value),
            (None, None) => ClaimValue::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(value) => ClaimValue::Text(value),
        Value::Array(values) => ClaimValue::List(values.into_iter().map(claim).collect()),
        Value::Object(map) => ClaimValue::Map(claims(map)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn token(header: &Value, claims: &Value) -> String {
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        format!("{}.{}.c2ln", encode(header), encode(claims))
    }

    #[test]
    fn headers_that_do_not_identify_a_key_of_the_issuer_are_refused() {
        let claims = json!({"iss": "https://i"});
        for header in [json!({"alg": "RS256"}), json!({"alg": "ES384", "kid": "k", "typ": "at+JWT", "x5t": "t"})] {
            assert!(Unverified::parse(&token(&header, &claims)).is_some(), "{header}");
        }
        for header in [
            json!({"alg": "none"}),
            json!({"alg": "NONE"}),
            json!({"alg": "HS256"}),
            json!({"alg": "rs256"}),
            json!({"alg": "RS256", "jwk": {}}),
            json!({"alg": "RS256", "jku": "https://evil"}),
            json!({"alg": "RS256", "x5u": "https://evil"}),
            json!({"alg": "RS256", "crit": ["b64"]}),
            json!({"alg": "RS256", "crit": null}),
            json!({"alg": "RS256", "b64": false}),
            json!({"alg": "RS256", "zip": "DEF"}),
            json!({"alg": "RS256", "kid": 7}),
            json!({"alg": "RS256", "kid": "k".repeat(257)}),
            json!({"alg": "RS256", "typ": "logout+jwt"}),
            json!({"kid": "k"}),
            json!([]),
        ] {
            assert!(Unverified::parse(&token(&header, &claims)).is_none(), "{header}");
        }
        let genuine = token(&json!({"alg": "RS256"}), &claims);
        let (message, _) = genuine.rsplit_once('.').expect("a signature");
        for bad in ["", ".", "..", "a.b.c", &format!("{message}."), &format!("{genuine}.x"), &"a.".repeat(9000)] {
            assert!(Unverified::parse(bad).is_none(), "{bad:.40}");
        }
    }

    #[test]
    fn times_subject_and_issuer_must_be_valid() {
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let issuer: IssuerUrl = "https://i".parse().expect("valid");
        let with = |changes: Value| {
            let mut claims = json!({"iss": "https://i", "sub": "s", "exp": 1_800_000_060, "nbf": 1_799_999_990,
                "iat": 1_799_999_990.5, "aud": ["a", "b"]});
            for (name, value) in changes.as_object().expect("an object") {
                match value {
                    Value::Null => drop(claims.as_object_mut().expect("an object").remove(name)),
                    value => claims[name] = value.clone(),
                }
            }
            let text = token(&json!({"alg": "RS256"}), &claims);
            Unverified::parse(&text).expect("well-formed").validated(&issuer, now)
        };
        let good = with(json!({})).expect("valid");
        assert_eq!((good.identity.subject.as_str(), good.audience.len()), ("s", 2));
        for valid in [
            json!({"nbf": null, "iat": null, "aud": null}),
            json!({"aud": "a"}),
            json!({"exp": 1_799_999_971}),
            json!({"nbf": 1_800_000_030}),
            json!({"iat": 1_800_000_030}),
        ] {
            assert!(with(valid.clone()).is_ok(), "{valid}");
        }
        for bad in [
            json!({"iss": "https://i/"}),
            json!({"iss": null}),
            json!({"sub": null}),
            json!({"sub": ""}),
            json!({"sub": 5}),
            json!({"sub": "s".repeat(1025)}),
            json!({"sub": "\u{e9}".repeat(513)}),
            json!({"sub": "a\u{202e}b"}),
            json!({"exp": null}),
            json!({"exp": "1800000060"}),
            json!({"exp": -1}),
            json!({"exp": 1e300}),
            json!({"exp": 253_402_207_200_i64}),
            json!({"exp": 1_799_999_970}),
            json!({"nbf": 1_800_000_031}),
            json!({"nbf": "now"}),
            json!({"iat": 1_800_000_031}),
            json!({"aud": 5}),
            json!({"aud": ["a", 5]}),
        ] {
            assert!(with(bad.clone()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_input_is_parsed_or_refused_without_panicking(token in "[A-Za-z0-9_.=-]{0,200}", raw in ".{0,100}") {
            let _ = Unverified::parse(&token);
            let _ = Unverified::parse(&raw);
        }
    }
}
