//! The source that readers read bytes from.

/// Bytes with random access.
pub trait Source: Send + Sync {
    /// Why bytes could not be read.
    type Error: Send;

    /// Number of bytes.
    fn size(&self) -> u64;

    /// Reads exactly `length` bytes at `offset`. Readers request at most 256 KiB at once, and never beyond the end.
    fn read(&self, offset: u64, length: usize) -> impl Future<Output = Result<Vec<u8>, Self::Error>> + Send;
}

/// Maximum number of bytes read at once.
pub(crate) const MAX_READ: usize = 256 << 10;

/// Reads the first bytes of a source, at most `length`.
pub(crate) async fn head<S: Source>(source: &S, length: usize) -> Result<Vec<u8>, S::Error> {
    let length = usize::try_from(source.size()).unwrap_or(usize::MAX).min(length);
    source.read(0, length).await
}
