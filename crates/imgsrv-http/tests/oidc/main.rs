//! Tokens of other issuers: which are authentic, whom rules admit, and how that is undone.

mod admission;
mod reconciliation;
mod rules;
mod support;
mod tokens;
mod trouble;
