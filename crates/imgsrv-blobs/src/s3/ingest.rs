//! Ingest: verifies bytes that were not hashed on arrival, and makes one object of the parts.

use super::{
    chunk::MAX_PARTS,
    client::Client,
    error::{failed, is_missing},
    keys,
    location::{S3Location, S3Parts},
    multipart::OpenUpload,
    plan::{Source, Step, plan},
    read,
};
use crate::{batches::BATCH_BYTES, threads::Pipeline};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use imgsrv_domain::{
    digest::HashState,
    hash::RunningHash,
    ports::{BlobError, IngestError, IngestRequest, IngestStep, Ingested},
};
use object_store::{Error, path::Path};
use std::sync::Arc;

/// Bytes hashed in one step; between steps the caller saves the position and renews its lease.
const STEP_BYTES: u64 = 512 << 20;
/// S3 parts made at the same time.
const IN_FLIGHT: usize = 4;
/// Maximum size of an object that one request copies (S3, `CopyObject`).
const MAX_COPY_OBJECT: u64 = 5 << 30;

/// Does the next step of an ingest.
pub(super) async fn ingest(client: &Arc<Client>, request: &IngestRequest) -> Result<Ingested, IngestError> {
    let next = request.next_step()?;
    match step(client, request, &next).await {
        // Before the staged data is reported missing: check that the bucket is there, and that it was not another worker's progress.
        Err(IngestError::StagedGone) if !client.is_present().await => {
            Err(BlobError::unavailable("the bucket is missing").into())
        }
        Err(IngestError::StagedGone) => step(client, request, &next).await,
        done => done,
    }
}

async fn step(client: &Arc<Client>, request: &IngestRequest, next: &IngestStep) -> Result<Ingested, IngestError> {
    let ingest = Ingest::new(client, request)?;
    match next {
        IngestStep::Hash(hash) => ingest.extend(hash.clone()).await.map(Ingested::Hashed),
        IngestStep::Place => ingest.place().await.map(|()| Ingested::Placed),
    }
}

/// A part that is not empty, and its position in the blob.
struct Segment {
    /// Its parts of the multipart upload to the blob's key; `None` if it is a separate object.
    parts: Option<S3Parts>,
    /// Key of the separate object.
    object: Path,
    start: u64,
    size: u64,
}

/// The object that the open multipart upload was completed to, so that its parts can be read.
struct Sealed {
    etag: Option<String>,
    size: u64,
    /// Whether it is the whole blob already.
    is_blob: bool,
}

struct Ingest<'a> {
    client: &'a Arc<Client>,
    request: &'a IngestRequest,
    /// Key of the blob.
    key: Path,
    segments: Vec<Segment>,
}

impl<'a> Ingest<'a> {
    fn new(client: &'a Arc<Client>, request: &'a IngestRequest) -> Result<Self, IngestError> {
        let mut start = 0;
        let mut segments = Vec::new();
        for part in request.parts.iter().filter(|part| part.size.get() > 0) {
            let parts = match S3Location::parse(&part.location).ok_or(IngestError::StagedGone)? {
                S3Location::Object => None,
                S3Location::Multipart(parts) => Some(parts),
            };
            let (object, size) = (keys::staged(request.session, part.attempt), part.size.get());
            segments.push(Segment { parts, object, start, size });
            start += size;
        }
        Ok(Self { client, request, key: keys::blob(&request.name), segments })
    }

    fn size(&self) -> u64 {
        self.request.claim.size.get()
    }

    /// The parts of the multipart upload to the blob's key, in order.
    fn parts(&self) -> impl Iterator<Item = &S3Parts> {
        self.segments.iter().filter_map(|segment| segment.parts.as_ref())
    }

