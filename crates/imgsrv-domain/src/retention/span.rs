//! Durations of policies, as people write them.

use std::{fmt, str::FromStr, time::Duration};

/// A duration in whole seconds, written as one number and unit: `90s`, `30m`, `12h`, `30d` or `2w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// The text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a duration of at most 100 years such as 90s, 30m, 12h, 30d or 2w")]
pub struct InvalidSpan;

const DAY: u64 = 24 * 60 * 60;
const MAX: u64 = 36_525 * DAY;
/// The units in seconds, the one without a larger one last.
const UNITS: [(&str, u64); 5] = [("w", 7 * DAY), ("d", DAY), ("h", 60 * 60), ("m", 60), ("s", 1)];

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(raw: &str) -> Result<Self, InvalidSpan> {
        let (number, unit) = raw.split_at(raw.len() - raw.chars().next_back().map_or(0, char::len_utf8));
        let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(InvalidSpan)?;
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidSpan);
        }
        let total = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*seconds));
        total.filter(|total| *total <= MAX).map(|total| Self(Duration::from_secs(total))).ok_or(InvalidSpan)
    }
}

/// In days, or in the largest smaller unit of which it is a multiple.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.0.as_secs();
        let fits = UNITS.iter().skip(1).find(|(_, seconds)| total > 0 && total.is_multiple_of(*seconds));
        let (unit, seconds) = fits.unwrap_or(&("s", 1));
        write!(f, "{}{unit}", total / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_one_number_and_unit() {
        for (raw, shown) in [
            ("30d", "30d"),
            ("2w", "14d"),
            ("48h", "2d"),
            ("90m", "90m"),
            ("60s", "1m"),
            ("0d", "0s"),
            ("36525d", "36525d"),
        ] {
            assert_eq!(raw.parse::<Span>().expect(raw).to_string(), shown);
        }
        for bad in ["", "d", "30", "30 d", "-1d", "+1d", "1.5d", "1y", "1h30m", "36526d", "99999999999999999999d", "é"]
        {
            assert_eq!(bad.parse::<Span>(), Err(InvalidSpan), "{bad}");
        }
    }
}
