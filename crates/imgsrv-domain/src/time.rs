//! Points in time, as the catalog and the clock port report them.

use jiff::{civil::Date, tz::Offset};
use std::{fmt, str::FromStr, time::Duration};

/// A point in time: microseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Wraps microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// This time plus `delay`; saturates at the end of the representable range.
    #[must_use]
    pub fn plus(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(delay.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Whether this time is less than `span` before `now`. A time after `now` is not: the clock was set back.
    pub fn is_within(self, span: Duration, now: Self) -> bool {
        self <= now && now.since(self) < span
    }

    /// The time from `earlier` to this one; zero when that is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A day of the Gregorian calendar in UTC, shown as `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(Date);

/// The text is not a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a day such as 2027-06-30")]
pub struct InvalidDay;

impl Day {
    /// The day of `time`; the first or last day of the years -9999 to 9999 for a time outside of them.
    pub fn of(time: Timestamp) -> Self {
        let bound = if time.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
        let time = jiff::Timestamp::from_microsecond(time.0).unwrap_or(bound);
        Self(Offset::UTC.to_datetime(time).date())
    }

    /// When it starts.
    pub fn start(self) -> Timestamp {
        const MICROS: i64 = 24 * 60 * 60 * 1_000_000;
        Timestamp(self.number() * MICROS)
    }

    /// When it ends, which is when the next one starts.
    pub fn end(self) -> Timestamp {
        self.start().plus(Duration::from_hours(24))
    }

    /// The number of days since 1970-01-01.
    pub fn number(self) -> i64 {
        let epoch = Date::constant(1970, 1, 1);
        self.0.duration_since(epoch).as_hours() / 24
    }

    /// A number for its ISO week (ISO 8601, weeks begin on Monday), which ascends by one from week to week.
    pub fn iso_week(self) -> i64 {
        // 1970-01-01 was a Thursday.
        (self.number() + 3).div_euclid(7)
    }

    /// A number for its month, which ascends by one from month to month.
    pub fn month(self) -> i64 {
        i64::from(self.0.year()) * 12 + i64::from(self.0.month())
    }
}

impl FromStr for Day {
    type Err = InvalidDay;

    /// Accepts `YYYY-MM-DD` alone, from 1970 on.
    fn from_str(raw: &str) -> Result<Self, InvalidDay> {
        let day = Date::strptime("%Y-%m-%d", raw).map(Self).map_err(|_| InvalidDay)?;
        if day.0.year() >= 1970 && day.to_string() == raw { Ok(day) } else { Err(InvalidDay) }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_of_the_calendar_are_accepted() {
        for valid in ["1970-01-01", "2024-02-29", "2000-02-29", "9998-12-31"] {
            let day: Day = valid.parse().expect(valid);
            assert_eq!(day.to_string(), valid);
            assert_eq!((Day::of(day.start()), Day::of(Timestamp(day.end().0 - 1))), (day, day));
        }
        for bad in
            ["", "1969-12-31", "2023-02-29", "2024-2-9", "2024-13-01", "+024-01-01", "2024-01-01T00:00", "20240101"]
        {
            assert_eq!(bad.parse::<Day>(), Err(InvalidDay), "{bad}");
        }
    }

    #[test]
    fn weeks_begin_on_monday_and_times_out_of_range_have_a_day() {
        let day = |raw: &str| raw.parse::<Day>().expect(raw);
        assert_eq!(day("2026-11-29").iso_week(), day("2026-11-23").iso_week());
        assert_eq!(day("2026-11-30").iso_week(), day("2026-11-29").iso_week() + 1);
        assert_eq!(day("2027-01-01").month(), day("2026-12-31").month() + 1);
        assert_eq!(day("1970-01-02").number(), 1);
        assert_eq!(Day::of(Timestamp(i64::MAX)), day("9999-12-30"));
        assert_eq!(Day::of(Timestamp(-1)).number(), -1);
    }
}
