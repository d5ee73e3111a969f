//! The services that a scaled-out imgsrv needs, for tests: given by URL, in containers, or from local programs.
//!
//! Each is looked for in this order:
//! 1. where the environment says it is (`IMGSRV_TEST_POSTGRES_URL`; `IMGSRV_TEST_S3_ENDPOINT` with
//!    `IMGSRV_TEST_S3_ACCESS_KEY_ID` and `IMGSRV_TEST_S3_SECRET_ACCESS_KEY`);
//! 2. in a container, where a container engine runs (feature `containers`);
//! 3. from programs of this machine: PostgreSQL's, and Garage from `IMGSRV_TEST_GARAGE`, the `PATH` or the cache that
//!    `cargo xtask` keeps. The OpenID provider is there as well (`IMGSRV_TEST_OIDC_PROVIDER`), and runs on Node.
//!
//! What was started ends with the process that started it, however that ends.

#[cfg(feature = "containers")]
mod containers;
mod garage;
mod guard;
mod oidc_provider;
mod postgres;
mod proxy;
mod s3;
mod tls;
mod tus_clients;

pub use garage::{GARAGE_VERSION, Garage};
pub use oidc_provider::{OIDC_PROVIDER_VERSION, OidcProvider};
pub use postgres::LocalPostgres;
pub use tls::TlsFront;
pub use tus_clients::{TUS_CLIENTS_VERSION, tus_js_client, tuspy};
#[cfg(feature = "fresh")]
pub use {postgres::Postgres, proxy::Proxy, s3::S3};

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

/// A port of loopback that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A variable of the environment.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment where services are")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A program on the `PATH`, or in one of `folders`.
pub(crate) fn program(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = variable("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path);
    folders.iter().cloned().chain(on_path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// The folder for tools that outlive a clone, as `cargo xtask` uses it.
pub fn cache_dir() -> PathBuf {
    let home = || variable("HOME").map(|home| Path::new(&home).join(".cache"));
    variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).unwrap_or_else(std::env::temp_dir).join("imgsrv")
}
