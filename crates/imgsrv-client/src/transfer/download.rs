//! Downloads: they resume where the connection broke, and their digest is verified.

use super::{
    CHUNK, STALL_TIMEOUT,
    hashing::Hashing,
    progress::{Observer, Progress, Stage, no_observer},
};
use crate::{client::Client, error::Error};
use bytes::Buf;
use imgsrv_domain::{
    digest::{BlobClaim, ByteSize, Digest},
    hash::RunningHash,
};
use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_RANGE, IF_RANGE, RANGE},
};
use std::{
    fs::TryLockError,
    io::{
        self,
        ErrorKind::{InvalidInput, PermissionDenied, Unsupported},
    },
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
};
use url::Url;

/// Digits of the digest in the name of a partial file.
const PARTIAL_DIGITS: usize = 16;

/// A download that has not started; made by [`Client::download_blob`] and [`Client::download_artifact`].
#[must_use = "nothing is received before `to_file` or `to_writer`"]
pub struct Download(Result<Receiver, Error>);

impl Client {
    /// Downloads a blob.
    pub fn download_blob(&self, digest: Digest, size: ByteSize) -> Download {
        let url = self.endpoint(["v1", "blobs", &digest.to_string()]);
        self.download(url, &digest.to_string(), size.signed())
    }

    /// Downloads an artifact of a published version.
    pub fn download_artifact(&self, image: &str, version: &str, artifact: &imgsrv_api::Artifact) -> Download {
        let url = self.endpoint(["v1", "images", image, "versions", version, "artifacts", &artifact.id, "download"]);
        self.download(url, &artifact.primary_blob_digest, artifact.primary_blob_size_bytes)
    }

    /// Downloads an attachment of a published version.
    pub fn download_attachment(&self, image: &str, version: &str, attachment: &imgsrv_api::Attachment) -> Download {
        let path = ["v1", "images", image, "versions", version, "artifacts", &attachment.artifact_id, "attachments"];
        let url = self.endpoint(path.into_iter().chain([&*attachment.id, "download"]));
        self.download(url, &attachment.blob_digest, attachment.blob_size_bytes)
    }

    /// Downloads a file of a published version.
    pub fn download_file(&self, image: &str, version: &str, file: &imgsrv_api::ReleaseFile) -> Download {
        self.download(self.file_url(image, version, &file.name), &file.digest, file.size_bytes)
    }

    fn download(&self, url: Url, digest: &str, size_bytes: i64) -> Download {
        let declared = || {
            let digest = digest.parse().map_err(Error::invalid_response)?;
            Ok(BlobClaim { digest, size: ByteSize::try_from(size_bytes).map_err(Error::invalid_response)? })
        };
        let (client, observer) = (self.clone(), no_observer());
        Download(declared().map(|declared| Receiver { client, url, declared, observer }))
    }
}

impl Download {
    /// Calls `observer` with the progress; often, so it should be quick.
    pub fn on_progress(self, observer: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(self.0.map(|receiver| Receiver { observer: Arc::new(observer), ..receiver }))
    }

    /// How many bytes an interrupted download to `path` has left behind, from which [`Download::to_file`] resumes.
    pub fn partial_bytes(&self, path: &Path) -> u64 {
        let partial = self.0.as_ref().ok().map(|receiver| receiver.partial_path(path));
        partial.and_then(|partial| std::fs::metadata(partial).ok()).map_or(0, |metadata| metadata.len())
    }

    /// Downloads into a file, which appears under its name once its bytes are verified and durable.
    ///
    /// Until then they are in `.{name}.{start of the digest}.part` in the same folder; a later call resumes from it.
    pub async fn to_file(self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.0?.to_file(path.as_ref()).await
    }

    /// Writes the bytes to `writer` as they arrive. They are verified only once this has returned.
    pub async fn to_writer(self, writer: &mut (impl AsyncWrite + Unpin + Send)) -> Result<(), Error> {
        let receiver = self.0?;
        let path = Path::new("the output");
        let hash = receiver.receive(RunningHash::default(), writer, path).await?;
        writer.flush().await.map_err(Error::file("written", path))?;
        receiver.verify(hash)
    }
}

/// Receives the bytes of a blob.
struct Receiver {
    client: Client,
    url: Url,
    declared: BlobClaim,
    observer: Observer,
}

impl Receiver {
    async fn to_file(&self, path: &Path) -> Result<(), Error> {
        if self.is_there(path).await {
            return Ok(());
        }
        let partial = self.partial_path(path);
        let mut file = open_partial(&partial).map_err(Error::file("written", path))?;
        let mut hash = self.hash_existing(&mut file, &partial).await?;
        let mut is_resumed = hash.bytes() > 0;
        loop {
            hash = self.receive(hash, &mut file, &partial).await?;
            file.flush().await.map_err(Error::file("written", &partial))?;
            match self.verify(hash) {
                Ok(()) => break,
                // The partial file was damaged: start again.
                Err(Error::DigestMismatch { .. }) if is_resumed => {
                    hash = truncate(&mut file, &partial).await?;
                    is_resumed = false;
                }
                Err(damaged) => {
                    let _ = tokio::fs::remove_file(&partial).await;
                    return Err(damaged);
                }
            }
        }
        file.sync_all().await.map_err(Error::file("written", &partial))?;
        tokio::fs::rename(&partial, path).await.map_err(Error::file("written", path))?;
        sync_folder_of(path).await.map_err(Error::file("written", path))
    }

