//! The domain model of imgsrv: content-addressed blobs, image versions and their state machines.
//!
//! This crate has value objects that are valid by construction, the state machines of upload sessions, image versions
//! and their lifecycles, publish jobs and intakes, and the [`ports`] through which the use cases reach a catalog and a blob store. It performs
//! no I/O, reads no clock and does not know SQL, HTTP or serialisation formats, so any Rust program can embed it.
#![warn(missing_docs)]

pub mod access;
pub mod architecture;
pub mod audit;
pub mod auth;
pub mod blocks;
pub mod breaker;
pub mod browse;
pub mod claims;
pub mod digest;
mod enums;
pub mod error_chain;
pub mod files;
mod format;
pub mod hash;
pub mod ids;
pub mod image;
pub mod inspection;
pub mod intake;
pub mod lifecycle;
pub mod link;
pub mod manifest;
pub mod names;
pub mod node;
pub mod oidc;
pub mod packages;
pub mod page;
pub mod parts;
pub mod ports;
pub mod publish;
pub mod retention;
pub mod shell;
pub mod space;
pub mod text;
pub mod time;
pub mod transition;
pub mod upload;
pub mod version;
pub mod work;
