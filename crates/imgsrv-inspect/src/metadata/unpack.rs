//! Unpacks tarballs in the compressions that Incus detects (`shared/archive/detect.go`), by the first bytes and not by
//! the name.

use super::{MAX_ENTRIES, MAX_UNPACKED, MAX_YAML, MetadataProblem, is_yaml};
use crate::compressed::needs_memory;
use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use liblzma::{
    read::XzDecoder,
    stream::{CONCATENATED, Stream},
};
use std::io::{self, Read};
use tar::Archive;

/// Memory limit of the xz decoder: enough for `xz -9`.
const MAX_DECODER_MEMORY: u64 = 68 << 20;
/// Logarithm of the largest zstd window: that of `zstd --ultra -22` and `--long`.
const MAX_WINDOW: u32 = 27;

/// A `metadata.yaml`.
pub(super) struct Yaml {
    /// The name that it is packed as.
    pub(super) name: Vec<u8>,
    pub(super) text: Vec<u8>,
}

/// The bytes that are packed in `tarball`.
pub(super) fn unpack(tarball: &[u8]) -> Result<Box<dyn Read + '_>, MetadataProblem> {
    let xz = |stream: Result<Stream, _>| {
        let stream = stream.map_err(|_| MetadataProblem::NeedsMemory)?;
        Ok(Box::new(XzDecoder::new_stream(tarball, stream)) as Box<dyn Read>)
    };
    match tarball {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => xz(Stream::new_stream_decoder(MAX_DECODER_MEMORY, CONCATENATED)),
        [0x5d, 0, 0, ..] => xz(Stream::new_lzma_decoder(MAX_DECODER_MEMORY)),
        [0x1f, 0x8b, ..] => Ok(Box::new(MultiGzDecoder::new(tarball))),
        [b'B', b'Z', ..] => Ok(Box::new(MultiBzDecoder::new(tarball))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = zstd::stream::read::Decoder::with_buffer(tarball);
            let mut decoder = decoder.map_err(|_| MetadataProblem::NeedsMemory)?;
            decoder.window_log_max(MAX_WINDOW).map_err(|_| MetadataProblem::NeedsMemory)?;
            Ok(Box::new(decoder))
        }
        _ if tarball.get(257..262) == Some(b"ustar") => Ok(Box::new(tarball)),
        _ => Err(MetadataProblem::NotATarball),
    }
}

/// The `metadata.yaml` in a whole tarball.
pub(super) fn find_yaml(tarball: &[u8]) -> Result<Option<Yaml>, MetadataProblem> {
    let mut unpacked = unpack(tarball)?.take(MAX_UNPACKED + 1);
    let found = search(Archive::new(&mut unpacked));
    // Reads past the end of the archive to the end of the stream, which must be complete as well.
    let drained = io::copy(&mut unpacked, &mut io::sink());
    if unpacked.limit() == 0 {
        return Err(MetadataProblem::UnpacksTooLarge);
    }
    drained.map_err(|error| problem(&error))?;
    found
}

fn search(mut archive: Archive<impl Read>) -> Result<Option<Yaml>, MetadataProblem> {
    let mut found = None;
    for (seen, entry) in archive.entries().map_err(|error| problem(&error))?.enumerate() {
        if seen >= MAX_ENTRIES {
            return Err(MetadataProblem::TooManyEntries);
        }
        let mut entry = entry.map_err(|error| problem(&error))?;
        let name = entry.path_bytes().into_owned();
        if !is_yaml(&name) || !entry.header().entry_type().is_file() {
            continue;
        }
        if found.is_some() {
            return Err(MetadataProblem::SeveralYamls);
        }
        found = Some(Yaml { name, text: read_yaml(&mut entry)? });
    }
    Ok(found)
}

/// The content of a `metadata.yaml`.
pub(super) fn read_yaml(entry: &mut tar::Entry<'_, impl Read>) -> Result<Vec<u8>, MetadataProblem> {
    if entry.size() > MAX_YAML {
        return Err(MetadataProblem::YamlTooLarge);
    }
    let mut text = Vec::new();
    entry.read_to_end(&mut text).map_err(|error| problem(&error))?;
    Ok(text)
}

fn problem(error: &io::Error) -> MetadataProblem {
    if needs_memory(error) { MetadataProblem::NeedsMemory } else { MetadataProblem::NotATarball }
}
