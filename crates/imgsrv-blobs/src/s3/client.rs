//! Single requests to the store: each with a deadline, retries with backoff, and an observer.

use super::{MARK, MARKER, S3Settings, extra::OpenUpload, plan::Source};
use crate::observe::{Direction, Observer, Operation, Outcome, Watch};
use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use imgsrv_domain::{
    ports::{BlobError, BlobStream},
    retry::Backoff,
};
use object_store::{
    BackoffConfig, ClientOptions, CopyOptions, Error, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutPayload, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
    client::{HttpClient, HttpConnector, ReqwestConnector},
    multipart::MultipartStore,
    path::Path,
};
use std::{ops::Range, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::timeout,
};

const CONNECT: Duration = Duration::from_secs(5);
/// How long a request without a body may take, retries included.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long the store may be silent while it sends a body.
const SILENCE: Duration = Duration::from_secs(30);
/// A copy inside the store may take long: 5 GiB are moved.
const COPY_DEADLINE: Duration = Duration::from_mins(10);
/// The slowest link that a piece is sent over, in bytes a second.
const SLOWEST: u64 = 256 << 10;
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(3) };
/// MiB of pieces that are being filled, over all uploads: 78 parts at once with pieces of the usual size. Further parts
/// wait. With the next limit it bounds the memory that uploads hold.
const RECEIVING: u32 = 1024;
/// How long a part waits for its turn.
const PATIENCE: Duration = Duration::from_secs(30);
/// MiB of pieces on their way to the store, over all uploads.
const SENDING: u32 = 256;
/// How often a request is tried.
pub(super) const TRIES: u32 = 5;
const STORE: &str = "S3";

/// An object that is being read.
pub(super) struct Got {
    /// The size of the whole object.
    pub(super) size: u64,
    /// The bytes.
    pub(super) stream: BlobStream,
}

/// The bucket.
pub(super) struct Client {
    store: AmazonS3,
    http: HttpClient,
    bucket: String,
    observer: Arc<dyn Observer>,
    receiving: Semaphore,
    sending: Arc<Semaphore>,
}

impl Client {
    pub(super) fn new(settings: &S3Settings, observer: Arc<dyn Observer>) -> Result<Self, BlobError> {
        let options =
            ClientOptions::new().with_allow_http(!settings.tls).with_timeout_disabled().with_connect_timeout(CONNECT);
        let retry = RetryConfig {
            backoff: BackoffConfig { init_backoff: BACKOFF.first, max_backoff: BACKOFF.max, base: 2.0 },
            max_retries: 4,
            retry_timeout: DEADLINE,
        };
        let mut builder = AmazonS3Builder::new();
        if settings.access_key_id.is_none() && settings.secret_access_key.is_none() {
            // Nothing but the keys and the region comes from there.
            let environment = AmazonS3Builder::from_env();
            if let Some(region) = environment.get_config_value(&AmazonS3ConfigKey::Region) {
                builder = builder.with_region(region);
            }
            let environment = environment.with_bucket_name(&settings.bucket).build().map_err(failed)?;
            builder = builder.with_credentials(Arc::clone(environment.credentials()));
        }
        if let Some(id) = &settings.access_key_id {
            builder = builder.with_access_key_id(id);
        }
        if let Some(secret) = &settings.secret_access_key {
            builder = builder.with_secret_access_key(secret);
        }
        if let Some(region) = &settings.region {
            builder = builder.with_region(region);
        }
        if let Some(token) = &settings.session_token {
            builder = builder.with_token(token);
        }
        if let Some(endpoint) = &settings.endpoint {
            let scheme = if settings.tls { "https" } else { "http" };
            let host = if settings.path_style { endpoint.clone() } else { format!("{}.{endpoint}", settings.bucket) };
            builder = builder.with_endpoint(format!("{scheme}://{host}"));
        }
        let store = builder
            .with_bucket_name(&settings.bucket)
            .with_virtual_hosted_style_request(!settings.path_style)
            .with_allow_http(!settings.tls)
            .with_client_options(options.clone())
            .with_retry(retry)
            // One DELETE a key: not every store knows how to delete many.
            .with_disable_bulk_delete(true)
            .build()
            .map_err(failed)?;
        let http = ReqwestConnector::default().connect(&options).map_err(failed)?;
        let room = |mib: u32| Semaphore::new(usize::try_from(mib).unwrap_or(Semaphore::MAX_PERMITS));
        let (receiving, sending) = (room(RECEIVING), Arc::new(room(SENDING)));
        Ok(Self { store, http, bucket: settings.bucket.clone(), observer, receiving, sending })
    }

    pub(super) const fn signer(&self) -> &AmazonS3 {
        &self.store
    }

    pub(super) const fn http(&self) -> &HttpClient {
        &self.http
    }

    pub(super) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// How long to wait after so many failures.
    pub(super) fn backoff(failures: u32) -> Duration {
        BACKOFF.delay(failures, getrandom::u32().unwrap_or(0))
    }

