//! What the server attaches to every request: the peer's address, the transport, the client's address and the request id.

use axum::http::Extensions;
use imgsrv_app::RequestContext;
use std::net::IpAddr;

/// The address of the peer that opened the connection; inserted into the request's extensions by the listener.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub IpAddr);

/// How a request was transported; inserted into the request's extensions by the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Plaintext, on a port without TLS.
    Plaintext,
    /// TLS.
    Tls,
    /// Plaintext, on a port that serves TLS: only files are served there.
    PlaintextOnTlsPort,
}

/// The client's address: the peer's, or the one that trusted proxies report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

/// The request's id.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// What the audit log records of a request.
pub(crate) fn context(extensions: &Extensions) -> RequestContext {
    RequestContext {
        request_id: extensions.get::<RequestId>().map(|id| id.0.clone()),
        address: extensions.get::<ClientAddress>().map(|client| client.0.to_string()),
    }
}
