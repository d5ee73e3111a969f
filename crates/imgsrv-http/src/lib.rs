//! The HTTP API: it parses a request, calls one use case and renders the answer.
//!
//! Every error on every route is a problem document (RFC 9457). Routes and their description in OpenAPI
//! are one thing, so `openapi/v1.yaml` cannot tell of anything that is not served.

mod astray;
mod bytes;
mod client;
mod conditional;
mod extract;
mod failures;
mod layers;
mod leftover;
mod observe;
mod pace;
mod problem;
mod redact;
mod render;
mod routes;
mod state;
mod streams;

pub use client::limited_by;
pub use layers::{PeerAddress, Transport};
pub use observe::{Answered, METHODS, RequestObserver};
pub use problem::refusal;
pub use routes::{openapi, router};
pub use state::{AppState, HttpSettings};
