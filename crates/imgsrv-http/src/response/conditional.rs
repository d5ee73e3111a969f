//! Conditional requests and range requests (RFC 9110, sections 13 and 14).

use axum::http::{HeaderMap, Method, header};
use headers::{ETag, HeaderMapExt, IfModifiedSince, IfNoneMatch, IfRange};
use std::{ops::Range, time::SystemTime};

/// What a GET or HEAD request selects of a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// Nothing: the client's copy is current.
    NotModified,
    /// All of it.
    Whole,
    /// A range of its bytes.
    Range(Range<u64>),
    /// Several ranges, or one that is outside of the representation.
    Unsatisfiable,
}

/// The validators and the size of a representation.
pub(crate) struct Validators<'a> {
    /// The strong entity tag.
    pub(crate) etag: &'a ETag,
    /// The time of the last change, if it is a validator; fractions of a second do not count.
    pub(crate) modified: Option<SystemTime>,
    /// The size in bytes.
    pub(crate) size: u64,
}

impl Validators<'_> {
    /// Evaluates the preconditions and the range of a GET or HEAD request.
    pub(crate) fn select(&self, method: &Method, headers: &HeaderMap) -> Selection {
        if self.is_current(headers) {
            return Selection::NotModified;
        }
        // Ranges are defined for GET only (section 14.2).
        if method != Method::GET || !self.range_applies(headers) {
            return Selection::Whole;
        }
        let mut ranges = headers.get_all(header::RANGE).iter();
        match (ranges.next().map(|range| range.to_str()), ranges.next()) {
            (_, Some(_)) => Selection::Unsatisfiable,
            (Some(Ok(range)), None) => select_range(range, self.size),
            (Some(Err(_)) | None, None) => Selection::Whole,
        }
    }

    /// `If-None-Match` takes precedence over `If-Modified-Since` (section 13.2.2).
    fn is_current(&self, headers: &HeaderMap) -> bool {
        if let Some(condition) = headers.typed_get::<IfNoneMatch>() {
            return !condition.precondition_passes(self.etag);
        }
        let condition = headers.typed_get::<IfModifiedSince>();
        condition.zip(self.modified).is_some_and(|(condition, modified)| !condition.is_modified(modified))
    }

    /// Whether `If-Range` allows a range. A date must match exactly (section 13.1.5), which `IfRange::is_modified` does
    /// not check: it is given no date, and dates are compared here.
    fn range_applies(&self, headers: &HeaderMap) -> bool {
        match headers.typed_try_get::<IfRange>() {
            Ok(None) => true,
            Ok(Some(condition)) => {
                let same_date = self.modified.is_some_and(|modified| condition == IfRange::date(modified));
                same_date || !condition.is_modified(Some(self.etag), None)
            }
            Err(_) => false,
        }
    }
}

/// Evaluates `Range`; one in another unit or with a syntax error is ignored (section 14.2).
///
/// `headers::Range` is not used: it does not recognise the unit in another case, drops a suffix that is longer than the
/// representation and a position that exceeds `u64`, and does not report a syntax error as different from a range that
/// cannot be satisfied.
fn select_range(header: &str, size: u64) -> Selection {
    let Some((unit, set)) = header.split_once('=') else { return Selection::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Selection::Whole;
    }
    if set.contains(',') {
        return Selection::Unsatisfiable;
    }
    let Some((first, last)) = set.trim().split_once('-') else { return Selection::Whole };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(first) || !is_number(last) {
        return Selection::Whole;
    }
    // A position that exceeds u64 is after the end like any other.
    let position = |text: &str| text.parse().unwrap_or(u64::MAX);
    let (start, end) = match (first, last) {
        ("", "") => return Selection::Whole,
        ("", suffix) => (size.saturating_sub(position(suffix)), size),
        (first, "") => (position(first), size),
        (first, last) if position(first) > position(last) => return Selection::Whole,
        (first, last) => (position(first), position(last).saturating_add(1).min(size)),
    };
    if start < end && start < size { Selection::Range(start..end) } else { Selection::Unsatisfiable }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};
    use std::time::Duration;

    const SIZE: u64 = 1000;

    fn select(method: &Method, headers: &[(HeaderName, &'static str)]) -> Selection {
        let map = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_500);
        let etag = "\"a\"".parse().expect("an entity tag");
        Validators { etag: &etag, modified: Some(modified), size: SIZE }.select(method, &map)
    }

    #[test]
    fn ranges_are_evaluated_as_rfc_9110_specifies() {
        for (range, expected) in [
            ("bytes=0-0", Selection::Range(0..1)),
            ("bytes=0-", Selection::Range(0..1000)),
            ("bytes=-1", Selection::Range(999..1000)),
            ("bytes=-5000", Selection::Range(0..1000)),
            ("bytes=10-5000", Selection::Range(10..1000)),
            ("BYTES=1-2", Selection::Range(1..3)),
            ("bytes=0-99999999999999999999", Selection::Range(0..1000)),
            ("bytes=1000-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=0-1,2-3", Selection::Unsatisfiable),
            ("bytes=5-2", Selection::Whole),
            ("bytes=-", Selection::Whole),
            ("bytes=a-b", Selection::Whole),
            ("lines=1-2", Selection::Whole),
            ("bytes", Selection::Whole),
        ] {
            assert_eq!(select(&Method::GET, &[(header::RANGE, range)]), expected, "{range}");
        }
        assert_eq!(select(&Method::HEAD, &[(header::RANGE, "bytes=0-0")]), Selection::Whole);
    }

    #[test]
    fn preconditions_are_evaluated_before_ranges() {
        let range = (header::RANGE, "bytes=0-0");
        let first_byte = Selection::Range(0..1);
        for (name, value, expected) in [
            (header::IF_NONE_MATCH, "\"a\"", Selection::NotModified),
            (header::IF_NONE_MATCH, "\"x\", W/\"a\"", Selection::NotModified),
            (header::IF_NONE_MATCH, "*", Selection::NotModified),
            (header::IF_NONE_MATCH, "\"x\"", first_byte.clone()),
            (header::IF_NONE_MATCH, "\"x y\", \"a\"", Selection::NotModified),
            (header::IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:37 GMT", Selection::NotModified),
            (header::IF_MODIFIED_SINCE, "Sun, 06 Nov 1994 08:49:36 GMT", first_byte.clone()),
            (header::IF_RANGE, "\"a\"", first_byte.clone()),
            (header::IF_RANGE, "W/\"a\"", Selection::Whole),
            (header::IF_RANGE, "\"x\"", Selection::Whole),
            (header::IF_RANGE, "\"x y\"", Selection::Whole),
            (header::IF_RANGE, "a", Selection::Whole),
            (header::IF_RANGE, "Sun, 06 Nov 1994 08:49:37 GMT", first_byte.clone()),
            (header::IF_RANGE, "Sun, 06 Nov 1994 08:49:38 GMT", Selection::Whole),
        ] {
            assert_eq!(select(&Method::GET, &[range.clone(), (name, value)]), expected, "{value}");
        }
    }
}
