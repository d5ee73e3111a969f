//! What the server notes with every request: the peer's address, the transport and the request id.

use std::net::IpAddr;

/// The client's address, as the listener saw it; put into the request by the server.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub IpAddr);

/// How a request came; put into it by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In the clear.
    Plain,
    /// Over TLS.
    Tls,
    /// In the clear, at a port that speaks TLS: only files are handed out there.
    PlainBesideTls,
}

/// The request's id.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);
