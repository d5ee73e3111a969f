//! The source that readers read bytes from.

/// Bytes with random access.
pub trait Source: Send + Sync {
    /// Why bytes could not be read.
    type Error: Send;

    /// Number of bytes.
    fn size(&self) -> u64;

    /// Reads exactly `length` bytes at `offset`. Readers request at most 256 KiB at once, and never beyond the end.
    fn read(&self, offset: u64, length: usize) -> impl Future<Output = Result<Vec<u8>, Self::Error>> + Send;

    /// Runs work that takes some milliseconds of a processor: here, unless the caller has threads for that.
    fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> + Send {
        async { work() }
    }
}

/// Maximum number of bytes read at once.
pub(crate) const MAX_READ: usize = 256 << 10;

/// Reads `wanted` bytes at `offset`, or fewer: at most [`MAX_READ`], and none beyond the end.
pub(crate) async fn read_up_to<S: Source>(source: &S, offset: u64, wanted: u64) -> Result<Vec<u8>, S::Error> {
    let length = source.size().saturating_sub(offset).min(wanted).min(MAX_READ as u64);
    source.read(offset, usize::try_from(length).unwrap_or(MAX_READ)).await
}
