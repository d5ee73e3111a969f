//! A storm of failures under load: nodes are killed and paused, services restarted and connections closed. In the end
//! everything acknowledged exists, and nothing else.

use crate::{
    harness::{Cluster, LEASE, Nodes, until, writer},
    publisher::{Publisher, bytes},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The service from which a node is disconnected when it is killed.
#[derive(Debug, Clone, Copy)]
enum From {
    Nothing,
    /// It may be in any transaction.
    Catalog,
    /// It may be receiving, ingesting or reading.
    Store,
}

/// A failure.
#[derive(Debug, Clone, Copy)]
enum Failure {
    Kill(usize, From),
    Pause(usize),
    ResetCatalog,
    ResetStore,
    RestartCatalog,
    RestartStore,
}

/// The failures, in this order.
const FAILURES: [Failure; 16] = [
    Failure::Kill(0, From::Nothing),
    Failure::ResetStore,
    Failure::Kill(1, From::Store),
    Failure::Pause(1),
    Failure::ResetCatalog,
    Failure::Kill(2, From::Catalog),
    Failure::RestartCatalog,
    Failure::Kill(1, From::Catalog),
    Failure::RestartStore,
    Failure::Kill(0, From::Store),
    Failure::ResetCatalog,
    Failure::Pause(2),
    Failure::ResetStore,
    Failure::Kill(2, From::Store),
    Failure::Kill(0, From::Catalog),
    Failure::RestartCatalog,
];

async fn inflict(failure: Failure, cluster: &Arc<Cluster>, nodes: &Arc<Nodes>) {
    let (cluster, nodes) = (Arc::clone(cluster), Arc::clone(nodes));
    let inflicting = tokio::task::spawn_blocking(move || match failure {
        Failure::Kill(slot, from) => {
            let network = match from {
                From::Nothing => None,
                From::Catalog => Some(&cluster.to_postgres),
                From::Store => Some(&cluster.to_s3),
            };
            if let Some(network) = network {
                network.pause();
                // Long enough for requests in flight to be affected.
                std::thread::sleep(Duration::from_millis(300));
            }
            nodes.take(slot).kill();
            if let Some(network) = network {
                network.resume();
            }
            nodes.put(slot, cluster.node(NAMES[slot], &[]));
        }
        Failure::Pause(slot) => {
            nodes.signal(slot, "STOP");
            std::thread::sleep(LEASE + LEASE / 2);
            nodes.signal(slot, "CONT");
        }
        Failure::ResetCatalog => cluster.to_postgres.reset(),
        Failure::ResetStore => cluster.to_s3.reset(),
        Failure::RestartCatalog => {
            cluster.postgres.stop();
            cluster.postgres.run();
        }
        Failure::RestartStore => {
            cluster.store.stop();
            std::thread::sleep(Duration::from_millis(500));
            cluster.store.run();
        }
    });
    inflicting.await.expect("it succeeds");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_in_a_storm() {
    endure(Cluster::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_in_a_storm_with_seaweedfs() {
    endure(Cluster::with_seaweedfs().await).await;
}

async fn endure(cluster: Cluster) {
    let cluster = Arc::new(cluster);
    let nodes = NAMES.map(|name| cluster.node(name, &[]));
    let token = writer(&nodes[0]).await;
    let nodes = Arc::new(Nodes::new(nodes.into()));
    let publisher = Publisher::new(Arc::clone(&nodes), token);
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..4_usize)
        .map(|worker| {
            let (publisher, stop, count) = (publisher.clone(), Arc::clone(&stop), Arc::clone(&count));
            tokio::spawn(async move {
                let mut published = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let at = count.fetch_add(1, Ordering::SeqCst);
                    let content = bytes((1 << 20) + at % 5 * (5 << 20));
                    // Large and small parts, in order and in parallel.
                    let size = [1 << 20, 6 << 20, 9 << 20][at % 3];
                    publisher.upload(&content, size, 1 + worker % 3).await;
                    published.push(publisher.publish(&format!("storm-{at}"), &content).await);
                    // And an upload that is never completed.
                    let abandoned = bytes(8 << 20);
                    let upload = publisher.open(&abandoned).await;
                    publisher.part(&upload, 1, &abandoned[..6 << 20]).await;
                }
                published
            })
        })
        .collect();
    for failure in FAILURES {
        inflict(failure, &cluster, &nodes).await;
        let before = count.load(Ordering::SeqCst);
        until(&format!("the load continues after {failure:?}"), async || count.load(Ordering::SeqCst) > before).await;
    }
    stop.store(true, Ordering::SeqCst);
    let mut published = Vec::new();
    for worker in load {
        published.extend(worker.await.expect("everything was acknowledged in the end"));
    }
    let retries = publisher.retries.iter().map(|retries| retries.load(Ordering::SeqCst)).enumerate();
    let retries: Vec<_> = retries.filter(|(_, count)| *count > 0).collect();
    println!("{} versions published; retries by status: {retries:?}", published.len());
    check(&cluster, &nodes, &publisher, &published).await;
}

async fn check(
    cluster: &Arc<Cluster>,
    nodes: &Arc<Nodes>,
    publisher: &Publisher,
    published: &[crate::publisher::Published],
) {
    assert!(published.len() >= FAILURES.len() / 2, "only {} versions", published.len());
    for published in published {
        publisher.check(published).await;
    }
    let sql = |statement: &str| cluster.postgres.sql(statement);
    let versions = published.len().to_string();
    assert_eq!(sql("SELECT count(*) FROM versions WHERE state = 'published'")[0], versions);
    assert_eq!(sql("SELECT count(*) FROM publish_jobs")[0], versions, "one job each");
    assert_eq!(sql("SELECT count(*) FROM publish_jobs WHERE state <> 'succeeded'"), ["0"]);
    let audited = "SELECT count(*), count(DISTINCT subject) FROM audit_log WHERE action = 'version.published'";
    assert_eq!(sql(audited), [format!("{versions}|{versions}")], "published once each");
    assert_eq!(sql("SELECT count(*) FROM upload_sessions WHERE state = 'failed'"), ["0"]);
    counters_agree(cluster);

    // The abandoned uploads expire; nodes sweep when they start.
    sql("UPDATE upload_sessions SET expires_at = now() WHERE state IN ('created', 'uploading')");
    for (slot, name) in NAMES.into_iter().enumerate() {
        drop(nodes.take(slot));
        nodes.put(slot, cluster.node(name, &[]));
    }
    until("nothing is staged", async || {
        let keys = cluster.s3.keys(&cluster.bucket).await;
        let staged = keys.iter().filter(|key| key.starts_with("staging/")).count();
        staged + cluster.s3.open_uploads(&cluster.bucket).await.len() == 0
    })
    .await;
    let mut stored: Vec<String> =
        cluster.s3.keys(&cluster.bucket).await.into_iter().filter(|key| key.starts_with("cas/")).collect();
    let mut trusted: Vec<String> = sql("SELECT 'cas/' || storage_name FROM blobs");
    stored.sort();
    trusted.sort();
    assert_eq!(stored, trusted, "the objects in the store are the trusted blobs");
}

/// The counters behind the metrics equal the counted rows.
fn counters_agree(cluster: &Cluster) {
    let sql = |statement: &str| cluster.postgres.sql(statement);
    let counted = "SELECT name, sum(value) FROM counters GROUP BY name HAVING sum(value) <> 0 ORDER BY name";
    let rows = "SELECT 'blob_bytes', sum(size_bytes) FROM blobs UNION ALL SELECT 'blobs', count(*) FROM blobs
        UNION ALL SELECT 'lifecycles:' || state, count(*) FROM version_lifecycles GROUP BY state
        UNION ALL SELECT 'jobs:' || state, count(*) FROM publish_jobs GROUP BY state
        UNION ALL SELECT 'steps:' || name || ':' || state, count(*) FROM publish_steps GROUP BY name, state
        UNION ALL SELECT 'uploads:' || state, count(*) FROM upload_sessions GROUP BY state
        UNION ALL SELECT 'versions:' || state, count(*) FROM versions GROUP BY state ORDER BY 1";
    assert_eq!(sql(counted), sql(rows));
}
