//! The services that a scaled-out imgsrv needs, for tests: external ones, in containers, or from local programs.
//!
//! Each is sought in this order:
//! 1. at the address in the environment (`IMGSRV_TEST_POSTGRES_URL`; `IMGSRV_TEST_S3_ENDPOINT` with
//!    `IMGSRV_TEST_S3_ACCESS_KEY_ID` and `IMGSRV_TEST_S3_SECRET_ACCESS_KEY`);
//! 2. in a container, where a container engine runs (feature `containers`);
//! 3. among the programs of this machine: PostgreSQL's, and Garage from `IMGSRV_TEST_GARAGE`, the `PATH` or the cache of
//!    `cargo xtask`. The OpenID provider is in that cache as well (or in `IMGSRV_TEST_OIDC_PROVIDER`), and runs on Node.
//!    So is SeaweedFS (or in `IMGSRV_TEST_SEAWEEDFS`).
//!
//! A started service ends with the process that started it, even if that is killed.

mod chromedriver;
#[cfg(feature = "containers")]
mod containers;
mod daemon;
mod garage;
mod guard;
mod nginx;
mod oidc_provider;
mod postgres;
mod proxy;
mod s3;
mod schemathesis;
mod seaweedfs;
mod tls;
mod tus_clients;

pub use chromedriver::{Chromedriver, WEB_CHECKS_VERSION, axe, html_validate};
pub use garage::{GARAGE_VERSION, Garage};
pub use nginx::Nginx;
pub use oidc_provider::{OIDC_PROVIDER_VERSION, OidcProvider};
pub use postgres::LocalPostgres;
pub use schemathesis::{SCHEMATHESIS_VERSION, openapi_validator, schemathesis};
pub use seaweedfs::{SEAWEEDFS_VERSION, SeaweedFs};
pub use tls::TlsFront;
pub use tus_clients::{TUS_CLIENTS_VERSION, tus_js_client, tuspy};
#[cfg(feature = "fresh")]
pub use {postgres::Postgres, proxy::Proxy, s3::S3};

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

/// What must live as long as a service is used.
#[cfg(feature = "fresh")]
type Keep = Box<dyn std::any::Any + Send + Sync>;

/// An S3-compatible store that a test started, and can stop and restart.
pub trait S3Server: Send + Sync {
    /// Starts it, after [`S3Server::stop`] on the same port, and waits until it is ready.
    fn run(&self);

    /// Kills it.
    fn stop(&self);

    /// The port of its S3 API on the loopback interface.
    fn port(&self) -> u16;

    /// Its access key and secret key.
    fn keys(&self) -> (&'static str, &'static str);

    /// The region that requests to it are signed for.
    fn region(&self) -> &'static str;

    /// Host and port of its S3 API.
    fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }
}

/// Waits until a started service is ready; without that it fails with its log.
fn wait_until_ready(name: &str, log: &Path, is_ready: impl Fn() -> bool) {
    for _ in 0..3000 {
        if is_ready() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{name} does not respond: {}", std::fs::read_to_string(log).unwrap_or_default());
}

/// A folder in which `cargo xtask` installs packages, in its folder `packages`, unless the variable names another.
fn installed(name: &str, version: &str, override_by: &str, packages: &str) -> PathBuf {
    let cached = || cache_dir().join("tools").join(format!("{name}-{version}"));
    let folder = variable(override_by).map_or_else(cached, PathBuf::from);
    assert!(folder.join(packages).is_dir(), "no {name}: run cargo xtask test, which installs it");
    folder
}

/// A free port on the loopback interface; another process may take it meanwhile.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A variable of the environment.
#[expect(clippy::disallowed_methods, reason = "the environment names the services of tests")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A program on the `PATH`, or in one of `folders`.
pub(crate) fn program(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = variable("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path);
    folders.iter().cloned().chain(on_path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// The folder in which `cargo xtask` installs tools, outside the clone.
pub fn cache_dir() -> PathBuf {
    let home = || variable("HOME").map(|home| Path::new(&home).join(".cache"));
    variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(home).unwrap_or_else(std::env::temp_dir).join("imgsrv")
}
