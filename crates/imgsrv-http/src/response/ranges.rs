//! The ranges of a `Range` header (RFC 9110, section 14).

use std::ops::Range;

/// The most ranges that one response has. zsync requests up to 20 at once, and fails without them.
const MAX_RANGES: usize = 20;

/// The ranges that a request selects of a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ranges {
    /// The header is ignored: it has another unit or a syntax error, or selects overlapping ranges or too many.
    Ignored,
    /// One range.
    One(Range<u64>),
    /// Several ranges, which do not overlap, in the order of the request.
    Several(Vec<Range<u64>>),
    /// No range is within the representation.
    Unsatisfiable,
}

/// Evaluates `Range` for a representation of `size` bytes. Overlapping ranges, and more than a client needs, are ignored,
/// as section 14.2 recommends against attacks: the whole representation then costs less than its ranges.
///
/// `headers::Range` is not used: it does not recognise the unit in another case, drops a suffix that is longer than the
/// representation and a position that exceeds `u64`, and does not report a syntax error as different from a range that
/// cannot be satisfied.
pub(super) fn parse(header: &str, size: u64) -> Ranges {
    let Some((unit, set)) = header.split_once('=') else { return Ranges::Ignored };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Ranges::Ignored;
    }
    // A recipient ignores empty elements of a list (section 5.6.1).
    let specs = set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|spec| !spec.is_empty());
    let Some(all) = specs.take(MAX_RANGES + 1).map(|spec| range(spec, size)).collect::<Option<Vec<_>>>() else {
        return Ranges::Ignored;
    };
    if all.is_empty() || all.len() > MAX_RANGES {
        return Ranges::Ignored;
    }
    let satisfiable: Vec<_> = all.into_iter().filter(|range| range.start < range.end && range.start < size).collect();
    let mut sorted: Vec<_> = satisfiable.iter().collect();
    sorted.sort_unstable_by_key(|range| range.start);
    let is_disjoint = sorted.is_sorted_by(|one, next| one.end <= next.start);
    match satisfiable.as_slice() {
        [] => Ranges::Unsatisfiable,
        [one] => Ranges::One(one.clone()),
        _ if !is_disjoint => Ranges::Ignored,
        _ => Ranges::Several(satisfiable),
    }
}

/// A single range, which may be empty or begin after the end; `None` if it has a syntax error.
fn range(spec: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(first) || !is_number(last) {
        return None;
    }
    // A position that exceeds u64 is after the end like any other.
    let position = |text: &str| text.parse().unwrap_or(u64::MAX);
    match (first, last) {
        ("", "") => None,
        ("", suffix) => Some(size.saturating_sub(position(suffix))..size),
        (first, "") => Some(position(first)..size),
        (first, last) if position(first) > position(last) => None,
        (first, last) => Some(position(first)..position(last).saturating_add(1).min(size)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_evaluated_as_rfc_9110_specifies() {
        for (header, expected) in [
            ("bytes=0-0", Ranges::One(0..1)),
            ("bytes=0-", Ranges::One(0..1000)),
            ("bytes=-1", Ranges::One(999..1000)),
            ("bytes=-5000", Ranges::One(0..1000)),
            ("bytes=10-5000", Ranges::One(10..1000)),
            ("BYTES=1-2", Ranges::One(1..3)),
            ("bytes= 1-2", Ranges::One(1..3)),
            ("bytes=0-99999999999999999999", Ranges::One(0..1000)),
            ("bytes=1000-", Ranges::Unsatisfiable),
            ("bytes=-0", Ranges::Unsatisfiable),
            ("bytes=1000-,-0", Ranges::Unsatisfiable),
            ("bytes=5-2", Ranges::Ignored),
            ("bytes=-", Ranges::Ignored),
            ("bytes=", Ranges::Ignored),
            ("bytes=,", Ranges::Ignored),
            ("bytes=a-b", Ranges::Ignored),
            ("bytes=1 - 2", Ranges::Ignored),
            ("bytes=0-0,a-b", Ranges::Ignored),
            ("bytes=0-0,5-2", Ranges::Ignored),
            ("lines=1-2", Ranges::Ignored),
            ("bytes", Ranges::Ignored),
        ] {
            assert_eq!(parse(header, 1000), expected, "{header}");
        }
    }

    #[test]
    fn several_ranges_are_served_unless_they_overlap() {
        for (header, expected) in [
            ("bytes=0-0,2-3", Ranges::Several(vec![0..1, 2..4])),
            ("bytes=0-0, 1-1 ,\t2-2", Ranges::Several(vec![0..1, 1..2, 2..3])),
            ("bytes=-1,,0-0,", Ranges::Several(vec![999..1000, 0..1])),
            ("bytes=0-0,1000-,2-3,-0", Ranges::Several(vec![0..1, 2..4])),
            ("bytes=0-0,1000-", Ranges::One(0..1)),
            ("bytes=0-1,1-2", Ranges::Ignored),
            ("bytes=5-9,0-99", Ranges::Ignored),
            ("bytes=0-0,0-0", Ranges::Ignored),
            ("bytes=0-,-1", Ranges::Ignored),
        ] {
            assert_eq!(parse(header, 1000), expected, "{header}");
        }
    }

    #[test]
    fn too_many_ranges_are_ignored() {
        let header = |count: u64| {
            let specs: Vec<_> = (0..count).map(|at| format!("{}-{}", at * 10, at * 10 + 4)).collect();
            format!("bytes={}", specs.join(","))
        };
        let expected = (0..20).map(|at| at * 10..at * 10 + 5).collect();
        assert_eq!(parse(&header(20), 1000), Ranges::Several(expected));
        assert_eq!(parse(&header(21), 1000), Ranges::Ignored);
        // Those outside of the representation count as well.
        assert_eq!(parse(&header(21), 50), Ranges::Ignored);
    }

    #[test]
    fn an_empty_representation_has_no_ranges() {
        for header in ["bytes=0-0", "bytes=0-", "bytes=-1", "bytes=0-0,2-3"] {
            assert_eq!(parse(header, 0), Ranges::Unsatisfiable, "{header}");
        }
    }
}
