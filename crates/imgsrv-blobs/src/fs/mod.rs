//! Blobs in a folder.
//!
//! `staging/<session>/<attempt>` holds parts, `cas/sha256/ab/cd/<hex>-<session>` trusted blobs. A file is
//! linked into `cas` only when it is complete and durable, and is never opened for writing afterwards.

mod layout;
mod promote;
mod read;
mod stage;

use crate::{
    buffers::BufferPool,
    observe::{Direction, Observer, Operation, Outcome, Watch},
};
use async_trait::async_trait;
use bytes::Bytes;
use imgsrv_domain::{
    digest::ByteSize,
    ids::UploadId,
    parts::Part,
    ports::{
        BlobError, BlobName, BlobStore, BlobStream, IngestError, IngestRequest, Ingested, StageError, StageRequest,
        Staged, StoreOwner,
    },
};
use layout::{FileLocation, Layout};
use object_store::{ObjectStore, ObjectStoreExt, local::LocalFileSystem, path::Path as ObjectPath};
use std::{io, ops::Range, path::Path, sync::Arc};

/// A blob store in a folder of a file system that has hard links.
pub struct FsBlobStore {
    layout: Arc<Layout>,
    objects: LocalFileSystem,
    buffers: BufferPool,
    observer: Arc<dyn Observer>,
}

impl FsBlobStore {
    /// Opens the store in `root`, making its folders.
    pub fn open(root: &Path, observer: Arc<dyn Observer>) -> Result<Self, BlobError> {
        let layout = Layout::create(root).map_err(failed)?;
        let objects = LocalFileSystem::new_with_prefix(root).map_err(unavailable)?.with_fsync(true);
        Ok(Self { layout: Arc::new(layout), objects, buffers: BufferPool::default(), observer })
    }

    async fn watched<T, E>(
        &self,
        operation: Operation,
        outcome: fn(&E) -> Outcome,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let watch = Watch::begin(&self.observer, operation);
        let done = work.await;
        watch.end(done.as_ref().map_or_else(outcome, |_| Outcome::Success));
        done
    }
}

#[async_trait]
impl BlobStore for FsBlobStore {
    async fn stage(&self, request: StageRequest) -> Result<Staged, StageError> {
        // A task of its own: when the caller is dropped the body ends, and what was received is removed.
        let task = tokio::spawn(stage::receive(Arc::clone(&self.layout), request));
        let receiving = async { task.await.map_err(|panic| StageError::Blob(unavailable(panic)))? };
        let staged = self.watched(Operation::Put, stage_outcome, receiving).await?;
        self.observer.bytes(Operation::Put, Direction::Write, staged.size.get());
        Ok(staged)
    }

    async fn discard(&self, session: UploadId, part: &Part) -> Result<(), BlobError> {
        let Some(place) = FileLocation::parse(&part.location) else { return Ok(()) };
        let path = self.layout.staged(session, &place.file);
        let size = part.size.get();
        let discarding = blocking(move || {
            let alone = place.offset == 0 && std::fs::metadata(&path).is_ok_and(|file| file.len() == size);
            if alone { layout::remove(&path) } else { Ok(()) }
        });
        self.watched(Operation::Delete, outcome, discarding).await
    }

    async fn ingest(&self, promotion: &IngestRequest) -> Result<Ingested, IngestError> {
        let (layout, promotion) = (Arc::clone(&self.layout), promotion.clone());
        let promoting = async {
            tokio::task::spawn_blocking(move || promote::step(&layout, &promotion))
                .await
                .map_err(|panic| IngestError::Blob(unavailable(panic)))?
        };
        self.watched(Operation::Copy, promote_outcome, promoting).await
    }

    async fn open(&self, name: &BlobName, size: ByteSize, range: Range<u64>) -> Result<BlobStream, BlobError> {
        let (layout, name) = (Arc::clone(&self.layout), name.clone());
        let opening =
            async { tokio::task::spawn_blocking(move || read::open(&layout, &name, size)).await.map_err(unavailable)? };
        let file = self.watched(Operation::Get, outcome, opening).await?;
        Ok(read::stream(file, range, self.buffers.clone(), Arc::clone(&self.observer)))
    }

