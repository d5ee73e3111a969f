//! Incremental encoding of a large document of many entries: only what has changed is compressed again.
//!
//! Entries are grouped into chunks whose ends depend on keys and sizes, so that an entry that is added, removed or changed
//! changes one chunk, or two. Each chunk is compressed separately and cached; what has not changed is only copied. The gzip member is concatenated the way `pigz` does:
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

/// A section of a document, compressed.
struct Packed {
    deflate: Vec<u8>,
    zstd: Vec<u8>,
    crc: Hasher,
    digest: [u8; 32],
}

impl Packed {
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

/// Successive entries of the last revision.
struct Chunk {
    entries: Vec<(String, Option<Arc<str>>)>,
    /// Whether no other entries precede them, so that they begin without a comma.
    is_first: bool,
    /// A part of the whole document.
    plain: Bytes,
    packed: Arc<Packed>,
}

impl Chunk {
    /// Whether it consists of these entries. Compares their allocations first, so that this costs little.
    fn has(&self, entries: &[Entry<'_>], is_first: bool) -> bool {
        let is_same = |(key, product): &(String, Option<Arc<str>>), entry: &Entry<'_>| {
            key == entry.key
                && match (product, entry.product) {
                    (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
                    (None, None) => true,
                    (Some(_), None) | (None, Some(_)) => false,
                }
        };
        self.is_first == is_first
            && self.entries.len() == entries.len()
            && self.entries.iter().zip(entries).all(|(one, other)| is_same(one, other))
    }
}

/// Encodes successive revisions of one document.
#[derive(Default)]
pub(super) struct Encoder {
    /// The chunks of the last revision, by their first key.
    chunks: HashMap<String, Chunk>,
    /// The size of the last revision.
    size: usize,
}

/// A section of a document that is being encoded.
struct Section {
    end: usize,
    /// The entries, if it has any.
    entries: Vec<(String, Option<Arc<str>>)>,
    /// What it is compressed to, if that is known.
    packed: Option<Arc<Packed>>,
}

impl Encoder {
    /// Encodes the document that consists of these pieces.
    pub(super) fn encode(&mut self, document: Pieces<'_>) -> io::Result<Encoded> {
        let Pieces { head, entries, tail } = document;
        let mut plain = Vec::with_capacity(self.size + MAX_CHUNK);
        plain.extend_from_slice(head.as_bytes());
        let mut sections = vec![Section { end: plain.len(), entries: Vec::new(), packed: None }];
        let (mut group, mut size) = (Vec::new(), 0);
        for entry in entries {
            group.push(entry);
            size += entry.key.len() + entry.product.map_or(0, |product| product.len());
            if crc32fast::hash(entry.key.as_bytes()).is_multiple_of(CHUNK_ENTRIES) || size >= MAX_CHUNK {
                sections.push(self.section(&mut plain, &group, sections.len() == 1));
                (group, size) = (Vec::new(), 0);
            }
        }
        if !group.is_empty() {
            sections.push(self.section(&mut plain, &group, sections.len() == 1));
        }
        plain.extend_from_slice(tail.as_bytes());
        sections.push(Section { end: plain.len(), entries: Vec::new(), packed: None });
        self.assemble(plain.into(), sections)
    }

    /// Appends entries to a document: what the last revision has of them is copied.
    fn section(&mut self, plain: &mut Vec<u8>, group: &[Entry<'_>], is_first: bool) -> Section {
        let previous = group.first().and_then(|first| self.chunks.remove(first.key));
        if let Some(chunk) = previous.filter(|chunk| chunk.has(group, is_first)) {
            plain.extend_from_slice(&chunk.plain);
            return Section { end: plain.len(), entries: chunk.entries, packed: Some(chunk.packed) };
        }
        for (at, entry) in group.iter().enumerate() {
            if at > 0 || !is_first {
                plain.push(b',');
            }
            plain.extend_from_slice(entry.json().as_bytes());
        }
        let entries = group.iter().map(|entry| (entry.key.to_owned(), entry.product.cloned())).collect();
        Section { end: plain.len(), entries, packed: None }
    }

    fn assemble(&mut self, plain: Bytes, sections: Vec<Section>) -> io::Result<Encoded> {
        let (mut chunks, mut packed, mut start) = (HashMap::new(), Vec::with_capacity(sections.len()), 0);
        for (at, section) in sections.into_iter().enumerate() {
            let slice = plain.slice(start..section.end);
            start = section.end;
            let compressed = match section.packed {
                Some(packed) => packed,
                None => Arc::new(Packed::of(&slice)?),
            };
            packed.push(Arc::clone(&compressed));
            if let Some((first, _)) = section.entries.first() {
                let is_first = at == 1;
                let key = first.clone();
                chunks.insert(key, Chunk { entries: section.entries, is_first, plain: slice, packed: compressed });
            }
        }
        (self.chunks, self.size) = (chunks, plain.len());
        let size = |of: fn(&Packed) -> &Vec<u8>| packed.iter().map(|packed| of(packed).len()).sum::<usize>();
        let mut gzip = Vec::with_capacity(size(|packed| &packed.deflate) + 64);
        let mut zstd = Vec::with_capacity(size(|packed| &packed.zstd));
        let (mut crc, mut digests) = (Hasher::new(), Sha256::new());
        gzip.extend_from_slice(&GZIP_HEAD);
        for packed in &packed {
            gzip.extend_from_slice(&packed.deflate);
            zstd.extend_from_slice(&packed.zstd);
            crc.combine(&packed.crc);
            digests.update(packed.digest);
        }
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
    use imgsrv_simplestreams::{EncodedProducts, products_pieces};
    use std::io::Read;

    fn encode(encoder: &mut Encoder, entries: &[String]) -> Encoded {
        let entries = entries.iter().map(|key| Entry { key, product: None });
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
        let packed = |encoder: &Encoder| -> Vec<Arc<Packed>> {
            encoder.chunks.values().map(|chunk| Arc::clone(&chunk.packed)).collect()
        };
        let before = packed(&encoder);
        entries.insert(2500, "one more".to_owned());
        entries.remove(100);
        check(&encode(&mut encoder, &entries), &entries);
        let after = packed(&encoder);
        let is_reused = |one: &&Arc<Packed>| before.iter().any(|other| Arc::ptr_eq(one, other));
        let (all, reused) = (after.len(), after.iter().filter(is_reused).count());
        assert!(all > 50 && all - reused <= 3, "{reused} of {all}");
    }

    #[test]
    fn a_product_that_changes_is_in_the_next_revision() {
        let mut products: EncodedProducts =
            (0..1000).map(|at| (format!("key {at:04}"), format!("{{\"at\":{at}}}").into())).collect();
        let mut encoder = Encoder::default();
        for (key, product) in
            [("key 0000", "{}"), ("key 0500", "{\"at\":1}"), ("key 0999", "{}"), ("a first one", "{}")]
        {
            encoder.encode(products_pieces(&products)).expect("encoded");
            products.insert(key.to_owned(), product.into());
            let encoded = encoder.encode(products_pieces(&products)).expect("encoded");
            let fresh = Encoder::default().encode(products_pieces(&products)).expect("encoded");
            assert_eq!((encoded.plain, encoded.gzip, encoded.zstd), (fresh.plain, fresh.gzip, fresh.zstd), "{key}");
            assert_eq!(encoded.tag, fresh.tag);
        }
    }
}
