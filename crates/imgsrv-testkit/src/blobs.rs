//! A folder of blobs that counts what is read of it, on a disk of any size.

use async_trait::async_trait;
use axum::body::Bytes;
use futures::TryStreamExt;
use imgsrv_blobs::{FsBlobStore, Unobserved};
use imgsrv_domain::{
    digest::ByteSize,
    ids::UploadId,
    parts::Part,
    ports::{
        BlobError, BlobName, BlobStore, BlobStream, IngestError, IngestRequest, Ingested, StageError, StageRequest,
        Staged, StoreOwner, StoredObject,
    },
};
use std::{
    collections::HashMap,
    fs,
    ops::Range,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// What a test sees of the blob store of a [`TestServer`](crate::TestServer).
#[derive(Clone, Default)]
pub struct BlobProbe(Arc<Probe>);

#[derive(Default)]
struct Probe {
    /// Size of the disk; that of the real one if it is 0.
    capacity: AtomicU64,
    requested: AtomicU64,
    read: AtomicU64,
    /// Whether staging fails once all bytes have arrived.
    is_staging_broken: AtomicBool,
    /// Whether blobs cannot be removed.
    are_removals_broken: AtomicBool,
}

impl BlobProbe {
    /// Bytes that were read of blobs.
    pub fn read(&self) -> u64 {
        self.0.read.load(Ordering::SeqCst)
    }

    /// Bytes that were requested of blobs and not read, or not yet.
    pub fn unread(&self) -> u64 {
        self.0.requested.load(Ordering::SeqCst) - self.read()
    }

    /// Lets the store fail, or work again, when all bytes of a part have arrived.
    pub fn break_staging(&self, is_broken: bool) {
        self.0.is_staging_broken.store(is_broken, Ordering::SeqCst);
    }

    /// Lets the store fail, or work again, when a blob is to be removed.
    pub fn break_removals(&self, are_broken: bool) {
        self.0.are_removals_broken.store(are_broken, Ordering::SeqCst);
    }

    /// Lets the disk have `capacity` bytes.
    pub fn limit(&self, capacity: u64) {
        self.0.capacity.store(capacity, Ordering::SeqCst);
    }
}

/// The store.
pub(crate) struct ProbedBlobs {
    store: FsBlobStore,
    root: PathBuf,
    probe: BlobProbe,
}

impl ProbedBlobs {
    pub(crate) fn open(root: &Path, probe: BlobProbe) -> Self {
        let store = FsBlobStore::open(root, Arc::new(Unobserved)).expect("a blob store");
        Self { store, root: root.to_owned(), probe }
    }
}

/// Bytes on disk of all files below `folder`; files of several names count once.
pub fn used_bytes(folder: &Path) -> u64 {
    fn walk(folder: &Path, files: &mut HashMap<u64, u64>) {
        // Files come and go meanwhile.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => walk(&entry.path(), files),
                Ok(metadata) => drop(files.insert(metadata.ino(), metadata.blocks() * 512)),
                Err(_) => {}
            }
        }
    }
    let mut files = HashMap::new();
    walk(folder, &mut files);
    files.values().sum()
}

#[async_trait]
impl BlobStore for ProbedBlobs {
    async fn stage(&self, request: StageRequest) -> Result<Staged, StageError> {
        let staged = self.store.stage(request).await?;
        if self.probe.0.is_staging_broken.load(Ordering::SeqCst) {
            return Err(BlobError::unavailable(std::io::Error::other("the test breaks the store")).into());
        }
        Ok(staged)
    }

    async fn discard(&self, session: UploadId, part: &Part) -> Result<(), BlobError> {
        self.store.discard(session, part).await
    }

    async fn ingest(&self, request: &IngestRequest) -> Result<Ingested, IngestError> {
        self.store.ingest(request).await
    }

    async fn open(&self, name: &BlobName, size: ByteSize, range: Range<u64>) -> Result<BlobStream, BlobError> {
        let requested = range.end - range.start;
        let (stream, probe) = (self.store.open(name, size, range).await?, self.probe.clone());
        probe.0.requested.fetch_add(requested, Ordering::SeqCst);
        Ok(Box::pin(stream.inspect_ok(move |chunk| {
            probe.0.read.fetch_add(chunk.len() as u64, Ordering::SeqCst);
        })))
    }

    async fn read(&self, name: &BlobName, size: ByteSize, range: Range<u64>) -> Result<Bytes, BlobError> {
        for counter in [&self.probe.0.requested, &self.probe.0.read] {
            counter.fetch_add(range.end - range.start, Ordering::SeqCst);
        }
        self.store.read(name, size, range).await
    }

    async fn remove(&self, name: &BlobName) -> Result<(), BlobError> {
        if self.probe.0.are_removals_broken.load(Ordering::SeqCst) {
            return Err(BlobError::unavailable(std::io::Error::other("the test breaks the store")));
        }
        self.store.remove(name).await
    }

    async fn clear_staging(&self, session: UploadId, name: Option<&BlobName>) -> Result<(), BlobError> {
        self.store.clear_staging(session, name).await
    }

    async fn staged_sessions(&self) -> Result<Vec<UploadId>, BlobError> {
        self.store.staged_sessions().await
    }

    async fn stored_objects(&self) -> Result<Vec<StoredObject>, BlobError> {
        self.store.stored_objects().await
    }

    async fn free_bytes(&self) -> Result<Option<u64>, BlobError> {
        match self.probe.0.capacity.load(Ordering::SeqCst) {
            0 => self.store.free_bytes().await,
            capacity => Ok(Some(capacity.saturating_sub(used_bytes(&self.root)))),
        }
    }

    async fn probe(&self) -> Result<(), BlobError> {
        self.store.probe().await
    }

    async fn owners(&self) -> Result<Vec<StoreOwner>, BlobError> {
        self.store.owners().await
    }

    async fn claim(&self, owner: StoreOwner) -> Result<(), BlobError> {
        self.store.claim(owner).await
    }

    async fn check(&self) -> Result<(), BlobError> {
        self.store.check().await
    }
}
