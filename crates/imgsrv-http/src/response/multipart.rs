//! Several ranges of a representation in one body (RFC 9110, section 14.6).

use axum::body::Bytes;
use imgsrv_domain::digest::BlobClaim;
use std::ops::Range;

/// A body of the type `multipart/byteranges`.
pub(super) struct ByteRanges {
    boundary: String,
    /// Each range, after the bytes that precede it.
    parts: Vec<(Bytes, Range<u64>)>,
}

impl ByteRanges {
    /// A body with these ranges of the representation, whose bytes and media type are given.
    pub(super) fn new(claim: &BlobClaim, media_type: &str, ranges: Vec<Range<u64>>) -> Self {
        // The representation does not contain its own digest, so its bytes cannot look like the end of a part.
        let mut boundary = claim.digest.hex();
        boundary.truncate(32);
        let size = claim.size.get();
        let head = |Range { start, end }: &Range<u64>| {
            let last = end.saturating_sub(1);
            format!(
                "\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: bytes {start}-{last}/{size}\r\n\r\n"
            )
        };
        let parts = ranges.into_iter().map(|range| (head(&range).into(), range)).collect();
        Self { boundary, parts }
    }

    /// Its media type.
    pub(super) fn media_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// Its size in bytes.
    pub(super) fn size(&self) -> u64 {
        let size_of = |(head, range): &(Bytes, Range<u64>)| head.len() as u64 + (range.end - range.start);
        self.parts.iter().map(size_of).sum::<u64>() + self.end().len() as u64
    }

    /// Its ranges, each after the bytes that precede it; and the bytes at its end.
    pub(super) fn into_parts(self) -> (Vec<(Bytes, Range<u64>)>, Bytes) {
        let end = self.end();
        (self.parts, end)
    }

    fn end(&self) -> Bytes {
        format!("\r\n--{}--\r\n", self.boundary).into()
    }
}
