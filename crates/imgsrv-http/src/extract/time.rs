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
        let fits = raw.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => byte.eq_ignore_ascii_case(&b't'),
            13 | 16 => byte == b':',
            0..19 => byte.is_ascii_digit(),
            _ => byte.is_ascii_digit() || b".zZ+-:".contains(&byte),
        });
        let parsed = fits.then(|| raw.parse::<jiff::Timestamp>().ok()).flatten().ok_or(InvalidTime)?;
        Ok(Self(Timestamp::from_micros(parsed.as_microsecond())))
    }
}
