//! Keys of objects in the bucket.

use imgsrv_domain::{
    ids::{AttemptId, UploadId},
    ports::BlobName,
};
use object_store::path::Path;

/// The object that distinguishes a missing blob from a missing bucket, and its content.
pub(super) const MARKER: &str = "imgsrv-blobs";
pub(super) const MARK: &[u8] = b"This bucket belongs to imgsrv.\n";
/// Folder with one object for each claim of the store.
pub(super) const OWNERS: &str = "imgsrv-owners";
/// Folder of staged parts.
pub(super) const STAGING: &str = "staging";
const CAS: &str = "cas";

/// Key of a trusted blob, and of the multipart upload that becomes it.
pub(super) fn blob(name: &BlobName) -> Path {
    Path::from(format!("{CAS}/{name}"))
}

/// Folder of a session's staged parts.
pub(super) fn session(session: UploadId) -> Path {
    Path::from(format!("{STAGING}/{session}"))
}

/// Key of the object that an attempt stages.
pub(super) fn staged(session: UploadId, attempt: AttemptId) -> Path {
    self::session(session).join(attempt.to_string())
}

/// The session that a key belongs to, staged or trusted.
pub(super) fn session_of(key: &Path) -> Option<UploadId> {
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
