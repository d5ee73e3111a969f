//! The day on which support of a version ends.

use crate::time::Timestamp;
use std::{fmt, str::FromStr};

/// A day of the Gregorian calendar, from 1970 on, as `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndOfLife {
    year: u16,
    month: u8,
    day: u8,
}

/// The text is not a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a day such as 2027-06-30")]
pub struct InvalidEndOfLife;

impl EndOfLife {
    /// The start of the day, UTC.
    pub fn start(self) -> Timestamp {
        // Days since the Unix epoch, with years that begin in March, so that a leap day ends its year.
        let (year, month, day) = (i64::from(self.year), i64::from(self.month), i64::from(self.day));
        let year = if month <= 2 { year - 1 } else { year };
        let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
        Timestamp::from_micros(days * 86_400_000_000)
    }
}

impl FromStr for EndOfLife {
    type Err = InvalidEndOfLife;

    fn from_str(raw: &str) -> Result<Self, InvalidEndOfLife> {
        let is_shaped = raw.len() == 10
            && raw.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        if !is_shaped {
            return Err(InvalidEndOfLife);
        }
        let number = |range: std::ops::Range<usize>| raw.get(range).and_then(|part| part.parse::<u16>().ok());
        let (Some(year), Some(month), Some(day)) = (number(0..4), number(5..7), number(8..10)) else {
            return Err(InvalidEndOfLife);
        };
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if is_leap => 29,
            2 => 28,
            _ => return Err(InvalidEndOfLife),
        };
        match (u8::try_from(month), u8::try_from(day)) {
            (Ok(month), Ok(in_month)) if year >= 1970 && (1..=days).contains(&day) => {
                Ok(Self { year, month, day: in_month })
            }
            _ => Err(InvalidEndOfLife),
        }
    }
}

impl fmt::Display for EndOfLife {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day } = self;
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_of_the_calendar_are_accepted() {
        for valid in ["1970-01-01", "2024-02-29", "2000-02-29", "9999-12-31"] {
            assert_eq!(valid.parse::<EndOfLife>().expect(valid).to_string(), valid);
        }
        for bad in [
            "",
            "2023-02-29",
            "1900-02-29",
            "2024-13-01",
            "2024-00-10",
            "2024-04-31",
            "2024-1-1",
            "1969-12-31",
            "2024-01-00",
            "2024/01/01",
            "+024-01-01",
            "2024-01-011",
            "é24-01-01",
        ] {
            assert!(bad.parse::<EndOfLife>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_day_starts_at_midnight_utc() {
        for (day, seconds) in [
            ("1970-01-01", 0),
            ("2000-03-01", 951_868_800),
            ("2024-02-29", 1_709_164_800),
            ("2027-06-30", 1_814_313_600),
        ] {
            let start = day.parse::<EndOfLife>().expect(day).start();
            assert_eq!(start.micros(), seconds * 1_000_000, "{day}");
        }
    }
}
