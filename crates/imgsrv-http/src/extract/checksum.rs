//! The body of a tus request, verified as it comes if a checksum is sent with it.

use crate::extract::body::part_body;
use crate::response::problem::{Code, Problem};
use axum::{body::Body, http::HeaderMap};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use imgsrv_app::AppendBody;
use imgsrv_domain::{hash::RunningHash, ports::BodyError};
use sha1::{Digest as _, Sha1};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// A checksum that is computed.
enum Running {
    Sha1(Sha1),
    Sha256(RunningHash),
}

impl Running {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
        }
    }

    fn finish(&self) -> Vec<u8> {
        match self {
            Self::Sha1(hash) => hash.clone().finalize().to_vec(),
            Self::Sha256(hash) => hash.clone().finish().bytes().to_vec(),
        }
    }
}

/// Tells, once bytes were refused, whether that was because they do not have the checksum.
pub(crate) struct Verdict {
    mismatch: Arc<AtomicBool>,
    code: Code,
}

impl Verdict {
    /// The problem, if that was the reason.
    pub(crate) fn problem(&self) -> Option<Problem> {
        self.mismatch.load(Ordering::Acquire).then(|| Problem::new(self.code))
    }
}

/// The bytes of a request, with what the headers say of them.
pub(crate) fn stream_body(headers: &HeaderMap, body: Body) -> Result<(AppendBody, Verdict), Problem> {
    let part = part_body(headers, body)?;
    let mismatch = Arc::new(AtomicBool::new(false));
    let digest = part.checksum.map(|digest| (Running::Sha256(RunningHash::new()), digest.bytes().to_vec()));
    let checksum = checksum(headers)?;
    let code = if checksum.is_some() { Code::ChecksumMismatch } else { Code::DigestMismatch };
    let expected = checksum.or(digest);
    let is_atomic = expected.is_some();
    let bytes = match expected {
        None => part.bytes,
        Some((running, expected)) => {
            let running = Arc::new(Mutex::new(running));
            let (updated, told) = (Arc::clone(&running), Arc::clone(&mismatch));
            let hashed = part.bytes.inspect_ok(move |bytes| {
                updated.lock().unwrap_or_else(PoisonError::into_inner).update(bytes);
            });
            let verdict = stream::once(async move {
                let actual = running.lock().unwrap_or_else(PoisonError::into_inner).finish();
                if actual == expected {
                    return Ok(Bytes::new());
                }
                told.store(true, Ordering::Release);
                Err(BodyError::Cut)
            });
            hashed.chain(verdict).boxed()
        }
    };
    Ok((AppendBody { declared: part.declared, is_atomic, bytes, slot: None }, Verdict { mismatch, code }))
}

/// `Upload-Checksum`: an algorithm, and the checksum of the body in base64 (tus 1.0.0, extension "checksum").
fn checksum(headers: &HeaderMap) -> Result<Option<(Running, Vec<u8>)>, Problem> {
    let Some(value) = headers.get("upload-checksum") else { return Ok(None) };
    let invalid = |reason| Problem::new(Code::InvalidRequest).field("Upload-Checksum", reason);
    let (algorithm, encoded) = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .ok_or_else(|| invalid("must be sha1 or sha256, and base64"))?;
    let running = match algorithm {
        "sha1" => Running::Sha1(Sha1::new()),
        "sha256" => Running::Sha256(RunningHash::new()),
        _ => return Err(invalid("the algorithm must be sha1 or sha256")),
    };
    let expected = STANDARD.decode(encoded.trim()).map_err(|_| invalid("the checksum must be base64"))?;
    if expected.len() == running.finish().len() {
        Ok(Some((running, expected)))
    } else {
        Err(invalid("the checksum has the wrong length"))
    }
}
