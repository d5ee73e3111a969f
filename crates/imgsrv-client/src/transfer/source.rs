//! What is uploaded: a file, or bytes in memory.

use super::{
    Blob, CHUNK,
    progress::{Observer, Progress, Stage},
};
use crate::error::Error;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use imgsrv_domain::{
    digest::{BlobClaim, ByteSize},
    hash::RunningHash,
};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::SystemTime,
};
use tokio::sync::mpsc::{Sender, channel};

/// Chunks that are read before they are sent, at most.
const READ_AHEAD: usize = 2;

/// What is uploaded.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file. It is read more than once, and must not change meanwhile.
    File(PathBuf),
    /// Bytes in memory.
    Bytes(Bytes),
}

impl<T: Into<PathBuf>> From<T> for Source {
    fn from(path: T) -> Self {
        Self::File(path.into())
    }
}

/// Size and modification time of a source, by which a change is detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) size: ByteSize,
    modified: Option<SystemTime>,
}

impl Source {
    /// The file's name, if the source is a file whose name is UTF-8.
    pub fn file_name(&self) -> Option<&str> {
        match self {
            Self::File(path) => path.file_name()?.to_str(),
            Self::Bytes(_) => None,
        }
    }

    /// The blob of its bytes on a server that is known to have it.
    pub(crate) async fn stored_blob(&self, observer: Observer) -> Result<Blob, Error> {
        let BlobClaim { digest, size } = self.hash(self.snapshot().await?, observer).await?;
        Ok(Blob { digest, size, already_stored: true })
    }

    pub(super) async fn snapshot(&self) -> Result<Snapshot, Error> {
        let (size, modified) = match self {
            Self::Bytes(bytes) => (bytes.len() as u64, None),
            Self::File(path) => {
                let metadata = tokio::fs::metadata(path).await.map_err(Error::file("read", path))?;
                if !metadata.is_file() {
                    let no_file = io::Error::new(io::ErrorKind::InvalidInput, "it is not a file");
                    return Err(Error::file("read", path)(no_file));
                }
                (metadata.len(), metadata.modified().ok())
            }
        };
        Ok(Snapshot { size: ByteSize::try_from(size).map_err(Error::internal)?, modified })
    }

    /// Fails if it has changed since `snapshot`.
    pub(super) async fn check_unchanged(&self, snapshot: Snapshot) -> Result<(), Error> {
        match self {
            Self::File(path) if self.snapshot().await? != snapshot => Err(Error::FileChanged(path.clone())),
            _ => Ok(()),
        }
    }

    /// Its digest and size. Reads it once from beginning to end.
    pub(super) async fn hash(&self, snapshot: Snapshot, observer: Observer) -> Result<BlobClaim, Error> {
        let size = snapshot.size;
        let mut hash = RunningHash::default();
        let path = match self {
            Self::Bytes(bytes) => {
                let bytes = bytes.clone();
                let hashing = tokio::task::spawn_blocking(move || {
                    hash.update(&bytes);
                    hash.finish()
                });
                return Ok(BlobClaim { digest: hashing.await.map_err(Error::internal)?, size });
            }
            Self::File(path) => path.clone(),
        };
        let hashing = tokio::task::spawn_blocking(move || {
            let mut file = File::open(&path).map_err(Error::file("read", &path))?;
            let mut buffer = vec![0; CHUNK];
            loop {
                let read = file.read(&mut buffer).map_err(Error::file("read", &path))?;
                if read == 0 {
                    break;
                }
                hash.update(&buffer[..read]);
                observer(Progress { stage: Stage::Hashing, done: hash.bytes(), total: size.get() });
            }
            let is_whole = hash.bytes() == size.get();
            if is_whole { Ok(BlobClaim { digest: hash.finish(), size }) } else { Err(Error::FileChanged(path)) }
        });
        hashing.await.map_err(Error::internal)?
    }

    /// Some of its bytes. A file is opened when the stream is first polled, and then read ahead on another thread.
    pub(super) fn range(&self, offset: u64, size: u64) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        let source = self.clone();
        let opening = async move {
            match source {
                Self::Bytes(bytes) => {
                    let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
                    let slice = bytes.slice(at(offset)..at(offset.saturating_add(size)));
                    stream::iter([Ok(slice)]).left_stream()
                }
                Self::File(path) => {
                    let (sender, chunks) = channel(READ_AHEAD);
                    tokio::task::spawn_blocking(move || {
                        if let Err(error) = read_ahead(&path, offset, size, &sender) {
                            // Nobody waits for a stream that was dropped.
                            let _ = sender.blocking_send(Err(error));
                        }
                    });
                    stream::unfold(chunks, async |mut chunks| Some((chunks.recv().await?, chunks))).right_stream()
                }
            }
        };
        stream::once(opening).flatten()
    }
}

/// Sends `size` bytes of a file from `offset` on, unless nobody receives them any more.
fn read_ahead(path: &Path, offset: u64, size: u64, sender: &Sender<io::Result<Bytes>>) -> io::Result<()> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut rest = file.take(size);
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        rest.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)?;
        if chunk.is_empty() || sender.blocking_send(Ok(chunk.into())).is_err() {
            return Ok(());
        }
    }
}
