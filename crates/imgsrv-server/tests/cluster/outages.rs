//! Outages of services: requests are refused, nothing is lost, and nodes recover by themselves.

use crate::{
    harness::{BINARY, Cluster, Nodes, until, writer},
    publisher::{Publisher, Sent, bytes},
};
use imgsrv_testkit::Process;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use std::{process::Command, sync::Arc};

async fn readiness(url: &str) -> (StatusCode, Vec<String>) {
    let response = Client::new().get(format!("{url}/readyz")).send().await.expect("a response");
    let status = response.status();
    let body: Value = serde_json::from_slice(&response.bytes().await.expect("a body")).unwrap_or(Value::Null);
    let failed = body["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    (status, failed.iter().map(|error| error["field"].as_str().unwrap_or_default().to_owned()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_refused_while_the_store_is_down_and_the_upload_survives() {
    let cluster = Cluster::start().await;
    let node = cluster.node("only", &[]);
    let (url, token) = (node.url.clone(), writer(&node).await);
    let publisher = Publisher::new(Arc::new(Nodes::new(vec![node])), token.clone());
    let content = bytes(18 << 20);
    let upload = publisher.open(&content).await;
    let first = publisher.part(&upload, 1, &content[..9 << 20]).await;
    assert_eq!(readiness(&url).await.0, StatusCode::NO_CONTENT);
    cluster.store.stop();
    let request = Client::new().put(format!("{url}/v1/uploads/{upload}/parts/2")).bearer_auth(&token);
    let refused = request.body(content[9 << 20..].to_vec()).send().await.expect("a response");
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    until("readiness names the store", async || {
        readiness(&url).await == (StatusCode::SERVICE_UNAVAILABLE, vec!["blob store".to_owned()])
    })
    .await;
    cluster.store.run();
    until("it is ready again", async || readiness(&url).await.0 == StatusCode::NO_CONTENT).await;
    let second = publisher.part(&upload, 2, &content[9 << 20..]).await;
    let path = format!("/v1/uploads/{upload}/complete");
    let (status, response) = publisher.send(Method::POST, &path, Sent::Json(&json!({"parts": [first, second]}))).await;
    assert_eq!(status, StatusCode::OK, "{response}");
    publisher.reaches(&format!("/v1/uploads/{upload}"), "ready").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_survives_closed_connections_to_the_store() {
    let cluster = Cluster::start().await;
    let node = cluster.node("only", &[]);
    let (url, token) = (node.url.clone(), writer(&node).await);
    let publisher = Publisher::new(Arc::new(Nodes::new(vec![node])), token);
    let content = bytes(48 << 20);
    publisher.upload(&content, 24 << 20, 1).await;
    let published = publisher.publish("closed", &content).await;
    let mut download =
        Client::new().get(format!("{url}{}/download", published.artifact)).send().await.expect("a response");
    let mut read = Vec::new();
    for _ in 0..3 {
        // Buffered bytes are far fewer than the remaining ones.
        let until = read.len() + (4 << 20);
        while read.len() < until {
            read.extend(download.chunk().await.expect("a chunk").expect("more"));
        }
        cluster.to_s3.reset();
    }
    while let Some(chunk) = download.chunk().await.expect("the rest") {
        read.extend(chunk);
    }
    assert!(read == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_catalog_is_reported_and_the_node_recovers() {
    let cluster = Cluster::start().await;
    let node = cluster.node("only", &[]);
    let (url, token) = (node.url.clone(), writer(&node).await);
    let publisher = Publisher::new(Arc::new(Nodes::new(vec![node])), token);
    let content = bytes(1 << 20);
    publisher.upload(&content, 1 << 20, 1).await;
    cluster.postgres.stop();
    until("readiness names the catalog", async || {
        readiness(&url).await == (StatusCode::SERVICE_UNAVAILABLE, vec!["catalog".to_owned()])
    })
    .await;
    let refused = Client::new().get(format!("{url}/v1/images")).send().await.expect("a response");
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    cluster.postgres.run();
    let published = publisher.publish("after", &content).await;
    publisher.check(&published).await;
    until("it is ready again", async || readiness(&url).await.0 == StatusCode::NO_CONTENT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_services_are_reported_in_one_line_without_secrets() {
    let cluster = Cluster::start().await;
    let start = |changed: &[(&str, &str)]| {
        let mut environment = [cluster.catalog(), cluster.blobs(cluster.store.port())].concat();
        for (name, value) in changed {
            environment.push(((*name).to_owned(), (*value).to_owned()));
        }
        let refused = Process::try_start(BINARY, &cluster.folder().join("refused"), &[], &environment);
        refused.err().expect("it does not start")
    };
    let dead = "postgres://u:hunter2@127.0.0.1:1/d";
    for (changed, expected) in [
        (vec![("IMGSRV_POSTGRES_URL", dead)], "cannot reach the PostgreSQL catalog at 127.0.0.1:1"),
        (vec![("IMGSRV_POSTGRES_URL", "postgres://u:hunter2@[")], "the PostgreSQL URL is not valid"),
        (vec![("IMGSRV_S3_BUCKET", "no-such-bucket")], "cannot use the blob store s3://no-such-bucket"),
        (vec![("IMGSRV_S3_SECRET_ACCESS_KEY", "hunter2")], "cannot use the blob store s3://"),
        (vec![("IMGSRV_S3_ENDPOINT", "127.0.0.1:1")], "cannot use the blob store s3://"),
    ] {
        let log = start(&changed);
        let line = log.lines().find(|line| line.starts_with("imgsrv: ")).unwrap_or_else(|| panic!("no line: {log}"));
        assert!(line.contains(expected), "{line}");
        assert!(!log.contains("hunter2"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_can_be_stopped_while_it_waits_for_its_catalog() {
    let catalog = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let folder = tempfile::TempDir::new().expect("a scratch folder");
    let url = format!("postgres://u@{}/d", catalog.local_addr().expect("its address"));
    let mut command = tokio::process::Command::new(BINARY);
    command.arg("serve").arg("--data-dir").arg(folder.path()).env("IMGSRV_POSTGRES_URL", url).kill_on_drop(true);
    let mut node = command.spawn().expect("the binary starts");
    let waiting = tokio::select! {
        waiting = catalog.accept() => waiting.expect("it connects"),
        ended = node.wait() => panic!("it ended early: {ended:?}"),
    };
    let sent = Command::new("kill").arg(node.id().expect("it runs").to_string()).status();
    assert!(sent.expect("kill runs").success());
    assert_eq!(node.wait().await.expect("it ends").code(), Some(0));
    drop(waiting);
}
