//! Tokens of OIDC issuers: verification, admission by provisioning rules, and reconciliation.

mod admission;
mod claims;
mod failures;
mod reconciliation;
mod rules;
mod support;
mod tokens;
