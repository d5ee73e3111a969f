//! The two mixed modes, and stores that belong to another catalog.

use crate::{
    harness::{BINARY, Cluster, Nodes, writer},
    publisher::{Publisher, bytes},
};
use imgsrv_testkit::Process;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn nodes_on_postgresql_share_a_folder() {
    let cluster = Cluster::start().await;
    let storage = cluster.folder().join("shared");
    let shared = ["--storage-dir", storage.to_str().expect("UTF-8")];
    let node = |name: &str| Process::start_with(BINARY, &cluster.folder().join(name), &shared, &cluster.catalog());
    let nodes = vec![node("a"), node("b")];
    let token = writer(&nodes[0]).await;
    let publisher = Publisher::new(Arc::new(Nodes::new(nodes)), token);
    let content = bytes(9 << 20);
    publisher.upload(&content, 2 << 20, 2).await;
    let published = publisher.publish("folder", &content).await;
    publisher.check(&published).await;
    // A server with another catalog would delete the staged bytes of these nodes as orphans.
    let refused = Process::try_start(BINARY, &cluster.folder().join("alone"), &shared, &[]);
    let log = refused.err().expect("it does not start");
    assert!(log.contains("another imgsrv server is using"), "{log}");
    drop(publisher);
    let refused = Process::try_start(BINARY, &cluster.folder().join("alone"), &shared, &[]);
    let log = refused.err().expect("it does not start");
    assert!(log.contains("the blobs of another catalog"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_on_sqlite_stores_its_blobs_in_s3() {
    let cluster = Cluster::start().await;
    let environment = cluster.blobs(cluster.to_s3.port());
    let folder = cluster.folder().join("only");
    let start = || Process::start_with(BINARY, &folder, &[], &environment);
    let node = start();
    let token = writer(&node).await;
    let nodes = Arc::new(Nodes::new(vec![node]));
    let publisher = Publisher::new(Arc::clone(&nodes), token);
    let content = bytes(17 << 20);
    publisher.upload(&content, 6 << 20, 1).await;
    let published = publisher.publish("bucket", &content).await;
    publisher.check(&published).await;
    drop(nodes.take(0));
    nodes.put(0, start());
    publisher.check(&published).await;
    assert!(!folder.join("storage").exists(), "there is a storage folder");
    // A server with another catalog refuses to use the bucket.
    let other = Process::try_start(BINARY, &cluster.folder().join("other"), &[], &environment);
    let log = other.err().expect("it does not start");
    assert!(log.contains("the blobs of another catalog"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_bucket_than_the_others_does_not_start() {
    let cluster = Cluster::start().await;
    let _first = cluster.node("first", &[]);
    let mut environment = [cluster.catalog(), cluster.blobs(cluster.store.port())].concat();
    environment.push(("IMGSRV_S3_BUCKET".to_owned(), cluster.s3.bucket().await));
    let refused = Process::try_start(BINARY, &cluster.folder().join("refused"), &[], &environment);
    let log = refused.err().expect("it does not start");
    assert!(log.contains("the blobs of this catalog are in another blob store"), "{log}");
}
