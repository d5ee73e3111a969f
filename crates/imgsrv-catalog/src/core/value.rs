//! The values of a statement's placeholders.

use crate::rows::SqlTime;
use imgsrv_domain::{ports::CatalogError, time::Timestamp};
use sqlx::{Arguments, Encode, Type, types::Json};
use uuid::Uuid;

/// The value of a placeholder, of one of the few types that the catalog stores.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Bool(bool),
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Json(serde_json::Value),
    Uuid(Option<Uuid>),
    Time(Option<SqlTime>),
}

/// The values as a database takes them.
pub(crate) fn arguments<A>(values: Vec<Value>) -> Result<A, CatalogError>
where
    A: Arguments,
    for<'t> bool: Encode<'t, A::Database> + Type<A::Database>,
    for<'t> Option<i64>: Encode<'t, A::Database> + Type<A::Database>,
    for<'t> Option<String>: Encode<'t, A::Database> + Type<A::Database>,
    for<'t> Option<Vec<u8>>: Encode<'t, A::Database> + Type<A::Database>,
    for<'t> Option<Uuid>: Encode<'t, A::Database> + Type<A::Database>,
    for<'t> Option<SqlTime>: Encode<'t, A::Database> + Type<A::Database>,
    for<'t> Json<serde_json::Value>: Encode<'t, A::Database> + Type<A::Database>,
{
    let mut arguments = A::default();
    for value in values {
        let added = match value {
            Value::Bool(value) => arguments.add(value),
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Bytes(value) => arguments.add(value),
            Value::Json(value) => arguments.add(Json(value)),
            Value::Uuid(value) => arguments.add(value),
            Value::Time(value) => arguments.add(value),
        };
        added.map_err(CatalogError::Backend)?;
    }
    Ok(arguments)
}

/// The values of a statement, in the order of its placeholders.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$($crate::core::value::Value::from($value)),*] };
}
pub(crate) use values;

macro_rules! from {
    ($($from:ty => |$raw:ident| $value:expr),* $(,)?) => {$(
        impl From<$from> for Value {
            fn from($raw: $from) -> Self {
                $value
            }
        }
    )*};
}

from! {
    bool => |raw| Self::Bool(raw),
    i64 => |raw| Self::Int(Some(raw)),
    u32 => |raw| Self::Int(Some(raw.into())),
    u16 => |raw| Self::Int(Some(raw.into())),
    Option<i64> => |raw| Self::Int(raw),
    Option<u16> => |raw| Self::Int(raw.map(Into::into)),
    &str => |raw| Self::Text(Some(raw.to_owned())),
    String => |raw| Self::Text(Some(raw)),
    &String => |raw| Self::Text(Some(raw.clone())),
    Option<&str> => |raw| Self::Text(raw.map(str::to_owned)),
    Option<String> => |raw| Self::Text(raw),
    &[u8] => |raw| Self::Bytes(Some(raw.to_vec())),
    Option<&[u8]> => |raw| Self::Bytes(raw.map(<[u8]>::to_vec)),
    serde_json::Value => |raw| Self::Json(raw),
    Uuid => |raw| Self::Uuid(Some(raw)),
    Option<Uuid> => |raw| Self::Uuid(raw),
    Timestamp => |raw| Self::Time(Some(raw.into())),
    Option<Timestamp> => |raw| Self::Time(raw.map(Into::into)),
    Option<SqlTime> => |raw| Self::Time(raw),
}