    /// The turn of a part with pieces of so many bytes to be received; bytes are not taken from the client before.
    pub(super) async fn receive(&self, piece: u64) -> Result<SemaphorePermit<'_>, BlobError> {
        let turn = timeout(PATIENCE, self.receiving.acquire_many(mib(piece).min(RECEIVING))).await;
        let turn = turn.map_err(|late| BlobError::Unavailable(Box::new(late)))?;
        turn.map_err(|closed| BlobError::Unavailable(Box::new(closed)))
    }

    /// The turn of a piece of so many bytes to be sent.
    pub(super) async fn send(&self, piece: u64) -> Result<OwnedSemaphorePermit, BlobError> {
        let turn = Arc::clone(&self.sending).acquire_many_owned(mib(piece).min(SENDING)).await;
        turn.map_err(|closed| BlobError::Unavailable(Box::new(closed)))
    }

    async fn call<T>(
        &self,
        operation: Operation,
        deadline: Duration,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let watch = Watch::begin(&self.observer, operation);
        let late = |late| Error::Generic { store: STORE, source: Box::new(late) };
        let done = timeout(deadline, request).await.map_err(late).flatten();
        watch.end(match &done {
            Ok(_) => Outcome::Success,
            Err(error) => outcome(error),
        });
        done
    }

    pub(super) async fn head(&self, key: &Path) -> Result<ObjectMeta, Error> {
        self.call(Operation::Head, DEADLINE, self.store.head(key)).await
    }

    async fn begin_reading(
        &self,
        key: &Path,
        range: Option<Range<u64>>,
        if_match: Option<String>,
    ) -> Result<GetResult, Error> {
        let options = GetOptions { range: range.map(GetRange::Bounded), if_match, ..GetOptions::default() };
        self.call(Operation::Get, DEADLINE, self.store.get_opts(key, options)).await
    }

    /// Reads an object, or a range of it; `if_match` is the tag that it must still have. What breaks on the way is
    /// asked for again, from where it broke.
    pub(super) async fn get(
        self: &Arc<Self>,
        key: &Path,
        range: Option<Range<u64>>,
        if_match: Option<String>,
    ) -> Result<Got, Error> {
        let got = self.begin_reading(key, range.clone(), if_match.clone()).await?;
        let (size, tag) = (got.meta.size, got.meta.e_tag.clone());
        if if_match.is_some() && if_match != tag {
            // A store that does not look at the condition.
            return Err(Error::Precondition { path: key.to_string(), source: "it is another object by now".into() });
        }
        let reading = Reading {
            client: Arc::clone(self),
            key: key.clone(),
            rest: range.unwrap_or(0..size),
            tag,
            chunks: Some(got.into_stream()),
            failures: 0,
        };
        let stream = stream::try_unfold(reading, |mut reading| async move {
            let chunk = reading.next().await.map_err(failed)?;
            Ok(chunk.map(|chunk| (chunk, reading)))
        });
        Ok(Got { size, stream: stream.boxed() })
    }

    /// Reads a small object whole.
    pub(super) async fn read(&self, key: &Path) -> Result<Bytes, Error> {
        let reading = async { self.store.get(key).await?.bytes().await };
        let bytes = self.call(Operation::Get, DEADLINE, reading).await?;
        self.observer.bytes(Operation::Get, Direction::Read, bytes.len() as u64);
        Ok(bytes)
    }

    pub(super) async fn put(&self, key: &Path, frames: Vec<Bytes>) -> Result<(), Error> {
        let payload = PutPayload::from_iter(frames);
        let bytes = payload.content_length() as u64;
        self.call(Operation::Put, sending(bytes), self.store.put(key, payload)).await?;
        self.observer.bytes(Operation::Put, Direction::Write, bytes);
        Ok(())
    }

    pub(super) async fn create_multipart(&self, key: &Path) -> Result<String, Error> {
        self.call(Operation::CreateMultipart, DEADLINE, self.store.create_multipart(key)).await
    }

    /// Sends piece `number`, counted from 1; returns its tag.
    pub(super) async fn put_part(
        &self,
        key: &Path,
        upload: &String,
        number: u32,
        frames: Vec<Bytes>,
    ) -> Result<String, Error> {
        let payload = PutPayload::from_iter(frames);
        let bytes = payload.content_length() as u64;
        let index = usize::try_from(number).unwrap_or(usize::MAX) - 1;
        let part = self.store.put_part(key, upload, index, payload);
        let part = self.call(Operation::PutPart, sending(bytes), part).await?;
        self.observer.bytes(Operation::PutPart, Direction::Write, bytes);
        Ok(part.content_id)
    }

    pub(super) async fn copy_part(
        &self,
        key: &Path,
        upload: &str,
        number: u32,
        from: &Source,
    ) -> Result<String, Error> {
        self.call(Operation::CopyPart, COPY_DEADLINE, self.take_part(key, upload, number, from)).await
    }

    pub(super) async fn copy(&self, from: &Path, to: &Path) -> Result<(), Error> {
        self.call(Operation::Copy, COPY_DEADLINE, self.store.copy_opts(from, to, CopyOptions::default())).await
    }

    pub(super) async fn complete(&self, key: &Path, upload: &str, pieces: &[(u32, String)]) -> Result<(), Error> {
        self.call(Operation::CompleteMultipart, COPY_DEADLINE, self.complete_upload(key, upload, pieces)).await
    }

    /// Gives an upload up; one that is gone already is.
    pub(super) async fn abort(&self, key: &Path, upload: &str) -> Result<(), Error> {
        let upload = upload.to_owned();
        let aborting = self.store.abort_multipart(key, &upload);
        match self.call(Operation::AbortMultipart, DEADLINE, aborting).await {
            Err(error) if is_missing(&error) => Ok(()),
            done => done,
        }
    }

    /// Whether this is the bucket at all: what it is marked with can be read. When not, that something else is missing
    /// proves nothing.
    pub(super) async fn is_present(&self) -> bool {
        let marker = self.read(&Path::from(MARKER)).await;
        marker.is_ok_and(|text| text == MARK)
    }

    pub(super) async fn delete(&self, key: &Path) -> Result<(), Error> {
        match self.call(Operation::Delete, DEADLINE, self.store.delete(key)).await {
            // S3 does not mind, but some stores tell; so does a proxy that has lost its store.
            Err(error) if is_missing(&error) && self.is_present().await => Ok(()),
            done => done,
        }
    }

    /// Everything below a folder, in the order of the names.
    pub(super) async fn list(&self, folder: &Path) -> Result<Vec<Path>, Error> {
        let listed = self.store.list(Some(folder)).map_ok(|meta| meta.location).try_collect::<Vec<Path>>();
        let mut keys = self.call(Operation::List, DEADLINE, listed).await?;
        keys.sort_unstable();
        Ok(keys)
    }

    /// Deletes everything below a folder.
    pub(super) async fn delete_all(&self, folder: &Path) -> Result<(), Error> {
        for key in self.list(folder).await? {
            self.delete(&key).await?;
        }
        Ok(())
    }

    /// The folders directly below a folder.
    pub(super) async fn list_folders(&self, folder: &Path) -> Result<Vec<Path>, Error> {
        let listed = self.store.list_with_delimiter(Some(folder));
        Ok(self.call(Operation::List, DEADLINE, listed).await?.common_prefixes)
    }

    /// Every open upload whose key starts with `prefix`.
    pub(super) async fn list_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>, Error> {
        self.call(Operation::List, DEADLINE, self.list_open_uploads(prefix)).await
    }
}