    /// Hashes the next bytes, at most [`STEP_BYTES`].
    async fn extend(&self, hash: RunningHash) -> Result<HashState, IngestError> {
        let (from, mut hashed) = (hash.bytes(), hash.bytes());
        let mut hashing = Pipeline::<_, IngestError>::new(self.client.hashing.clone(), hash);
        let until = self.size().min(from + STEP_BYTES);
        let is_unreadable = |segment: &Segment| segment.parts.is_some() && segment.start + segment.size > from;
        let unreadable = self.segments.iter().any(is_unreadable);
        let sealed = if unreadable { Some(self.seal().await?) } else { None };
        let (mut start, mut sources) = (0, self.sources(sealed.as_ref()).into_iter());
        while hashed < until {
            let source = sources.next().ok_or(IngestError::StagedGone)?;
            let size = source.range.end - source.range.start;
            let skipped = hashed.saturating_sub(start).min(size);
            let wanted = (until - start).min(size);
            start += size;
            if skipped >= wanted {
                continue;
            }
            let range = source.range.start + skipped..source.range.start + wanted;
            let opened = read::open(self.client, &source.key, Some(range), source.if_match).await.map_err(gone)?;
            if source.whole && opened.size != size {
                return Err(IngestError::StagedGone);
            }
            let mut chunks = opened.stream;
            let (mut batch, mut bytes) = (Vec::new(), 0);
            loop {
                let chunk = chunks.try_next().await?;
                let is_last = chunk.is_none();
                bytes += chunk.as_ref().map_or(0, Bytes::len);
                batch.extend(chunk);
                if is_last || bytes >= BATCH_BYTES {
                    let batch = std::mem::take(&mut batch);
                    hashed += std::mem::take(&mut bytes) as u64;
                    let update = move |hash: &mut RunningHash| {
                        for chunk in &batch {
                            hash.update(chunk);
                        }
                        Ok(())
                    };
                    hashing.start(update).await?;
                }
                if is_last {
                    break;
                }
            }
        }
        if hashed == until { Ok(hashing.state().await?.save()) } else { Err(IngestError::StagedGone) }
    }

    /// Where the segments can be read, in order.
    fn sources(&self, sealed: Option<&Sealed>) -> Vec<Source> {
        let if_match = sealed.and_then(|sealed| sealed.etag.clone());
        if let Some(Sealed { is_blob: true, size, .. }) = sealed {
            return vec![Source { key: self.key.clone(), range: 0..*size, whole: true, if_match }];
        }
        let mut offset = 0;
        let source = |segment: &Segment| {
            if segment.parts.is_none() {
                return Source { key: segment.object.clone(), range: 0..segment.size, whole: true, if_match: None };
            }
            let range = offset..offset + segment.size;
            offset = range.end;
            let whole = sealed.is_some_and(|sealed| sealed.size == segment.size);
            Source { key: self.key.clone(), range, whole, if_match: if_match.clone() }
        };
        self.segments.iter().map(source).collect()
    }

    /// Makes the parts of the open multipart upload readable by completing it to an object under the blob's key.
    /// Nobody is served that object before the catalog refers to it.
    async fn seal(&self) -> Result<Sealed, IngestError> {
        let upload = self.upload(self.parts().next().ok_or(IngestError::StagedGone)?);
        match self.client.complete(&upload, &self.numbered()).await {
            Err(error) if !is_missing(&error) => return Err(failed(error).into()),
            // Sealed earlier, or gone.
            Ok(()) | Err(_) => {}
        }
        let sealed = self.segments.iter().filter(|segment| segment.parts.is_some()).map(|segment| segment.size);
        let (sealed, meta) = (sealed.sum::<u64>(), self.client.head(&self.key).await.map_err(gone)?);
        let is_blob = meta.size == self.size();
        if meta.size != sealed && !is_blob {
            return Err(IngestError::StagedGone);
        }
        Ok(Sealed { etag: meta.e_tag, size: meta.size, is_blob })
    }

    /// The multipart upload to the blob's key that `parts` belong to.
    fn upload(&self, parts: &S3Parts) -> OpenUpload {
        OpenUpload { key: self.key.clone(), id: parts.upload.clone() }
    }

    fn numbered(&self) -> Vec<(u32, String)> {
        self.parts().flat_map(S3Parts::numbered).collect()
    }

    /// Makes the blob durable under its key.
    async fn place(&self) -> Result<(), IngestError> {
        if self.segments.is_empty() {
            return Ok(self.client.put(&self.key, vec![Bytes::new()]).await.map_err(failed)?);
        }
        let placed = match self.complete().await {
            // The upload may have been sealed, or other workers may have added parts to it.
            Err(IngestError::StagedGone) => self.assemble().await,
            done => done,
        };
        match placed {
            // Another worker may have placed the blob, or this one before a crash or a lost response.
            Err(IngestError::StagedGone) if self.is_placed().await? => Ok(()),
            done => done,
        }
    }

