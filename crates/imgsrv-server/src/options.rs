//! The values that settings take.

use clap::ValueEnum;
use std::{str::FromStr, time::Duration};

/// Parses `500ms`, `5s`, `1m`, `24h` and sums of them such as `1h30m`.
pub(crate) fn duration(raw: &str) -> Result<Duration, String> {
    let parsed = raw.parse::<jiff::SignedDuration>().ok().and_then(|parsed| Duration::try_from(parsed).ok());
    let positive = parsed.filter(|parsed| !parsed.is_zero());
    positive.ok_or_else(|| "must be a positive duration such as 500ms, 5s, 1m or 24h".to_owned())
}

/// The name of this host, for worker ids.
pub(crate) fn node_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Where to listen: `host:port`, or `:port` for every address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListenAddress {
    /// The host; every address when absent.
    pub(crate) host: Option<String>,
    pub(crate) port: u16,
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        let expected = || "must be host:port, or :port for every address".to_owned();
        let (host, port) = raw.rsplit_once(':').ok_or_else(expected)?;
        let port = port.parse().map_err(|_| expected())?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(Self { host: (!host.is_empty()).then(|| host.to_owned()), port })
    }
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verbosity {
    /// Everything
    Debug,
    /// Requests and what changes
    Info,
    /// What an operator should look at
    Warn,
    /// Failures
    Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("24h"), Ok(Duration::from_hours(24)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        for bad in ["", "5", "-5s", "0s", "5 parsecs"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_may_leave_the_host_out() {
        let address = |host: Option<&str>, port| Ok(ListenAddress { host: host.map(str::to_owned), port });
        assert_eq!(":8080".parse(), address(None, 8080));
        assert_eq!("127.0.0.1:0".parse(), address(Some("127.0.0.1"), 0));
        assert_eq!("[::1]:80".parse(), address(Some("::1"), 80));
        assert!("8080".parse::<ListenAddress>().is_err());
        assert!("a:70000".parse::<ListenAddress>().is_err());
    }
}
