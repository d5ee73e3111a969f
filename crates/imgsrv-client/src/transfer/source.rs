//! What is sent: a file, or bytes at hand.

use super::{Observer, Progress, Stage, digest_text};
use crate::error::Error;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use std::{
    io::{self, Read, SeekFrom},
    path::PathBuf,
    time::SystemTime,
};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
};
use tokio_util::io::ReaderStream;

/// Bytes read from a file at once.
const CHUNK: usize = 512 << 10;

/// What is sent.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file. It is read more than once, and must not change meanwhile.
    File(PathBuf),
    /// Bytes at hand.
    Bytes(Bytes),
}

impl<T: Into<PathBuf>> From<T> for Source {
    fn from(path: T) -> Self {
        Self::File(path.into())
    }
}

/// What a source is, as far as the outside tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) size: u64,
    modified: Option<SystemTime>,
}

impl Source {
    /// The file's name, if it is one that can be told.
    pub fn file_name(&self) -> Option<&str> {
        match self {
            Self::File(path) => path.file_name()?.to_str(),
            Self::Bytes(_) => None,
        }
    }

    /// What its bytes are, without sending them: for a server that is known to have them.
    pub(crate) async fn blob(&self, observer: Observer) -> Result<super::Blob, Error> {
        let shape = self.shape().await?;
        let digest = self.digest(shape, Some(observer)).await?;
        let size_bytes = i64::try_from(shape.size).map_err(|error| Error::Answer(Box::new(error)))?;
        Ok(super::Blob { digest, size_bytes, was_there: true })
    }

    pub(super) async fn shape(&self) -> Result<Shape, Error> {
        match self {
            Self::Bytes(bytes) => Ok(Shape { size: bytes.len() as u64, modified: None }),
            Self::File(path) => {
                let metadata = tokio::fs::metadata(path).await.map_err(Error::file("read", path))?;
                if !metadata.is_file() {
                    let no_file = io::Error::new(io::ErrorKind::InvalidInput, "it is not a file");
                    return Err(Error::file("read", path)(no_file));
                }
                Ok(Shape { size: metadata.len(), modified: metadata.modified().ok() })
            }
        }
    }

    /// Makes sure that it still is what it was.
    pub(super) async fn check_unchanged(&self, then: Shape) -> Result<(), Error> {
        match self {
            Self::File(path) if self.shape().await? != then => Err(Error::FileChanged(path.clone())),
            _ => Ok(()),
        }
    }

    /// Its digest, read once from beginning to end.
    pub(super) async fn digest(&self, shape: Shape, observer: Option<Observer>) -> Result<String, Error> {
        let path = match self {
            Self::Bytes(bytes) => return Ok(digest_text(Sha256::digest(bytes))),
            Self::File(path) => path.clone(),
        };
        let hashing = tokio::task::spawn_blocking(move || {
            let mut file = std::fs::File::open(&path).map_err(Error::file("read", &path))?;
            let (mut hash, mut buffer, mut done) = (Sha256::new(), vec![0; CHUNK], 0);
            loop {
                let read = file.read(&mut buffer).map_err(Error::file("read", &path))?;
                if read == 0 {
                    break;
                }
                hash.update(&buffer[..read]);
                done += read as u64;
                if let Some(observer) = &observer {
                    observer(Progress { stage: Stage::Hashing, done, total: shape.size });
                }
            }
            if done == shape.size { Ok(digest_text(hash.finalize())) } else { Err(Error::FileChanged(path)) }
        });
        hashing.await.map_err(|panic| Error::Answer(Box::new(panic)))?
    }

    /// Some of its bytes, opened when they are first asked for.
    pub(super) fn range(&self, offset: u64, size: u64) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
        let source = self.clone();
        let opening = async move {
            match source {
                Self::Bytes(bytes) => {
                    let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
                    let slice = bytes.slice(at(offset)..at(offset.saturating_add(size)));
                    Ok(stream::iter([Ok(slice)]).left_stream())
                }
                Self::File(path) => {
                    let mut file = File::open(path).await?;
                    file.set_max_buf_size(CHUNK);
                    file.seek(SeekFrom::Start(offset)).await?;
                    Ok::<_, io::Error>(ReaderStream::with_capacity(file.take(size), CHUNK).right_stream())
                }
            }
        };
        stream::once(opening).try_flatten()
    }
}
