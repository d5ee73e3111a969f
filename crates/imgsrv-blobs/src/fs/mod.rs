//! Blobs in a folder.
//!
//! `staging/<session>/<attempt>` holds parts, `cas/sha256/ab/cd/<hex>-<session>` trusted blobs. A file is
//! linked into `cas` only when it is complete and durable, and is never opened for writing afterwards.

mod error;
mod ingest;
mod layout;
mod read;
mod stage;

use crate::{
    buffers::{BUFFER_BYTES, BufferPool},
    objects::{CAS, stored},
    observe::{Observer, Operation, observed},
    probe,
    threads::{READING, RECEIVING, Share, blocking},
};
use async_trait::async_trait;
use bytes::Bytes;
pub use error::unwritable;
use error::{failed, object_failed};
use futures::TryStreamExt;
use imgsrv_domain::{
    digest::ByteSize,
    ids::UploadId,
    parts::Part,
    ports::{
        BlobError, BlobName, BlobStore, BlobStream, IngestError, IngestRequest, Ingested, StageError, StageRequest,
        Staged, StoreOwner, StoredObject,
    },
};
use layout::{FileLocation, Layout, accept};
use object_store::{ObjectStore, ObjectStoreExt, local::LocalFileSystem, path::Path as ObjectPath};
use std::{io, ops::Range, path::Path, sync::Arc};
use tracing::instrument;

/// A blob store in a folder of a file system that has hard links.
pub struct FsBlobStore {
    layout: Arc<Layout>,
    objects: LocalFileSystem,
    buffers: BufferPool,
    reading: Share,
    receiving: Share,
    observer: Arc<dyn Observer>,
}

impl FsBlobStore {
    /// Opens the store in `root`; creates missing folders. A store that exists is also opened if its disk is full or
    /// read-only: what it holds can be read.
    pub fn open(root: &Path, observer: Arc<dyn Observer>) -> Result<Self, BlobError> {
        let layout = Layout::new(root);
        match layout.create(root) {
            Err(error) if unwritable(&error).is_some() && layout.is_present() => {}
            created => created.map_err(failed)?,
        }
        let objects = LocalFileSystem::new_with_prefix(root).map_err(BlobError::unavailable)?.with_fsync(true);
        let (reading, receiving) = (Share::new(READING), Share::new(RECEIVING));
        Ok(Self { layout: Arc::new(layout), objects, buffers: BufferPool::default(), reading, receiving, observer })
    }
}

#[async_trait]
impl BlobStore for FsBlobStore {
    #[instrument(name = "blobs.stage", level = "debug", skip_all, fields(upload.id = %request.session))]
    async fn stage(&self, request: StageRequest) -> Result<Staged, StageError> {
        let staging = stage::stage(Arc::clone(&self.layout), self.receiving.clone(), request);
        let staged = observed(&*self.observer, Operation::Put, staging).await?;
        self.observer.bytes(Operation::Put, staged.size.get());
        Ok(staged)
    }

    #[instrument(name = "blobs.discard", level = "debug", skip_all, fields(upload.id = %session, %part.number))]
    async fn discard(&self, session: UploadId, part: &Part) -> Result<(), BlobError> {
        let Some(location) = FileLocation::parse(&part.location) else { return Ok(()) };
        let path = self.layout.staged(session, &location.file);
        let size = part.size.get();
        let discarding = blocking(move || {
            let is_whole_file = location.offset == 0 && std::fs::metadata(&path).is_ok_and(|file| file.len() == size);
            if is_whole_file { layout::remove(&path).map_err(failed) } else { Ok(()) }
        });
        observed(&*self.observer, Operation::Delete, discarding).await
    }

    #[instrument(name = "blobs.ingest", level = "debug", skip_all, fields(upload.id = %request.session))]
    async fn ingest(&self, request: &IngestRequest) -> Result<Ingested, IngestError> {
        let (layout, request) = (Arc::clone(&self.layout), request.clone());
        let ingesting = blocking(move || ingest::ingest(&layout, &request));
        observed(&*self.observer, Operation::Copy, ingesting).await
    }

    #[instrument(name = "blobs.open", level = "debug", skip_all, fields(blob.name = %name))]
    async fn open(&self, name: &BlobName, size: ByteSize, range: Range<u64>) -> Result<BlobStream, BlobError> {
        let opening = async {
            if let Some(file) = read::open_cached(&self.layout, name, size) {
                return Ok(file);
            }
            let (layout, name) = (Arc::clone(&self.layout), name.clone());
            self.reading.run(move || read::open(&layout, &name, size)).await
        };
        let file = observed(&*self.observer, Operation::Get, opening).await?;
        let (buffers, reading) = (self.buffers.clone(), self.reading.clone());
        Ok(read::stream(file, range, buffers, reading, Arc::clone(&self.observer)))
    }

