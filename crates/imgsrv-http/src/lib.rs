//! The HTTP API: it parses a request, calls one use case and renders the response.
//!
//! Every error on every route is a problem document (RFC 9457). A route and its description in OpenAPI are declared
//! together, so `openapi/v1.yaml` describes only what is served.

mod degradation;
mod extract;
mod middleware;
mod public_url;
mod readiness;
mod receive_slots;
mod redact;
mod request;
mod response;
mod routes;
mod send_budget;
mod state;
mod streams;

pub use degradation::Degradation;
pub use imgsrv_web::Site;
pub use middleware::{
    client_address::limit_key,
    observation::{CompletedRequest, METHODS, RequestObserver},
};
pub use public_url::{InvalidPublicUrl, PublicUrl};
pub use request::{PeerAddress, Transport};
pub use routes::{openapi, parse_retention, router};
pub use send_budget::SendBudget;
pub use state::{AppState, HttpSettings};
