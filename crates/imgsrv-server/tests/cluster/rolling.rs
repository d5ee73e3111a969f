//! A rolling restart under load: clients see at most broken connections, which they retry.

use crate::{
    harness::{Cluster, Nodes, writer},
    publisher::{Publisher, bytes},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_request() {
    let cluster = Arc::new(Cluster::start().await);
    let names = ["a", "b", "c"];
    let nodes = names.map(|name| cluster.node(name, &[]));
    let token = writer(&nodes[0]).await;
    let nodes = Arc::new(Nodes::new(nodes.into()));
    let publisher = Publisher::new(Arc::clone(&nodes), token);
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (publisher, stop, count) = (publisher.clone(), Arc::clone(&stop), Arc::clone(&count));
            tokio::spawn(async move {
                let mut published = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let content = bytes(7 << 20);
                    publisher.upload(&content, 3 << 20, 2).await;
                    let image = format!("rolling-{}", count.fetch_add(1, Ordering::SeqCst));
                    published.push(publisher.publish(&image, &content).await);
                }
                published
            })
        })
        .collect();
    for (slot, name) in names.into_iter().enumerate() {
        let before = count.load(Ordering::SeqCst);
        let mut node = nodes.take(slot);
        let (cluster, stopped) = (Arc::clone(&cluster), tokio::task::spawn_blocking(move || node.terminate()));
        assert_eq!(stopped.await.expect("it ends"), Some(0), "{name} stops gracefully");
        let started = tokio::task::spawn_blocking(move || cluster.node(name, &[]));
        nodes.put(slot, started.await.expect("it starts"));
        crate::harness::until("the load continues", async || count.load(Ordering::SeqCst) > before + 2).await;
    }
    stop.store(true, Ordering::SeqCst);
    let mut published = Vec::new();
    for worker in load {
        published.extend(worker.await.expect("no request failed"));
    }
    for (status, retries) in publisher.retries.iter().enumerate() {
        let retries = retries.load(Ordering::SeqCst);
        assert!(status == 0 || retries == 0, "{retries} responses were {status}");
    }
    for published in &published {
        publisher.check(published).await;
    }
}