    #[instrument(name = "blobs.read", level = "debug", skip_all, fields(blob.name = %name))]
    async fn read(&self, name: &BlobName, size: ByteSize, range: Range<u64>) -> Result<Bytes, BlobError> {
        if range.end - range.start > BUFFER_BYTES as u64 {
            return Err(BlobError::unavailable("more than a buffer is to be read at once"));
        }
        let buffer = self.buffers.take();
        let reading = read::read(&self.layout, name, size, range, buffer, &self.reading);
        let bytes = observed(&*self.observer, Operation::Get, reading).await?;
        self.observer.bytes(Operation::Get, bytes.len() as u64);
        Ok(bytes)
    }

    #[instrument(name = "blobs.remove", level = "debug", skip_all, fields(blob.name = %name))]
    async fn remove(&self, name: &BlobName) -> Result<(), BlobError> {
        let key = ObjectPath::from(format!("cas/{name}"));
        let removing = async {
            match self.objects.delete(&key).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(object_failed(error)),
            }
        };
        observed(&*self.observer, Operation::Delete, removing).await
    }

    #[instrument(name = "blobs.clear_staging", level = "debug", skip_all, fields(upload.id = %session))]
    async fn clear_staging(&self, session: UploadId, _: Option<&BlobName>) -> Result<(), BlobError> {
        let path = self.layout.session(session);
        let clearing =
            blocking(move || accept(io::ErrorKind::NotFound, std::fs::remove_dir_all(&path)).map_err(failed));
        observed(&*self.observer, Operation::Delete, clearing).await
    }

    #[instrument(name = "blobs.staged_sessions", level = "debug", skip_all)]
    async fn staged_sessions(&self) -> Result<Vec<UploadId>, BlobError> {
        let folder = ObjectPath::from("staging");
        let listing = async { self.objects.list_with_delimiter(Some(&folder)).await.map_err(BlobError::unavailable) };
        let listed = observed(&*self.observer, Operation::List, listing).await?;
        let id = |path: &ObjectPath| path.filename().and_then(|name| name.parse().ok());
        Ok(listed.common_prefixes.iter().filter_map(id).collect())
    }

    #[instrument(name = "blobs.stored_objects", level = "debug", skip_all)]
    async fn stored_objects(&self) -> Result<Vec<StoredObject>, BlobError> {
        let folder = ObjectPath::from(CAS);
        let listing = async {
            let listed = self.objects.list(Some(&folder)).map_ok(|meta| stored(&meta));
            listed.try_filter_map(|object| async { Ok(object) }).try_collect().await.map_err(BlobError::unavailable)
        };
        observed(&*self.observer, Operation::List, listing).await
    }

    #[instrument(name = "blobs.free_bytes", level = "debug", skip_all)]
    async fn free_bytes(&self) -> Result<Option<u64>, BlobError> {
        let path = self.layout.cas.clone();
        let disk = blocking(move || rustix::fs::statvfs(&path).map_err(|error| failed(error.into()))).await?;
        Ok(Some(disk.f_bavail.saturating_mul(disk.f_frsize)))
    }

    #[instrument(name = "blobs.probe", level = "debug", skip_all)]
    async fn probe(&self) -> Result<(), BlobError> {
        let path = probe::path("staging")?;
        self.objects.put(&path, probe::CONTENT.into()).await.map_err(object_failed)?;
        let read = async { self.objects.get(&path).await?.bytes().await };
        let read = read.await.map_err(BlobError::unavailable);
        let listed = self.objects.list_with_delimiter(Some(&ObjectPath::from("staging"))).await;
        let listed = listed.map_err(BlobError::unavailable)?.objects;
        for path in probe::abandoned(listed, &path).into_iter().chain([path]) {
            match self.objects.delete(&path).await {
                // Another node has removed it.
                Err(object_store::Error::NotFound { .. }) => {}
                deleted => deleted.map_err(object_failed)?,
            }
        }
        if read? == probe::CONTENT { Ok(()) } else { Err(BlobError::Damaged) }
    }

    #[instrument(name = "blobs.owners", level = "debug", skip_all)]
    async fn owners(&self) -> Result<Vec<StoreOwner>, BlobError> {
        let layout = Arc::clone(&self.layout);
        let owner = blocking(move || layout.owner().map_err(failed)).await?;
        owner.iter().map(|text| text.parse().map_err(BlobError::unavailable)).collect()
    }

    #[instrument(name = "blobs.claim", level = "debug", skip_all)]
    async fn claim(&self, owner: StoreOwner) -> Result<(), BlobError> {
        let layout = Arc::clone(&self.layout);
        blocking(move || layout.set_owner(&owner.to_string()).map_err(failed)).await
    }

    #[instrument(name = "blobs.check", level = "debug", skip_all)]
    async fn check(&self) -> Result<(), BlobError> {
        let path = self.layout.cas.clone();
        let checking = blocking(move || std::fs::read_dir(path).map(drop).map_err(failed));
        observed(&*self.observer, Operation::Head, checking).await
    }
}
