//! Decoding of columns, and what a corrupt one is reported as.

use imgsrv_domain::{
    digest::{BlobClaim, HashState},
    ports::CatalogError,
};
use std::{fmt::Display, str::FromStr};

/// A stored row that breaks a rule of the domain: the catalog was changed by another program, or is damaged.
#[derive(Debug, thiserror::Error)]
#[error("the stored {what} is corrupt: {why}")]
pub(crate) struct Corrupt {
    what: &'static str,
    why: String,
}

impl Corrupt {
    /// `what` breaks a rule; `why` says which.
    pub(crate) fn new(what: &'static str, why: impl Display) -> Self {
        Self { what, why: why.to_string() }
    }
}

impl From<Corrupt> for CatalogError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(Box::new(corrupt))
    }
}

/// Parses a column into a value object.
pub(super) fn parse<T: FromStr>(what: &'static str, raw: &str) -> Result<T, Corrupt>
where
    T::Err: Display,
{
    raw.parse().map_err(|why| Corrupt::new(what, why))
}

pub(super) fn parse_optional<T: FromStr>(what: &'static str, raw: Option<&str>) -> Result<Option<T>, Corrupt>
where
    T::Err: Display,
{
    raw.map(|raw| parse(what, raw)).transpose()
}

pub(super) fn convert<T, U: TryFrom<T>>(what: &'static str, raw: T) -> Result<U, Corrupt>
where
    U::Error: Display,
{
    U::try_from(raw).map_err(|why| Corrupt::new(what, why))
}

pub(super) fn hash_state(bytes: Option<i64>, state: Option<&[u8]>) -> Result<Option<HashState>, Corrupt> {
    match (bytes, state) {
        (Some(bytes), Some(state)) => {
            Ok(Some(HashState { bytes: convert("hash", bytes)?, state: convert("hash", state)? }))
        }
        (None, None) => Ok(None),
        _ => Err(Corrupt::new("hash", "it is incomplete")),
    }
}

pub(super) fn claim(what: &'static str, digest: &str, size: i64) -> Result<BlobClaim, Corrupt> {
    Ok(BlobClaim { digest: parse(what, digest)?, size: convert(what, size)? })
}
