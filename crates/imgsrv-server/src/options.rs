//! Types and parsers of settings.

use clap::ValueEnum;
use imgsrv_domain::{auth::TokenKey, ids::TokenId};
use imgsrv_http::{InvalidPublicUrl, PublicUrl};
use ipnet::IpNet;
use secrecy::SecretString;
use std::{net::IpAddr, str::FromStr, time::Duration};

/// The longest duration: a time that is so much later can still be shown.
const MAX_DURATION: Duration = Duration::from_hours(36_525 * 24);

/// Parses `500ms`, `5s`, `1m`, `24h` and sums of them such as `1h30m`.
pub(crate) fn duration(raw: &str) -> Result<Duration, String> {
    let parsed = raw.parse::<jiff::SignedDuration>().ok().and_then(|parsed| Duration::try_from(parsed).ok());
    let positive = parsed.filter(|parsed| !parsed.is_zero() && *parsed <= MAX_DURATION);
    positive.ok_or_else(|| "must be a positive duration such as 500ms, 5s, 1m or 24h, at most 100 years".to_owned())
}

/// Parses what [`duration`] does, days such as `7d`, and `0`.
pub(crate) fn optional_duration(raw: &str) -> Result<Duration, String> {
    if raw == "0" || raw == "0s" {
        return Ok(Duration::ZERO);
    }
    let days = raw.strip_suffix('d').and_then(|days| days.parse().ok());
    let days = days.and_then(|days: u32| Duration::from_hours(24).checked_mul(days));
    match days.filter(|days| *days <= MAX_DURATION) {
        Some(days) => Ok(days),
        None => duration(raw).map_err(|_| "must be 0 or a duration such as 30m, 12h or 7d".to_owned()),
    }
}

/// Parses a number of bytes: `1073741824`, `512MiB`, `1GiB`, `2TiB`.
pub(crate) fn bytes(raw: &str) -> Result<u64, String> {
    let wrong = || "must be a number of bytes, such as 1073741824, 512MiB, 1GiB or 2TiB".to_owned();
    let digits = raw.len() - raw.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = raw.split_at(digits);
    let shift = match unit.trim() {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

/// Parses the bytes that responses may hold.
pub(crate) fn send_buffer_bytes(raw: &str) -> Result<u32, String> {
    let bytes = u32::try_from(bytes(raw)?).ok().filter(|bytes| *bytes >= 1 << 20);
    bytes.ok_or_else(|| "must be at least 1MiB and less than 4GiB".to_owned())
}

/// The name of this host.
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

/// Networks, separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Networks(pub(crate) Vec<IpNet>);

pub(crate) fn networks(raw: &str) -> Result<Networks, String> {
    let network = |raw: &str| {
        let parsed = raw.parse().ok().or_else(|| raw.parse::<IpAddr>().ok().map(IpNet::from));
        parsed.ok_or_else(|| "must be addresses or networks such as 10.0.0.0/8, separated by commas".to_owned())
    };
    let parts = raw.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.map(network).collect::<Result<_, _>>().map(Networks)
}

/// A reference to a token: its id, or the public part of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenRef {
    Id(TokenId),
    Key(TokenKey),
}

impl FromStr for TokenRef {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        // A whole token is accepted as well, so that an operator need not edit a leaked one.
        let named = |rest: &str| match rest.get(TokenKey::LENGTH..) {
            Some("") => rest.parse().ok(),
            Some(secret) if secret.starts_with('_') => rest[..TokenKey::LENGTH].parse().ok(),
            _ => None,
        };
        let key = raw.strip_prefix(TokenKey::PREFIX).and_then(named).map(Self::Key);
        let id = || raw.parse().ok().map(Self::Id);
        let (prefix, length) = (TokenKey::PREFIX, TokenKey::LENGTH);
        key.or_else(id).ok_or_else(|| format!("must be a token's id, or {prefix} and the {length} characters after it"))
    }
}

/// An optional value; an empty string counts as absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given<T>(pub(crate) Option<T>);

/// The value, if there is one.
pub(crate) fn value<T: Clone>(given: Option<&Given<T>>) -> Option<T> {
    given.and_then(|given| given.0.clone())
}

impl<T: From<String>> From<String> for Given<T> {
    fn from(raw: String) -> Self {
        Self((!raw.is_empty()).then(|| raw.into()))
    }
}

/// Parses `host:port` of a remote server.
pub(crate) fn endpoint(raw: &str) -> Result<Given<String>, String> {
    if raw.contains("//") || raw.contains('/') {
        return Err("must be host:port, without a scheme or a path".to_owned());
    }
    Ok(raw.to_owned().into())
}

