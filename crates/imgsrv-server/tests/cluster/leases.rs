//! Leased work on several nodes: wake-ups, reclaimed leases, and late lease owners.

use crate::{
    harness::{Cluster, LEASE, Nodes, until, writer},
    publisher::{Publisher, Sent, bytes, text},
};
use imgsrv_testkit::{Process, digest, services::Proxy};
use reqwest::{Body, Client, Method, StatusCode};
use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const NO_WORKERS: [&str; 2] = ["--cas-promotion-enabled=false", "--publish-enabled=false"];
/// No polling within a test's time.
const NEVER: [&str; 2] = ["--cas-promotion-poll-interval", "1h"];

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_one_upload_may_be_sent_to_any_node() {
    let cluster = Cluster::start().await;
    let nodes = ["a", "b", "c"].map(|name| cluster.node(name, &[]));
    let token = writer(&nodes[0]).await;
    let publisher = Publisher::new(Arc::new(Nodes::new(nodes.into())), token);
    // In order and in parallel, small and large; each request goes to the next node.
    for (length, size, at_once) in [(40 << 20, 7 << 20, 1), (40 << 20, 6 << 20, 4), (3 << 20, 500_000, 3)] {
        let content = bytes(length);
        publisher.upload(&content, size, at_once).await;
        let published = publisher.publish(&format!("spread-{size}"), &content).await;
        publisher.check(&published).await;
    }
    until("staging is cleared", async || {
        let staged = cluster.s3.keys(&cluster.bucket).await.iter().filter(|key| key.starts_with("staging/")).count();
        staged + cluster.s3.open_uploads(&cluster.bucket).await.len() == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_enqueued_on_one_node_wakes_another() {
    let cluster = Cluster::start().await;
    let front = cluster.node("front", &[&NO_WORKERS[..], &NEVER].concat());
    let token = writer(&front).await;
    let back = cluster.node("back", &NEVER);
    let publisher = Publisher::new(Arc::new(Nodes::new(vec![front])), token);
    let content = bytes(1 << 20);
    let started = Instant::now();
    publisher.upload(&content, 1 << 20, 1).await;
    publisher.publish("woken", &content).await;
    // Also after the connection that listens for notifications was closed.
    cluster.to_postgres.reset();
    let content = bytes(1 << 20);
    publisher.upload(&content, 1 << 20, 1).await;
    publisher.publish("woken-again", &content).await;
    assert!(started.elapsed() < Duration::from_mins(1), "a node has polled");
    drop(back);
}

/// A completed upload on a node without workers, and its publisher.
async fn completed_upload(front: Process, content: &[u8]) -> (Publisher, String) {
    let token = writer(&front).await;
    let publisher = Publisher::new(Arc::new(Nodes::new(vec![front])), token);
    let upload = publisher.open(content).await;
    let part = publisher.part(&upload, 1, content).await;
    let path = format!("/v1/uploads/{upload}/complete");
    let (status, _) = publisher.send(Method::POST, &path, Sent::Json(&json!({"parts": [part]}))).await;
    assert_eq!(status, StatusCode::OK);
    (publisher, upload)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_lease_fences_a_paused_node() {
    let cluster = Cluster::start().await;
    let front = cluster.node("front", &NO_WORKERS);
    let content = bytes(20 << 20);
    // The first worker reaches the blob store through a proxy that forwards nothing.
    let network = Proxy::start(cluster.store.port()).await;
    let paused = cluster.node_through("paused", &[], network.port());
    network.pause();
    let (publisher, upload) = completed_upload(front, &content).await;
    let path = format!("/v1/uploads/{upload}");
    publisher.reaches(&path, "ingesting").await;
    paused.signal("STOP");
    network.resume();
    let started = Instant::now();
    let other = cluster.node("other", &[]);
    publisher.reaches(&path, "ready").await;
    let reclaimed = started.elapsed();
    assert!(reclaimed < LEASE * 10, "reclaimed after {reclaimed:?}");
    paused.signal("CONT");
    until("the paused node notices that its lease has expired", async || {
        let log = paused.log();
        log.contains("lease lost")
    })
    .await;
    let sql = |statement: &str| cluster.postgres.sql(statement);
    assert_eq!(sql("SELECT count(*) FROM audit_log WHERE action = 'upload.ready'"), ["1"]);
    let finished = sql("SELECT actor FROM audit_log WHERE action = 'upload.ready'");
    assert!(finished[0].starts_with("other-"), "{finished:?}");
    assert_eq!(text(&publisher.reaches(&path, "ready").await, "state"), "ready");
    let published = publisher.publish("paused", &content).await;
    publisher.check(&published).await;
    drop(other);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_leases_of_a_killed_node_are_reclaimed() {
    let cluster = Cluster::start().await;
    let front = cluster.node("front", &NO_WORKERS);
    let content = bytes(20 << 20);
    let network = Proxy::start(cluster.store.port()).await;
    let mut killed = cluster.node_through("killed", &[], network.port());
    network.pause();
    let other = cluster.node("other", &[]);
    // Only the disconnected node can acquire the lease.
    other.signal("STOP");
    let (publisher, upload) = completed_upload(front, &content).await;
    let path = format!("/v1/uploads/{upload}");
    publisher.reaches(&path, "ingesting").await;
    killed.kill();
    let started = Instant::now();
    other.signal("CONT");
    publisher.reaches(&path, "ready").await;
    let took = started.elapsed();
    assert!(took < LEASE + Duration::from_secs(20), "ready {took:?} after the kill");
    println!("ready {took:?} after the kill, at a lease of {LEASE:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_part_from_a_paused_node_is_rejected() {
    let cluster = Cluster::start().await;
    let (slow, other) = (cluster.node("slow", &[]), cluster.node("other", &[]));
    let token = writer(&slow).await;
    let (slow_url, content) = (slow.url.clone(), bytes(24 << 20));
    let publisher = Publisher::new(Arc::new(Nodes::new(vec![other])), token.clone());
    let upload = publisher.open(&content).await;
    // The node is paused after it received half of the part.
    let (more, body) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let body = Body::wrap_stream(futures::stream::unfold(body, |mut body| async move {
        body.recv().await.map(|chunk| (chunk, body))
    }));
    let request = Client::new().put(format!("{slow_url}/v1/uploads/{upload}/parts/1")).bearer_auth(&token).body(body);
    let late = tokio::spawn(request.send());
    let (first, second) = content.split_at(content.len() / 2);
    more.send(Ok(first.to_vec())).await.expect("the node receives it");
    until("the attempt has begun", async || cluster.postgres.sql("SELECT attempts FROM upload_sessions") == ["1"])
        .await;
    slow.signal("STOP");
    let part = publisher.part(&upload, 1, &content).await;
    let path = format!("/v1/uploads/{upload}/complete");
    let (status, _) = publisher.send(Method::POST, &path, Sent::Json(&json!({"parts": [part]}))).await;
    assert_eq!(status, StatusCode::OK);
    publisher.reaches(&format!("/v1/uploads/{upload}"), "ready").await;
    slow.signal("CONT");
    more.send(Ok(second.to_vec())).await.expect("the node receives it");
    drop(more);
    let late = late.await.expect("it ends").expect("a response");
    assert_eq!(late.status(), StatusCode::PRECONDITION_FAILED, "{}", late.text().await.unwrap_or_default());
    let blob = Client::new().get(format!("{slow_url}/v1/blobs/{}", digest(&content))).bearer_auth(&token);
    assert!(blob.send().await.expect("a response").bytes().await.expect("a body") == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_may_start_concurrently_on_an_empty_catalog() {
    let cluster = Cluster::start().await;
    let names = ["a", "b", "c", "d"];
    let nodes: Vec<Process> = std::thread::scope(|scope| {
        let starting: Vec<_> = names.map(|name| scope.spawn(|| cluster.node(name, &[]))).into();
        starting.into_iter().map(|node| node.join().expect("it starts")).collect()
    });
    let with_token: Vec<&Process> = nodes.iter().filter(|node| node.bootstrap.is_some()).collect();
    assert!(!with_token.is_empty(), "no node created a bootstrap token");
    for node in with_token {
        writer(node).await;
    }
    // All of them bound the bucket, which stays bound to their catalog.
    drop(nodes);
    cluster.node("a", &[]);
}
