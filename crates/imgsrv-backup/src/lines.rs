//! Files with one record a line, compressed.

use crate::{
    error::{BackupError, at},
    folder::{Folder, NewFile},
    manifest::RecordFile,
};
use imgsrv_domain::digest::Digest;
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
};

/// The longest line that is read.
const MAX_LINE: u64 = 16 << 20;
/// The largest window of the decoder, as a power of two.
const MAX_WINDOW: u32 = 27;

/// Writes a file of records.
pub(crate) struct LineWriter {
    encoder: zstd::Encoder<'static, Hashing<NewFile>>,
    path: PathBuf,
    kind: String,
    name: String,
    content_bytes: u64,
    records: u64,
}

impl LineWriter {
    /// Creates the file `name` with records of `kind`.
    pub(crate) fn create(folder: &Folder, kind: &str, name: String) -> Result<Self, BackupError> {
        let path = folder.path().join(&name);
        let file = Hashing { inner: NewFile::create(&path)?, hash: Sha256::new(), bytes: 0 };
        let encoder = zstd::Encoder::new(file, 0).map_err(at(&path))?;
        Ok(Self { encoder, path, kind: kind.to_owned(), name, content_bytes: 0, records: 0 })
    }

    /// Writes a record.
    pub(crate) fn write(&mut self, line: &str) -> Result<(), BackupError> {
        let written = self.encoder.write_all(line.as_bytes()).and_then(|()| self.encoder.write_all(b"\n"));
        written.map_err(at(&self.path))?;
        self.content_bytes += line.len() as u64 + 1;
        self.records += 1;
        Ok(())
    }

    /// Makes the file durable under its name.
    pub(crate) fn finish(self, folder: &mut Folder) -> Result<RecordFile, BackupError> {
        let Hashing { inner, hash, bytes } = self.encoder.finish().map_err(at(&self.path))?;
        folder.place(inner)?;
        Ok(RecordFile {
            kind: self.kind,
            path: self.name,
            digest: Digest::new(hash.finalize().into()).to_string(),
            bytes,
            content_bytes: self.content_bytes,
            records: self.records,
        })
    }
}

/// Reads a file of records, and checks that it has what the manifest says.
pub(crate) struct LineReader {
    decoder: BufReader<zstd::Decoder<'static, BufReader<File>>>,
    path: PathBuf,
    left_bytes: u64,
    left_records: u64,
    line: Vec<u8>,
}

impl LineReader {
    /// Opens the file `file` of the backup in `folder`.
    pub(crate) fn open(folder: &Path, file: &RecordFile) -> Result<Self, BackupError> {
        let path = folder.join(&file.path);
        let opened = File::open(&path).and_then(|opened| {
            let mut decoder = zstd::Decoder::new(opened)?;
            decoder.window_log_max(MAX_WINDOW)?;
            Ok(decoder)
        });
        let decoder = BufReader::new(opened.map_err(at(&path))?);
        Ok(Self { decoder, path, left_bytes: file.content_bytes, left_records: file.records, line: Vec::new() })
    }

    /// The next record; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<&str>, BackupError> {
        self.line.clear();
        // One byte more than is left, so that a file that decompresses to more than the manifest says is noticed.
        let limit = MAX_LINE.min(self.left_bytes.saturating_add(1));
        let read = (&mut self.decoder).take(limit).read_until(b'\n', &mut self.line);
        let read = read.map_err(|error| BackupError::damaged(&self.path, error))? as u64;
        if read == 0 {
            let is_whole = self.left_bytes == 0 && self.left_records == 0;
            let damaged = || BackupError::damaged(&self.path, "it is shorter than the manifest says");
            return if is_whole { Ok(None) } else { Err(damaged()) };
        }
        if read > self.left_bytes || self.left_records == 0 {
            return Err(BackupError::damaged(&self.path, "it is longer than the manifest says"));
        }
        if self.line.pop() != Some(b'\n') {
            return Err(BackupError::damaged(&self.path, "a line is too long"));
        }
        (self.left_bytes, self.left_records) = (self.left_bytes - read, self.left_records - 1);
        std::str::from_utf8(&self.line).map(Some).map_err(|_| BackupError::damaged(&self.path, "a line is not UTF-8"))
    }

    /// What is wrong with the record that was read last.
    pub(crate) fn damaged(&self, why: impl ToString) -> BackupError {
        BackupError::damaged(&self.path, why)
    }
}

/// The digest of a file, and its size.
pub(crate) fn digest_of(path: &Path) -> Result<(Digest, u64), BackupError> {
    let mut hashing = Hashing { inner: io::sink(), hash: Sha256::new(), bytes: 0 };
    let file = File::open(path).map_err(at(path))?;
    io::copy(&mut BufReader::with_capacity(256 << 10, file), &mut hashing).map_err(at(path))?;
    Ok((Digest::new(hashing.hash.finalize().into()), hashing.bytes))
}

/// Checks that a file has the digest and the size that the manifest says.
pub(crate) fn check(folder: &Path, file: &RecordFile) -> Result<(), BackupError> {
    let path = folder.join(&file.path);
    let (digest, bytes) = digest_of(&path)?;
    if digest.to_string() == file.digest && bytes == file.bytes {
        Ok(())
    } else {
        Err(BackupError::damaged(&path, format!("it has {bytes} bytes and the digest {digest}, not {}", file.digest)))
    }
}

/// Hashes what is written.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hash.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
