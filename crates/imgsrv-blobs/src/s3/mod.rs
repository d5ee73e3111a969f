//! Blobs in a bucket of an S3-compatible store.
//!
//! `cas/sha256/ab/cd/<hex>-<session>` is the key of a blob, `staging/<session>/<attempt>` that of a staged part. Parts
//! that continue the hashed prefix are sent straight into one multipart upload to the blob's key: completing it is the
//! ingest. All other parts are staged as objects, and copied into that upload inside the store.
//!
//! Nothing relies on conditional writes, which some stores ignore: names are never reused, and the catalog decides
//! which of them are blobs.

mod admission;
mod chunk;
mod client;
mod error;
mod ingest;
mod keys;
mod location;
mod multipart;
mod plan;
mod read;
mod retry;
mod settings;
mod stage;

pub use settings::{S3Settings, S3SettingsError};

use crate::{
    objects::{CAS, stored},
    observe::Observer,
    probe,
};
use async_trait::async_trait;
use bytes::Bytes;
use client::Client;
use error::{failed, is_missing};
use futures::StreamExt;
use imgsrv_domain::{
    digest::ByteSize,
    ids::UploadId,
    parts::Part,
    ports::{
        BlobError, BlobName, BlobStore, BlobStream, IngestError, IngestRequest, Ingested, StageError, StageRequest,
        Staged, StoreOwner, StoredObject,
    },
};
use keys::{MARK, MARKER, OWNERS, STAGING};
use location::S3Location;
use object_store::{Error, path::Path};
use std::{collections::BTreeSet, ops::Range, sync::Arc};
use tracing::instrument;

/// A blob store in an S3 bucket.
pub struct S3BlobStore {
    client: Arc<Client>,
}

impl S3BlobStore {
    /// Opens the store; sends nothing yet.
    pub fn new(settings: &S3Settings, observer: Arc<dyn Observer>) -> Result<Self, S3SettingsError> {
        Ok(Self { client: Arc::new(Client::new(settings, observer)?) })
    }

