//! The client commands, run as processes against a server that may be killed.

mod auth;
mod below_a_path;
mod damage;
mod download;
mod exit_codes;
mod failures;
mod fixture;
mod json;
mod names;
mod packer;
mod publish;
mod purge;
mod refusals;
mod terminal;
mod tokens;
