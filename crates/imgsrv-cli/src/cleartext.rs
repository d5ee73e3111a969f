//! Tokens over unencrypted HTTP: refused, except to this machine or with consent.

use crate::failure::Failure;
use clap::Args;
use reqwest::Url;
use std::net::IpAddr;

/// Consent to an unencrypted connection.
#[derive(Debug, Args)]
pub(crate) struct CleartextOptions {
    /// Send the token to another host over unencrypted HTTP
    #[arg(long)]
    allow_cleartext: bool,
}

impl CleartextOptions {
    /// Refuses to send a token over plain HTTP to another host, unless that is allowed.
    pub(crate) fn check(&self, url: &str) -> Result<(), Failure> {
        // What is no URL is refused where the client is built.
        let Some(parsed) = Url::parse(url).ok().filter(|parsed| parsed.scheme() == "http") else { return Ok(()) };
        let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let is_local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if is_local || self.allow_cleartext {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "{url} is unencrypted HTTP to another host: others on the network could read the token"
        ))
        .with_advice("Use https://, or add --allow-cleartext in a network that you trust."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_sent_unencrypted_to_this_machine_only() {
        let check = |url: &str, allow_cleartext| CleartextOptions { allow_cleartext }.check(url).is_ok();
        for url in ["https://a", "http://127.0.0.1:8080", "http://localhost", "http://[::1]:8080/x"] {
            assert!(check(url, false), "{url}");
        }
        for url in [
            "http://images",
            "HTTP://images",
            "http://10.0.0.1:8080",
            "http://127.0.0.1.example.org",
            "http://127.0.0.1:8080@images",
        ] {
            assert!(!check(url, false) && check(url, true), "{url}");
        }
    }
}
