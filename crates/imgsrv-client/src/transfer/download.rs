//! Receiving bytes: going on where the connection broke, and sure that they are the right ones.

use super::{Observer, Progress, Stage, digest_text};
use crate::{
    client::{Client, STALL},
    error::Error,
};
use bytes::Buf;
use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_RANGE, IF_RANGE, RANGE},
};
use sha2::{Digest, Sha256};
use std::{
    fs::TryLockError,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
};
use url::Url;

const CHUNK: usize = 512 << 10;

/// A download to be done; made by [`Client::download_blob`] and [`Client::download_artifact`].
#[must_use = "nothing is received before `to_file` or `to_writer`"]
pub struct Download {
    client: Client,
    url: Url,
    digest: String,
    size: u64,
    observer: Option<Observer>,
    was_resumed: AtomicBool,
}

impl Client {
    /// Downloads a blob by its digest.
    pub fn download_blob(&self, digest: &str, size_bytes: i64) -> Download {
        self.download(self.at(["v1", "blobs", digest]), digest, size_bytes)
    }

    /// Downloads the bytes of an artifact of a published version.
    pub fn download_artifact(&self, image: &str, version: &str, artifact: &imgsrv_api::Artifact) -> Download {
        let mut url = self.artifact_url(image, version, &artifact.id);
        if let Ok(mut path) = url.path_segments_mut() {
            path.push("download");
        }
        self.download(url, &artifact.primary_blob_digest, artifact.primary_blob_size_bytes)
    }

    /// Downloads the bytes of an attachment of a published version.
    pub fn download_attachment(&self, image: &str, version: &str, attachment: &imgsrv_api::Attachment) -> Download {
        let mut url = self.artifact_url(image, version, &attachment.artifact_id);
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend(["attachments", &attachment.id, "download"]);
        }
        self.download(url, &attachment.blob_digest, attachment.blob_size_bytes)
    }

    /// Downloads a file of a published version.
    pub fn download_file(&self, image: &str, version: &str, file: &imgsrv_api::ReleaseFile) -> Download {
        self.download(self.at(["images", image, version, &file.name]), &file.digest, file.size_bytes)
    }

    fn download(&self, url: Url, digest: &str, size_bytes: i64) -> Download {
        let size = u64::try_from(size_bytes).unwrap_or(0);
        Download {
            client: self.clone(),
            url,
            digest: digest.to_owned(),
            size,
            observer: None,
            was_resumed: AtomicBool::new(false),
        }
    }
}

impl Download {
    /// Tells `observer` how far it has come; it is called often and should be quick.
    pub fn observed_by(self, observer: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self { observer: Some(Arc::new(observer)), ..self }
    }

    /// Downloads into a file, which appears under its name once it is whole, right and durable.
    ///
    /// Until then it is `.{name}.{start of the digest}.part` beside it; a later call goes on with that.
    pub async fn to_file(self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        match self.to_file_once(path).await {
            // What an earlier try had left was rotten; it is gone now.
            Err(Error::Damaged { .. }) if self.was_resumed.load(Ordering::Relaxed) => self.to_file_once(path).await,
            done => done,
        }
    }

    async fn to_file_once(&self, path: &Path) -> Result<(), Error> {
        let part = self.partial(path);
        if self.is_there(path).await {
            return Ok(());
        }
        let mut file = open_partial(&part).map_err(Error::file("opened", &part))?;
        let mut hash = Sha256::new();
        let mut done = self.hash_existing(&mut file, &part, &mut hash).await?;
        self.was_resumed.store(done > 0, Ordering::Relaxed);
        self.receive(&mut hash, &mut done, &mut file, &part).await?;
        file.flush().await.map_err(Error::file("written", &part))?;
        file.sync_all().await.map_err(Error::file("written", &part))?;
        if let Err(damaged) = self.check(hash) {
            // Going on with these bytes would never make them right.
            let _ = tokio::fs::remove_file(&part).await;
            return Err(damaged);
        }
        tokio::fs::rename(&part, path).await.map_err(Error::file("written", path))
    }

    /// Writes the bytes to `writer` as they come. They are what they must be only once this has returned.
    pub async fn to_writer(self, writer: &mut (impl AsyncWrite + Unpin + Send)) -> Result<(), Error> {
        let mut hash = Sha256::new();
        let path = PathBuf::from("the output");
        self.receive(&mut hash, &mut 0, writer, &path).await?;
        writer.flush().await.map_err(Error::file("written", &path))?;
        self.check(hash)
    }

