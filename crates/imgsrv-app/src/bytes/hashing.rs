//! Hashing of bytes from the blob store on blocking threads, so that it does not delay the runtime.

use bytes::Bytes;
use futures::TryStreamExt;
use imgsrv_domain::ports::{BlobError, BlobStream};
use tokio::task::spawn_blocking;

/// Bytes that are hashed by one job.
const BATCH_BYTES: usize = 1 << 20;

/// Passes every chunk of `bytes` to `update`, on blocking threads and while the next chunks are read. Returns `hashes` when
/// all chunks have been processed.
pub(crate) async fn hash_stream<H: Send + 'static>(
    mut bytes: BlobStream,
    hashes: H,
    update: fn(&mut H, &[u8]),
) -> Result<H, BlobError> {
    let mut hashing = spawn_blocking(move || hashes);
    loop {
        let batch = next_batch(&mut bytes).await?;
        let mut hashes = hashing.await.map_err(BlobError::unavailable)?;
        if batch.is_empty() {
            return Ok(hashes);
        }
        hashing = spawn_blocking(move || {
            for chunk in &batch {
                update(&mut hashes, chunk);
            }
            hashes
        });
    }
}

/// The next chunks; none at the end.
async fn next_batch(bytes: &mut BlobStream) -> Result<Vec<Bytes>, BlobError> {
    let (mut batch, mut length) = (Vec::new(), 0);
    while length < BATCH_BYTES
        && let Some(chunk) = bytes.try_next().await?
    {
        length += chunk.len();
        batch.push(chunk);
    }
    Ok(batch)
}