/// Bytes that are being read.
struct Reading {
    client: Arc<Client>,
    key: Path,
    /// What was not read yet.
    rest: Range<u64>,
    /// The tag of the object, which must be the same when it is asked for again.
    tag: Option<String>,
    chunks: Option<BoxStream<'static, Result<Bytes, Error>>>,
    /// How often in a row nothing came.
    failures: u32,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.rest.is_empty() {
            let chunks = match &mut self.chunks {
                Some(chunks) => chunks,
                none => {
                    let (rest, tag) = (Some(self.rest.clone()), self.tag.clone());
                    none.insert(self.client.begin_reading(&self.key, rest, tag).await?.into_stream())
                }
            };
            let error = match timeout(SILENCE, chunks.next()).await {
                Ok(Some(Ok(chunk))) => {
                    self.failures = 0;
                    self.rest.start += chunk.len() as u64;
                    self.client.observer.bytes(Operation::Get, Direction::Read, chunk.len() as u64);
                    return Ok(Some(chunk));
                }
                Ok(Some(Err(error))) => error,
                Ok(None) => Error::Generic { store: STORE, source: "the object ended early".into() },
                Err(silent) => Error::Generic { store: STORE, source: Box::new(silent) },
            };
            self.chunks = None;
            self.failures += 1;
            if self.failures >= TRIES {
                return Err(error);
            }
            tokio::time::sleep(Client::backoff(self.failures)).await;
        }
        Ok(None)
    }
}

/// How long sending so many bytes may take.
fn sending(bytes: u64) -> Duration {
    DEADLINE + Duration::from_secs(bytes / SLOWEST)
}

fn mib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX)
}

/// Whether the object, or the upload, is not there.
pub(super) const fn is_missing(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. })
}

fn outcome(error: &Error) -> Outcome {
    match error {
        Error::NotFound { .. } => Outcome::NotFound,
        Error::AlreadyExists { .. } => Outcome::AlreadyExists,
        Error::Precondition { .. } | Error::NotModified { .. } => Outcome::Conflict,
        Error::InvalidPath { .. } | Error::NotSupported { .. } | Error::NotImplemented { .. } => Outcome::Invalid,
        _ => Outcome::Error,
    }
}

/// What stores answer when there is no room: `MinIO`, Garage (quotas), Ceph, and HTTP's own word.
const FULL: [&str; 4] = ["XMinioStorageFull", "quota is reached", "QuotaExceeded", "507 Insufficient Storage"];

pub(super) fn failed(error: Error) -> BlobError {
    let text = error.to_string();
    if FULL.iter().any(|word| text.contains(word)) {
        BlobError::Full(Box::new(error))
    } else {
        BlobError::Unavailable(Box::new(error))
    }
}
