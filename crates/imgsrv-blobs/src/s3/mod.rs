//! Blobs in a bucket of an S3-compatible store.
//!
//! `cas/sha256/ab/cd/<hex>-<session>` is the name of a blob, `staging/<session>/<attempt>` holds a part that waits. Parts that
//! continue the hashed prefix go straight into one multipart upload of the blob's own name: completing it is the
//! promotion. Everything else is staged as objects, and taken into that upload inside the store.
//!
//! Nothing here relies on conditional writes, which some stores ignore: names are never reused, and what a name means
//! is the catalog's to say.

mod client;
mod extra;
mod piece;
mod place;
mod plan;
mod promote;
mod receive;

use crate::observe::Observer;
use async_trait::async_trait;
use bytes::Bytes;
use client::{Client, is_missing};
use futures::StreamExt;
use imgsrv_domain::{
    digest::ByteSize,
    ids::UploadId,
    parts::Part,
    ports::{
        BlobError, BlobName, BlobStore, BlobStream, IngestError, IngestRequest, Ingested, StageError, StageRequest,
        Staged, StoreOwner,
    },
};
use object_store::path::Path;
use place::S3Location;
use std::{collections::BTreeSet, ops::Range, sync::Arc};

/// What is looked at to tell a missing blob from a missing bucket.
const MARKER: &str = "imgsrv-blobs";
const MARK: &[u8] = b"This bucket belongs to imgsrv.\n";
/// Whose bucket it is.
const OWNERS: &str = "imgsrv-owners";
const STAGING: &str = "staging";
const CAS: &str = "cas";

