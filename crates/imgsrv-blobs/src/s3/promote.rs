//! IngestRequest: verifying what was not hashed on arrival, and making one object of the parts.

use super::{
    blob,
    client::{self, Client, is_missing},
    piece::MAX_PIECES,
    place::{Pieces, S3Location, staged},
    plan::{Source, Step, plan},
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use imgsrv_domain::{
    hash::RunningHash,
    ports::{BlobError, IngestError, IngestRequest, Ingested},
};
use object_store::path::Path;
use std::sync::Arc;

/// Bytes hashed in one step, so that the position is saved in between.
const STEP_BYTES: u64 = 512 << 20;
/// Pieces made at once.
const AT_ONCE: usize = 4;
/// The most that one request copies (S3, `CopyObject`).
const MAX_COPY_OBJECT: u64 = 5 << 30;

/// Hashes the next bytes that were not hashed on arrival, or, when none are left, places the blob.
pub(super) async fn step(client: &Arc<Client>, promotion: &IngestRequest) -> Result<Ingested, IngestError> {
    if !promotion.is_whole() {
        return Err(IngestError::StagedGone);
    }
    match step_once(client, promotion).await {
        // Before bytes are given up: the store must be there, and another worker's progress must not be the reason.
        Err(IngestError::StagedGone) if !client.is_present().await => {
            Err(IngestError::Blob(BlobError::Unavailable("the bucket is not there".into())))
        }
        Err(IngestError::StagedGone) => step_once(client, promotion).await,
        done => done,
    }
}

async fn step_once(client: &Arc<Client>, promotion: &IngestRequest) -> Result<Ingested, IngestError> {
    let mut hash = match &promotion.hashed {
        Some(saved) => RunningHash::resume(saved).ok_or(IngestError::StagedGone)?,
        None => RunningHash::new(),
    };
    let work = Work::new(client, promotion)?;
    if hash.bytes() < promotion.claim.size.get() {
        work.extend(&mut hash).await?;
        return Ok(Ingested::Hashed(hash.save()));
    }
    let actual = hash.finish();
    if actual != promotion.claim.digest {
        return Err(IngestError::Mismatch { actual });
    }
    work.place().await?;
    Ok(Ingested::Placed)
}

/// A part with bytes, and where they stand in the blob.
struct Segment {
    place: S3Location,
    object: Path,
    start: u64,
    size: u64,
}

/// The object that was made of an upload's pieces so that they can be read.
struct Sealed {
    tag: Option<String>,
    size: u64,
    /// Whether it is the whole blob by now.
    is_blob: bool,
}

struct Work<'a> {
    client: &'a Arc<Client>,
    promotion: &'a IngestRequest,
    /// The blob's name in the store.
    key: Path,
    segments: Vec<Segment>,
}

impl<'a> Work<'a> {
    fn new(client: &'a Arc<Client>, promotion: &'a IngestRequest) -> Result<Self, IngestError> {
        let mut start = 0;
        let mut segments = Vec::new();
        for part in promotion.parts.iter().filter(|part| part.size.get() > 0) {
            let place = S3Location::parse(&part.location).ok_or(IngestError::StagedGone)?;
            let (object, size) = (staged(promotion.session, part.attempt), part.size.get());
            segments.push(Segment { place, object, start, size });
            start += size;
        }
        Ok(Self { client, promotion, key: blob(&promotion.name), segments })
    }

    fn size(&self) -> u64 {
        self.promotion.claim.size.get()
    }

    /// The pieces of the upload of the blob's name, in order.
    fn pieces(&self) -> impl Iterator<Item = &Pieces> {
        self.segments.iter().filter_map(|segment| match &segment.place {
            S3Location::Multipart(pieces) => Some(pieces),
            S3Location::Object => None,
        })
    }

