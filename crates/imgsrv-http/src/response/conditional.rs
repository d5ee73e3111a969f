//! Conditional requests and ranges (RFC 9110, sections 13 and 14).

use axum::http::{HeaderMap, HeaderName, Method, header};
use std::{
    ops::Range,
    time::{Duration, SystemTime},
};

/// What a request is to be answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The client has it already.
    NotModified,
    /// All of it.
    Whole,
    /// A part of it.
    Part(Range<u64>),
    /// No part that was asked for exists, or several were.
    Unsatisfiable,
}

/// The validators of what is served.
pub(crate) struct Validators<'a> {
    /// The strong entity tag, in its quotes.
    pub(crate) etag: &'a str,
    /// The time of the last change, where there is one that tells; sub-second parts do not count.
    pub(crate) modified: Option<SystemTime>,
    /// Its size in bytes.
    pub(crate) size: u64,
}

impl Validators<'_> {
    /// Decides on the answer to a GET or HEAD.
    pub(crate) fn answer(&self, method: &Method, headers: &HeaderMap) -> Answer {
        if self.not_modified(headers) {
            return Answer::NotModified;
        }
        // Ranges are defined for GET only (section 14.2).
        if method != Method::GET || !self.if_range(headers) {
            return Answer::Whole;
        }
        if headers.get_all(header::RANGE).iter().count() > 1 {
            return Answer::Unsatisfiable;
        }
        text(headers, header::RANGE).map_or(Answer::Whole, |range| self.range(range))
    }

    fn not_modified(&self, headers: &HeaderMap) -> bool {
        if headers.contains_key(header::IF_NONE_MATCH) {
            return any_tag(headers, header::IF_NONE_MATCH, |tag| tag == self.etag);
        }
        let since = text(headers, header::IF_MODIFIED_SINCE).and_then(|date| httpdate::parse_http_date(date).ok());
        since.zip(self.modified).is_some_and(|(since, modified)| whole_seconds(modified) <= since)
    }

    /// A range is served only if what the client holds the rest of is still this (section 13.1.5).
    fn if_range(&self, headers: &HeaderMap) -> bool {
        match text(headers, header::IF_RANGE) {
            None => !headers.contains_key(header::IF_RANGE),
            Some(tag) if tag.starts_with('"') => tag == self.etag,
            Some(date) => {
                let date = httpdate::parse_http_date(date).ok();
                date.is_some() && date == self.modified.map(whole_seconds)
            }
        }
    }

    /// A range in another unit, or not in the grammar, is ignored (section 14.2).
    fn range(&self, header: &str) -> Answer {
        let Some((unit, set)) = header.split_once('=') else { return Answer::Whole };
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return Answer::Whole;
        }
        if set.contains(',') {
            return Answer::Unsatisfiable;
        }
        let Some((first, last)) = set.trim().split_once('-') else { return Answer::Whole };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(first) || !digits(last) {
            return Answer::Whole;
        }
        // A number too large for u64 lies behind the end like any other.
        let number = |text: &str| text.parse().unwrap_or(u64::MAX);
        match (first, last) {
            ("", "") => Answer::Whole,
            ("", suffix) => self.satisfy(self.size.saturating_sub(number(suffix)), self.size),
            (first, "") => self.satisfy(number(first), self.size),
            (first, last) if number(first) > number(last) => Answer::Whole,
            (first, last) => self.satisfy(number(first), number(last).saturating_add(1).min(self.size)),
        }
    }

    const fn satisfy(&self, start: u64, end: u64) -> Answer {
        if start < end && start < self.size { Answer::Part(start..end) } else { Answer::Unsatisfiable }
    }
}

/// Whether a list of entity tags is `*` or has one, its weakness aside, for which `is` holds.
pub(crate) fn any_tag(headers: &HeaderMap, name: HeaderName, is: impl Fn(&str) -> bool) -> bool {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|tag| {
        let tag = tag.trim();
        tag == "*" || is(tag.strip_prefix("W/").unwrap_or(tag))
    })
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const SIZE: u64 = 1000;

    fn answer(method: &Method, headers: &[(HeaderName, &'static str)]) -> Answer {
        let map = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_500);
        Validators { etag: "\"a\"", modified: Some(modified), size: SIZE }.answer(method, &map)
    }

    #[test]
    fn ranges_are_served_as_rfc_9110_says() {
        for (range, expected) in [
            ("bytes=0-0", Answer::Part(0..1)),
            ("bytes=0-", Answer::Part(0..1000)),
            ("bytes=-1", Answer::Part(999..1000)),
            ("bytes=-5000", Answer::Part(0..1000)),
            ("bytes=10-5000", Answer::Part(10..1000)),
            ("BYTES=1-2", Answer::Part(1..3)),
            ("bytes=0-99999999999999999999", Answer::Part(0..1000)),
            ("bytes=1000-", Answer::Unsatisfiable),
            ("bytes=-0", Answer::Unsatisfiable),
            ("bytes=0-1,2-3", Answer::Unsatisfiable),
            ("bytes=5-2", Answer::Whole),
            ("bytes=-", Answer::Whole),
            ("bytes=a-b", Answer::Whole),
            ("lines=1-2", Answer::Whole),
            ("bytes", Answer::Whole),
        ] {
            assert_eq!(answer(&Method::GET, &[(header::RANGE, range)]), expected, "{range}");
        }
        assert_eq!(answer(&Method::HEAD, &[(header::RANGE, "bytes=0-0")]), Answer::Whole);
    }

    #[test]
    fn validators_decide_before_ranges() {
        let range = (header::RANGE, "bytes=0-0");
        let part = Answer::Part(0..1);
        for (name, value, expected) in [
            (header::IF_NONE_MATCH, "\"a\"", Answer::NotModified),
            (header::IF_NONE_MATCH, "\"x\", W/\"a\"", Answer::NotModified),
            (header::IF_NONE_MATCH, "*", Answer::NotModified),
            (header::IF_NONE_MATCH, "\"x\"", part.clone()),
            (header::IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT", Answer::NotModified),
            (header::IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:36 GMT", part.clone()),
            (header::IF_RANGE, "\"a\"", part.clone()),
            (header::IF_RANGE, "W/\"a\"", Answer::Whole),
            (header::IF_RANGE, "\"x\"", Answer::Whole),
            (header::IF_RANGE, "Sun, 06 Nov 1994 08:49:37 GMT", part.clone()),
            (header::IF_RANGE, "Sun, 06 Nov 1994 08:49:38 GMT", Answer::Whole),
        ] {
            assert_eq!(answer(&Method::GET, &[range.clone(), (name, value)]), expected, "{value}");
        }
    }
}
