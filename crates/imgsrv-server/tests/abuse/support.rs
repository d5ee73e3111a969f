//! The server under attack.

use imgsrv_testkit::{Process, writer_token};
use serde_json::{Value, json};
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");
/// Timeout of everything that the server is expected to do.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    pub(crate) process: Process,
    dir: TempDir,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let dir = TempDir::new().expect("a scratch folder");
        Self { process: Process::start(BINARY, dir.path(), arguments), dir }
    }

    /// Kills it and starts it again on the same data.
    pub(crate) fn restart(&mut self, arguments: &[&str]) {
        self.process.kill();
        self.process = Process::start(BINARY, self.dir.path(), arguments);
    }

    /// Sends JSON with a token; returns the response's JSON.
    pub(crate) fn send(&self, token: &str, method: &str, path: &str, body: Value) -> Value {
        self.request(token, method, path, "application/json", body.to_string().as_bytes())
    }

    /// The same with bytes.
    pub(crate) fn send_bytes(&self, token: &str, method: &str, path: &str, body: &[u8]) -> Value {
        self.request(token, method, path, "application/octet-stream", body)
    }

    fn request(&self, token: &str, method: &str, path: &str, kind: &str, body: &[u8]) -> Value {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.process.url))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", kind)
            .body(body);
        let response = ureq::run(request.expect("a request")).expect("a response");
        serde_json::from_str(&response.into_body().read_to_string().expect("a body")).expect("JSON")
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.process.url.trim_start_matches("http://")).expect("a connection");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
        stream
    }

    /// Sends bytes and reads until the server closes the connection.
    pub(crate) fn read_until_closed(&self, sent: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(sent).expect("sent");
        read_to_end(&mut stream)
    }

    /// The bytes of its memory that are resident.
    pub(crate) fn resident(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    pub(crate) fn works(&self) -> bool {
        ureq::get(format!("{}/healthz", self.process.url)).call().is_ok()
    }
}

/// Reads to the end, which must be the server's and not a timeout.
pub(crate) fn read_to_end(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    match stream.read_to_end(&mut read) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection was not closed: {error}"),
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// Uploads and publishes 64 MiB; returns its path.
pub(crate) fn big_image(server: &Server) -> String {
    let manager = server.process.bootstrap.as_deref().expect("a token");
    let token = writer_token(&server.process.url, manager);
    let bytes = vec![7; 64 << 20];
    let digest = imgsrv_testkit::digest(&bytes);
    let send = |method: &str, path: &str, body: &[u8]| server.send_bytes(&token, method, path, body);
    let json = |method: &str, path: &str, body: Value| server.send(&token, method, path, body);
    let opened = json("POST", "/v1/uploads", json!({"expected_digest": digest, "expected_size_bytes": bytes.len()}));
    let upload = format!("/v1/uploads/{}", opened["id"].as_str().expect("an id"));
    let part = send("PUT", &format!("{upload}/parts/1"), &bytes);
    let part = json!({"number": 1, "etag": part["etag"], "size_bytes": bytes.len()});
    json("POST", &format!("{upload}/complete"), json!({"parts": [part]}));
    let deadline = Instant::now() + TIMEOUT;
    while send("GET", &upload, b"")["state"] != "ready" {
        assert!(Instant::now() < deadline, "it does not become ready");
    }
    json("POST", "/v1/images", json!({"name": "big"}));
    json("POST", "/v1/images/big/versions", json!({"version": "1"}));
    let artifact = json!({
        "operating_system": "debian", "architecture": "amd64", "format": "raw", "primary_blob_digest": digest,
        "primary_blob_size_bytes": bytes.len(), "primary_media_type": "application/octet-stream",
    });
    json("POST", "/v1/images/big/versions/1/artifacts", artifact);
    json("POST", "/v1/images/big/versions/1/publish", json!({}));
    let path = format!("/v1/blobs/{digest}");
    while ureq::head(format!("{}{path}", server.process.url)).call().is_err() {
        assert!(Instant::now() < deadline, "the version is not published");
    }
    path
}

/// Makes a certificate for loopback, which is its own authority; returns the paths of it and of its key.
pub(crate) fn certificate(folder: &Path) -> (String, String) {
    let path = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
    let (cert, key) = (path("server.pem"), path("server.key"));
    let arguments = format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout {key} -out {cert} -subj /CN=x \
         -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
    );
    let output = Command::new("openssl").args(arguments.split_whitespace()).output().expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (cert, key)
}
