//! Computing fingerprints beside other work.

use crate::support::{Artifact, add, describe, draft, publish};
use imgsrv_testkit::{TestServer, qcow2};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

const MIB: u64 = 1 << 20;

/// On one thread, another task runs only when the computation lets it.
#[tokio::test]
async fn other_tasks_run_while_a_fingerprint_is_computed() {
    let server = TestServer::start().await;
    let mut image = qcow2(1);
    image.resize(80 << 20, 1);
    draft(&server, "debian", "1").await;
    let artifact = add(&server, "debian", "1", &Artifact::qcow2(&image)).await;
    describe(&server, &artifact).await;

    let (blobs, longest) = (server.blobs.clone(), Arc::new(AtomicU64::new(0)));
    let (before, seen) = (blobs.read(), Arc::clone(&longest));
    let other = tokio::spawn(async move {
        let mut last = blobs.read();
        loop {
            tokio::task::yield_now().await;
            let now = blobs.read();
            seen.fetch_max(now - last, Ordering::SeqCst);
            last = now;
        }
    });
    assert_eq!(publish(&server, "debian", "1").await["state"], "succeeded");
    other.abort();
    let (read, longest) = ((server.blobs.read() - before) / MIB, longest.load(Ordering::SeqCst) / MIB);
    assert!(read >= 80, "{read} MiB were read");
    assert!(longest <= 33, "{longest} MiB of {read} were read and hashed without a pause");
}
