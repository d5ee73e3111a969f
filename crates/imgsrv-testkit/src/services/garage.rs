//! Garage, a small S3-compatible store, as a single node.

use super::{S3Server, cache_dir, daemon::Daemon, free_port, program, variable, wait_until_ready};
use std::{fs, net::TcpStream, path::PathBuf, process::Command};

/// The version that tests run against.
pub const GARAGE_VERSION: &str = "2.5.0";
pub(super) const ACCESS_KEY: &str = "GK31c2f218a2e44f485b94239e";
pub(super) const SECRET_KEY: &str = "b892c0665f0ada8a4755dae98baa3b133590e11dae3bcc1f9d769d67f16c3835";
pub(super) const REGION: &str = "garage";
const ADMIN_TOKEN: &str = "admin";

/// A dedicated server, which can be stopped and restarted.
pub struct Garage {
    daemon: Daemon,
    program: PathBuf,
    s3: u16,
    admin: u16,
}

impl Garage {
    /// Starts an empty server with one bucket, `imgsrv`. Its key may create further ones.
    pub fn start() -> Self {
        let daemon = Daemon::new("garage");
        let (s3, rpc, admin) = (free_port(), free_port(), free_port());
        let path = daemon.folder().to_str().expect("a path in UTF-8");
        fs::write(daemon.folder().join("garage.toml"), config(path, "127.0.0.1", [s3, rpc, admin])).expect("written");
        let server = Self { daemon, program: binary(), s3, admin };
        server.run();
        allow_buckets(&format!("127.0.0.1:{admin}"));
        server
    }
}

impl S3Server for Garage {
    fn run(&self) {
        self.daemon.spawn(
            Command::new(&self.program)
                .arg("-c")
                .arg(self.daemon.folder().join("garage.toml"))
                .args(["server", "--single-node", "--default-bucket"])
                .env("GARAGE_DEFAULT_ACCESS_KEY", ACCESS_KEY)
                .env("GARAGE_DEFAULT_SECRET_KEY", SECRET_KEY)
                .env("GARAGE_DEFAULT_BUCKET", "imgsrv")
                .env("RUST_LOG", "garage=info"),
        );
        wait_until_ready("garage", &self.daemon.log(), || {
            // Two listeners, which start independently.
            let is_healthy = ureq::get(format!("http://127.0.0.1:{}/health", self.admin)).call().is_ok();
            is_healthy && TcpStream::connect(("127.0.0.1", self.s3)).is_ok()
        });
    }

    fn stop(&self) {
        self.daemon.kill(self.s3);
    }

    fn port(&self) -> u16 {
        self.s3
    }

    fn keys(&self) -> (&'static str, &'static str) {
        (ACCESS_KEY, SECRET_KEY)
    }

    fn region(&self) -> &'static str {
        REGION
    }
}

/// The configuration of a node with its data in `folder`, and with ports of the S3 API, of the nodes and of administration.
pub(super) fn config(folder: &str, host: &str, [s3, rpc, admin]: [u16; 3]) -> String {
    // Protects nothing: there are no other nodes.
    let secret = "0123456789abcdef".repeat(4);
    format!(
        "metadata_dir = \"{folder}/meta\"\ndata_dir = \"{folder}/data\"\ndb_engine = \"sqlite\"\n\
         metadata_fsync = false\ndata_fsync = false\nreplication_factor = 1\ncompression_level = \"none\"\n\
         rpc_bind_addr = \"{host}:{rpc}\"\nrpc_public_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{secret}\"\n\
         [s3_api]\ns3_region = \"{REGION}\"\napi_bind_addr = \"{host}:{s3}\"\nroot_domain = \".localhost\"\n\
         [admin]\napi_bind_addr = \"{host}:{admin}\"\nadmin_token = \"{ADMIN_TOKEN}\"\n"
    )
}

/// Lets the key make buckets, through the administration at `address`.
pub(super) fn allow_buckets(address: &str) {
    let allowed = ureq::post(format!("http://{address}/v2/UpdateKey?id={ACCESS_KEY}"))
        .header("authorization", format!("Bearer {ADMIN_TOKEN}"))
        .header("content-type", "application/json")
        .send(r#"{"allow": {"createBucket": true}}"#);
    allowed.unwrap_or_else(|error| panic!("the key may not make buckets: {error}"));
}

fn binary() -> PathBuf {
    let cached = cache_dir().join("tools").join(format!("garage-{GARAGE_VERSION}")).join("bin");
    let given = variable("IMGSRV_TEST_GARAGE").map(PathBuf::from);
    given.or_else(|| program("garage", &[cached])).unwrap_or_else(|| {
        panic!(
            "no Garage: `cargo xtask integration` builds it once, or `cargo install --locked garage@{GARAGE_VERSION}`; \
             or set IMGSRV_TEST_S3_ENDPOINT, IMGSRV_TEST_S3_ACCESS_KEY_ID and IMGSRV_TEST_S3_SECRET_ACCESS_KEY to a \
             store where buckets may be made"
        )
    })
}
