//! Sizes, times and URLs for people.

use imgsrv_client::Client;
use imgsrv_domain::lifecycle::LifecycleState;
use indicatif::BinaryBytes;
use std::time::Duration;

/// `2.0 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    BinaryBytes(count).to_string()
}

/// `2.0 GiB`, for a size on the wire.
pub(crate) fn size(count: i64) -> String {
    bytes(u64::try_from(count).unwrap_or(0))
}

/// A time on the wire as `2026-11-28 10:15 UTC`.
pub(crate) fn date(time: &str) -> String {
    let parsed = time.parse::<jiff::Timestamp>();
    parsed.map_or_else(|_| time.to_owned(), |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

pub(crate) fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0 => "less than 1 s".to_owned(),
        secs @ 1..=119 => format!("{secs} s"),
        secs @ 120..=7199 => format!("{} min", secs / 60),
        secs => format!("{} h", secs / 3600),
    }
}

/// The state of a published version, in words for people.
pub(crate) fn state_in_words(state: &str) -> &str {
    match state.parse::<LifecycleState>() {
        Ok(state) => state.in_words(),
        Err(_) => state,
    }
}

/// The text with two spaces before each line that is not empty.
pub(crate) fn indent(text: &str) -> String {
    text.replace('\n', "\n  ").replace("\n  \n", "\n\n")
}

/// The URL of a client's server, without a slash at its end.
pub(crate) fn server_of(client: &Client) -> &str {
    client.url().as_str().trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_to_the_minute() {
        assert_eq!(date("2026-11-28T10:15:59.123456Z"), "2026-11-28 10:15 UTC");
        assert_eq!(date("soon"), "soon");
    }
}
