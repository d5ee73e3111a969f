//! The client commands, run as processes against a server that may be killed.

mod auth;
mod download;
mod failures;
mod fixture;
mod json;
mod names;
mod publish;
mod tokens;
