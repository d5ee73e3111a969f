//! Where bytes are read from.

/// Bytes that can be read anywhere in them.
pub trait Source: Send + Sync {
    /// Why they could not be read.
    type Error: Send;

    /// How many there are.
    fn size(&self) -> u64;

    /// Exactly `length` bytes from `offset` on. Readers ask for at most 256 KiB at once, and never beyond the end.
    fn read(&self, offset: u64, length: usize) -> impl Future<Output = Result<Vec<u8>, Self::Error>> + Send;
}

/// The most bytes that are read at once.
pub(crate) const MAX_READ: usize = 256 << 10;

/// The first bytes of a source, at most `length`.
pub(crate) async fn head<S: Source>(source: &S, length: usize) -> Result<Vec<u8>, S::Error> {
    let length = usize::try_from(source.size()).unwrap_or(usize::MAX).min(length);
    source.read(0, length).await
}