pub(crate) fn metrics_address(raw: &str) -> Result<Given<ListenAddress>, String> {
    if raw.is_empty() { Ok(Given(None)) } else { raw.parse().map(|address| Given(Some(address))) }
}

pub(crate) fn public_url(raw: &str) -> Result<Given<PublicUrl>, InvalidPublicUrl> {
    Ok(Given(if raw.is_empty() { None } else { Some(raw.parse()?) }))
}

/// Parses a text for people.
pub(crate) fn text<T: FromStr>(raw: &str) -> Result<Given<T>, T::Err> {
    Ok(Given(if raw.is_empty() { None } else { Some(raw.parse()?) }))
}

/// Parses the path of a URL. The router refuses segments that begin with a colon.
pub(crate) fn path(raw: &str) -> Result<String, String> {
    let fits = raw.starts_with('/')
        && !raw.contains("/:")
        && raw.bytes().all(|b| b.is_ascii_graphic() && !b"?#{}*\\\"<>".contains(&b));
    if fits { Ok(raw.to_owned()) } else { Err("must start with / and be a plain path".to_owned()) }
}

/// Parses the URL of a service over HTTP.
pub(crate) fn http_url(raw: &str) -> Result<Given<String>, String> {
    let is_url =
        raw.is_empty() || reqwest::Url::parse(raw).is_ok_and(|url| url.scheme().starts_with("http") && url.has_host());
    if is_url {
        Ok(raw.trim_end_matches('/').to_owned().into())
    } else {
        Err("must be a URL such as http://127.0.0.1:4318".to_owned())
    }
}

/// A value that is never printed.
pub(crate) type Secret = Given<SecretString>;

/// Reads a secret from a file, without trailing newlines.
pub(crate) fn secret_file(raw: &str) -> Result<Secret, String> {
    if raw.is_empty() {
        return Ok(String::new().into());
    }
    let text = std::fs::read_to_string(raw).map_err(|error| format!("cannot be read: {error}"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    // An empty file is probably not mounted yet, and must not turn the setting off.
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.to_owned().into()) }
}

/// The verbosity of the log.
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
        for bad in ["", "5", "-5s", "0s", "5 parsecs", "876601h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn optional_durations_may_be_days_or_zero() {
        assert_eq!(optional_duration("0"), Ok(Duration::ZERO));
        assert_eq!(optional_duration("0s"), Ok(Duration::ZERO));
        assert_eq!(optional_duration("7d"), Ok(Duration::from_hours(7 * 24)));
        assert_eq!(optional_duration("1h30m"), Ok(Duration::from_mins(90)));
        for bad in ["", "7", "d", "-7d", "0.5d", "7d12h", "36526d"] {
            assert!(optional_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bytes_may_have_a_unit() {
        assert_eq!(bytes("0"), Ok(0));
        assert_eq!(bytes("1GiB"), Ok(1 << 30));
        assert_eq!(bytes("512MiB"), Ok(512 << 20));
        assert_eq!(send_buffer_bytes("1MiB"), Ok(1 << 20));
        assert!(send_buffer_bytes("1023KiB").is_err() && send_buffer_bytes("4GiB").is_err());
        for bad in ["", "GiB", "1GB", "-1", "1.5GiB", "99999999999TiB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks_are_lists_and_tokens_are_referenced_without_their_secret() {
        let nets = networks("10.0.0.0/8, 192.0.2.1,fd00::/8").expect("networks").0;
        assert_eq!(
            nets.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.0.0/8", "192.0.2.1/32", "fd00::/8"]
        );
        assert_eq!(networks("").expect("none").0, []);
        assert!(networks("10.0.0.0/8 192.0.2.1").is_err());
        assert!(matches!("imgsrv_at_abcdefghijk1".parse(), Ok(TokenRef::Key(_))));
        assert!(matches!("0198c0de-0000-7000-8000-000000000000".parse(), Ok(TokenRef::Id(_))));
        let whole: TokenRef = "imgsrv_at_abcdefghijk1_secret".parse().expect("a token");
        assert_eq!(Ok(whole), "imgsrv_at_abcdefghijk1".parse());
        assert!("imgsrv_at_abcdefghijk1secret".parse::<TokenRef>().is_err());
    }

    #[test]
    fn the_host_of_an_address_is_optional() {
        let address = |host: Option<&str>, port| Ok(ListenAddress { host: host.map(str::to_owned), port });
        assert_eq!(":8080".parse(), address(None, 8080));
        assert_eq!("127.0.0.1:0".parse(), address(Some("127.0.0.1"), 0));
        assert_eq!("[::1]:80".parse(), address(Some("::1"), 80));
        assert!("8080".parse::<ListenAddress>().is_err());
        assert!("a:70000".parse::<ListenAddress>().is_err());
    }
}
