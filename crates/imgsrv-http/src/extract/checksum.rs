//! The body of a tus request, verified while it is received if the request has a checksum.

use crate::{
    extract::body::part_body,
    response::problem::{Code, Problem},
};
use axum::{
    body::{Body, Bytes},
    http::HeaderMap,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{StreamExt, TryStreamExt, stream};
use imgsrv_app::AppendBody;
use imgsrv_domain::ports::BodyError;
use sha1::{Digest as _, Sha1, digest::DynDigest};
use sha2::Sha256;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::task::{JoinHandle, spawn_blocking};

type RunningChecksum = Box<dyn DynDigest + Send>;

/// Bytes and frames that are hashed by one job: small frames may keep large buffers alive until then.
const BATCH_BYTES: usize = 1 << 20;
const BATCH_FRAMES: usize = 64;

/// A checksum that is computed outside of the runtime, one batch behind the body.
struct Hashing {
    running: JoinHandle<RunningChecksum>,
    batch: Vec<Bytes>,
    bytes: usize,
}

impl Hashing {
    fn new(checksum: RunningChecksum) -> Self {
        Self { running: spawn_blocking(move || checksum), batch: Vec::new(), bytes: 0 }
    }

    async fn update(&mut self, frame: Bytes) -> Result<(), BodyError> {
        self.bytes += frame.len();
        self.batch.push(frame);
        if self.bytes >= BATCH_BYTES || self.batch.len() >= BATCH_FRAMES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), BodyError> {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        // Only a panic makes it fail.
        let mut running = (&mut self.running).await.map_err(|_| BodyError::Cut)?;
        self.running = spawn_blocking(move || {
            for frame in &batch {
                running.update(frame);
            }
            running
        });
        Ok(())
    }

    async fn finalize(mut self) -> Result<Box<[u8]>, BodyError> {
        self.flush().await?;
        Ok(self.running.await.map_err(|_| BodyError::Cut)?.finalize())
    }
}

/// Whether a body that was not accepted failed the verification of its checksum.
pub(crate) struct Verification {
    mismatch: Arc<AtomicBool>,
    code: Code,
}

impl Verification {
    /// The problem, if the checksum did not match.
    pub(crate) fn problem(&self) -> Option<Problem> {
        self.mismatch.load(Ordering::Acquire).then(|| Problem::new(self.code))
    }
}

/// The body of a request, with its size as declared by the headers. A body with a checksum is accepted as a whole or not
/// at all.
pub(crate) fn tus_body(headers: &HeaderMap, body: Body) -> Result<(AppendBody, Verification), Problem> {
    let part = part_body(headers, body)?;
    let mismatch = Arc::new(AtomicBool::new(false));
    let digest = part.checksum.map(|digest| (Box::new(Sha256::new()) as RunningChecksum, digest.bytes().to_vec()));
    let checksum = checksum(headers)?;
    let code = if checksum.is_some() { Code::ChecksumMismatch } else { Code::DigestMismatch };
    let expected = checksum.or(digest);
    let is_atomic = expected.is_some();
    let bytes = match expected {
        None => part.bytes,
        Some((running, expected)) => {
            let state = (part.bytes, Hashing::new(running), expected, Arc::clone(&mismatch));
            let verified = stream::try_unfold(state, |(mut bytes, mut hashing, expected, mismatch)| async move {
                if let Some(chunk) = bytes.try_next().await? {
                    hashing.update(chunk.clone()).await?;
                    return Ok(Some((chunk, (bytes, hashing, expected, mismatch))));
                }
                if *hashing.finalize().await? == *expected {
                    return Ok(None);
                }
                mismatch.store(true, Ordering::Release);
                Err(BodyError::Cut)
            });
            verified.boxed()
        }
    };
    Ok((AppendBody { declared: part.declared, is_atomic, bytes, slot: None }, Verification { mismatch, code }))
}

/// `Upload-Checksum`: an algorithm, and the checksum of the body in base64 (tus 1.0.0, extension "checksum").
fn checksum(headers: &HeaderMap) -> Result<Option<(RunningChecksum, Vec<u8>)>, Problem> {
    let Some(value) = headers.get("upload-checksum") else { return Ok(None) };
    let invalid = |reason| Problem::new(Code::InvalidRequest).field("Upload-Checksum", reason);
    let (algorithm, encoded) = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .ok_or_else(|| invalid("must be sha1 or sha256, and base64"))?;
    let running: RunningChecksum = match algorithm {
        "sha1" => Box::new(Sha1::new()),
        "sha256" => Box::new(Sha256::new()),
        _ => return Err(invalid("the algorithm must be sha1 or sha256")),
    };
    let expected = STANDARD.decode(encoded.trim()).map_err(|_| invalid("the checksum must be base64"))?;
    if expected.len() != running.output_size() {
        return Err(invalid("the checksum has the wrong length"));
    }
    Ok(Some((running, expected)))
}
