//! Conditional requests and range requests (RFC 9110, sections 13 and 14).

use crate::response::ranges::{self, Ranges};
use axum::http::{HeaderMap, Method, header};
use headers::{ETag, HeaderMapExt, IfMatch, IfModifiedSince, IfNoneMatch, IfRange, IfUnmodifiedSince};
use std::{ops::Range, time::SystemTime};

/// What a GET or HEAD request selects of a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// Nothing: the representation is not the one that the client requires.
    PreconditionFailed,
    /// Nothing: the client's copy is current.
    NotModified,
    /// All of it.
    Whole,
    /// A range of its bytes.
    Range(Range<u64>),
    /// Several ranges of its bytes, which do not overlap, in the order of the request.
    Ranges(Vec<Range<u64>>),
    /// Only ranges that are outside of the representation.
    Unsatisfiable,
}

/// The outcome of the preconditions of a GET or HEAD request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Preconditions {
    /// The request is performed.
    Met,
    /// The client's copy is current.
    NotModified,
    /// The representation is not the one that the client requires.
    Failed,
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
    /// Evaluates the preconditions and the ranges of a GET or HEAD request.
    pub(crate) fn select(&self, method: &Method, headers: &HeaderMap) -> Selection {
        match preconditions(self.etag, self.modified, headers) {
            Preconditions::Failed => return Selection::PreconditionFailed,
            Preconditions::NotModified => return Selection::NotModified,
            Preconditions::Met => {}
        }
        // Ranges are defined for GET only (section 14.2).
        if method != Method::GET || !self.range_applies(headers) {
            return Selection::Whole;
        }
        let mut values = headers.get_all(header::RANGE).iter();
        let ranges = match (values.next().map(|range| range.to_str()), values.next()) {
            // Range is not a list field: the meaning of two is not defined.
            (_, Some(_)) | (Some(Err(_)) | None, None) => Ranges::Ignored,
            (Some(Ok(range)), None) => ranges::parse(range, self.size),
        };
        match ranges {
            Ranges::Ignored => Selection::Whole,
            Ranges::One(range) => Selection::Range(range),
            Ranges::Several(ranges) => Selection::Ranges(ranges),
            Ranges::Unsatisfiable => Selection::Unsatisfiable,
        }
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

/// Evaluates the preconditions in the order of section 13.2.2: `If-Match` takes precedence over `If-Unmodified-Since`,
/// and `If-None-Match` over `If-Modified-Since`. An `If-Match` that cannot be parsed matches nothing.
pub(crate) fn preconditions(etag: &ETag, modified: Option<SystemTime>, headers: &HeaderMap) -> Preconditions {
    let is_required = if headers.contains_key(header::IF_MATCH) {
        headers.typed_get::<IfMatch>().is_some_and(|condition| condition.precondition_passes(etag))
    } else {
        let condition = headers.typed_get::<IfUnmodifiedSince>().zip(modified);
        condition.is_none_or(|(condition, modified)| condition.precondition_passes(modified))
    };
    if !is_required {
        return Preconditions::Failed;
    }
    let is_current = if let Some(condition) = headers.typed_get::<IfNoneMatch>() {
        !condition.precondition_passes(etag)
    } else {
        let condition = headers.typed_get::<IfModifiedSince>().zip(modified);
        condition.is_some_and(|(condition, modified)| !condition.is_modified(modified))
    };
    if is_current { Preconditions::NotModified } else { Preconditions::Met }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};
    use std::time::Duration;

    const SIZE: u64 = 1000;

    fn select(method: &Method, headers: &[(HeaderName, &'static str)]) -> Selection {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_static(value));
        }
        let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_500);
        let etag = "\"a\"".parse().expect("an entity tag");
        Validators { etag: &etag, modified: Some(modified), size: SIZE }.select(method, &map)
    }

    #[test]
    fn ranges_are_defined_for_get_only() {
        let range = [(header::RANGE, "bytes=0-0,2-3")];
        assert_eq!(select(&Method::GET, &range), Selection::Ranges(vec![0..1, 2..4]));
        assert_eq!(select(&Method::HEAD, &range), Selection::Whole);
        let twice = [(header::RANGE, "bytes=0-0"), (header::RANGE, "bytes=2-3")];
        assert_eq!(select(&Method::GET, &twice), Selection::Whole);
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

    #[test]
    fn a_required_representation_is_compared_before_everything_else() {
        const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
        const EXACTLY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        let (if_match, unmodified) = (header::IF_MATCH, header::IF_UNMODIFIED_SINCE);
        let failed = Selection::PreconditionFailed;
        for (conditions, expected) in [
            (vec![(if_match.clone(), "\"a\"")], Selection::Range(0..1)),
            (vec![(if_match.clone(), "\"x\", \"a\"")], Selection::Range(0..1)),
            (vec![(if_match.clone(), "\"x\""), (if_match.clone(), "\"a\"")], Selection::Range(0..1)),
            (vec![(if_match.clone(), "*")], Selection::Range(0..1)),
            (vec![(if_match.clone(), "\"x\"")], failed.clone()),
            (vec![(if_match.clone(), "W/\"a\"")], failed.clone()),
            (vec![(if_match.clone(), "a")], failed.clone()),
            (vec![(if_match.clone(), "")], failed.clone()),
            (vec![(unmodified.clone(), EXACTLY)], Selection::Range(0..1)),
            (vec![(unmodified.clone(), BEFORE)], failed.clone()),
            (vec![(unmodified.clone(), "yesterday")], Selection::Range(0..1)),
            (vec![(if_match.clone(), "\"a\""), (unmodified.clone(), BEFORE)], Selection::Range(0..1)),
            (vec![(if_match.clone(), "\"x\""), (unmodified.clone(), EXACTLY)], failed.clone()),
            (vec![(if_match.clone(), "\"x\""), (header::IF_NONE_MATCH, "\"a\"")], failed.clone()),
            (vec![(if_match.clone(), "\"a\""), (header::IF_NONE_MATCH, "\"a\"")], Selection::NotModified),
            (vec![(unmodified.clone(), BEFORE), (header::IF_MODIFIED_SINCE, EXACTLY)], failed.clone()),
        ] {
            let with_range = [&conditions[..], &[(header::RANGE, "bytes=0-0")]].concat();
            assert_eq!(select(&Method::GET, &with_range), expected, "{conditions:?}");
            let unsatisfiable = [&conditions[..], &[(header::RANGE, "bytes=5000-")]].concat();
            let is_failed = select(&Method::GET, &unsatisfiable) == failed;
            assert_eq!(is_failed, expected == failed, "{conditions:?}");
            assert_eq!(select(&Method::HEAD, &conditions) == failed, expected == failed, "{conditions:?}");
        }
        // Without a date that is a validator, the date of the request is ignored.
        let headers = HeaderMap::from_iter([(unmodified, HeaderValue::from_static(BEFORE))]);
        let etag = "\"a\"".parse().expect("an entity tag");
        assert_eq!(preconditions(&etag, None, &headers), Preconditions::Met);
    }
}
