//! The wire types of the HTTP API, version 1: what servers and clients exchange as JSON.
//!
//! Text stays text here; the server parses it into the domain's value objects. Fields that are absent are
//! omitted, never `null`. Times are RFC 3339 in UTC, sizes are bytes.

mod auth;
mod content;
mod intakes;
mod integer;
mod lifecycles;
mod links;
mod oidc;
mod pages;
mod problem;
mod releases;
mod retention;
#[cfg(feature = "openapi")]
mod schemas;
mod system;
mod uploads;

pub use auth::*;
pub use content::*;
pub use intakes::*;
pub use lifecycles::*;
pub use links::*;
pub use oidc::*;
pub use pages::*;
pub use problem::*;
pub use releases::*;
pub use retention::*;
pub use system::*;
pub use uploads::*;

/// The value of a field that may be absent, but not `null`.
pub(crate) fn not_null<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Tells an absent field (`None`) from one that is `null` (`Some(None)`).
pub(crate) fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    serde::Deserialize::deserialize(deserializer).map(Some)
}
