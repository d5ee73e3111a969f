//! The probe object that shows whether a store is usable.

use bytes::Bytes;
use imgsrv_domain::ports::BlobError;
use object_store::{ObjectMeta, path::Path};

/// What a probe consists of.
pub(crate) const CONTENT: Bytes = Bytes::from_static(b"imgsrv");
/// Age in hours of a probe whose server must have been killed. Nodes that share a store may probe it at the same time.
const ABANDONED_HOURS: i64 = 1;
const PREFIX: &str = "probe-";

/// A new path below `folder`: nodes that share a store may start at the same time.
pub(crate) fn path(folder: &str) -> Result<Path, BlobError> {
    let random = getrandom::u64().map_err(BlobError::unavailable)?;
    Ok(Path::from(format!("{folder}/{PREFIX}{random:016x}")))
}

/// The probes among `listed` that servers left when they were killed. Ages are relative to the probe `own`, so that the
/// clock of the store counts alone.
pub(crate) fn abandoned(listed: Vec<ObjectMeta>, own: &Path) -> Vec<Path> {
    let Some(now) = listed.iter().find(|object| object.location == *own).map(|object| object.last_modified) else {
        return Vec::new();
    };
    let is_abandoned = |object: &ObjectMeta| {
        let is_probe = object.location.filename().is_some_and(|name| name.starts_with(PREFIX));
        is_probe && (now - object.last_modified).num_hours() >= ABANDONED_HOURS
    };
    listed.into_iter().filter(is_abandoned).map(|object| object.location).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_probes_are_abandoned() {
        let object = |path: &str, at: &str| ObjectMeta {
            location: Path::from(path),
            last_modified: at.parse().expect("a time"),
            size: 6,
            e_tag: None,
            version: None,
        };
        let own = path("staging").expect("a path");
        let listed = vec![
            object(own.as_ref(), "2026-01-01T12:00:00Z"),
            object("staging/probe-old", "2026-01-01T11:00:00Z"),
            object("staging/probe-of-another-node", "2026-01-01T11:00:01Z"),
            object("staging/other", "2025-01-01T12:00:00Z"),
        ];
        assert_eq!(abandoned(listed.clone(), &own), [Path::from("staging/probe-old")]);
        assert_eq!(abandoned(listed[1..].to_vec(), &own), []);
    }
}
