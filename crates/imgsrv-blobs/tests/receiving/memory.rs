//! Frames are released as soon as the store has them, and small ones do not keep large buffers alive.

use super::{
    DEADLINE, first_part,
    stub_s3::{Behavior, StubS3},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use imgsrv_blobs::{FsBlobStore, S3BlobStore, S3Settings, Unobserved};
use imgsrv_domain::ports::BlobStore;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::{task::JoinSet, time::timeout};

const MIB: u64 = 1 << 20;
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

/// Counts the memory that frames keep alive, without using any.
#[derive(Clone, Default)]
struct Gauge(Arc<Counts>);

#[derive(Default)]
struct Counts {
    live: AtomicU64,
    peak: AtomicU64,
}

/// A buffer of a connection that a frame keeps alive.
struct CountedBuffer {
    gauge: Gauge,
    capacity: u64,
    length: usize,
}

impl AsRef<[u8]> for CountedBuffer {
    fn as_ref(&self) -> &[u8] {
        &ZEROS[..self.length]
    }
}

impl Drop for CountedBuffer {
    fn drop(&mut self) {
        self.gauge.0.live.fetch_sub(self.capacity, Ordering::SeqCst);
    }
}

impl Gauge {
    /// A frame of `length` bytes in a buffer of `capacity`.
    fn frame(&self, length: usize, capacity: u64) -> Bytes {
        let live = self.0.live.fetch_add(capacity, Ordering::SeqCst) + capacity;
        self.0.peak.fetch_max(live, Ordering::SeqCst);
        Bytes::from_owner(CountedBuffer { gauge: self.clone(), capacity, length })
    }

    fn peak(&self) -> u64 {
        self.0.peak.load(Ordering::SeqCst)
    }

    /// A body of `count` such frames.
    fn body(&self, count: usize, length: usize, capacity: u64) -> impl futures::Stream<Item = Bytes> + Send + use<> {
        let gauge = self.clone();
        stream::iter((0..count).map(move |_| gauge.frame(length, capacity)))
    }
}

pub(crate) fn bucket(stub: &StubS3) -> Arc<dyn BlobStore> {
    let settings = S3Settings {
        endpoint: Some(stub.endpoint.clone()),
        bucket: "bucket".to_owned(),
        region: None,
        access_key_id: Some("key".to_owned()),
        secret_access_key: Some("secret".to_owned()),
        session_token: None,
        tls: false,
        path_style: true,
    };
    Arc::new(S3BlobStore::new(&settings, Arc::new(Unobserved)).expect("a store"))
}

/// Each part may hold one chunk of 8 MiB and 5 MiB to look ahead, and all together may send 256 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_64_parts_that_wait_for_a_slow_bucket_is_bounded() {
    const PARTS: u64 = 64;
    // Some slack for each part: a batch that is being collected, and its last frame.
    const BOUND: u64 = PARTS * (8 + 5 + 2) + 256;
    // The first S3 part of each is taken at once; of the others, none before many of up to 11 MiB wait.
    let stub = StubS3::start(Behavior { held: 16, ..Behavior::default() }).await;
    let (store, gauge) = (bucket(&stub), Gauge::default());
    let mut uploads = JoinSet::new();
    for number in 0..PARTS {
        let (store, body) = (Arc::clone(&store), gauge.body(27 * 4, 256 << 10, 256 << 10));
        uploads.spawn(async move { store.stage(first_part(number.into(), body)).await });
    }
    let uploading = async {
        while let Some(staged) = uploads.join_next().await {
            assert_eq!(staged.expect("no panic").expect("staged").size.get(), 27 * MIB);
        }
    };
    timeout(DEADLINE, uploading).await.expect("uploads end");
    let peak = gauge.peak() / MIB;
    assert!(peak <= BOUND, "{peak} MiB, of at most {BOUND}");
    assert!(peak > 256, "{peak} MiB: the bucket was not slow enough for this test");
}

#[tokio::test(flavor = "multi_thread")]
async fn small_frames_do_not_keep_the_buffers_of_their_connection_alive() {
    let stub = StubS3::start(Behavior::default()).await;
    let dir = tempfile::tempdir().expect("a scratch folder");
    let folder = Arc::new(FsBlobStore::open(dir.path(), Arc::new(Unobserved)).expect("a store"));
    for (store, name) in [(bucket(&stub), "s3"), (folder as Arc<dyn BlobStore>, "fs")] {
        let gauge = Gauge::default();
        let staged = store.stage(first_part(1, gauge.body(30_000, 100, 16 << 10)));
        let staged = timeout(DEADLINE, staged).await.expect("it ends").expect("staged");
        assert_eq!(staged.size.get(), 3_000_000);
        let peak = gauge.peak();
        assert!(peak < 4 * MIB, "{name}: {} MiB for 3 MB", peak / MIB);
    }
}

/// A client that sends little must not keep memory for the whole part, or a few of them keep all others out.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_slow_parts_do_not_keep_a_fast_one_out() {
    const PARTS: u64 = 200;
    let stub = StubS3::start(Behavior::default()).await;
    let (store, gauge) = (bucket(&stub), Gauge::default());
    let (released, _) = tokio::sync::watch::channel(false);
    let (begun, begin) =
        (Arc::new(tokio::sync::Barrier::new(usize::try_from(PARTS + 1).expect("few"))), released.clone());
    let mut slow = JoinSet::new();
    for number in 1..=PARTS {
        let (store, mut release, begun) = (Arc::clone(&store), released.subscribe(), Arc::clone(&begun));
        let first = gauge.body(1, 4 << 10, 16 << 10);
        let rest = gauge.body(1, 4 << 10, 16 << 10);
        let wait = stream::once(async move {
            begun.wait().await;
            release.wait_for(|released| *released).await.expect("the test releases it");
            Bytes::new()
        });
        let body = first.chain(wait).chain(rest);
        slow.spawn(async move { store.stage(first_part(number.into(), body)).await });
    }
    timeout(DEADLINE, begun.wait()).await.expect("every slow part is being received");
    let fast = store.stage(first_part(0, gauge.body(27 * 4, 256 << 10, 256 << 10)));
    assert_eq!(timeout(DEADLINE, fast).await.expect("it ends").expect("staged").size.get(), 27 * MIB);
    begin.send_replace(true);
    while let Some(staged) = slow.join_next().await {
        assert_eq!(staged.expect("no panic").expect("staged").size.get(), 8 << 10);
    }
}
