//! The index of the write-ahead log, which shows without a query whether anything was committed.

use super::file::beside;
use imgsrv_domain::ports::ChangeMark;
use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

/// Size of the header of the index, of which there are two copies at its start
/// (<https://sqlite.org/walformat.html#the_wal_index_header>).
const HEADER_BYTES: usize = 48;
/// Where the header has a 1 once it was written.
const IS_WRITTEN: usize = 12;

/// The index of a catalog's log, which SQLite shares between processes through memory of this file. Each commit of any
/// process changes its header, among others the number and the checksum of the last frame, when it becomes visible to readers.
///
/// Drop it after the connections of the catalog are closed: closing a descriptor of the file releases the locks that SQLite
/// has on it in this process.
pub(super) struct WalIndex(File);

impl WalIndex {
    /// That of the catalog at `path`, which connections have open.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        File::open(beside(path, "-shm")).map(Self)
    }

    /// The header; `None` while a commit changes it. Costs one system call that copies memory.
    pub(super) fn mark(&self) -> Option<ChangeMark> {
        let mut copies = [[0; HEADER_BYTES]; 2];
        self.0.read_exact_at(copies.as_flattened_mut(), 0).ok()?;
        // A commit writes one copy after the other, and readers accept only equal ones, as here.
        let [header, copy] = copies;
        (header == copy && header[IS_WRITTEN] == 1).then_some(ChangeMark::new(header))
    }
}