    async fn remove(&self, name: &BlobName) -> Result<(), BlobError> {
        let key = ObjectPath::from(format!("cas/{name}"));
        let removing = async {
            match self.objects.delete(&key).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(unavailable(error)),
            }
        };
        self.watched(Operation::Delete, outcome, removing).await
    }

    async fn clear_staging(&self, session: UploadId, _: Option<&BlobName>) -> Result<(), BlobError> {
        let path = self.layout.session(session);
        let clearing = blocking(move || match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        });
        self.watched(Operation::Delete, outcome, clearing).await
    }

    async fn staged_sessions(&self) -> Result<Vec<UploadId>, BlobError> {
        let folder = ObjectPath::from("staging");
        let listing = async { self.objects.list_with_delimiter(Some(&folder)).await.map_err(unavailable) };
        let listed = self.watched(Operation::List, outcome, listing).await?;
        let id = |path: &ObjectPath| path.filename().and_then(|name| name.parse().ok());
        Ok(listed.common_prefixes.iter().filter_map(id).collect())
    }

    async fn free_bytes(&self) -> Result<Option<u64>, BlobError> {
        let path = self.layout.cas().to_owned();
        let asked = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&path)).await.map_err(unavailable)?;
        let disk = asked.map_err(|error| failed(error.into()))?;
        Ok(Some(disk.f_bavail.saturating_mul(disk.f_frsize)))
    }

    async fn probe(&self) -> Result<(), BlobError> {
        // A name of its own: nodes that share the folder start beside one another.
        let random = getrandom::u64().map_err(unavailable)?;
        let path = ObjectPath::from(format!("staging/probe-{random:016x}"));
        let written = Bytes::from_static(b"imgsrv");
        self.objects.put(&path, written.clone().into()).await.map_err(unavailable)?;
        let read = async { self.objects.get(&path).await?.bytes().await };
        let read = read.await.map_err(unavailable);
        self.objects.delete(&path).await.map_err(unavailable)?;
        if read? == written { Ok(()) } else { Err(BlobError::Damaged) }
    }

    async fn owners(&self) -> Result<Vec<StoreOwner>, BlobError> {
        let layout = Arc::clone(&self.layout);
        let read = tokio::task::spawn_blocking(move || layout.owner()).await.map_err(unavailable)?;
        read.map_err(failed)?.iter().map(|text| text.parse().map_err(unavailable)).collect()
    }

    async fn claim(&self, owner: StoreOwner) -> Result<(), BlobError> {
        let layout = Arc::clone(&self.layout);
        blocking(move || layout.set_owner(&owner.to_string())).await
    }

    async fn check(&self) -> Result<(), BlobError> {
        let path = self.layout.cas().to_owned();
        self.watched(Operation::Head, outcome, blocking(move || std::fs::read_dir(path).map(drop))).await
    }
}

fn outcome(error: &BlobError) -> Outcome {
    match error {
        BlobError::Damaged => Outcome::NotFound,
        BlobError::Full(_) | BlobError::Unavailable(_) => Outcome::Error,
    }
}

fn stage_outcome(error: &StageError) -> Outcome {
    match error {
        StageError::Body(_) => Outcome::Canceled,
        StageError::TooLarge | StageError::Checksum { .. } => Outcome::Invalid,
        StageError::Blob(error) => outcome(error),
    }
}

fn promote_outcome(error: &IngestError) -> Outcome {
    match error {
        IngestError::Mismatch { .. } => Outcome::Invalid,
        IngestError::StagedGone => Outcome::NotFound,
        IngestError::Blob(error) => outcome(error),
    }
}

async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Result<(), BlobError> {
    tokio::task::spawn_blocking(work).await.map_err(unavailable)?.map_err(failed)
}

fn unavailable(source: impl std::error::Error + Send + Sync + 'static) -> BlobError {
    BlobError::Unavailable(Box::new(source))
}

/// What an error of the operating system means.
fn failed(error: io::Error) -> BlobError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BlobError::Full(Box::new(error)),
        _ => BlobError::Unavailable(Box::new(error)),
    }
}
