//! Values of the domain as JSON, in the lines of a backup.

use crate::core::{ColumnType, Corrupt, Row, SqlTime, Stored, Value};
use base64::{Engine, engine::general_purpose::STANDARD};
use imgsrv_domain::time::Timestamp;
use serde_json::{Map, Value as Json};
use sqlx::types::Json as SqlJson;
use uuid::Uuid;

/// A record of a backup: the values of its fields.
pub(crate) type Fields = Map<String, Json>;

/// A type of columns, as it is written in JSON: times are microseconds since the Unix epoch, bytes base64.
pub(crate) trait JsonColumn: ColumnType {
    fn to_json(self) -> Json;
    fn of_json(json: &Json) -> Option<Self>;
}

macro_rules! json_columns {
    ($($raw:ty: |$own:ident| $to:expr, |$json:ident| $of:expr;)*) => {$(
        impl JsonColumn for $raw {
            fn to_json(self) -> Json {
                let $own = self;
                $to
            }

            fn of_json($json: &Json) -> Option<Self> {
                $of
            }
        }
    )*};
}

json_columns! {
    bool: |own| own.into(), |json| json.as_bool();
    i64: |own| own.into(), |json| json.as_i64();
    // PostgreSQL refuses a text with this character.
    String: |own| own.into(), |json| json.as_str().filter(|text| !text.contains('\0')).map(str::to_owned);
    Vec<u8>: |own| STANDARD.encode(&own).into(), |json| STANDARD.decode(json.as_str()?).ok();
    SqlJson<Json>: |own| own.0, |json| Some(SqlJson(json.clone()));
    Uuid: |own| own.to_string().into(), |json| json.as_str()?.parse().ok();
    SqlTime: |own| Timestamp::from(own).micros().into(), |json| json.as_i64().map(|micros| Timestamp::from_micros(micros).into());
}

/// The value of a column, through its type in the domain.
pub(crate) fn read<T: Stored>(row: &Row<'_>, column: &str) -> Result<Json, Corrupt>
where
    T::Raw: JsonColumn,
{
    Ok(row.optional::<T>(column)?.map_or(Json::Null, |value| value.encode().to_json()))
}

/// The value of a field, if it is not null.
pub(crate) fn decode<T: Stored>(fields: &Fields, name: &str) -> Result<Option<T>, String>
where
    T::Raw: JsonColumn,
{
    let json = fields.get(name).ok_or_else(|| format!("it has no field {name}"))?;
    if json.is_null() {
        return Ok(None);
    }
    let raw = T::Raw::of_json(json).ok_or_else(|| format!("{name} is of another type"))?;
    T::decode(raw).map(Some).map_err(|why| format!("{name} {why}"))
}

/// The value of a field that is never null.
pub(crate) fn required<T: Stored>(fields: &Fields, name: &str) -> Result<T, String>
where
    T::Raw: JsonColumn,
{
    decode(fields, name)?.ok_or_else(|| format!("{name} is null"))
}

/// The value of a field, for a statement's placeholder.
pub(crate) fn bind<T: Stored>(fields: &Fields, name: &str) -> Result<Value, String>
where
    T::Raw: JsonColumn,
{
    Ok(T::Raw::value(decode::<T>(fields, name)?.map(|value| value.encode())))
}
