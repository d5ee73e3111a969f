//! TLS on the API's port: protocol versions, certificates, and plaintext requests.

use imgsrv_testkit::Process;
use reqwest::{Certificate, Client, StatusCode, tls};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().expect("openssl runs");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A self-signed certificate for loopback, which is its own authority.
fn certify(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl(
        folder,
        &format!(
            "{new} -keyout {name}.key -out {name}.pem -subj /CN={name} -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
        ),
    );
    (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")))
}

fn client(authority: &Path) -> reqwest::ClientBuilder {
    let authority = Certificate::from_pem(&fs::read(authority).expect("a file")).expect("a certificate");
    Client::builder().tls_certs_only([authority]).timeout(Duration::from_secs(10))
}

fn address(server: &Process) -> String {
    server.url.trim_start_matches("http://").to_owned()
}

fn start(data: &Path, cert: &Path, key: &Path) -> Process {
    let (cert, key) = (cert.to_str().expect("UTF-8"), key.to_str().expect("UTF-8"));
    Process::start(BINARY, data, &["--tls-cert", cert, "--tls-key", key])
}

#[tokio::test]
async fn both_versions_of_tls_and_of_http_are_served() {
    let dir = TempDir::new().expect("a scratch folder");
    let (cert, key) = certify(dir.path(), "one");
    let server = start(&dir.path().join("data"), &cert, &key);
    let url = format!("https://{}/healthz", address(&server));
    for version in [tls::Version::TLS_1_2, tls::Version::TLS_1_3] {
        let only = client(&cert).tls_version_min(version).tls_version_max(version);
        let h2 = only.build().expect("a client").get(&url).send().await.expect("a response");
        assert_eq!((h2.status(), h2.version()), (StatusCode::NO_CONTENT, reqwest::Version::HTTP_2), "{version:?}");
        let only = client(&cert).tls_version_min(version).tls_version_max(version).http1_only();
        let h1 = only.build().expect("a client").get(&url).send().await.expect("a response");
        assert_eq!((h1.status(), h1.version()), (StatusCode::NO_CONTENT, reqwest::Version::HTTP_11), "{version:?}");
    }
}

#[tokio::test]
async fn plaintext_requests_get_a_response_at_once_and_their_body_is_not_read() {
    let dir = TempDir::new().expect("a scratch folder");
    let (cert, key) = certify(dir.path(), "one");
    let server = start(&dir.path().join("data"), &cert, &key);
    let began = Instant::now();
    for (request, status, contained) in [
        ("GET /images/debian/1/debian-1-amd64.qcow2 HTTP/1.1\r\nHost: x\r\n\r\n", 404, "not-found"),
        ("GET /v1/images HTTP/1.1\r\nHost: x\r\n\r\n", 400, "https-required"),
        ("GET /v1/images HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n\r\n", 400, "credential-in-clear"),
        // This body never arrives.
        ("POST /v1/uploads HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", 400, "https-required"),
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n", 400, "content-length: 0"),
    ] {
        let mut stream = TcpStream::connect(address(&server)).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut response = vec![0; 4096];
        let read = stream.read(&mut response).expect("a response");
        let response = String::from_utf8_lossy(&response[..read]).into_owned();
        assert!(response.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {response}");
        assert!(response.contains(contained), "{request}: {response}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_new_certificate_is_used_without_a_restart_and_an_unusable_one_is_not() {
    let dir = TempDir::new().expect("a scratch folder");
    let (cert, key) = certify(dir.path(), "one");
    let (new_cert, new_key) = certify(dir.path(), "two");
    let (authority, new_authority) = (dir.path().join("one.ca"), dir.path().join("two.ca"));
    fs::copy(&cert, &authority).expect("copied");
    fs::copy(&new_cert, &new_authority).expect("copied");
    let server = start(&dir.path().join("data"), &cert, &key);
    let url = format!("https://{}/healthz", address(&server));
    let is_trusted = async |authority: &Path| {
        let response = client(authority).build().expect("a client").get(&url).send().await;
        response.is_ok_and(|response| response.status() == StatusCode::NO_CONTENT)
    };
    assert!(is_trusted(&authority).await && !is_trusted(&new_authority).await);
    // A certificate without its key: the current one stays in use.
    fs::copy(&new_cert, &cert).expect("copied");
    server.log_with("certificate was rejected");
    assert!(is_trusted(&authority).await && !is_trusted(&new_authority).await);
    fs::copy(&new_key, &key).expect("copied");
    server.log_with("certificate reloaded");
    assert!(is_trusted(&new_authority).await && !is_trusted(&authority).await);
}

#[test]
fn the_server_does_not_start_with_an_unusable_certificate() {
    let dir = TempDir::new().expect("a scratch folder");
    let (cert, _) = certify(dir.path(), "one");
    let (_, other) = certify(dir.path(), "two");
    let text = dir.path().join("text.pem");
    fs::write(&text, "no certificate").expect("written");
    let data = dir.path().join("data");
    let start = |arguments: &[&str]| {
        let output = Command::new(BINARY)
            .arg("--data-dir")
            .arg(&data)
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .output();
        let output = output.expect("the binary runs");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    for (cert, key, reason) in [
        (&cert, &other, "cannot be used with the certificate"),
        (&text, &other, "contains no certificate in PEM"),
        (&cert, &text, "contains no private key in PEM"),
        (&dir.path().join("missing"), &other, "cannot read"),
    ] {
        let stderr = start(&["--tls-cert", &path(cert), "--tls-key", &path(key)]);
        assert!(stderr.contains(reason), "{stderr}");
    }
    // A forgotten key must not lead to plain HTTP.
    let stderr = start(&["--tls-cert", &path(&cert), "--tls-key", ""]);
    assert!(stderr.contains("must be set together"), "{stderr}");
    let stderr = start(&["--tls-self-signed", "--tls-cert", &path(&cert), "--tls-key", &path(&other)]);
    assert!(stderr.contains("cannot be used together"), "{stderr}");
    let stderr = start(&["--tls-cert", &path(&cert)]);
    assert!(stderr.contains("--tls-key"), "{stderr}");
}

#[tokio::test]
async fn the_private_authority_persists_and_its_certificate_gains_names() {
    let dir = TempDir::new().expect("a scratch folder");
    let authority = dir.path().join("tls/ca.crt");
    let mut server = Process::start(BINARY, dir.path(), &["--tls-self-signed"]);
    let (first, certificate) =
        (fs::read(&authority).expect("a file"), fs::read(dir.path().join("tls/server.crt")).expect("a file"));
    let port = address(&server).rsplit(':').next().expect("a port").to_owned();
    for host in ["127.0.0.1", "localhost"] {
        let response =
            client(&authority).build().expect("a client").get(format!("https://{host}:{port}/healthz")).send().await;
        assert_eq!(response.expect("a response").status(), StatusCode::NO_CONTENT, "{host}");
    }
    for secret in ["ca.key", "server.key"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(dir.path().join("tls").join(secret)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    assert_eq!(server.terminate(), Some(0));
    let mut server = Process::start(BINARY, dir.path(), &["--tls-self-signed"]);
    assert_eq!(
        fs::read(dir.path().join("tls/server.crt")).expect("a file"),
        certificate,
        "the certificate was replaced"
    );
    assert_eq!(server.terminate(), Some(0));
    let server =
        Process::start(BINARY, dir.path(), &["--tls-self-signed", "--public-url", "https://images.example.org:8443"]);
    assert_eq!(fs::read(&authority).expect("a file"), first, "the authority was replaced");
    server.log_with("incus remote add imgsrv https://images.example.org:8443 --protocol simplestreams");
    let to: std::net::SocketAddr = address(&server).parse().expect("an address");
    let http = client(&authority).resolve("images.example.org", to).build().expect("a client");
    let response = http.get(format!("https://images.example.org:{}/healthz", to.port())).send().await;
    assert_eq!(response.expect("a response").status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn the_authority_is_served_over_tls_and_in_plaintext_and_its_checksum_is_printed() {
    let dir = TempDir::new().expect("a scratch folder");
    let server = Process::start(BINARY, dir.path(), &["--tls-self-signed"]);
    let path = dir.path().join("tls/ca.crt");
    let pem = fs::read(&path).expect("the authority");
    let https = client(&path).build().expect("a client");
    for base in [format!("https://{}", address(&server)), server.url.clone()] {
        for method in [reqwest::Method::GET, reqwest::Method::HEAD] {
            let response = https.request(method.clone(), format!("{base}/ca.pem")).send().await.expect("a response");
            assert_eq!(response.status(), StatusCode::OK, "{method} {base}");
            assert_eq!(response.headers()["content-type"], "application/x-pem-file");
            let body = response.bytes().await.expect("a body");
            assert_eq!(body, if method == reqwest::Method::GET { pem.clone() } else { Vec::new() }, "{method} {base}");
        }
    }
    let log = server.log_with("to add this server to Incus: ");
    let sum = Command::new("sha256sum").arg(&path).output().expect("sha256sum runs");
    let sum = String::from_utf8_lossy(&sum.stdout).split_whitespace().next().expect("a checksum").to_owned();
    assert!(log.contains(&format!("certificate authority loaded authority.sha256={sum}")), "{log}");
    let fetch = format!("curl -sSfo imgsrv.crt {}/ca.pem && echo '{sum}  imgsrv.crt' | sha256sum -c && ", server.url);
    assert!(log.contains(&fetch), "{log}");
    drop(server);

    let (cert, key) = certify(dir.path(), "one");
    let server = start(&dir.path().join("data"), &cert, &key);
    for url in [format!("https://{}/ca.pem", address(&server)), format!("{}/ca.pem", server.url)] {
        let response = client(&cert).build().expect("a client").get(url).send().await.expect("a response");
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "the authority of another is not that of the server");
    }
}

#[tokio::test]
async fn an_incomplete_handshake_is_disconnected() {
    let dir = TempDir::new().expect("a scratch folder");
    let server = Process::start(BINARY, dir.path(), &["--tls-self-signed", "--header-timeout", "1s"]);
    let began = Instant::now();
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"G"] {
        let mut stream = TcpStream::connect(address(&server)).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream.write_all(begun).expect("sent");
        let mut received = Vec::new();
        let _ = stream.read_to_end(&mut received);
        assert!(received.len() < 1024);
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
