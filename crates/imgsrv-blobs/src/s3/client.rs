//! Single requests to the store, each with a deadline, retries and a report to the observer; and the memory limits.

use super::{
    admission::{ReceivingMemory, mib},
    error::{generic, is_missing},
    keys::{MARK, MARKER},
    multipart::{Multipart, OpenUpload},
    plan::Source,
    settings::{Connections, DEADLINE, S3Settings, S3SettingsError},
};
use crate::{
    observe::{Observer, Operation, observed},
    threads::{RECEIVING, Share},
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use imgsrv_domain::{error_chain, ports::BlobError};
use object_store::{
    CopyOptions, Error, GetOptions, GetRange, GetResult, ListResult, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutPayload,
    aws::AmazonS3,
    list::{PaginatedListOptions, PaginatedListStore},
    multipart::MultipartStore,
    path::Path,
};
use std::{
    borrow::Cow,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Deadline of a copy inside the store, of up to 5 GiB.
const COPY_DEADLINE: Duration = Duration::from_mins(10);
/// The slowest link that a chunk is sent over, in bytes per second.
const SLOWEST_LINK: u64 = 256 << 10;
/// Memory for chunks that are being sent to the store, over all uploads, in MiB. Together with [`ReceivingMemory`] it
/// bounds the memory of uploads.
const SENDING_MIB: u32 = 256;

/// Objects that are deleted in one request (S3, `DeleteObjects`).
const BULK: usize = 1000;
/// Objects that are deleted at once in requests of their own.
const DELETING: usize = 16;

/// The bucket.
pub(super) struct Client {
    store: AmazonS3,
    bulk: AmazonS3,
    /// Whether the store deletes many objects in one request, as far as that is known.
    has_bulk: AtomicBool,
    multipart: Multipart,
    observer: Arc<dyn Observer>,
    /// Threads that hash.
    pub(super) hashing: Share,
    /// Memory for parts that are being received.
    pub(super) receiving: ReceivingMemory,
    sending: Arc<Semaphore>,
}

impl Client {
    pub(super) fn new(settings: &S3Settings, observer: Arc<dyn Observer>) -> Result<Self, S3SettingsError> {
        let Connections { store, bulk, http } = settings.connect()?;
        let multipart = Multipart::new(store.clone(), http, settings.bucket.clone());
        let receiving = ReceivingMemory::new();
        let sending = Arc::new(Semaphore::new(SENDING_MIB as usize));
        let hashing = Share::new(RECEIVING);
        let has_bulk = AtomicBool::new(true);
        Ok(Self { store, bulk, has_bulk, multipart, observer, hashing, receiving, sending })
    }

    /// Admits a chunk of `bytes` that is sent to the store.
    pub(super) async fn admit_sending(&self, bytes: u64) -> Result<OwnedSemaphorePermit, BlobError> {
        let permit = Arc::clone(&self.sending).acquire_many_owned(mib(bytes).min(SENDING_MIB)).await;
        permit.map_err(BlobError::unavailable)
    }

    async fn call<T>(
        &self,
        operation: Operation,
        deadline: Duration,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        observed(&*self.observer, operation, async { timeout(deadline, request).await.map_err(generic)? }).await
    }

    /// Reports bytes that an operation transferred.
    pub(super) fn count(&self, operation: Operation, bytes: u64) {
        self.observer.bytes(operation, bytes);
    }

    pub(super) async fn head(&self, key: &Path) -> Result<ObjectMeta, Error> {
        self.call(Operation::Head, DEADLINE, self.store.head(key)).await
    }

    /// Begins to read an object, or a range of it; `if_match` is the etag that it must have.
    pub(super) async fn get(
        &self,
        key: &Path,
        range: Option<Range<u64>>,
        if_match: Option<String>,
    ) -> Result<GetResult, Error> {
        let options = GetOptions { range: range.map(GetRange::Bounded), if_match, ..GetOptions::default() };
        self.call(Operation::Get, DEADLINE, self.store.get_opts(key, options)).await
    }

    /// Reads a small object whole.
    pub(super) async fn read(&self, key: &Path) -> Result<Bytes, Error> {
        let reading = async { self.store.get(key).await?.bytes().await };
        let bytes = self.call(Operation::Get, DEADLINE, reading).await?;
        self.count(Operation::Get, bytes.len() as u64);
        Ok(bytes)
    }

    pub(super) async fn put(&self, key: &Path, frames: Vec<Bytes>) -> Result<(), Error> {
        let payload = PutPayload::from_iter(frames);
        let bytes = payload.content_length() as u64;
        self.call(Operation::Put, sending_deadline(bytes), self.store.put(key, payload)).await?;
        self.count(Operation::Put, bytes);
        Ok(())
    }

    pub(super) async fn create_multipart(&self, key: &Path) -> Result<OpenUpload, Error> {
        let id = self.call(Operation::CreateMultipart, DEADLINE, self.store.create_multipart(key)).await?;
        Ok(OpenUpload { key: key.clone(), id })
    }

    /// Sends part `number`, from 1, of an upload; returns its etag.
    pub(super) async fn put_part(&self, to: &OpenUpload, number: u32, frames: Vec<Bytes>) -> Result<String, Error> {
        let payload = PutPayload::from_iter(frames);
        let bytes = payload.content_length() as u64;
        let index = usize::try_from(number).unwrap_or(usize::MAX) - 1;
        let part = self.store.put_part(&to.key, &to.id, index, payload);
        let part = self.call(Operation::PutPart, sending_deadline(bytes), part).await?;
        self.count(Operation::PutPart, bytes);
        Ok(part.content_id)
    }

    /// Copies part `number` of an upload from another object, inside the store; returns its etag.
    pub(super) async fn copy_part(&self, to: &OpenUpload, number: u32, from: &Source) -> Result<String, Error> {
        self.call(Operation::CopyPart, COPY_DEADLINE, self.multipart.copy_part(to, number, from)).await
    }

    pub(super) async fn copy(&self, from: &Path, to: &Path) -> Result<(), Error> {
        self.call(Operation::Copy, COPY_DEADLINE, self.store.copy_opts(from, to, CopyOptions::default())).await
    }

    /// Completes an upload with exactly these parts, ascending.
    pub(super) async fn complete(&self, upload: &OpenUpload, parts: &[(u32, String)]) -> Result<(), Error> {
        self.call(Operation::CompleteMultipart, COPY_DEADLINE, self.multipart.complete(upload, parts)).await
    }

    /// Aborts an upload, if it exists.
    pub(super) async fn abort(&self, upload: &OpenUpload) -> Result<(), Error> {
        let aborting = self.store.abort_multipart(&upload.key, &upload.id);
        match self.call(Operation::AbortMultipart, DEADLINE, aborting).await {
            Err(error) if is_missing(&error) => Ok(()),
            done => done,
        }
    }

    /// Aborts an upload that failed. If that fails too, it is left until the session ends.
    pub(super) async fn abort_failed(&self, upload: &OpenUpload) {
        if let Err(error) = self.abort(upload).await {
            let error = error_chain::text(&error);
            tracing::warn!(error, key = %upload.key, "failed multipart upload left until its session ends");
        }
    }

    /// Whether the bucket is there, with our marker in it. If not, a missing object proves nothing.
    pub(super) async fn is_present(&self) -> bool {
        let marker = self.read(&Path::from(MARKER)).await;
        marker.is_ok_and(|text| text == MARK)
    }

    pub(super) async fn delete(&self, key: &Path) -> Result<(), Error> {
        match self.call(Operation::Delete, DEADLINE, self.store.delete(key)).await {
            // S3 does not report a missing object, but some stores do; so does a proxy that has lost its store.
            Err(error) if is_missing(&error) && self.is_present().await => Ok(()),
            done => done,
        }
    }

    /// Deletes `keys`: a thousand in one request if the store can do that, else each in a request of its own.
    pub(super) async fn delete_all(&self, keys: &[Path]) -> Result<(), Error> {
        for batch in keys.chunks(BULK) {
            let is_bulk = batch.len() > 1 && self.has_bulk.load(Ordering::Relaxed);
            let failed = if is_bulk { self.delete_in_bulk(batch.to_vec()).await.err() } else { None };
            if is_bulk && failed.is_none() {
                continue;
            }
            let single = stream::iter(batch.iter().cloned().map(Ok));
            single.try_for_each_concurrent(DELETING, |key| async move { self.delete(&key).await }).await?;
            if let Some(error) = failed {
                let error = error_chain::text(&error);
                tracing::info!(error, "bulk deletion failed; objects are deleted one by one from now on");
                self.has_bulk.store(false, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    async fn delete_in_bulk(&self, keys: Vec<Path>) -> Result<(), Error> {
        let keys = stream::iter(keys).map(Ok).boxed();
        let deleting = self.bulk.delete_stream(keys).try_for_each(|_| std::future::ready(Ok(())));
        self.call(Operation::Delete, COPY_DEADLINE, deleting).await
    }

    /// Everything below a folder, ordered by name.
    pub(super) async fn list(&self, folder: &Path) -> Result<Vec<Path>, Error> {
        let mut keys: Vec<Path> = self.list_all(folder).await?.into_iter().map(|meta| meta.location).collect();
        keys.sort_unstable();
        Ok(keys)
    }

    /// Everything below a folder, with its metadata.
    pub(super) async fn list_all(&self, folder: &Path) -> Result<Vec<ObjectMeta>, Error> {
        let mut objects = Vec::new();
        self.list_pages(folder, None, |page| objects.extend(page.objects)).await?;
        Ok(objects)
    }

    /// The folders directly below a folder.
    pub(super) async fn list_folders(&self, folder: &Path) -> Result<Vec<Path>, Error> {
        let mut folders = Vec::new();
        self.list_pages(folder, Some("/"), |page| folders.extend(page.common_prefixes)).await?;
        Ok(folders)
    }

    /// The objects directly below a folder.
    pub(super) async fn list_objects(&self, folder: &Path) -> Result<Vec<ObjectMeta>, Error> {
        let mut objects = Vec::new();
        self.list_pages(folder, Some("/"), |page| objects.extend(page.objects)).await?;
        Ok(objects)
    }

    /// Lists a folder page by page: there may be many, so that each has a deadline.
    async fn list_pages(
        &self,
        folder: &Path,
        delimiter: Option<&'static str>,
        mut take: impl FnMut(ListResult) + Send,
    ) -> Result<(), Error> {
        let prefix = format!("{folder}/");
        let mut token = None;
        loop {
            let delimiter = delimiter.map(Cow::Borrowed);
            let options = PaginatedListOptions { delimiter, page_token: token.clone(), ..Default::default() };
            let listed = self.store.list_paginated(Some(&prefix), options);
            let page = self.call(Operation::List, DEADLINE, listed).await?;
            take(page.result);
            token = next_page(token, page.page_token)?;
            if token.is_none() {
                return Ok(());
            }
        }
    }

    /// Every open multipart upload whose key starts with `prefix`. Each page has its own deadline.
    pub(super) async fn list_uploads(&self, prefix: &str) -> Result<Vec<OpenUpload>, Error> {
        let (mut uploads, mut after) = (Vec::new(), None);
        loop {
            let listing = self.multipart.list_page(prefix, after.as_ref());
            let page = self.call(Operation::List, DEADLINE, listing).await?;
            uploads.extend(page.uploads);
            after = next_page(after, page.next)?;
            if after.is_none() {
                return Ok(uploads);
            }
        }
    }
}

/// Where the next page begins. A list that does not advance would never end.
fn next_page<P: PartialEq>(current: Option<P>, next: Option<P>) -> Result<Option<P>, Error> {
    if next.is_some() && next == current { Err(generic("the list does not advance")) } else { Ok(next) }
}

/// Deadline of a request that sends `bytes`.
fn sending_deadline(bytes: u64) -> Duration {
    DEADLINE + Duration::from_secs(bytes / SLOWEST_LINK)
}
