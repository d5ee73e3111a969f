//! Blobs in a folder.
//!
//! `staging/<session>/<attempt>` holds parts, `cas/sha256/ab/cd/<hex>-<session>` trusted blobs. A file is
//! linked into `cas` only when it is complete and durable, and is never opened for writing afterwards.

mod layout;
mod promote;
mod read;
mod stage;

use crate::buffers::BufferPool;
use async_trait::async_trait;
use bytes::Bytes;
use imgsrv_domain::{
    digest::ByteSize,
    ids::UploadId,
    parts::Part,
    ports::{
        BlobError, BlobName, BlobStore, BlobStream, PromoteError, Promoted, Promotion, StageError, StageRequest, Staged,
    },
};
use layout::{FilePlace, Layout};
use object_store::{ObjectStore, ObjectStoreExt, local::LocalFileSystem, path::Path as ObjectPath};
use std::{io, ops::Range, path::Path, sync::Arc};

/// A blob store in a folder of a file system that has hard links.
pub struct FsBlobStore {
    layout: Arc<Layout>,
    objects: LocalFileSystem,
    buffers: BufferPool,
}

impl FsBlobStore {
    /// Opens the store in `root`, making its folders.
    pub fn open(root: &Path) -> Result<Self, BlobError> {
        let layout = Layout::create(root).map_err(failed)?;
        let objects = LocalFileSystem::new_with_prefix(root).map_err(unavailable)?.with_fsync(true);
        Ok(Self { layout: Arc::new(layout), objects, buffers: BufferPool::default() })
    }
}

#[async_trait]
impl BlobStore for FsBlobStore {
    async fn stage(&self, request: StageRequest) -> Result<Staged, StageError> {
        // A task of its own: when the caller is dropped the body ends, and what was received is removed.
        let task = tokio::spawn(stage::receive(Arc::clone(&self.layout), request));
        task.await.map_err(|panic| StageError::Blob(unavailable(panic)))?
    }

    async fn discard(&self, session: UploadId, part: &Part) -> Result<(), BlobError> {
        let Some(place) = FilePlace::parse(&part.place) else { return Ok(()) };
        let path = self.layout.staged(session, &place.file);
        let size = part.size.get();
        blocking(move || {
            let alone = place.offset == 0 && std::fs::metadata(&path).is_ok_and(|file| file.len() == size);
            if alone { layout::remove(&path) } else { Ok(()) }
        })
        .await
    }

    async fn promote(&self, promotion: &Promotion) -> Result<Promoted, PromoteError> {
        let (layout, promotion) = (Arc::clone(&self.layout), promotion.clone());
        tokio::task::spawn_blocking(move || promote::step(&layout, &promotion))
            .await
            .map_err(|panic| PromoteError::Blob(unavailable(panic)))?
    }

    async fn open(&self, name: &BlobName, size: ByteSize, range: Range<u64>) -> Result<BlobStream, BlobError> {
        let (layout, name) = (Arc::clone(&self.layout), name.clone());
        let file =
            tokio::task::spawn_blocking(move || read::open(&layout, &name, size)).await.map_err(unavailable)??;
        Ok(read::stream(file, range, self.buffers.clone()))
    }

    async fn remove(&self, name: &BlobName) -> Result<(), BlobError> {
        match self.objects.delete(&ObjectPath::from(format!("cas/{name}"))).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn clear_staging(&self, session: UploadId) -> Result<(), BlobError> {
        let path = self.layout.session(session);
        blocking(move || match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        })
        .await
    }

    async fn staged_sessions(&self) -> Result<Vec<UploadId>, BlobError> {
        let listed = self.objects.list_with_delimiter(Some(&ObjectPath::from("staging"))).await.map_err(unavailable)?;
        let id = |path: &ObjectPath| path.filename().and_then(|name| name.parse().ok());
        Ok(listed.common_prefixes.iter().filter_map(id).collect())
    }

    async fn probe(&self) -> Result<(), BlobError> {
        // One name for all: what a crash left of an earlier probe is overwritten and goes with this one.
        let path = ObjectPath::from("staging/probe");
        let written = Bytes::from_static(b"imgsrv");
        self.objects.put(&path, written.clone().into()).await.map_err(unavailable)?;
        let read = self.objects.get(&path).await.map_err(unavailable)?.bytes().await.map_err(unavailable)?;
        self.objects.delete(&path).await.map_err(unavailable)?;
        if read == written { Ok(()) } else { Err(BlobError::Damaged) }
    }

    async fn check(&self) -> Result<(), BlobError> {
        let path = self.layout.cas().to_owned();
        blocking(move || std::fs::read_dir(path).map(drop)).await
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