    /// Hashes on from where `hash` is, for at most [`STEP_BYTES`].
    async fn extend(&self, hash: &mut RunningHash) -> Result<(), IngestError> {
        let from = hash.bytes();
        let until = self.size().min(from + STEP_BYTES);
        let behind = |segment: &&Segment| segment.start + segment.size > from;
        let unreadable = self.segments.iter().filter(behind).any(|segment| segment.place != S3Location::Object);
        let sealed = if unreadable { Some(self.seal().await?) } else { None };
        let (mut start, mut sources) = (0, self.sources(sealed.as_ref()).into_iter());
        while hash.bytes() < until {
            let source = sources.next().ok_or(IngestError::StagedGone)?;
            let size = source.range.end - source.range.start;
            let skipped = hash.bytes().saturating_sub(start).min(size);
            let wanted = (until - start).min(size);
            start += size;
            if skipped >= wanted {
                continue;
            }
            let range = source.range.start + skipped..source.range.start + wanted;
            let got = self.client.get(&source.key, Some(range), source.if_match).await.map_err(gone)?;
            if source.whole && got.size != size {
                return Err(IngestError::StagedGone);
            }
            let mut chunks = got.stream;
            while let Some(chunk) = chunks.try_next().await? {
                hash.update(&chunk);
            }
        }
        if hash.bytes() == until { Ok(()) } else { Err(IngestError::StagedGone) }
    }

    /// Where each segment can be read, in order.
    fn sources(&self, sealed: Option<&Sealed>) -> Vec<Source> {
        let mut offset = 0;
        let mut source = |segment: &Segment| match &segment.place {
            S3Location::Object => {
                Source { key: segment.object.clone(), range: 0..segment.size, whole: true, if_match: None }
            }
            S3Location::Multipart(_) => {
                let range = offset..offset + segment.size;
                offset = range.end;
                let whole = sealed.is_some_and(|sealed| sealed.size == segment.size);
                let if_match = sealed.and_then(|sealed| sealed.tag.clone());
                Source { key: self.key.clone(), range, whole, if_match }
            }
        };
        if let Some(Sealed { is_blob: true, size, tag }) = sealed {
            let (key, if_match) = (self.key.clone(), tag.clone());
            return vec![Source { key, range: 0..*size, whole: true, if_match }];
        }
        self.segments.iter().map(&mut source).collect()
    }

    /// Makes the pieces of the open upload readable, by making an object of them under the blob's name. Nobody is
    /// served that name before the catalog has it.
    async fn seal(&self) -> Result<Sealed, IngestError> {
        let Some(upload) = self.pieces().next().map(|pieces| pieces.upload.clone()) else {
            return Err(IngestError::StagedGone);
        };
        match self.client.complete(&self.key, &upload, &self.numbered()).await {
            Err(error) if !is_missing(&error) => return Err(failed(error)),
            // Sealed before, or gone.
            Ok(()) | Err(_) => {}
        }
        let sealed =
            self.segments.iter().filter(|segment| segment.place != S3Location::Object).map(|segment| segment.size);
        let (sealed, meta) = (sealed.sum::<u64>(), self.client.head(&self.key).await.map_err(gone)?);
        let is_blob = meta.size == self.size();
        if meta.size != sealed && !is_blob {
            return Err(IngestError::StagedGone);
        }
        Ok(Sealed { tag: meta.e_tag, size: meta.size, is_blob })
    }

    fn numbered(&self) -> Vec<(u32, String)> {
        self.pieces().flat_map(Pieces::numbered).map(|(number, tag)| (number, tag.to_owned())).collect()
    }

    /// Makes the blob durable under its name.
    async fn place(&self) -> Result<(), IngestError> {
        if self.segments.is_empty() {
            return self.client.put(&self.key, vec![Bytes::new()]).await.map_err(failed);
        }
        let placed = match self.prefix() {
            Some(prefix) => match self.complete(prefix).await {
                // The upload may have been sealed, or others may have left pieces in it behind ours.
                Err(IngestError::StagedGone) => self.assemble().await,
                done => done,
            },
            None => self.assemble().await,
        };
        match placed {
            // Another worker, or this one before a crash or a lost reply, may have come to the end.
            Err(IngestError::StagedGone) if self.is_placed().await? => Ok(()),
            done => done,
        }
    }

