//! The command that adds this server to Incus, on this machine or another.

use crate::{config::ServeOptions, options::node_name};
use imgsrv_cli::{quoted, trust_authority};
use imgsrv_domain::digest::BlobClaim;
use imgsrv_http::PublicUrl;
use std::io::{self, Write};

/// Whether an address to listen on stands for all addresses of the machine.
pub(crate) fn is_wildcard(host: &str) -> bool {
    host == "0.0.0.0" || host == "::"
}

/// Prints one line that fetches the authority, verifies its SHA-256, makes Incus trust it and adds the server as a remote.
pub(crate) fn print_command(authority: &[u8], options: &ServeOptions, port: u16) {
    let sha256 = BlobClaim::of(authority).digest.hex();
    tracing::info!(authority.sha256 = %sha256, "certificate authority loaded");
    let command = command(&url(options, port), &sha256);
    if let Err(error) = writeln!(io::stdout().lock(), "to add this server to Incus: {command}") {
        tracing::warn!(%error, "command for Incus could not be printed");
    }
}

/// The URL at which Incus reaches this server: always HTTPS, also when the public URL is not.
fn url(options: &ServeOptions, port: u16) -> String {
    let public = options.api.public_url();
    if let Some(url) = public.as_ref().filter(|url| url.is_https()) {
        return url.to_string();
    }
    let listen = options.api.listen.host.clone().filter(|host| !is_wildcard(host));
    let host = public.as_ref().and_then(PublicUrl::host).map(str::to_owned).or(listen).unwrap_or_else(node_name);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    format!("https://{host}:{port}")
}

/// Trusts the authority, and adds the remote.
fn command(url: &str, sha256: &str) -> String {
    let trust = trust_authority(url, sha256, "incus", "imgsrv");
    format!("{trust}incus remote add imgsrv {} --protocol simplestreams", quoted(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authority_is_fetched_from_the_tls_port() {
        for (url, authority) in [
            ("https://images.example.org", "http://images.example.org:443/ca.pem"),
            ("https://images.example.org:8443", "http://images.example.org:8443/ca.pem"),
            ("https://[::1]", "'http://[::1]:443/ca.pem'"),
            ("https://[::1]:8443", "'http://[::1]:8443/ca.pem'"),
            ("https://example.org/images", "http://example.org:443/images/ca.pem"),
            ("https://example.org:8443/a/b", "http://example.org:8443/a/b/ca.pem"),
        ] {
            let command = command(url, "ab");
            assert!(
                command.contains(&format!("curl -sSfo imgsrv.crt {authority} && echo 'ab  imgsrv.crt'")),
                "{command}"
            );
        }
    }
}
