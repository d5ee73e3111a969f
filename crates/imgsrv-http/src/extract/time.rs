//! Times in requests.

use imgsrv_domain::time::Timestamp;
use std::str::FromStr;

/// The text is not a time in the grammar of RFC 3339.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("must be a time as in RFC 3339, such as 2027-01-01T00:00:00Z")]
pub(crate) struct InvalidTime;

/// A time in the grammar of RFC 3339, section 5.6.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rfc3339(pub(crate) Timestamp);

impl FromStr for Rfc3339 {
    type Err = InvalidTime;

    /// Checks the grammar first, because jiff accepts more.
    fn from_str(raw: &str) -> Result<Self, InvalidTime> {
        let fits = raw.bytes().take(19).enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => byte.eq_ignore_ascii_case(&b't'),
            13 | 16 => byte == b':',
            _ => byte.is_ascii_digit(),
        });
        let fits = fits && raw.get(19..).is_some_and(is_rest);
        let parsed = fits.then(|| raw.parse::<jiff::Timestamp>().ok()).flatten().ok_or(InvalidTime)?;
        Ok(Self(Timestamp::from_micros(parsed.as_microsecond())))
    }
}

/// Whether `raw` is what follows the seconds: an optional fraction, and `Z` or an offset of less than a day.
fn is_rest(raw: &str) -> bool {
    let at = raw.find(['z', 'Z', '+', '-']).unwrap_or(raw.len());
    let (fraction, offset) = raw.split_at(at);
    let is_fraction = fraction.is_empty()
        || fraction
            .strip_prefix('.')
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    let is_number = |raw: Option<&str>, limit: u8| {
        let digits = raw.filter(|raw| raw.bytes().all(|b| b.is_ascii_digit()));
        digits.and_then(|digits| digits.parse().ok()).is_some_and(|number: u8| number < limit)
    };
    let is_offset = || {
        offset.len() == 6
            && offset.get(3..4) == Some(":")
            && is_number(offset.get(1..3), 24)
            && is_number(offset.get(4..), 60)
    };
    is_fraction && (offset.eq_ignore_ascii_case("z") || is_offset())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_follow_the_grammar_of_rfc_3339() {
        for valid in [
            "2027-01-01T00:00:00Z",
            "2027-01-01t00:00:00.5z",
            "2027-01-01T00:00:00.123456789+23:59",
            "2027-01-01T00:00:00-00:30",
        ] {
            assert!(valid.parse::<Rfc3339>().is_ok(), "{valid}");
        }
        for bad in [
            "",
            "2027-01-01",
            "2027-01-01T00:00:00",
            "2027-01-01 00:00:00Z",
            "2027-01-01T00:00:00+25:00",
            "2027-01-01T00:00:00+24:00",
            "2027-01-01T00:00:00+01:60",
            "2027-01-01T00:00:00+01",
            "2027-01-01T00:00:00+0100",
            "2027-01-01T00:00:00+01:00:30",
            "2027-01-01T00:00:00.Z",
            "2027-01-01T00:00:00Zé",
            "2027-01-01T00:00:00++1:00",
            "2027-13-01T00:00:00Z",
        ] {
            assert!(bad.parse::<Rfc3339>().is_err(), "{bad}");
        }
    }
}