/// How to reach the bucket. Without keys, they come from the environment (`AWS_...`), a web identity token, or the
/// metadata service of the container or the machine.
#[derive(Clone)]
pub struct S3Settings {
    /// `host:port` of the store; AWS when absent.
    pub endpoint: Option<String>,
    /// The bucket; it must exist.
    pub bucket: String,
    /// What requests are signed for; `us-east-1` when absent.
    pub region: Option<String>,
    /// The access key.
    pub access_key_id: Option<String>,
    /// The secret key.
    pub secret_access_key: Option<String>,
    /// The token of temporary keys.
    pub session_token: Option<String>,
    /// Whether the endpoint speaks TLS. AWS always does.
    pub tls: bool,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`.
    pub path_style: bool,
}

/// A blob store in an S3 bucket.
pub struct S3BlobStore {
    client: Arc<Client>,
}

impl S3BlobStore {
    /// A store as `settings` say; nothing is sent yet.
    pub fn new(settings: &S3Settings, observer: Arc<dyn Observer>) -> Result<Self, BlobError> {
        Ok(Self { client: Arc::new(Client::new(settings, observer)?) })
    }

    /// Aborts a session's uploads whose keys start with `prefix`.
    async fn abort_uploads(&self, session: UploadId, prefix: &str) -> Result<(), BlobError> {
        for upload in self.client.list_uploads(prefix).await.map_err(client::failed)? {
            if session_of(&upload.key) == Some(session) {
                self.client.abort(&upload.key, &upload.id).await.map_err(client::failed)?;
            }
        }
        Ok(())
    }

    /// Opens a blob once.
    async fn open_once(&self, key: &Path, size: u64, range: &Range<u64>) -> Result<BlobStream, OpenError> {
        let seen = |seen: u64| if seen == size { Ok(()) } else { Err(OpenError::Damaged) };
        if range.is_empty() {
            seen(self.client.head(key).await?.size)?;
            return Ok(futures::stream::empty().boxed());
        }
        let part = (*range != (0..size)).then(|| range.clone());
        match self.client.get(key, part.clone(), None).await {
            Ok(got) => seen(got.size).map(|()| got.stream),
            // Of a blob that is too short, a range may not be there at all.
            Err(error) if part.is_some() && !is_missing(&error) => {
                seen(self.client.head(key).await?.size)?;
                Err(error.into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Why a blob was not opened.
enum OpenError {
    /// It is not of the right size.
    Damaged,
    /// The store says so.
    Store(object_store::Error),
}

impl From<object_store::Error> for OpenError {
    fn from(error: object_store::Error) -> Self {
        Self::Store(error)
    }
}

fn blob(name: &BlobName) -> Path {
    Path::from(format!("{CAS}/{name}"))
}

fn staging(session: UploadId) -> Path {
    Path::from(format!("{STAGING}/{session}"))
}

/// The session that made a name in the store, staged or trusted.
fn session_of(key: &Path) -> Option<UploadId> {
    let mut segments = key.parts();
    match segments.next()?.as_ref() {
        STAGING => segments.next()?.as_ref().parse().ok(),
        CAS => {
            let name = key.filename()?;
            name.get(name.len().checked_sub(36)?..)?.parse().ok()
        }
        _ => None,
    }
}

#[async_trait]
impl BlobStore for S3BlobStore {
    async fn stage(&self, request: StageRequest) -> Result<Staged, StageError> {
        // A task of its own: when the caller is dropped the body ends, and what was received is given up in order.
        let task = tokio::spawn(receive::receive(Arc::clone(&self.client), request));
        task.await.map_err(|panic| StageError::Blob(BlobError::Unavailable(Box::new(panic))))?
    }

    async fn discard(&self, session: UploadId, part: &Part) -> Result<(), BlobError> {
        match S3Location::parse(&part.location) {
            Some(S3Location::Object) => {
                let key = place::staged(session, part.attempt);
                self.client.delete(&key).await.map_err(client::failed)
            }
            // Pieces of an upload go with it.
            Some(S3Location::Multipart(_)) | None => Ok(()),
        }
    }

    async fn ingest(&self, promotion: &IngestRequest) -> Result<Ingested, IngestError> {
        promote::step(&self.client, promotion).await
    }

    async fn open(&self, name: &BlobName, size: ByteSize, range: Range<u64>) -> Result<BlobStream, BlobError> {
        let (key, size) = (blob(name), size.get());
        let mut opened = self.open_once(&key, size, &range).await;
        if let Err(OpenError::Store(error)) = &opened
            && is_missing(error)
            && self.client.is_present().await
        {
            // The store is there by now. It may not have been when it was asked.
            opened = self.open_once(&key, size, &range).await;
        }
        match opened {
            Ok(stream) => Ok(stream),
            Err(OpenError::Damaged) => Err(BlobError::Damaged),
            Err(OpenError::Store(error)) if is_missing(&error) && self.client.is_present().await => {
                Err(BlobError::Damaged)
            }
            Err(OpenError::Store(error)) => Err(client::failed(error)),
        }
    }

    async fn remove(&self, name: &BlobName) -> Result<(), BlobError> {
        self.client.delete(&blob(name)).await.map_err(client::failed)
    }

    async fn clear_staging(&self, session: UploadId, name: Option<&BlobName>) -> Result<(), BlobError> {
        // Open uploads first: without them, nobody who lost the lease can place the blob any more. And once more in the
        // end: one that was opened meanwhile has nothing left to be made of.
        let folder = staging(session);
        let own = name.map_or_else(String::new, |name| blob(name).to_string());
        if name.is_some() {
            self.abort_uploads(session, &format!("{folder}/")).await?;
        }
        self.abort_uploads(session, &own).await?;
        self.client.delete_all(&folder).await.map_err(client::failed)?;
        self.abort_uploads(session, &own).await
    }

    async fn staged_sessions(&self) -> Result<Vec<UploadId>, BlobError> {
        let folders = self.client.list_folders(&Path::from(STAGING)).await.map_err(client::failed)?;
        let uploads = self.client.list_uploads("").await.map_err(client::failed)?;
        let keys = folders.into_iter().chain(uploads.into_iter().map(|upload| upload.key));
        let sessions: BTreeSet<UploadId> = keys.filter_map(|key| session_of(&key)).collect();
        Ok(sessions.into_iter().collect())
    }

    async fn free_bytes(&self) -> Result<Option<u64>, BlobError> {
        Ok(None)
    }

    async fn probe(&self) -> Result<(), BlobError> {
        // A name of its own: nodes start beside one another.
        let random = getrandom::u64().map_err(|error| BlobError::Unavailable(Box::new(error)))?;
        let key = Path::from(format!("{STAGING}/probe-{random:016x}"));
        let written = Bytes::from_static(b"imgsrv");
        self.client.put(&key, vec![written.clone()]).await.map_err(client::failed)?;
        let read = self.client.read(&key).await;
        self.client.delete(&key).await.map_err(client::failed)?;
        if read.map_err(client::failed)? == written { Ok(()) } else { Err(BlobError::Damaged) }
    }

    async fn owners(&self) -> Result<Vec<StoreOwner>, BlobError> {
        let keys = self.client.list(&Path::from(OWNERS)).await.map_err(client::failed)?;
        let mut owners = Vec::new();
        for key in keys {
            let text = self.client.read(&key).await.map_err(client::failed)?;
            let owner = String::from_utf8_lossy(&text).parse();
            owners.push(owner.map_err(|error| BlobError::Unavailable(Box::new(error)))?);
        }
        Ok(owners)
    }

    async fn claim(&self, owner: StoreOwner) -> Result<(), BlobError> {
        let mark = vec![Bytes::from_static(MARK)];
        self.client.put(&Path::from(MARKER), mark).await.map_err(client::failed)?;
        // An object of its own for each claim, so that none replaces another.
        let key = Path::from(OWNERS).join(owner.store.to_string());
        self.client.put(&key, vec![Bytes::from(owner.to_string())]).await.map_err(client::failed)
    }

    async fn check(&self) -> Result<(), BlobError> {
        self.client.head(&Path::from(MARKER)).await.map(drop).map_err(client::failed)
    }
}
