//! Receives a part in chunks; several of them are sent to the store while the next one arrives.

use super::{
    chunk::{Chunk, ChunkedBody, MAX_PARTS, MIN_PART, memory, part_size},
    client::Client,
    error::{failed, is_missing},
    keys,
    location::{S3Location, S3Parts},
    multipart::OpenUpload,
};
use crate::meter::BodyMeter;
use imgsrv_domain::{
    error_chain,
    ports::{BlobError, StageError, StageRequest, Staged},
    upload::{Attempt, Placement},
};
use object_store::path::Path;
use std::{collections::BTreeMap, sync::Arc};
use tokio::task::JoinSet;
use tracing::Instrument;

/// Chunks of one part that are being sent at the same time.
const IN_FLIGHT: usize = 3;

/// Receives a part and makes it durable. After a failure nothing refers to what was sent, and a separate object is
/// deleted.
pub(super) async fn stage(client: &Arc<Client>, request: StageRequest) -> Result<Staged, StageError> {
    let StageRequest { session, name, attempt, declared, checksum, space: _, body } = request;
    let limit = attempt.limit.get();
    let max_size = declared.unwrap_or(limit).min(limit);
    let continuation = Continuation::of(&attempt, max_size);
    let size = continuation.as_ref().map_or_else(|| part_size(max_size, MAX_PARTS), |upload| upload.part_size);
    let admitted = client.receiving.admit(memory(size)).await?;
    let meter = BodyMeter::new(&attempt, declared, checksum);
    let body = ChunkedBody::new(body, meter, size, client.hashing.clone(), admitted);
    let mut staging = Staging { client, body };
    let first = staging.body.next().await?;
    let appended = match continuation {
        Some(continuation) if first.size >= MIN_PART => staging.append(&keys::blob(&name), continuation, first).await?,
        Some(_) | None => Err(first),
    };
    let location = match appended {
        Ok(parts) => S3Location::Multipart(parts),
        Err(first) => {
            staging.object(&keys::staged(session, attempt.id), first).await?;
            S3Location::Object
        }
    };
    staging.body.meter().await?.staged(location.encode())
}

/// The multipart upload to the blob's key that a part continues.
struct Continuation {
    /// The upload; `None` to create one.
    upload: Option<String>,
    /// Number of the first S3 part.
    first: u32,
    /// Size of the S3 parts.
    part_size: u64,
}

impl Continuation {
    /// `None` if the part must be a separate object: it is not next, or the bytes that may still arrive would need more
    /// S3 parts than are left.
    fn of(attempt: &Attempt, max_size: u64) -> Option<Self> {
        let (upload, first) = match &attempt.placement {
            Placement::Frontier(None) => (None, 1),
            Placement::Frontier(Some((location, _))) => match S3Location::parse(location)? {
                S3Location::Multipart(parts) => (Some(parts.upload.clone()), parts.next()),
                S3Location::Object => return None,
            },
            Placement::Standalone => return None,
        };
        let left = (MAX_PARTS + 1).checked_sub(first)?;
        let size = part_size(max_size, left);
        let fits = u64::from(left) > max_size.div_ceil(size) && size <= 2 * part_size(max_size, MAX_PARTS);
        fits.then_some(Self { upload, first, part_size: size })
    }
}

/// A part that is being received and sent.
struct Staging<'a> {
    client: &'a Arc<Client>,
    body: ChunkedBody,
}

impl Staging<'_> {
    /// Sends the part into the multipart upload to the blob's key. Returns the first chunk if that upload no longer
    /// exists, because another program aborted it; nothing else of the part has been received then.
    async fn append(
        &mut self,
        key: &Path,
        Continuation { upload, first: number, part_size: _ }: Continuation,
        first: Chunk,
    ) -> Result<Result<S3Parts, Chunk>, StageError> {
        let is_new = upload.is_none();
        let upload = match upload {
            Some(id) => OpenUpload { key: key.clone(), id },
            None => self.client.create_multipart(key).await.map_err(failed)?,
        };
        let appended = async {
            // The first chunk is sent alone, so that a missing upload is noticed before more is received.
            let permit = self.client.admit_sending(first.size).await?;
            let put = self.client.put_part(&upload, number, first.frames.clone()).await;
            drop(permit);
            let mut etags = match put {
                Err(error) if is_missing(&error) => return Ok(Err(first)),
                put => vec![put.map_err(failed)?],
            };
            let is_last = first.is_last;
            drop(first);
            if !is_last {
                let next = self.body.next().await?;
                etags.extend(self.send(&upload, number + 1, next).await?);
            }
            Ok(Ok(S3Parts { upload: upload.id.clone(), first: number, etags }))
        };
        let appended = appended.await;
        if appended.is_err() && is_new {
            self.client.abort_failed(&upload).await;
        }
        appended
    }

    /// Sends the part into a separate object; after a failure it is deleted.
    async fn object(&mut self, key: &Path, first: Chunk) -> Result<(), StageError> {
        let sent = if first.is_last {
            self.client.put(key, first.frames).await.map_err(|error| failed(error).into())
        } else {
            self.multipart(key, first).await
        };
        // The store may have carried out a request that failed here.
        if sent.is_err()
            && let Err(error) = self.client.delete(key).await
        {
            tracing::warn!(error = error_chain::text(&error), %key, "failed part left until its session ends");
        }
        sent
    }

    async fn multipart(&mut self, key: &Path, first: Chunk) -> Result<(), StageError> {
        let upload = self.client.create_multipart(key).await.map_err(failed)?;
        let sent = async {
            let etags = self.send(&upload, 1, first).await?;
            let parts: Vec<(u32, String)> = (1..).zip(etags).collect();
            let received = self.body.meter().await?.received();
            match self.client.complete(&upload, &parts).await {
                // The response to an earlier attempt may have been lost.
                Err(error) if is_missing(&error) => match self.client.head(key).await {
                    Ok(meta) if meta.size == received => Ok(()),
                    _ => Err(failed(error).into()),
                },
                done => Ok(done.map_err(failed)?),
            }
        };
        let sent = sent.await;
        if sent.is_err() {
            self.client.abort_failed(&upload).await;
        }
        sent
    }

    /// Sends `chunk` and the rest of the body as S3 parts from `number` on; returns their etags.
    async fn send(&mut self, upload: &OpenUpload, number: u32, chunk: Chunk) -> Result<Vec<String>, StageError> {
        let mut sending = JoinSet::new();
        let mut etags = BTreeMap::new();
        let sent = async {
            let (mut number, mut next) = (number, Some(chunk));
            loop {
                if let Some(chunk) = next.take_if(|_| sending.len() < IN_FLIGHT) {
                    // Admitted before the next chunk is received, so that no upload accumulates chunks.
                    let permit = self.client.admit_sending(chunk.size).await?;
                    let (client, upload) = (Arc::clone(self.client), upload.clone());
                    let put = async move {
                        let put = client.put_part(&upload, number, chunk.frames).await;
                        drop(permit);
                        put.map(|etag| (number, etag))
                    };
                    sending.spawn(put.in_current_span());
                    number += 1;
                    if !chunk.is_last {
                        next = Some(self.body.next().await?);
                    }
                } else if let Some(sent) = sending.join_next().await {
                    let (number, etag) = sent.map_err(BlobError::unavailable)?.map_err(failed)?;
                    etags.insert(number, etag);
                } else {
                    return Ok::<_, StageError>(());
                }
            }
        };
        let sent = sent.await;
        // Another attempt may use the same numbers: requests in flight must not arrive after its parts.
        while sending.join_next().await.is_some() {}
        sent.map(|()| etags.into_values().collect())
    }
}
