//! The headers that announce the end of a version.

use crate::response::dates::system_time;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use headers::{Header, LastModified};
use imgsrv_domain::{
    lifecycle::{Lifecycle, LifecycleState, Replacement},
    time::Timestamp,
};

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// Adds `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and `Link` to the replacement (RFC 5829) to the response with a
/// version that is deprecated or drains.
pub(crate) fn announce(headers: &mut HeaderMap, lifecycle: &Lifecycle) {
    let since = match lifecycle.stored_state() {
        LifecycleState::Deprecated | LifecycleState::Removed if !lifecycle.is_revoked() => lifecycle.discouraged_at(),
        LifecycleState::Active
        | LifecycleState::Deprecated
        | LifecycleState::Revoked
        | LifecycleState::Removed
        | LifecycleState::Tombstone => None,
    };
    let Some(since) = since else { return };
    if let Ok(value) = HeaderValue::try_from(format!("@{}", since.micros().div_euclid(1_000_000))) {
        headers.insert(DEPRECATION, value);
    }
    // A sunset before the deprecation would contradict it.
    if let Some(date) = lifecycle.sunset().filter(|sunset| *sunset >= since).and_then(http_date) {
        headers.insert(SUNSET, date);
    }
    if let Some(Replacement { image, reference }) = lifecycle.successor()
        && let Ok(link) = HeaderValue::try_from(format!(
            "</v1/images/{image}/refs/{}>; rel=\"successor-version\"",
            reference.in_url()
        ))
    {
        headers.append(header::LINK, link);
    }
}

fn http_date(at: Timestamp) -> Option<HeaderValue> {
    let mut values = Vec::new();
    LastModified::from(system_time(at)).encode(&mut values);
    values.pop()
}
