//! Clients that send slowly hold no thread.

use super::{DEADLINE, first_part, name, size};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use imgsrv_blobs::{FsBlobStore, Unobserved};
use imgsrv_domain::{
    digest::{BlobClaim, Digest},
    hash::RunningHash,
    ports::{BlobStore, IngestRequest},
};
use std::sync::Arc;
use tokio::{sync::watch, task::JoinSet, time::timeout};

const SLOW: u128 = 32;

#[test]
fn reads_continue_while_more_clients_send_slowly_than_there_are_threads() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async { timeout(DEADLINE, read_beside_slow_uploads()).await.expect("reads continue") });
}

async fn read_beside_slow_uploads() {
    let dir = tempfile::tempdir().expect("a scratch folder");
    let store = Arc::new(FsBlobStore::open(dir.path(), Arc::new(Unobserved)).expect("a store"));
    let (end, ending) = watch::channel(false);
    let mut uploads = JoinSet::new();
    let mut begun = Vec::new();
    for number in 1..=SLOW {
        let (mut ending, (begin, has_begun)) = (ending.clone(), tokio::sync::oneshot::channel());
        begun.push(has_begun);
        // The rest comes once the test has read.
        let rest = async move {
            begin.send(()).expect("the test waits");
            ending.wait_for(|end| *end).await.expect("the test ends");
            Bytes::from_static(b"rest")
        };
        let body = stream::iter([Bytes::from(vec![7; 3 << 20])]).chain(rest.into_stream());
        let store = Arc::clone(&store);
        uploads.spawn(async move { store.stage(first_part(number, body)).await });
    }
    for begun in begun {
        begun.await.expect("an upload begins");
    }
    let (bytes, mut hash) = (Bytes::from(vec![1; 1 << 20]), RunningHash::default());
    hash.update(&bytes);
    let claim = BlobClaim { digest: hash.finish(), size: size(bytes.len() as u64) };
    assert_ne!(claim.digest, Digest::new([7; 32]));
    let request = first_part(99, stream::iter([bytes.clone()]));
    let (session, attempt) = (request.session, request.attempt.clone());
    let part = store.stage(request).await.expect("staged").into_part(&attempt);
    let hashed = part.hash.clone();
    store.ingest(&IngestRequest { session, name: name(99), claim, parts: vec![part], hashed }).await.expect("ingested");
    let read = store.open(&name(99), claim.size, 0..claim.size.get()).await.expect("opened");
    let read = read.try_collect::<Vec<Bytes>>().await.expect("read").concat();
    assert!(read == bytes);
    end.send(true).expect("uploads wait");
    while let Some(staged) = uploads.join_next().await {
        assert_eq!(staged.expect("no panic").expect("staged").size, size((3 << 20) + 4));
    }
}
