//! Sizes, times and architectures as people read them.

use imgsrv_domain::{architecture::usual_name, digest::ByteSize, names::Architecture, time::Timestamp};
use std::time::Duration;

/// The usual name of an architecture, by which it is found in every spelling.
pub(crate) fn usual(architecture: &Architecture) -> &str {
    usual_name(architecture.as_str()).unwrap_or(architecture.as_str())
}

/// A size in binary units, with at most three significant digits: `1.46 GiB`.
pub(crate) fn size(size: ByteSize) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let bytes = size.get();
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Hundredths, so that a value is never rounded up to 1024 of a unit.
    let mut divisor = 1_u128;
    let mut unit = "B";
    for name in UNITS {
        if u128::from(bytes) / divisor < 1024 {
            break;
        }
        (divisor, unit) = (divisor * 1024, name);
    }
    let hundredths = u128::from(bytes) * 100 / divisor;
    let (whole, rest) = (hundredths / 100, hundredths % 100);
    match whole {
        0..10 if rest > 0 => format!("{whole}.{rest:02} {unit}"),
        10..100 if rest >= 10 => format!("{whole}.{} {unit}", rest / 10),
        _ => format!("{whole} {unit}"),
    }
}

/// A point in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct When {
    /// As machines read it (RFC 3339).
    pub(crate) iso: String,
    /// The day.
    pub(crate) day: String,
    /// The day and the time, in UTC.
    pub(crate) full: String,
    /// Relative to now, coarse enough that a page seldom changes for it alone.
    pub(crate) relative: String,
}

impl When {
    pub(crate) fn new(time: Timestamp, now: Timestamp) -> Self {
        let zoned = jiff::Timestamp::from_microsecond(time.micros()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        Self {
            iso: zoned.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            day: zoned.strftime("%Y-%m-%d").to_string(),
            full: zoned.strftime("%Y-%m-%d %H:%M UTC").to_string(),
            relative: if time <= now {
                match span(now.since(time)) {
                    Some(span) => format!("{span} ago"),
                    None => "less than an hour ago".to_owned(),
                }
            } else {
                span(time.since(now)).map_or_else(|| "within an hour".to_owned(), |span| format!("in {span}"))
            },
        }
    }
}

/// A length of time in one unit; `None` if it is less than an hour.
fn span(length: Duration) -> Option<String> {
    let hours = length.as_secs() / 3600;
    let (number, unit) = match hours {
        0 => return None,
        1..48 => (hours, "hour"),
        48..1440 => (hours / 24, "day"),
        1440..17520 => (hours / 730, "month"),
        _ => (hours / 8766, "year"),
    };
    Some(format!("{number} {unit}{}", if number == 1 { "" } else { "s" }))
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Items with a comma between them.
pub(crate) fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_at_most() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.50 KiB"),
            (10 << 20, "10 MiB"),
            ((10 << 20) + (300 << 10), "10.2 MiB"),
            ((1 << 30) - 1, "1023 MiB"),
            (1 << 40, "1 TiB"),
            (i64::MAX, "7.99 EiB"),
        ] {
            assert_eq!(size(bytes.try_into().expect("a size")), shown);
        }
    }

    #[test]
    fn times_are_absolute_with_a_coarse_hint() {
        const HOUR: i64 = 3_600_000_000;
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let hint = |hours: i64| When::new(Timestamp::from_micros(now.micros() - hours * HOUR), now).relative;
        for (hours, expected) in [
            (0, "less than an hour ago"),
            (1, "1 hour ago"),
            (47, "47 hours ago"),
            (49, "2 days ago"),
            (24 * 60, "1 month ago"),
            (24 * 400, "13 months ago"),
            (24 * 800, "2 years ago"),
            (-49, "in 2 days"),
        ] {
            assert_eq!(hint(hours), expected);
        }
        let when = When::new(now, now);
        assert_eq!((when.iso.as_str(), when.full.as_str()), ("2027-01-15T08:00:00Z", "2027-01-15 08:00 UTC"));
    }
}
