//! Claims and identity as CEL values, and the functions `hasToken` and `hasAny`.

use cel::{ExecutionError, Value};
use imgsrv_domain::oidc::{ClaimValue, Claims};
use std::{collections::HashMap, sync::Arc};

/// `claims`.
pub(super) fn claims(claims: Claims) -> Value {
    claims.into_iter().map(|(name, value)| (name, claim(value))).collect::<HashMap<_, _>>().into()
}

/// `identity`.
pub(super) fn identity(issuer: &str, subject: &str) -> Value {
    HashMap::from([("issuer", issuer), ("subject", subject)]).into()
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

/// `hasToken(string, token)`: whether a space-separated list, such as `scope` (RFC 6749, section 3.3), contains `token`.
pub(super) fn has_token(list: Arc<String>, token: Arc<String>) -> bool {
    list.split(' ').any(|entry| !entry.is_empty() && entry == token.as_str())
}

/// `hasAny(list_or_string, list)`: whether a list, or a string as a list of one, contains any of `wanted`.
pub(super) fn has_any(values: Value, wanted: Value) -> Result<bool, ExecutionError> {
    let wrong = |what| Err(ExecutionError::function_error("hasAny", what));
    let Value::List(wanted) = wanted else { return wrong("the second value is not a list") };
    match values {
        Value::List(values) => Ok(values.iter().any(|value| wanted.contains(value))),
        value @ Value::String(_) => Ok(wanted.contains(&value)),
        _ => wrong("the first value is neither a list nor a text"),
    }
}
