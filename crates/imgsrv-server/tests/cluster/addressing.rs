//! Ways to reach the bucket: virtual hosts, TLS with a private authority, temporary keys.

use crate::{
    harness::{BINARY, Cluster, Nodes, writer},
    publisher::{Publisher, bytes},
};
use imgsrv_testkit::{Process, services::free_port};
use std::{
    io::Read,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

/// The settings of a node, with some of them changed.
fn changed(cluster: &Cluster, changes: &[(&str, String)]) -> Vec<(String, String)> {
    let mut settings = [cluster.catalog(), cluster.blobs(cluster.garage.port())].concat();
    for (name, value) in changes {
        settings.retain(|(known, _)| known != name);
        settings.push(((*name).to_owned(), value.clone()));
    }
    settings
}

/// Uploads in one piece and in several, publishes and reads back.
async fn use_it(cluster: &Cluster, environment: &[(String, String)]) {
    let node = Process::start_with(BINARY, &cluster.folder().join("node"), &[], environment);
    let token = writer(&node).await;
    let publisher = Publisher::new(Arc::new(Nodes::new(vec![node])), token);
    for (length, size, at_once) in [(1 << 20, 1 << 20, 1), (22 << 20, 8 << 20, 2)] {
        let content = bytes(length);
        publisher.upload(&content, size, at_once).await;
        let published = publisher.publish(&format!("reached-{length}"), &content).await;
        publisher.check(&published).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bucket_may_be_a_virtual_host() {
    let cluster = Cluster::start().await;
    // Nobody resolves `<bucket>.localhost` here; a proxy's clients do not resolve names, and Garage stands for one.
    let environment = changed(
        &cluster,
        &[
            ("IMGSRV_S3_ENDPOINT", format!("localhost:{}", cluster.garage.port())),
            ("IMGSRV_S3_PATH_STYLE", "false".to_owned()),
            ("http_proxy", format!("http://127.0.0.1:{}", cluster.garage.port())),
        ],
    );
    use_it(&cluster, &environment).await;
}

/// An nginx that ends with the test.
struct Nginx(Child);

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A private authority, and a certificate of it for loopback, in `folder`.
fn certify(folder: &Path) {
    let openssl = |arguments: &str| {
        run(Command::new("openssl").args(arguments.split(' ')).current_dir(folder));
    };
    let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!("req -x509 {new_key} -keyout ca.key -out ca.pem -subj /CN=test-ca -days 2"));
    openssl(&format!("req {new_key} -keyout tls.key -out tls.csr -subj /CN=store"));
    std::fs::write(folder.join("tls.ext"), "subjectAltName=IP:127.0.0.1\n").expect("written");
    openssl("x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out tls.pem -days 2 -extfile tls.ext");
}

/// TLS in front of the store.
fn terminate_tls(folder: &Path, port: u16, store: u16) -> Nginx {
    let root = folder.display();
    let config = format!(
        "daemon off; pid {root}/nginx.pid; error_log {root}/nginx.log; events {{}}
        http {{ access_log off; client_max_body_size 0; client_body_temp_path {root}/body; proxy_temp_path {root}/temp;
        server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {root}/tls.pem; ssl_certificate_key {root}/tls.key;
        location / {{ proxy_pass http://127.0.0.1:{store}; proxy_set_header Host $http_host;
        proxy_request_buffering off; proxy_http_version 1.1; }} }} }}"
    );
    std::fs::write(folder.join("nginx.conf"), config).expect("written");
    let nginx = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
    let child = Command::new(nginx).arg("-c").arg(folder.join("nginx.conf")).stderr(Stdio::null()).spawn();
    let nginx = Nginx(child.expect("nginx starts"));
    for _ in 0..500 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return nginx;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("nginx does not answer: {}", std::fs::read_to_string(folder.join("nginx.log")).unwrap_or_default());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_may_speak_tls_by_a_private_authority() {
    let cluster = Cluster::start().await;
    certify(cluster.folder());
    let port = free_port();
    let _nginx = terminate_tls(cluster.folder(), port, cluster.garage.port());
    let mut environment = changed(
        &cluster,
        &[("IMGSRV_S3_ENDPOINT", format!("127.0.0.1:{port}")), ("IMGSRV_S3_USE_TLS", "true".to_owned())],
    );
    let stranger = Process::try_start(BINARY, &cluster.folder().join("stranger"), &[], &environment);
    let log = stranger.err().expect("it does not trust the authority");
    assert!(log.contains("cannot use the blob store"), "{log}");
    let authority = cluster.folder().join("ca.pem").to_str().expect("UTF-8").to_owned();
    environment.push(("SSL_CERT_FILE".to_owned(), authority));
    use_it(&cluster, &environment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_keys_are_sent_with_their_token() {
    let cluster = Cluster::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = listener.local_addr().expect("its address").to_string();
    let seen = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a request");
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
            head.push(byte[0]);
        }
        String::from_utf8_lossy(&head).to_ascii_lowercase()
    });
    let environment = changed(
        &cluster,
        &[("IMGSRV_S3_ENDPOINT", endpoint), ("IMGSRV_S3_SESSION_TOKEN", "token-of-an-hour".to_owned())],
    );
    let refused = Process::try_start(BINARY, &cluster.folder().join("node"), &[], &environment);
    let log = refused.err().expect("nobody answers");
    assert!(!log.contains("token-of-an-hour"), "{log}");
    let head = seen.join().expect("a request");
    assert!(head.contains("x-amz-security-token: token-of-an-hour"), "{head}");
    let signed = head.split("signedheaders=").nth(1).unwrap_or_default();
    assert!(signed.split(',').next().unwrap_or_default().contains("x-amz-security-token"), "{head}");
}
