//! The clock, identifiers, randomness and private files of this machine.

use imgsrv_domain::{
    ports::{Clock, Ids},
    time::Timestamp,
    work::WorkerId,
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::SystemTime,
};
use uuid::Uuid;

/// The clock of the operating system.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// Version 7 UUIDs, ascending within this process.
pub(crate) struct UuidIds;

impl Ids for UuidIds {
    #[expect(clippy::disallowed_methods, reason = "this mints the ids")]
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// A unique name of this run of the process: the node's name and 64 random bits.
pub(crate) fn worker_id(node: &str) -> Result<WorkerId, getrandom::Error> {
    Ok(WorkerId::new(format!("{node}-{:016x}", getrandom::u64()?)))
}

/// Fails if something is at `path` that is not a regular file: to write a file atomically, or to remove it, would replace
/// a device such as `/dev/stdout`.
pub(crate) fn require_regular(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            Err(io::Error::other(format!("{} is not a regular file", path.display())))
        }
        _ => Ok(()),
    }
}

/// Writes a file atomically.
pub(crate) fn write_file(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let part = path.with_added_extension("part");
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&part)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(part, path)?;
    // So that the name is durable as well.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
