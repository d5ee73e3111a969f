//! Listed objects as the domain names them.

use imgsrv_domain::{
    ports::{BlobName, StoredObject},
    time::Timestamp,
};
use object_store::ObjectMeta;

/// The folder of all blobs.
pub(crate) const CAS: &str = "cas";

/// A listed object below [`CAS`].
pub(crate) fn stored(meta: &ObjectMeta) -> Option<StoredObject> {
    let name = meta.location.as_ref().strip_prefix(CAS)?.strip_prefix('/')?;
    Some(StoredObject {
        name: BlobName::restore(name.to_owned()),
        size: meta.size,
        modified_at: Timestamp::from_micros(meta.last_modified.timestamp_micros()),
    })
}
