//! Access to the bucket: virtual hosts, TLS with a private authority, temporary keys.

use crate::{
    harness::{BINARY, Cluster, Nodes, writer},
    publisher::{Publisher, bytes},
};
use imgsrv_testkit::{Process, services::TlsFront};
use std::{io::Read, net::TcpListener, sync::Arc};

/// The settings of a node, with changes.
fn changed(cluster: &Cluster, changes: &[(&str, String)]) -> Vec<(String, String)> {
    let mut settings = [cluster.catalog(), cluster.blobs(cluster.store.port())].concat();
    for (name, value) in changes {
        settings.retain(|(known, _)| known != name);
        settings.push(((*name).to_owned(), value.clone()));
    }
    settings
}

/// Uploads in one part and in several, publishes and downloads.
async fn exercise(cluster: &Cluster, environment: &[(String, String)]) {
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
    // `<bucket>.localhost` need not resolve: clients of a proxy do not resolve names, and Garage acts as the proxy.
    let environment = changed(
        &cluster,
        &[
            ("IMGSRV_S3_ENDPOINT", format!("localhost:{}", cluster.store.port())),
            ("IMGSRV_S3_PATH_STYLE", "false".to_owned()),
            ("http_proxy", format!("http://127.0.0.1:{}", cluster.store.port())),
        ],
    );
    exercise(&cluster, &environment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_may_use_tls_with_a_private_authority() {
    let cluster = Cluster::start().await;
    let front = TlsFront::new(cluster.store.port());
    let mut environment = changed(
        &cluster,
        &[("IMGSRV_S3_ENDPOINT", format!("127.0.0.1:{}", front.port)), ("IMGSRV_S3_USE_TLS", "true".to_owned())],
    );
    let untrusting = Process::try_start(BINARY, &cluster.folder().join("untrusting"), &[], &environment);
    let log = untrusting.err().expect("it does not trust the authority");
    assert!(log.contains("cannot use the blob store"), "{log}");
    environment.push(("SSL_CERT_FILE".to_owned(), front.authority()));
    exercise(&cluster, &environment).await;
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
    let log = refused.err().expect("the store does not respond");
    assert!(!log.contains("token-of-an-hour"), "{log}");
    let head = seen.join().expect("a request");
    assert!(head.contains("x-amz-security-token: token-of-an-hour"), "{head}");
    let signed = head.split("signedheaders=").nth(1).unwrap_or_default();
    assert!(signed.split(',').next().unwrap_or_default().contains("x-amz-security-token"), "{head}");
}
