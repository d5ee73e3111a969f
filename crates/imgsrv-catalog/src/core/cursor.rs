//! Page cursors: the key of the last row, bound to its list.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use imgsrv_domain::{page::Cursor, ports::CatalogError};
use uuid::Uuid;

/// The name of a list with its filters; a cursor of one list is not accepted by another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListName(pub(crate) String);

/// The key by which a list is ordered.
pub(crate) trait CursorKey: Sized {
    /// The key as JSON.
    fn encode(&self) -> serde_json::Value;
    /// The key from JSON, if it is one.
    fn decode(raw: &serde_json::Value) -> Option<Self>;
}

impl CursorKey for String {
    fn encode(&self) -> serde_json::Value {
        self.clone().into()
    }

    fn decode(raw: &serde_json::Value) -> Option<Self> {
        // PostgreSQL refuses a text with this character.
        raw.as_str().filter(|text| !text.contains('\0')).map(str::to_owned)
    }
}

impl CursorKey for Uuid {
    fn encode(&self) -> serde_json::Value {
        self.to_string().into()
    }

    fn decode(raw: &serde_json::Value) -> Option<Self> {
        raw.as_str()?.parse().ok()
    }
}

impl CursorKey for (i64, Uuid) {
    fn encode(&self) -> serde_json::Value {
        serde_json::json!([self.0, self.1.to_string()])
    }

    fn decode(raw: &serde_json::Value) -> Option<Self> {
        // No list starts before 1970, and not every database can represent all earlier times.
        let micros = raw.get(0)?.as_i64().filter(|micros| *micros >= 0)?;
        Some((micros, Uuid::decode(raw.get(1)?)?))
    }
}

impl CursorKey for (i64, i64) {
    fn encode(&self) -> serde_json::Value {
        serde_json::json!([self.0, self.1])
    }

    fn decode(raw: &serde_json::Value) -> Option<Self> {
        let micros = raw.get(0)?.as_i64().filter(|micros| *micros >= 0)?;
        Some((micros, raw.get(1)?.as_i64()?))
    }
}

/// Whether a cursor can have that key.
pub(crate) fn is_key<K: CursorKey>(key: &K) -> bool {
    K::decode(&key.encode()).is_some()
}

impl ListName {
    /// The cursor after the row with `key`.
    pub(crate) fn cursor(&self, key: &impl CursorKey) -> Cursor {
        let text = serde_json::json!([self.0, key.encode()]).to_string();
        Cursor(URL_SAFE_NO_PAD.encode(text))
    }

    /// The key that `cursor` is after, or `start` without one.
    pub(crate) fn key<K: CursorKey>(&self, cursor: Option<&Cursor>, start: K) -> Result<K, CatalogError> {
        let Some(cursor) = cursor else { return Ok(start) };
        self.parse(&cursor.0).ok_or(CatalogError::InvalidCursor)
    }

    fn parse<K: CursorKey>(&self, cursor: &str) -> Option<K> {
        let text = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let parsed: serde_json::Value = serde_json::from_slice(&text).ok()?;
        (parsed.get(0)?.as_str()? == self.0).then(|| K::decode(parsed.get(1)?))?
    }
}
