//! Clients that try to exhaust the server's resources.

mod connections;
mod http2;
mod memory;
mod support;
