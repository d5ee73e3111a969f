//! Blobs in a bucket of an S3-compatible store.
//!
//! `cas/sha256/ab/cd/<hex>-<session>` holds trusted blobs, `staging/<session>/<attempt>` parts that wait. Parts that
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
        BlobError, BlobName, BlobStore, BlobStream, ClaimError, PromoteError, Promoted, Promotion, StageError,
        StageRequest, Staged,
    },
};
use object_store::path::Path;
use place::S3Place;
use std::{collections::BTreeSet, ops::Range, sync::Arc};
use uuid::Uuid;

/// Tells whose bucket it is; also what is looked at to tell a missing blob from a missing bucket.
const MARKER: &str = "imgsrv-blobs";
const STAGING: &str = "staging";
const CAS: &str = "cas";

/// How to reach the bucket. Without keys, they come from where AWS's own tools look for them: the environment
/// (`AWS_...`), a web identity token, or the machine's metadata service.
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

    /// What it means that an object is not there: that the blob is, unless the whole bucket is not.
    async fn missing(&self) -> BlobError {
        match self.client.head(&Path::from(MARKER)).await {
            Ok(_) => BlobError::Damaged,
            Err(error) => client::failed(error),
        }
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
        match S3Place::parse(&part.place) {
            Some(S3Place::Object) => {
                let key = place::staged(session, part.attempt);
                self.client.delete(&key).await.map_err(client::failed)
            }
            // Pieces of an upload go with it.
            Some(S3Place::Multipart(_)) | None => Ok(()),
        }
    }

    async fn promote(&self, promotion: &Promotion) -> Result<Promoted, PromoteError> {
        promote::step(&self.client, promotion).await
    }

    async fn open(&self, name: &BlobName, size: ByteSize, range: Range<u64>) -> Result<BlobStream, BlobError> {
        let key = blob(name);
        if range.is_empty() {
            return match self.client.head(&key).await {
                Ok(meta) if meta.size == size.get() => Ok(futures::stream::empty().boxed()),
                Ok(_) => Err(BlobError::Damaged),
                Err(error) if is_missing(&error) => Err(self.missing().await),
                Err(error) => Err(client::failed(error)),
            };
        }
        let part = (range != (0..size.get())).then_some(range);
        match self.client.get(&key, part, None).await {
            Ok(got) if got.size == size.get() => Ok(got.stream),
            Ok(_) => Err(BlobError::Damaged),
            Err(error) if is_missing(&error) => Err(self.missing().await),
            Err(error) => Err(client::failed(error)),
        }
    }

    async fn remove(&self, name: &BlobName) -> Result<(), BlobError> {
        self.client.delete(&blob(name)).await.map_err(client::failed)
    }

    async fn clear_staging(&self, session: UploadId, name: Option<&BlobName>) -> Result<(), BlobError> {
        // Open uploads first: without them, nobody who lost the lease can place the blob any more.
        let folder = staging(session);
        let prefixes = match name {
            Some(name) => vec![format!("{folder}/"), blob(name).to_string()],
            None => vec![String::new()],
        };
        for prefix in prefixes {
            for upload in self.client.list_uploads(&prefix).await.map_err(client::failed)? {
                if session_of(&upload.key) == Some(session) {
                    self.client.abort(&upload.key, &upload.id).await.map_err(client::failed)?;
                }
            }
        }
        self.client.delete_all(&folder).await.map_err(client::failed)
    }

    async fn staged_sessions(&self) -> Result<Vec<UploadId>, BlobError> {
        let folders = self.client.list_folders(&Path::from(STAGING)).await.map_err(client::failed)?;
        let uploads = self.client.list_uploads("").await.map_err(client::failed)?;
        let keys = folders.into_iter().chain(uploads.into_iter().map(|upload| upload.key));
        let sessions: BTreeSet<UploadId> = keys.filter_map(|key| session_of(&key)).collect();
        Ok(sessions.into_iter().collect())
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

    async fn claim(&self, catalog: Uuid) -> Result<(), ClaimError> {
        let (key, ours) = (Path::from(MARKER), catalog.to_string());
        let found = match self.client.read(&key).await {
            Err(error) if is_missing(&error) => {
                let put = self.client.put(&key, vec![Bytes::from(ours.clone())]).await;
                put.map_err(client::failed)?;
                self.client.read(&key).await
            }
            found => found,
        };
        let found = String::from_utf8_lossy(&found.map_err(client::failed)?).trim().to_owned();
        if found == ours { Ok(()) } else { Err(ClaimError::Taken(found)) }
    }

    async fn check(&self) -> Result<(), BlobError> {
        self.client.head(&Path::from(MARKER)).await.map(drop).map_err(client::failed)
    }
}