    async fn is_placed(&self) -> Result<bool, IngestError> {
        match self.client.head(&self.key).await {
            Ok(meta) => Ok(meta.size == self.size()),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }

    /// How many segments at the start are all that an open upload has, piece by piece from the first; the others are
    /// objects that can be added to it.
    fn prefix(&self) -> Option<usize> {
        let length = self.segments.iter().take_while(|segment| segment.place != S3Location::Object).count();
        let rest_is_apart = self.segments[length..].iter().all(|segment| segment.place == S3Location::Object);
        (length > 0 && rest_is_apart).then_some(length)
    }

    /// Adds what lies apart to the open upload, and completes it: that is the promotion.
    async fn complete(&self, prefix: usize) -> Result<(), IngestError> {
        let last = self.pieces().last().ok_or(IngestError::StagedGone)?;
        let steps = plan(self.sources(None).into_iter().skip(prefix));
        if usize::try_from(last.next()).unwrap_or(usize::MAX) + steps.len() > MAX_PIECES as usize + 1 {
            return self.assemble().await;
        }
        let mut pieces = self.numbered();
        pieces.extend(self.make(&last.upload, last.next(), steps).await?);
        self.client.complete(&self.key, &last.upload, &pieces).await.map_err(gone)
    }

    /// Makes the blob anew of objects, the sealed upload among them.
    async fn assemble(&self) -> Result<(), IngestError> {
        if self.is_placed().await? {
            return Ok(());
        }
        let sealed = if self.pieces().next().is_some() { Some(self.seal().await?) } else { None };
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
            let pieces = self.make(&upload, 1, plan(sources)).await?;
            if let Some(sealed) = &sealed {
                // The name goes from sealed to blob and never back: if it is sealed now, every piece was taken from
                // there, whether or not the store looks at conditions.
                let now = self.client.head(&self.key).await.map_err(gone)?;
                if now.e_tag != sealed.tag {
                    return Err(IngestError::StagedGone);
                }
            }
            self.client.complete(&self.key, &upload, &pieces).await.map_err(gone)
        };
        let made = made.await;
        if made.is_err()
            && let Err(error) = self.client.abort(&self.key, &upload).await
        {
            tracing::warn!(%error, key = %self.key, "an upload that failed stays until its session ends");
        }
        made
    }

    /// Makes pieces of an upload, numbered from `first`.
    async fn make(&self, upload: &str, first: u32, steps: Vec<Step>) -> Result<Vec<(u32, String)>, IngestError> {
        let upload = upload.to_owned();
        let making = (first..).zip(steps).map(|(number, step)| {
            let upload = &upload;
            async move {
                let tag = match step {
                    Step::Copy(source) => self.client.copy_part(&self.key, upload, number, &source).await,
                    Step::Send(sources) => {
                        let frames = self.read(sources).await?;
                        self.client.put_part(&self.key, upload, number, frames).await
                    }
                };
                Ok::<_, IngestError>((number, tag.map_err(gone)?))
            }
        });
        stream::iter(making).buffered(AT_ONCE).try_collect().await
    }

    async fn read(&self, sources: Vec<Source>) -> Result<Vec<Bytes>, IngestError> {
        let mut frames = Vec::new();
        for source in sources {
            let got = self.client.get(&source.key, Some(source.range), source.if_match).await.map_err(gone)?;
            frames.extend(got.stream.try_collect::<Vec<Bytes>>().await?);
        }
        Ok(frames)
    }
}

fn failed(error: object_store::Error) -> IngestError {
    IngestError::Blob(client::failed(error))
}

/// What is not there any more, or is not what it was, cannot be promoted.
fn gone(error: object_store::Error) -> IngestError {
    match error {
        object_store::Error::NotFound { .. } | object_store::Error::Precondition { .. } => IngestError::StagedGone,
        error => failed(error),
    }
}
