//! Incremental encoding of a large document of many entries: only what has changed is compressed again.
//!
//! Entries are grouped into chunks whose ends depend on the keys alone, so that an entry that is added, removed or changed
//! changes one chunk. Each chunk is compressed separately and cached. The gzip member is concatenated the way `pigz` does:
//! deflate data that was flushed ends at a byte boundary (RFC 1951, section 3.2.4) and can be followed by more, and
//! checksums can be combined. Zstandard frames can be concatenated (RFC 8878, section 3).

use axum::body::Bytes;
use crc32fast::Hasher;
use flate2::{Compress, Compression, FlushCompress};
use imgsrv_simplestreams::{Entry, Pieces};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, io, sync::Arc};

/// The average number of entries in a chunk.
const CHUNK_ENTRIES: u32 = 64;
/// The most bytes of a chunk.
const MAX_CHUNK: usize = 1 << 20;
/// The length of a document's tag.
const TAG_BYTES: usize = 16;
/// The head of a gzip member: deflate, no flags, no time, any system (RFC 1952, section 2.3).
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// An empty final block of deflate data, with fixed codes.
const DEFLATE_END: [u8; 2] = [3, 0];

/// A document in every encoding.
pub(super) struct Encoded {
    pub(super) plain: Bytes,
    pub(super) gzip: Bytes,
    pub(super) zstd: Bytes,
    /// Identifies the plain document: the same on every node that has the same content.
    pub(super) tag: String,
}

/// A compressed section of a document.
struct Chunk {
    deflate: Vec<u8>,
    zstd: Vec<u8>,
    crc: Hasher,
    digest: [u8; 32],
}

impl Chunk {
    fn of(plain: &[u8]) -> io::Result<Self> {
        let mut compress = Compress::new(Compression::default(), false);
        let mut deflate = Vec::with_capacity(plain.len() / 4 + 64);
        loop {
            let read = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
            compress.compress_vec(&plain[read..], &mut deflate, FlushCompress::Sync).map_err(io::Error::other)?;
            // The output is complete only if the buffer was not filled.
            if compress.total_in() == plain.len() as u64 && deflate.len() < deflate.capacity() {
                break;
            }
            deflate.reserve(plain.len() / 4 + 64);
        }
        let mut crc = Hasher::new();
        crc.update(plain);
        let zstd = zstd::bulk::compress(plain, 3)?;
        Ok(Self { deflate, zstd, crc, digest: Sha256::digest(plain).into() })
    }
}

/// Encodes successive revisions of one document.
#[derive(Default)]
pub(super) struct Encoder {
    /// The chunks of the last revision, by their plain bytes.
    chunks: HashMap<Bytes, Arc<Chunk>>,
}

impl Encoder {
    /// Encodes the document that consists of these pieces.
    pub(super) fn encode(&mut self, document: Pieces<'_>) -> io::Result<Encoded> {
        let Pieces { head, entries, tail } = document;
        let mut plain = head.into_bytes();
        let mut ends = vec![plain.len()];
        for (at, Entry { key, json }) in entries.enumerate() {
            if at > 0 {
                plain.push(b',');
            }
            plain.extend_from_slice(json.as_bytes());
            let is_end = crc32fast::hash(key.as_bytes()).is_multiple_of(CHUNK_ENTRIES);
            if is_end || plain.len() - ends.last().unwrap_or(&0) >= MAX_CHUNK {
                ends.push(plain.len());
            }
        }
        ends.push(plain.len());
        plain.extend_from_slice(tail.as_bytes());
        ends.push(plain.len());
        self.assemble(plain.into(), &ends)
    }

