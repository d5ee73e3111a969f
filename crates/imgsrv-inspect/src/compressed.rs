//! Decompresses the first bytes of a file.

use crate::{format::Compressor, lz4};
use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use liblzma::{
    read::XzDecoder,
    stream::{CONCATENATED, Stream},
};
use std::io::Read;

/// Maximum number of bytes that are decompressed: enough for the volume descriptor of an ISO 9660.
const MAX_OUTPUT: usize = 256 << 10;
/// Memory limit of the xz decoder: enough for `xz -9`.
const MAX_XZ_MEMORY: u64 = 68 << 20;
/// Logarithm of the largest zstd window: that of `zstd --ultra -22` and `--long`. It is reserved, but only used as far as
/// bytes are decompressed.
const MAX_WINDOW: u32 = 27;

/// The first bytes of what `start` is the first bytes of, or if `is_whole` the whole of, and whether they are all; empty if
/// they cannot be decompressed. Takes a few milliseconds at most, and at most 140 MiB of memory, of which 1 MiB is used.
pub(crate) fn decompress(compressor: Compressor, start: &[u8], is_whole: bool) -> (Vec<u8>, bool) {
    let read = |from: &mut dyn Read| {
        let mut output = Vec::new();
        // Its end is cut off, so that an error is expected.
        let ended = from.take(MAX_OUTPUT as u64).read_to_end(&mut output);
        let is_all = ended.is_ok() && output.len() < MAX_OUTPUT;
        (output, is_all)
    };
    match compressor {
        Compressor::Bzip2 => read(&mut MultiBzDecoder::new(start)),
        Compressor::Gzip => read(&mut MultiGzDecoder::new(start)),
        Compressor::Lz4 => lz4::decompress(start, is_whole, MAX_OUTPUT),
        Compressor::Xz => Stream::new_stream_decoder(MAX_XZ_MEMORY, CONCATENATED)
            .map_or_else(|_| Default::default(), |stream| read(&mut XzDecoder::new_stream(start, stream))),
        Compressor::Zstd => zstd::stream::read::Decoder::with_buffer(start)
            .and_then(|mut decoder| decoder.window_log_max(MAX_WINDOW).map(|()| decoder))
            .map_or_else(|_| Default::default(), |mut decoder| read(&mut decoder)),
    }
}
