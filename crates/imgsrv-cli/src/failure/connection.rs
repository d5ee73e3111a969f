//! Why a server could not be reached, in the words of the person who runs the command.

use imgsrv_domain::error_chain;
use std::error::Error;

/// A failed connection, and what to do.
pub(super) struct Described {
    pub(super) message: String,
    pub(super) advice: String,
}

const UNREACHABLE: &str = "Check the URL, the port and the network, and that the server is running.";

/// Describes an error of the HTTP client, which exposes the types of neither its TLS library nor its resolver: only
/// their messages. `None` for any other error.
pub(super) fn describe(error: &imgsrv_client::Error) -> Option<Described> {
    let imgsrv_client::Error::Unreachable(error) = error else { return None };
    let url = error.url();
    let host = url.and_then(|url| url.host_str()).unwrap_or("the server").to_owned();
    let server = url.map_or_else(|| host.clone(), |url| url.origin().ascii_serialization());
    let causes: Vec<String> = error_chain::chain(error).map(ToString::to_string).collect();
    let has = |text: &str| causes.iter().any(|cause| cause.contains(text));
    let plain = server.replacen("https://", "http://", 1);
    let (message, advice) = if has("received corrupt message") {
        (format!("{server} does not speak TLS"), format!("Use --server {plain}, or the HTTPS port of the server."))
    } else if has("UnknownIssuer") || has("BadSignature") {
        (
            format!("the certificate of {server} is not signed by an authority that this machine trusts"),
            "Give the CA certificate of this server: --ca-file FILE. imgsrv login remembers it.".to_owned(),
        )
    } else if has("NotValidForName") || has("not valid for name") {
        (
            format!("the certificate of {server} is not valid for the name {host}"),
            "Use a host name that the certificate contains, or ask the operator for a certificate for this name."
                .to_owned(),
        )
    } else if has("invalid peer certificate") {
        let why = causes.last().and_then(|cause| cause.split("certificate: ").last()).unwrap_or_default().to_owned();
        (format!("the certificate of {server} is not valid: {why}"), "Ask the operator to renew it.".to_owned())
    } else if has("dns error") || has("failed to lookup address") {
        (
            format!("cannot reach {server}: the host name {host} cannot be resolved"),
            "Check the spelling of the URL.".to_owned(),
        )
    } else if has("Connection refused") {
        (format!("cannot reach {server}: connection refused"), UNREACHABLE.to_owned())
    } else if error.is_timeout() || has("timed out") {
        (format!("cannot reach {server}: no response in time"), UNREACHABLE.to_owned())
    } else {
        let deepest = error_chain::chain(error).last().unwrap_or(error as &dyn Error).to_string();
        let why = deepest.split(" (os error").next().unwrap_or(&deepest);
        (format!("the connection to {server} failed: {why}"), UNREACHABLE.to_owned())
    };
    Some(Described { message, advice })
}