    /// Whether the file is there already, whole and with the right digest.
    async fn is_there(&self, path: &Path) -> bool {
        let Ok(metadata) = tokio::fs::metadata(path).await else { return false };
        if !metadata.is_file() || metadata.len() != self.declared.size.get() {
            return false;
        }
        let Ok(mut file) = File::open(path).await else { return false };
        self.hash_existing(&mut file, path).await.is_ok_and(|hash| self.verify(hash).is_ok())
    }

    fn partial_path(&self, path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.with_file_name(format!(".{name}.{:.PARTIAL_DIGITS$}.part", self.declared.digest.hex()))
    }

    /// Hashes what a file has; one that is too long is truncated.
    async fn hash_existing(&self, file: &mut File, path: &Path) -> Result<RunningHash, Error> {
        let mut hash = RunningHash::default();
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = file.read(&mut buffer).await.map_err(Error::file("read", path))?;
            if read == 0 {
                return Ok(hash);
            }
            hash.update(&buffer[..read]);
            if hash.bytes() > self.declared.size.get() {
                return truncate(file, path).await;
            }
            self.report(Stage::Hashing, hash.bytes());
        }
    }

    /// Receives what `hash` lacks; returns the hash of all bytes.
    async fn receive(
        &self,
        hash: RunningHash,
        writer: &mut (impl AsyncWrite + Unpin + Send),
        path: &Path,
    ) -> Result<RunningHash, Error> {
        let mut retries = self.client.retry().retries();
        self.report(Stage::Receiving, hash.bytes());
        let mut hash = Hashing::resume(hash);
        while hash.bytes() < self.declared.size.get() {
            let before = hash.bytes();
            if let Err(error) = self.receive_once(&mut hash, writer, path).await {
                if hash.bytes() > before {
                    retries.reset();
                }
                retries.wait_after(error).await?;
            }
        }
        hash.end().await
    }

    async fn receive_once(
        &self,
        hash: &mut Hashing,
        writer: &mut (impl AsyncWrite + Unpin + Send),
        path: &Path,
    ) -> Result<(), Error> {
        let size = self.declared.size.get();
        let (mut response, mut skip) = self.open(hash.bytes()).await?;
        while let Some(mut bytes) = until_stalled(response.chunk()).await?.map_err(Error::Unreachable)? {
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
            bytes.advance(skipped);
            skip -= skipped as u64;
            if hash.bytes() + bytes.len() as u64 > size {
                return Err(self.invalid("more bytes than requested"));
            }
            writer.write_all(&bytes).await.map_err(Error::file("written", path))?;
            hash.update(bytes).await?;
            self.report(Stage::Receiving, hash.bytes());
        }
        if hash.bytes() < size { Err(Error::Incomplete(size - hash.bytes())) } else { Ok(()) }
    }

    /// Requests the bytes from `offset` on. Returns how many bytes of the response to skip: a proxy may ignore ranges.
    async fn open(&self, offset: u64) -> Result<(Response, u64), Error> {
        let etag = format!("\"{}\"", self.declared.digest);
        let request = |token: Option<&_>| {
            let request = self.client.request(Method::GET, self.url.clone(), token);
            if offset == 0 {
                return request;
            }
            request.header(RANGE, format!("bytes={offset}-")).header(IF_RANGE, &etag)
        };
        let response = until_stalled(self.client.authenticated(request)).await??;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok((response, offset));
        }
        let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let start = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse().ok());
        if start == Some(offset) { Ok((response, 0)) } else { Err(self.invalid("a different range than requested")) }
    }

    fn invalid(&self, what: &str) -> Error {
        Error::invalid_response(format!("the response for {} has {what}", self.url.path()))
    }

    fn verify(&self, hash: RunningHash) -> Result<(), Error> {
        let (expected, actual) = (self.declared.digest, hash.finish());
        if actual == expected { Ok(()) } else { Err(Error::DigestMismatch { expected, actual }) }
    }

    fn report(&self, stage: Stage, done: u64) {
        (self.observer)(Progress { stage, done, total: self.declared.size.get() });
    }
}

/// Opens a partial file, new or not, for this download alone.
fn open_partial(path: &Path) -> io::Result<File> {
    let file = std::fs::File::options().create(true).read(true).append(true).open(path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(io::Error::other("another download of it is running")),
        // Some file systems have no locks.
        Err(TryLockError::Error(_)) | Ok(()) => Ok(File::from_std(file)),
    }
}

/// Makes the name of `path` in its folder durable.
async fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = async { File::open(folder).await?.sync_all().await };
    match synced.await {
        // A folder that may not be read, or a file system or operating system that cannot sync folders.
        Err(error) if matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported) => Ok(()),
        synced => synced,
    }
}

/// Empties a file that is open for appending; the hash of nothing.
async fn truncate(file: &mut File, path: &Path) -> Result<RunningHash, Error> {
    file.set_len(0).await.map_err(Error::file("written", path))?;
    Ok(RunningHash::default())
}

async fn until_stalled<T>(work: impl Future<Output = T>) -> Result<T, Error> {
    tokio::time::timeout(STALL_TIMEOUT, work).await.map_err(|_| Error::Stalled(STALL_TIMEOUT))
}