    async fn is_placed(&self) -> Result<bool, IngestError> {
        match self.client.head(&self.key).await {
            Ok(meta) => Ok(meta.size == self.size()),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(failed(error).into()),
        }
    }

    /// Completes the open multipart upload to the blob, after adding the separate objects. [`IngestError::StagedGone`] if
    /// that is not possible: if there is none, if a separate object precedes one of its parts, or if there are too many.
    async fn complete(&self) -> Result<(), IngestError> {
        let prefix = self.segments.iter().take_while(|segment| segment.parts.is_some()).count();
        let last = self.parts().last().filter(|_| self.parts().count() == prefix).ok_or(IngestError::StagedGone)?;
        let steps = plan(self.sources(None).into_iter().skip(prefix));
        if usize::try_from(last.next()).unwrap_or(usize::MAX) + steps.len() > MAX_PARTS as usize + 1 {
            return Err(IngestError::StagedGone);
        }
        let (upload, mut parts) = (self.upload(last), self.numbered());
        parts.extend(self.make(&upload, last.next(), steps).await?);
        self.client.complete(&upload, &parts).await.map_err(gone)
    }

    /// Makes the blob of objects in a new multipart upload; the sealed upload is one of them.
    async fn assemble(&self) -> Result<(), IngestError> {
        if self.is_placed().await? {
            return Ok(());
        }
        let sealed = if self.parts().next().is_some() { Some(self.seal().await?) } else { None };
        if sealed.as_ref().is_some_and(|sealed| sealed.is_blob) {
            return Ok(());
        }
        let sources = self.sources(sealed.as_ref());
        if let [only] = sources.as_slice()
            && self.size() <= MAX_COPY_OBJECT
            && sealed.is_none()
        {
            self.client.copy(&only.key, &self.key).await.map_err(gone)?;
            return if self.is_placed().await? { Ok(()) } else { Err(IngestError::StagedGone) };
        }
        let upload = self.client.create_multipart(&self.key).await.map_err(failed)?;
        let made = async {
            let parts = self.make(&upload, 1, plan(sources)).await?;
            if let Some(sealed) = &sealed {
                // The key changes from sealed to blob and never back: if it is sealed now, every part was copied from
                // the sealed object, even if the store ignores conditions.
                let now = self.client.head(&self.key).await.map_err(gone)?;
                if now.e_tag != sealed.etag {
                    return Err(IngestError::StagedGone);
                }
            }
            self.client.complete(&upload, &parts).await.map_err(gone)
        };
        let made = made.await;
        if made.is_err() {
            self.client.abort_failed(&upload).await;
        }
        made
    }

    /// Makes S3 parts of an upload, numbered from `first`; returns their numbers and etags.
    async fn make(&self, to: &OpenUpload, first: u32, steps: Vec<Step>) -> Result<Vec<(u32, String)>, IngestError> {
        let making = (first..).zip(steps).map(|(number, step)| async move {
            let etag = match step {
                Step::Copy(source) => self.client.copy_part(to, number, &source).await,
                Step::Send(sources) => {
                    let bytes = sources.iter().map(Source::size).sum();
                    let _admitted = self.client.admit_sending(bytes).await?;
                    self.client.put_part(to, number, self.read(sources).await?).await
                }
            };
            Ok::<_, IngestError>((number, etag.map_err(gone)?))
        });
        stream::iter(making).buffered(IN_FLIGHT).try_collect().await
    }

    async fn read(&self, sources: Vec<Source>) -> Result<Vec<Bytes>, IngestError> {
        let mut frames = Vec::new();
        for source in sources {
            let opened = read::open(self.client, &source.key, Some(source.range), source.if_match);
            let opened = opened.await.map_err(gone)?;
            frames.extend(opened.stream.try_collect::<Vec<Bytes>>().await?);
        }
        Ok(frames)
    }
}

/// Missing or replaced objects are gone.
fn gone(error: Error) -> IngestError {
    match error {
        Error::NotFound { .. } | Error::Precondition { .. } => IngestError::StagedGone,
        error => failed(error).into(),
    }
}
