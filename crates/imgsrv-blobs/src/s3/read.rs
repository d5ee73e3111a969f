//! Reads objects as streams that resume where the connection broke.

use super::{
    client::Client,
    error::{failed, generic},
    retry,
};
use crate::observe::Operation;
use backon::{BackoffBuilder, ExponentialBackoff};
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use imgsrv_domain::ports::BlobStream;
use object_store::{Error, path::Path};
use std::{ops::Range, sync::Arc, time::Duration};
use tokio::time::timeout;

/// How long the store may send nothing while a body is read.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);

/// An object that is being read.
pub(super) struct Opened {
    /// Size of the whole object.
    pub(super) size: u64,
    /// The requested bytes.
    pub(super) stream: BlobStream,
}

/// Reads an object, or a range of it; `if_match` is the etag that it must have. A stream that breaks is requested again
/// from where it broke; `object_store` does so only within the time of a single request.
pub(super) async fn open(
    client: &Arc<Client>,
    key: &Path,
    range: Option<Range<u64>>,
    if_match: Option<String>,
) -> Result<Opened, Error> {
    let got = client.get(key, range.clone(), if_match.clone()).await?;
    let (size, etag) = (got.meta.size, got.meta.e_tag.clone());
    if if_match.is_some() && if_match != etag {
        // The store ignores the condition.
        return Err(Error::Precondition { path: key.to_string(), source: "the object has been replaced".into() });
    }
    let reading = Reading {
        client: Arc::clone(client),
        key: key.clone(),
        rest: range.unwrap_or(0..size),
        etag,
        chunks: Some(got.into_stream()),
        delays: None,
    };
    let stream = stream::try_unfold(reading, |mut reading| async move {
        let chunk = reading.next().await.map_err(failed)?;
        Ok(chunk.map(|chunk| (chunk, reading)))
    });
    Ok(Opened { size, stream: stream.boxed() })
}

struct Reading {
    client: Arc<Client>,
    key: Path,
    /// The bytes that are not read yet.
    rest: Range<u64>,
    /// The etag that the object must still have when it is requested again.
    etag: Option<String>,
    chunks: Option<BoxStream<'static, Result<Bytes, Error>>>,
    /// Delays that are left since the last chunk.
    delays: Option<ExponentialBackoff>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.rest.is_empty() {
            let chunks = match &mut self.chunks {
                Some(chunks) => chunks,
                none => {
                    let (rest, etag) = (Some(self.rest.clone()), self.etag.clone());
                    none.insert(self.client.get(&self.key, rest, etag).await?.into_stream())
                }
            };
            let error = match timeout(SILENCE_TIMEOUT, chunks.next()).await {
                Ok(Some(Ok(chunk))) => {
                    self.delays = None;
                    self.rest.start += chunk.len() as u64;
                    self.client.count(Operation::Get, chunk.len() as u64);
                    return Ok(Some(chunk));
                }
                Ok(Some(Err(error))) => error,
                Ok(None) => generic("the object ended early"),
                Err(silent) => generic(silent),
            };
            self.chunks = None;
            let delays = self.delays.get_or_insert_with(|| retry::backoff().build());
            let Some(delay) = delays.next() else { return Err(error) };
            tokio::time::sleep(delay).await;
        }
        Ok(None)
    }
}
