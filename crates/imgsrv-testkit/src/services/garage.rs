//! Garage, a small S3-compatible store, as a single node.

use super::{
    cache_dir, free_port,
    guard::{Guard, scratch},
    program, variable,
};
use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

/// The version that tests run against.
pub const GARAGE_VERSION: &str = "2.5.0";
const ACCESS_KEY: &str = "GK31c2f218a2e44f485b94239e";
const SECRET_KEY: &str = "b892c0665f0ada8a4755dae98baa3b133590e11dae3bcc1f9d769d67f16c3835";
const ADMIN_TOKEN: &str = "admin";

/// A dedicated server, which can be stopped and restarted.
pub struct Garage {
    folder: PathBuf,
    program: PathBuf,
    s3: u16,
    admin: u16,
    _guard: Guard,
}

impl Garage {
    /// Starts an empty server with one bucket, `imgsrv`. Its key may create further ones.
    pub fn start() -> Self {
        let folder = scratch("garage");
        let (s3, rpc, admin) = (free_port(), free_port(), free_port());
        let shown = folder.display();
        // Used on the loopback interface only.
        let secret = "0123456789abcdef".repeat(4);
        let config = format!(
            "metadata_dir = \"{shown}/meta\"\ndata_dir = \"{shown}/data\"\ndb_engine = \"sqlite\"\n\
             metadata_fsync = false\ndata_fsync = false\nreplication_factor = 1\ncompression_level = \"none\"\n\
             rpc_bind_addr = \"127.0.0.1:{rpc}\"\nrpc_public_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{secret}\"\n\
             [s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"127.0.0.1:{s3}\"\nroot_domain = \".localhost\"\n\
             [admin]\napi_bind_addr = \"127.0.0.1:{admin}\"\nadmin_token = \"{ADMIN_TOKEN}\"\n"
        );
        fs::write(folder.join("garage.toml"), config).expect("written");
        let guard = Guard::new("kill -KILL $(cat \"$1/pid\"); rm -rf \"$1\"", &[folder.to_str().expect("UTF-8")]);
        let server = Self { folder, program: binary(), s3, admin, _guard: guard };
        server.run();
        let key = format!("/v2/UpdateKey?id={ACCESS_KEY}");
        server.administrate(&key, r#"{"allow": {"createBucket": true}}"#);
        server
    }

    /// Starts it, after [`Garage::stop`] on the same port.
    pub fn run(&self) {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("log")).expect("a log");
        let child = Command::new(&self.program)
            .arg("-c")
            .arg(self.folder.join("garage.toml"))
            .args(["server", "--single-node", "--default-bucket"])
            .env("GARAGE_DEFAULT_ACCESS_KEY", ACCESS_KEY)
            .env("GARAGE_DEFAULT_SECRET_KEY", SECRET_KEY)
            .env("GARAGE_DEFAULT_BUCKET", "imgsrv")
            .env("RUST_LOG", "garage=info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("garage starts");
        fs::write(self.folder.join("pid"), child.id().to_string()).expect("written");
        // Reaps the process when it ends.
        std::thread::spawn(move || {
            let mut child = child;
            child.wait()
        });
        for _ in 0..600 {
            // Two listeners, which start independently.
            let is_healthy = ureq::get(format!("http://127.0.0.1:{}/health", self.admin)).call().is_ok();
            if is_healthy && std::net::TcpStream::connect(("127.0.0.1", self.s3)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("garage does not respond: {}", fs::read_to_string(self.folder.join("log")).unwrap_or_default());
    }

    /// Kills it.
    pub fn stop(&self) {
        let pid = fs::read_to_string(self.folder.join("pid")).expect("its process id");
        let killed = Command::new("kill").args(["-KILL", pid.trim()]).status().expect("kill runs");
        assert!(killed.success());
        while std::net::TcpStream::connect(("127.0.0.1", self.s3)).is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The port of its S3 API.
    pub fn port(&self) -> u16 {
        self.s3
    }

    /// Host and port of its S3 API.
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.s3)
    }

    /// Its access key and secret key.
    pub const fn keys(&self) -> (&'static str, &'static str) {
        (ACCESS_KEY, SECRET_KEY)
    }

    fn administrate(&self, path: &str, body: &str) {
        ureq::post(format!("http://127.0.0.1:{}{path}", self.admin))
            .header("authorization", format!("Bearer {ADMIN_TOKEN}"))
            .header("content-type", "application/json")
            .send(body)
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }
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