    /// Aborts the session's multipart uploads whose keys start with `prefix`.
    async fn abort_uploads(&self, session: UploadId, prefix: &str) -> Result<(), BlobError> {
        for upload in self.client.list_uploads(prefix).await.map_err(failed)? {
            if keys::session_of(&upload.key) == Some(session) {
                self.client.abort(&upload).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// `None` if the size of the blob is wrong.
    async fn open_once(&self, key: &Path, size: u64, range: &Range<u64>) -> Result<Option<BlobStream>, Error> {
        if range.is_empty() {
            let is_whole = self.client.head(key).await?.size == size;
            return Ok(is_whole.then(|| futures::stream::empty().boxed()));
        }
        let part = (*range != (0..size)).then(|| range.clone());
        match read::open(&self.client, key, part.clone(), None).await {
            Ok(opened) => Ok((opened.size == size).then_some(opened.stream)),
            // The range may lie outside of a truncated blob.
            Err(error) if part.is_some() && !is_missing(&error) && self.client.head(key).await?.size != size => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl BlobStore for S3BlobStore {
    #[instrument(name = "blobs.stage", level = "debug", skip_all, fields(upload.id = %request.session))]
    async fn stage(&self, request: StageRequest) -> Result<Staged, StageError> {
        stage::stage(&self.client, request).await
    }

    #[instrument(name = "blobs.discard", level = "debug", skip_all, fields(upload.id = %session, %part.number))]
    async fn discard(&self, session: UploadId, part: &Part) -> Result<(), BlobError> {
        match S3Location::parse(&part.location) {
            Some(S3Location::Object) => self.client.delete(&keys::staged(session, part.attempt)).await.map_err(failed),
            // Parts of a multipart upload are freed with it.
            Some(S3Location::Multipart(_)) | None => Ok(()),
        }
    }

    #[instrument(name = "blobs.ingest", level = "debug", skip_all, fields(upload.id = %request.session))]
    async fn ingest(&self, request: &IngestRequest) -> Result<Ingested, IngestError> {
        ingest::ingest(&self.client, request).await
    }

    #[instrument(name = "blobs.open", level = "debug", skip_all, fields(blob.name = %name))]
    async fn open(&self, name: &BlobName, size: ByteSize, range: Range<u64>) -> Result<BlobStream, BlobError> {
        let (key, size) = (keys::blob(name), size.get());
        let mut opened = self.open_once(&key, size, &range).await;
        if opened.as_ref().is_err_and(is_missing) && self.client.is_present().await {
            // The bucket is there now; it may not have been at the first attempt.
            opened = self.open_once(&key, size, &range).await;
        }
        match opened {
            Ok(stream) => stream.ok_or(BlobError::Damaged),
            Err(error) if is_missing(&error) && self.client.is_present().await => Err(BlobError::Damaged),
            Err(error) => Err(failed(error)),
        }
    }

    #[instrument(name = "blobs.remove", level = "debug", skip_all, fields(blob.name = %name))]
    async fn remove(&self, name: &BlobName) -> Result<(), BlobError> {
        self.client.delete(&keys::blob(name)).await.map_err(failed)
    }

    #[instrument(name = "blobs.clear_staging", level = "debug", skip_all, fields(upload.id = %session))]
    async fn clear_staging(&self, session: UploadId, name: Option<&BlobName>) -> Result<(), BlobError> {
        // Multipart uploads first: without them, a worker that lost its lease cannot place the blob any more. And again
        // at the end: an upload that was created meanwhile has no parts left to copy.
        let folder = keys::session(session);
        let own = name.map_or_else(String::new, |name| keys::blob(name).to_string());
        if name.is_some() {
            self.abort_uploads(session, &format!("{folder}/")).await?;
        }
        self.abort_uploads(session, &own).await?;
        let keys = self.client.list(&folder).await.map_err(failed)?;
        self.client.delete_all(&keys).await.map_err(failed)?;
        // SeaweedFS lists a folder without objects until it is deleted by its name; others have no such object.
        self.client.delete(&folder).await.map_err(failed)?;
        self.abort_uploads(session, &own).await
    }

    #[instrument(name = "blobs.staged_sessions", level = "debug", skip_all)]
    async fn staged_sessions(&self) -> Result<Vec<UploadId>, BlobError> {
        let folders = self.client.list_folders(&Path::from(STAGING)).await.map_err(failed)?;
        let uploads = self.client.list_uploads("").await.map_err(failed)?;
        let keys = folders.into_iter().chain(uploads.into_iter().map(|upload| upload.key));
        let sessions: BTreeSet<UploadId> = keys.filter_map(|key| keys::session_of(&key)).collect();
        Ok(sessions.into_iter().collect())
    }

    #[instrument(name = "blobs.stored_objects", level = "debug", skip_all)]
    async fn stored_objects(&self) -> Result<Vec<StoredObject>, BlobError> {
        let listed = self.client.list_all(&Path::from(CAS)).await.map_err(failed)?;
        Ok(listed.iter().filter_map(stored).collect())
    }

    #[instrument(name = "blobs.free_bytes", level = "debug", skip_all)]
    async fn free_bytes(&self) -> Result<Option<u64>, BlobError> {
        Ok(None)
    }

    #[instrument(name = "blobs.probe", level = "debug", skip_all)]
    async fn probe(&self) -> Result<(), BlobError> {
        let key = probe::path(STAGING)?;
        self.client.put(&key, vec![probe::CONTENT]).await.map_err(failed)?;
        let read = self.client.read(&key).await;
        let listed = self.client.list_objects(&Path::from(STAGING)).await.map_err(failed)?;
        for key in probe::abandoned(listed, &key).into_iter().chain([key]) {
            self.client.delete(&key).await.map_err(failed)?;
        }
        if read.map_err(failed)? == probe::CONTENT { Ok(()) } else { Err(BlobError::Damaged) }
    }

    #[instrument(name = "blobs.owners", level = "debug", skip_all)]
    async fn owners(&self) -> Result<Vec<StoreOwner>, BlobError> {
        let keys = self.client.list(&Path::from(OWNERS)).await.map_err(failed)?;
        let mut owners = Vec::new();
        for key in keys {
            let text = self.client.read(&key).await.map_err(failed)?;
            let owner = String::from_utf8_lossy(&text).parse();
            owners.push(owner.map_err(BlobError::unavailable)?);
        }
        Ok(owners)
    }

    #[instrument(name = "blobs.claim", level = "debug", skip_all)]
    async fn claim(&self, owner: StoreOwner) -> Result<(), BlobError> {
        let mark = vec![Bytes::from_static(MARK)];
        self.client.put(&Path::from(MARKER), mark).await.map_err(failed)?;
        // One object for each claim, so that no claim replaces another.
        let key = Path::from(OWNERS).join(owner.store.to_string());
        self.client.put(&key, vec![Bytes::from(owner.to_string())]).await.map_err(failed)
    }

    #[instrument(name = "blobs.check", level = "debug", skip_all)]
    async fn check(&self) -> Result<(), BlobError> {
        self.client.head(&Path::from(MARKER)).await.map(drop).map_err(failed)
    }
}
