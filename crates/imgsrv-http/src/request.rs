//! What the server attaches to every request: the peer's address, the transport, the client's address, the request id and
//! the principal.

use axum::http::Extensions;
use imgsrv_app::{Caller, RequestContext};
use imgsrv_domain::{ids::PrincipalId, text::ShortText};
use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

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

/// Whether others can have read a request before it reached this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// It came over TLS, to this server or to a trusted proxy, or did not leave the machine.
    Confidential,
    /// It came in plaintext where clients can use TLS.
    InClear,
    /// It came in plaintext, perhaps from a reverse proxy that is not trusted, or on a server without TLS.
    Unknown,
}

impl Channel {
    /// That of a request; unknown if the listener has not reported it.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self::Unknown)
    }
}

/// The client's address: the peer's, or the one that trusted proxies report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

/// The request's id.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// The principal that sends a request, once it is authenticated, for the access log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sender(Arc<OnceLock<(PrincipalId, ShortText)>>);

impl Sender {
    /// Remembers the principal of an authenticated caller.
    pub(crate) fn remember(extensions: &Extensions, caller: &Caller) {
        if let (Some(Self(sender)), Ok(who)) = (extensions.get::<Self>(), caller.who()) {
            // Handlers may authenticate a request twice, with the same result.
            let _ = sender.set((who.principal.id, who.principal.display_name.clone()));
        }
    }

    pub(crate) fn get(&self) -> Option<&(PrincipalId, ShortText)> {
        self.0.get()
    }
}

/// What the audit log records of a request.
pub(crate) fn context(extensions: &Extensions) -> RequestContext {
    RequestContext {
        request_id: extensions.get::<RequestId>().map(|id| id.0.clone()),
        address: extensions.get::<ClientAddress>().map(|client| client.0.to_string()),
    }
}
