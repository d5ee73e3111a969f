//! The body of a tus request, verified while it is received if the request has a checksum.

use crate::{
    extract::body::part_body,
    response::problem::{Code, Problem},
};
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

/// A running checksum.
enum RunningChecksum {
    Sha1(Sha1),
    Sha256(RunningHash),
}

impl RunningChecksum {
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
    let digest = part.checksum.map(|digest| (RunningChecksum::Sha256(RunningHash::new()), digest.bytes().to_vec()));
    let checksum = checksum(headers)?;
    let code = if checksum.is_some() { Code::ChecksumMismatch } else { Code::DigestMismatch };
    let expected = checksum.or(digest);
    let is_atomic = expected.is_some();
    let bytes = match expected {
        None => part.bytes,
        Some((running, expected)) => {
            let running = Arc::new(Mutex::new(running));
            let (updated, mismatched) = (Arc::clone(&running), Arc::clone(&mismatch));
            let hashed = part.bytes.inspect_ok(move |bytes| {
                updated.lock().unwrap_or_else(PoisonError::into_inner).update(bytes);
            });
            let verification = stream::once(async move {
                let actual = running.lock().unwrap_or_else(PoisonError::into_inner).finish();
                if actual == expected {
                    return Ok(Bytes::new());
                }
                mismatched.store(true, Ordering::Release);
                Err(BodyError::Cut)
            });
            hashed.chain(verification).boxed()
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
    let running = match algorithm {
        "sha1" => RunningChecksum::Sha1(Sha1::new()),
        "sha256" => RunningChecksum::Sha256(RunningHash::new()),
        _ => return Err(invalid("the algorithm must be sha1 or sha256")),
    };
    let expected = STANDARD.decode(encoded.trim()).map_err(|_| invalid("the checksum must be base64"))?;
    if expected.len() == running.finish().len() {
        Ok(Some((running, expected)))
    } else {
        Err(invalid("the checksum has the wrong length"))
    }
}