    /// Whether the file is there already, whole and right.
    async fn is_there(&self, path: &Path) -> bool {
        let Ok(metadata) = tokio::fs::metadata(path).await else { return false };
        if !metadata.is_file() || metadata.len() != self.size {
            return false;
        }
        let Ok(mut file) = File::open(path).await else { return false };
        let mut hash = Sha256::new();
        self.hash_existing(&mut file, path, &mut hash).await.is_ok() && self.check(hash).is_ok()
    }

    fn partial(&self, path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let digest: String = self.digest.chars().skip_while(|c| *c != ':').skip(1).take(16).collect();
        path.with_file_name(format!(".{name}.{digest}.part"))
    }

    /// Hashes what an earlier try has received; what is too much is cut off.
    async fn hash_existing(&self, file: &mut File, path: &Path, hash: &mut Sha256) -> Result<u64, Error> {
        let mut buffer = vec![0; CHUNK];
        let mut done = 0;
        loop {
            let read = file.read(&mut buffer).await.map_err(Error::file("read", path))?;
            if read == 0 {
                break;
            }
            done += read as u64;
            if done > self.size {
                file.set_len(0).await.map_err(Error::file("written", path))?;
                *hash = Sha256::new();
                return Ok(0);
            }
            hash.update(&buffer[..read]);
            self.tell(Stage::Hashing, done);
        }
        Ok(done)
    }

    /// Receives from `done` on until all is there.
    async fn receive(
        &self,
        hash: &mut Sha256,
        done: &mut u64,
        writer: &mut (impl AsyncWrite + Unpin + Send),
        path: &Path,
    ) -> Result<(), Error> {
        let mut attempts = self.client.retry().attempts();
        self.tell(Stage::Receiving, *done);
        while *done < self.size {
            let before = *done;
            let error = match self.receive_some(hash, done, writer, path).await {
                Ok(()) => continue,
                Err(error) if error.is_passing() => error,
                Err(error) => return Err(error),
            };
            if *done > before {
                attempts.moved();
            }
            attempts.after(error).await?;
        }
        Ok(())
    }

    async fn receive_some(
        &self,
        hash: &mut Sha256,
        done: &mut u64,
        writer: &mut (impl AsyncWrite + Unpin + Send),
        path: &Path,
    ) -> Result<(), Error> {
        let (mut response, mut skip) = self.open(*done).await?;
        while let Some(mut bytes) = next(&mut response).await? {
            let passed = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
            bytes.advance(passed);
            skip -= passed as u64;
            let more = *done + bytes.len() as u64;
            if more > self.size {
                return Err(self.strange("more bytes than it should have"));
            }
            writer.write_all(&bytes).await.map_err(Error::file("written", path))?;
            hash.update(&bytes);
            *done = more;
            self.tell(Stage::Receiving, more);
        }
        if *done < self.size { Err(Error::Incomplete(self.size - *done)) } else { Ok(()) }
    }

    /// Asks for the bytes from `offset` on, and says how many must be passed over: something between here and the server
    /// may know no ranges.
    async fn open(&self, offset: u64) -> Result<(Response, u64), Error> {
        let etag = format!("\"{}\"", self.digest);
        let request = |token: Option<&_>| {
            let request = self.client.bare(Method::GET, self.url.clone(), token);
            if offset == 0 {
                return request;
            }
            request.header(RANGE, format!("bytes={offset}-")).header(IF_RANGE, &etag)
        };
        let opening = self.client.authenticated(request);
        let response = tokio::time::timeout(STALL, opening).await.map_err(|_| Error::Stalled(STALL))??;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok((response, offset));
        }
        let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let starts_at = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
        if starts_at == Some(offset) { Ok((response, 0)) } else { Err(self.strange("other bytes than were asked for")) }
    }

    fn strange(&self, what: &str) -> Error {
        Error::Answer(format!("{} came with {what}", self.url.path()).into())
    }

    fn check(&self, hash: Sha256) -> Result<(), Error> {
        let actual = digest_text(hash.finalize());
        if actual == self.digest { Ok(()) } else { Err(Error::Damaged { expected: self.digest.clone(), actual }) }
    }

    fn tell(&self, stage: Stage, done: u64) {
        if let Some(observer) = &self.observer {
            observer(Progress { stage, done, total: self.size });
        }
    }
}

/// Opens what an earlier try has left, or a new file, for this download alone.
fn open_partial(path: &Path) -> io::Result<File> {
    let file = std::fs::File::options().create(true).read(true).append(true).open(path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(io::Error::other("another download of it is running")),
        // Some file systems have no locks.
        Err(TryLockError::Error(_)) | Ok(()) => Ok(File::from_std(file)),
    }
}

async fn next(response: &mut Response) -> Result<Option<bytes::Bytes>, Error> {
    let next = tokio::time::timeout(STALL, response.chunk()).await;
    next.map_err(|_| Error::Stalled(STALL))?.map_err(Error::Unreachable)
}
