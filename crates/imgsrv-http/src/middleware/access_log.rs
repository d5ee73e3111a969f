//! The access log: one line for each request.

use crate::{
    redact::redacted,
    request::{ClientAddress, RequestId},
};
use axum::{
    extract::Request,
    http::{Method, StatusCode},
};
use std::{net::IpAddr, time::Instant};

/// A line of the access log, written once the response is ready.
pub(crate) struct AccessLogEntry {
    started: Instant,
    id: String,
    method: Method,
    path: String,
    address: Option<IpAddr>,
}

impl AccessLogEntry {
    /// Begins the line of `request`, whose id and client address are known.
    pub(crate) fn begin(request: &Request) -> Self {
        let extensions = request.extensions();
        Self {
            started: Instant::now(),
            id: extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default(),
            method: request.method().clone(),
            path: redacted(request.uri().path()).into_owned(),
            address: extensions.get::<ClientAddress>().map(|client| client.0),
        }
    }

    /// Writes the line, with the status of the response.
    pub(crate) fn write(self, status: StatusCode) {
        tracing::info!(
            request.id = self.id,
            http.method = %self.method,
            http.path = ?self.path,
            http.status = status.as_u16(),
            client.address = self.address.map(tracing::field::display),
            duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "request"
        );
    }
}
