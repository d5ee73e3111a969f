//! Verification of other issuers' tokens ([`OidcVerifier`]) and evaluation of conditions on them ([`CelEngine`]).
//!
//! Both process hostile input. A token is untrusted until its signature is verified; an issuer may be slow, oversized,
//! wrong or down; a condition comes from an operator, but must not be able to stop the server. Who is admitted is
//! decided by the use cases, not here.

mod address;
mod cache;
mod condition;
mod fetch;
mod jwt;
mod keys;
mod verifier;

pub use condition::CelEngine;
pub use verifier::OidcVerifier;