    fn assemble(&mut self, plain: Bytes, ends: &[usize]) -> io::Result<Encoded> {
        let starts = std::iter::once(&0).chain(ends);
        let slices = starts.zip(ends).filter(|(start, end)| start < end).map(|(start, end)| plain.slice(*start..*end));
        let mut chunks = HashMap::new();
        let (mut gzip, mut zstd, mut crc) = (GZIP_HEAD.to_vec(), Vec::new(), Hasher::new());
        let mut digests = Sha256::new();
        for slice in slices {
            let chunk = match self.chunks.get(&slice) {
                Some(chunk) => Arc::clone(chunk),
                None => Arc::new(Chunk::of(&slice)?),
            };
            gzip.extend_from_slice(&chunk.deflate);
            zstd.extend_from_slice(&chunk.zstd);
            crc.combine(&chunk.crc);
            digests.update(chunk.digest);
            chunks.insert(slice, chunk);
        }
        self.chunks = chunks;
        let crc = crc.finalize();
        gzip.extend_from_slice(&DEFLATE_END);
        gzip.extend_from_slice(&crc.to_le_bytes());
        // The size modulo 2^32.
        gzip.extend_from_slice(&(plain.len() as u64).to_le_bytes()[..4]);
        let tag = digests.finalize().iter().take(TAG_BYTES).map(|byte| format!("{byte:02x}")).collect();
        Ok(Encoded { plain, gzip: gzip.into(), zstd: zstd.into(), tag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use std::io::Read;

    fn encode(encoder: &mut Encoder, entries: &[String]) -> Encoded {
        let entries = entries.iter().map(|entry| Entry { key: entry, json: format!("\"{entry}\"") });
        let pieces = Pieces { head: "[".to_owned(), entries: Box::new(entries), tail: "]" };
        encoder.encode(pieces).expect("encoded")
    }

    fn check(encoded: &Encoded, entries: &[String]) {
        let quoted: Vec<String> = entries.iter().map(|entry| format!("\"{entry}\"")).collect();
        let expected = format!("[{}]", quoted.join(","));
        assert_eq!(encoded.plain, expected.as_bytes());
        let mut unpacked = String::new();
        // `GzDecoder` reads one member only.
        GzDecoder::new(&encoded.gzip[..]).read_to_string(&mut unpacked).expect("gzip");
        assert_eq!(unpacked, expected);
        assert_eq!(zstd::decode_all(&encoded.zstd[..]).expect("zstd"), expected.as_bytes());
    }

    #[test]
    fn every_encoding_decodes_to_the_document() {
        for count in [0, 1, 2, 63, 1000] {
            let entries: Vec<String> = (0..count).map(|i| format!("entry {i} {}", "x".repeat(i % 97))).collect();
            check(&encode(&mut Encoder::default(), &entries), &entries);
        }
        let large = vec!["y".repeat(3 << 20), "z".repeat(10)];
        check(&encode(&mut Encoder::default(), &large), &large);
    }

    #[test]
    fn the_tag_depends_on_the_content_alone() {
        let mut entries: Vec<String> = (0..500).map(|i| format!("entry {i}")).collect();
        let mut encoder = Encoder::default();
        let first = encode(&mut encoder, &entries).tag;
        entries.push("one more".to_owned());
        assert_ne!(encode(&mut encoder, &entries).tag, first);
        entries.pop();
        assert_eq!(encode(&mut encoder, &entries).tag, first);
        assert_eq!(encode(&mut Encoder::default(), &entries).tag, first);
    }

    #[test]
    fn unchanged_chunks_are_not_compressed_again() {
        let mut entries: Vec<String> = (0..5000).map(|i| format!("entry {i}")).collect();
        let mut encoder = Encoder::default();
        encode(&mut encoder, &entries);
        let before = encoder.chunks.clone();
        entries.insert(2500, "one more".to_owned());
        entries.remove(100);
        check(&encode(&mut encoder, &entries), &entries);
        let reused = encoder
            .chunks
            .iter()
            .filter(|(bytes, chunk)| before.get(*bytes).is_some_and(|before| Arc::ptr_eq(before, chunk)));
        let (all, reused) = (encoder.chunks.len(), reused.count());
        assert!(all > 50 && all - reused <= 3, "{reused} of {all}");
    }
}
