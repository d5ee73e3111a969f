//! Claims and identity in CEL's values, and the two functions of our own.

use cel::{
    ExecutionError, Value,
    objects::{Key, Map},
};
use imgsrv_domain::oidc::{ClaimValue, Claims, OidcIdentity};
use std::{collections::HashMap, sync::Arc};

fn text(raw: &str) -> Value {
    Value::String(Arc::new(raw.to_owned()))
}

fn map(entries: impl IntoIterator<Item = (String, Value)>) -> Value {
    let entries: HashMap<Key, Value> =
        entries.into_iter().map(|(name, value)| (Key::String(Arc::new(name)), value)).collect();
    Value::Map(Map { map: Arc::new(entries) })
}

/// `claims`.
pub(super) fn claims(claims: Claims) -> Value {
    map(claims.into_iter().map(|(name, value)| (name, claim(value))))
}

/// `identity`.
pub(super) fn identity(identity: &OidcIdentity) -> Value {
    let entries = [("issuer", identity.issuer.as_str()), ("subject", identity.subject.as_str())];
    map(entries.map(|(name, value)| (name.to_owned(), text(value))))
}

fn claim(value: ClaimValue) -> Value {
    match value {
        ClaimValue::Null => Value::Null,
        ClaimValue::Bool(value) => Value::Bool(value),
        ClaimValue::Int(value) => Value::Int(value),
        ClaimValue::UInt(value) => Value::UInt(value),
        ClaimValue::Float(value) => Value::Float(value),
        ClaimValue::Text(value) => Value::String(Arc::new(value)),
        ClaimValue::List(values) => Value::List(Arc::new(values.into_iter().map(claim).collect())),
        ClaimValue::Map(entries) => claims(entries),
    }
}

/// `hasToken(string, token)`: whether a list separated by spaces, such as `scope` (RFC 6749, section 3.3), holds it.
pub(super) fn has_token(list: Arc<String>, token: Arc<String>) -> bool {
    list.split(' ').any(|held| !held.is_empty() && held == token.as_str())
}

/// `hasAny(list_or_string, list)`: whether a list, or a text in place of a list of one, holds any of `wanted`.
pub(super) fn has_any(held: Value, wanted: Value) -> Result<bool, ExecutionError> {
    let wrong = |what| Err(ExecutionError::function_error("hasAny", what));
    let Value::List(wanted) = wanted else { return wrong("the second value is not a list") };
    match held {
        Value::List(held) => Ok(held.iter().any(|value| wanted.contains(value))),
        held @ Value::String(_) => Ok(wanted.contains(&held)),
        _ => wrong("the first value is neither a list nor a text"),
    }
}
