//! The HTTP API: it parses a request, calls one use case and renders the answer.
//!
//! Every error on every route is a problem document (RFC 9457). Routes and their description in OpenAPI
//! are one thing, so `openapi/v1.yaml` cannot tell of anything that is not served.

mod extract;
mod middleware;
mod readiness;
mod redact;
mod request;
mod response;
mod routes;
mod state;
mod streams;

pub use middleware::{
    client_address::limited_by,
    observation::{Answered, METHODS, RequestObserver},
};
pub use request::{PeerAddress, Transport};
pub use routes::{openapi, router};
pub use state::{AppState, HttpSettings};
