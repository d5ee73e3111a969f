//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header).

use crate::response::problem::{Code, Problem};
use axum::{extract::FromRequestParts, http::request::Parts};
use imgsrv_domain::upload::{IdempotencyKey as Key, InvalidIdempotencyKey};
use utoipa::{
    IntoParams,
    openapi::{
        ObjectBuilder, Required,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::Type,
    },
};

const NAME: &str = "Idempotency-Key";

/// The key of the request, if it has one.
pub(crate) struct IdempotencyKey(pub(crate) Option<Key>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let invalid = |reason: &dyn ToString| Problem::new(Code::InvalidRequest).field(NAME, reason.to_string());
        let mut lines = parts.headers.get_all(NAME).iter();
        let Some(line) = lines.next() else { return Ok(Self(None)) };
        if lines.next().is_some() {
            return Err(invalid(&"must be sent once"));
        }
        let key = line.to_str().map_err(|_| InvalidIdempotencyKey).and_then(parse);
        key.map(|key| Self(Some(key))).map_err(|why| invalid(&why))
    }
}

/// A string in quotes (RFC 9651, section 3.3.3) or, as most clients send it, the bare key. Both are the same key.
fn parse(value: &str) -> Result<Key, InvalidIdempotencyKey> {
    let Some(quoted) = value.strip_prefix('"') else {
        // A bare key with these characters would be something else in a structured field.
        return if value.contains(['"', ',', ';']) { Err(InvalidIdempotencyKey) } else { value.parse() };
    };
    let quoted = quoted.strip_suffix('"').ok_or(InvalidIdempotencyKey)?;
    let (mut key, mut characters) = (String::with_capacity(quoted.len()), quoted.chars());
    while let Some(character) = characters.next() {
        key.push(match character {
            '"' => return Err(InvalidIdempotencyKey),
            '\\' => characters.next().filter(|next| matches!(next, '"' | '\\')).ok_or(InvalidIdempotencyKey)?,
            plain => plain,
        });
    }
    key.parse()
}

impl IntoParams for IdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(r#"^("([!#-\[\]-~]|\\["\\]){1,255}"|[!#-+\--:<-~]{1,255})$"#));
        let parameter = ParameterBuilder::new()
            .name(NAME)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(
                "A key of 1 to 255 visible ASCII characters, such as a UUID, in quotes or bare. A \
                 repeated request with the same key takes effect only once.",
            ))
            .schema(Some(schema));
        vec![parameter.build()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_string_in_quotes_or_bare() {
        for (value, key) in [("abc", "abc"), ("\"abc\"", "abc"), (r#""a\"b\\c""#, r#"a"b\c"#), (r"a\b", r"a\b")] {
            assert_eq!(parse(value).expect(value).as_str(), key);
        }
        for value in
            ["", "\"", "\"\"", "\"a", "a\"", "\"a\"b\"", "a b", "\"a b\"", "a,b", "\"a\";p", r#""a\b""#, r#""a\""#]
        {
            assert!(parse(value).is_err(), "{value}");
        }
        let longest = "~".repeat(255);
        assert!(parse(&longest).is_ok() && parse(&format!("\"{longest}\"")).is_ok());
        assert!(parse(&format!("{longest}~")).is_err() && parse(&format!("\"{longest}~\"")).is_err());
    }
}
