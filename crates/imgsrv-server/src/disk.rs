//! Whether a folder accepts writes.

use imgsrv_blobs::unwritable;
use imgsrv_domain::ports::Unwritable;
use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Free space below which a disk is written to at every look.
const SCARCE_BYTES: u64 = 1 << 20;
const PROBE_BYTES: usize = 64 << 10;

/// The free space on the disk of `folder`.
pub(crate) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Whether nothing suggests that `folder` accepts no writes. A quota may still be exhausted.
pub(crate) fn seems_writable(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|disk| {
        !disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY)
            && disk.f_bavail.saturating_mul(disk.f_frsize) >= SCARCE_BYTES
    })
}

/// Why `folder` accepts no writes at present. `None` if it has another fault.
pub(crate) fn why_unwritable(folder: &Path) -> Option<Unwritable> {
    let error = probe(folder).err()?;
    let is_read_only =
        || rustix::fs::statvfs(folder).is_ok_and(|disk| disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
    match unwritable(&error) {
        // Some network file systems report permissions instead.
        None if error.kind() == io::ErrorKind::PermissionDenied && is_read_only() => Some(Unwritable::ReadOnly),
        why => why,
    }
}

/// Writes a file and removes it. A killed process leaves one, which the next probe replaces.
fn probe(folder: &Path) -> io::Result<()> {
    let path = folder.join("write-probe");
    let mut content = vec![0; PROBE_BYTES];
    // Bytes that a file system cannot compress.
    getrandom::fill(&mut content)?;
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&content)?;
        file.sync_all()
    });
    let removed = match fs::remove_file(&path) {
        // Another node that shares the folder has removed it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    written.and(removed)
}
