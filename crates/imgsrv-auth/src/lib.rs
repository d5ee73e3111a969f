//! Trust in other issuers: [`OidcVerifier`] verifies their tokens, [`CelEngine`] asks conditions about them.
//!
//! Both meet hostile input. A token is a stranger's until its signature holds; an issuer may be slow, huge, wrong or
//! down; a condition comes from an operator, but must not be able to stop the server. Nothing here decides who is
//! admitted: that is the use cases' to say.

mod address;
mod cache;
mod condition;
mod fetch;
mod jwt;
mod keys;
mod verifier;

pub use condition::CelEngine;
pub use verifier::OidcVerifier;
