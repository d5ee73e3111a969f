//! SeaweedFS, an S3-compatible store, as a single node: a second implementation beside Garage.

use super::{S3Server, daemon::Daemon, free_port, installed, wait_until_ready};
use std::{fs, process::Command};

/// The version that tests run against.
pub const SEAWEEDFS_VERSION: &str = "4.48";
const ACCESS_KEY: &str = "imgsrv";
const SECRET_KEY: &str = "b892c0665f0ada8a4755dae98baa3b13";

/// A dedicated server, which can be stopped and restarted.
pub struct SeaweedFs {
    daemon: Daemon,
    s3: u16,
    arguments: Vec<String>,
}

impl SeaweedFs {
    /// Starts an empty server. Its key may create buckets.
    pub fn start() -> Self {
        let daemon = Daemon::new("seaweedfs");
        let identities = format!(
            r#"{{"identities": [{{"name": "imgsrv", "actions": ["Admin"],
            "credentials": [{{"accessKey": "{ACCESS_KEY}", "secretKey": "{SECRET_KEY}"}}]}}]}}"#
        );
        fs::write(daemon.folder().join("s3.json"), identities).expect("written");
        fs::create_dir(daemon.folder().join("data")).expect("a folder");
        let s3 = free_port();
        let mut arguments = Vec::from([format!("-s3.port={s3}")]);
        // Without these, the ports of gRPC are those of HTTP plus 10,000, which may be taken.
        for server in ["s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc"] {
            arguments.push(format!("-{server}={}", free_port()));
        }
        for server in ["filer.port", "filer.port.grpc"] {
            arguments.push(format!("-{server}={}", free_port()));
        }
        // Every bucket has several volumes of its own.
        for fixed in [
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-dir=data",
            "-filer",
            "-s3",
            "-s3.config=s3.json",
            "-s3.iam=false",
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-volume.max=2000",
            "-master.volumeSizeLimitMB=1024",
            "-master.electionTimeout=1s",
            "-master.telemetry=false",
        ] {
            arguments.push(fixed.to_owned());
        }
        let server = Self { daemon, s3, arguments };
        server.run();
        server
    }
}

impl S3Server for SeaweedFs {
    fn run(&self) {
        let program = installed("seaweedfs", SEAWEEDFS_VERSION, "IMGSRV_TEST_SEAWEEDFS", "python");
        // It creates sockets in the folder for temporary files.
        self.daemon.spawn(
            Command::new(program.join("python/bin/weed"))
                .args(["-logtostderr", "server"])
                .args(&self.arguments)
                .current_dir(self.daemon.folder())
                .env("TMPDIR", self.daemon.folder()),
        );
        wait_until_ready("seaweedfs", &self.daemon.log(), || {
            ureq::get(format!("http://127.0.0.1:{}/healthz", self.s3)).call().is_ok()
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
        "us-east-1"
    }
}
