//! Decompresses the first bytes of a file. Members that follow each other (streams, frames) are decompressed one by one, as
//! the tools do, so that empty ones do not hide the others.

use crate::{
    detect,
    fields::Fields,
    format::Compressor,
    lz4,
    source::{MAX_READ, Source, read_up_to},
};
use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use liblzma::{bufread::XzDecoder, stream::Stream};
use std::{
    io::{self, BufRead, Read},
    mem::take,
};

/// Memory limit of the xz decoder: a dictionary of 256 MiB, and what the decoder needs besides. It is reserved, but only
/// used as far as bytes are decompressed.
const MAX_XZ_MEMORY: u64 = 260 << 20;
/// Logarithm of the largest zstd window: that of `zstd --ultra -22` and `--long`, and the limit of `zstd -d`. It is
/// reserved, but only used as far as bytes are decompressed.
const MAX_WINDOW: u32 = 27;
/// Maximum number of members. Files in blocks of 64 KiB (`bgzip`) have 128 in the first 8 MiB.
const MAX_MEMBERS: usize = 1000;
/// Bytes that tell how a member is compressed.
const MAGIC_BYTES: usize = 14;
/// Magic number and size of a frame that is skipped, in Zstandard and LZ4.
const SKIPPABLE_HEADER: usize = 8;

/// Why no more bytes were decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// There are as many as were wanted.
    Enough,
    /// They are all that the file contains.
    All,
    /// More of the file must be known.
    RanOut,
    /// Too many members without content.
    TooManyMembers,
    /// The decoder needs more memory than the limit.
    NeedsMemory,
    /// The bytes are not valid, or are compressed in a way that the decoder does not know.
    Invalid,
}

/// The first bytes of what a compressed file contains.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) bytes: Vec<u8>,
    pub(crate) end: End,
    pub(crate) compressor: Compressor,
}

/// A compressed file, of which the first bytes are in memory.
pub(crate) struct Compressed<'a, S> {
    source: &'a S,
    compressor: Compressor,
    known: Vec<u8>,
}

impl<'a, S: Source> Compressed<'a, S> {
    pub(crate) const fn new(source: &'a S, compressor: Compressor, known: Vec<u8>) -> Self {
        Self { source, compressor, known }
    }

    /// Decompresses the first `wanted` bytes, for which it reads as much of the file as is necessary, at most `max_input`.
    pub(crate) async fn start(&mut self, wanted: usize, max_input: u64) -> Result<Start, S::Error> {
        loop {
            let (known, compressor) = (take(&mut self.known), self.compressor);
            let is_whole = known.len() as u64 == self.source.size();
            let start;
            (self.known, start) = self
                .source
                .run(move || {
                    let start = decompress(compressor, &known, is_whole, wanted);
                    (known, start)
                })
                .await;
            let length = self.known.len() as u64;
            if start.end != End::RanOut || is_whole || length >= max_input {
                return Ok(start);
            }
            // What was decompressed is decompressed again, which no more than doubles the work.
            let more = (2 * length).max(MAX_READ as u64).min(max_input).min(self.source.size());
            while (self.known.len() as u64) < more {
                let done = self.known.len() as u64;
                self.known.extend(read_up_to(self.source, done, more - done).await?);
            }
        }
    }
}

/// The beginning of a file, which notes whether more of it is needed.
struct Input<'a> {
    rest: &'a [u8],
    ran_out: bool,
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.ran_out |= self.rest.is_empty();
        self.rest.read(buffer)
    }
}

impl BufRead for Input<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.ran_out |= self.rest.is_empty();
        Ok(self.rest)
    }

    fn consume(&mut self, amount: usize) {
        self.rest.consume(amount);
    }
}

/// The first `wanted` bytes of what `known` is the first bytes of, or if `is_whole` the whole of.
fn decompress(compressor: Compressor, known: &[u8], is_whole: bool, wanted: usize) -> Start {
    let mut start = Start { bytes: Vec::new(), end: End::TooManyMembers, compressor };
    let mut input = Input { rest: known, ran_out: false };
    for member in 0..MAX_MEMBERS {
        if compressor == Compressor::Xz {
            // Zeros fill the space between streams.
            input.rest = input.rest.get(input.rest.iter().take_while(|byte| **byte == 0).count()..).unwrap_or_default();
        }
        match next(input.rest, is_whole) {
            Next::RanOut => start.end = End::RanOut,
            Next::CutOff => start.end = End::Invalid,
            Next::Skip(length) => {
                input.rest.consume(length);
                continue;
            }
            // Tools ignore what else follows.
            Next::Member(kind) if member == 0 || is_alike(kind, compressor) => {
                if start.bytes.is_empty() {
                    start.compressor = kind;
                }
                match add_member(kind, &mut input, is_whole, &mut start.bytes, wanted) {
                    None => continue,
                    Some(end) => start.end = end,
                }
            }
            Next::Member(_) | Next::Nothing => start.end = End::All,
        }
        break;
    }
    start
}

/// What follows at the end of a member.
enum Next {
    Member(Compressor),
    /// So many bytes to skip.
    Skip(usize),
    Nothing,
    RanOut,
    CutOff,
}

fn next(rest: &[u8], is_whole: bool) -> Next {
    if rest.len() < MAGIC_BYTES && !is_whole {
        return Next::RanOut;
    }
    let head = Fields(rest.get(..MAGIC_BYTES.min(rest.len())).unwrap_or_default().to_vec());
    if detect::is_skippable(&head) {
        let length = usize::try_from(head.le32(4)).unwrap_or(usize::MAX).saturating_add(SKIPPABLE_HEADER);
        let end = if is_whole { Next::CutOff } else { Next::RanOut };
        return if length <= rest.len() { Next::Skip(length) } else { end };
    }
    detect::compressor(&head).map_or(Next::Nothing, Next::Member)
}

/// Whether a tool for one decompresses the other as well.
fn is_alike(one: Compressor, other: Compressor) -> bool {
    let frames = [Compressor::Zstd, Compressor::Lz4];
    one == other || (frames.contains(&one) && frames.contains(&other))
}

/// Decompresses a member, and returns why no further one can be, if so.
fn add_member(
    kind: Compressor,
    input: &mut Input<'_>,
    is_whole: bool,
    output: &mut Vec<u8>,
    wanted: usize,
) -> Option<End> {
    let left = wanted.saturating_sub(output.len()) as u64;
    let added = match kind {
        Compressor::Bzip2 => BzDecoder::new(&mut *input).take(left).read_to_end(output),
        Compressor::Gzip => GzDecoder::new(&mut *input).take(left).read_to_end(output),
        Compressor::Lz4 => lz4::decompress(&mut input.rest, is_whole, output, wanted).map_err(|stop| {
            input.ran_out |= matches!(stop, lz4::Stop::RanOut);
            io::ErrorKind::InvalidData.into()
        }),
        Compressor::Xz => read_stream(Stream::new_stream_decoder(MAX_XZ_MEMORY, 0), input, left, output),
        Compressor::Lzip => read_stream(Stream::new_lzip_decoder(MAX_XZ_MEMORY, 0), input, left, output),
        Compressor::Lzma => read_stream(Stream::new_lzma_decoder(MAX_XZ_MEMORY), input, left, output),
        // There is no decoder.
        Compressor::Lzop | Compressor::Compress => Err(io::ErrorKind::Unsupported.into()),
        Compressor::Zstd => zstd::stream::read::Decoder::with_buffer(&mut *input)
            .and_then(|mut decoder| decoder.window_log_max(MAX_WINDOW).map(|()| decoder.single_frame()))
            .and_then(|decoder| decoder.take(left).read_to_end(output)),
    };
    match added {
        _ if output.len() >= wanted => Some(End::Enough),
        Ok(_) => None,
        Err(error) if needs_memory(&error) => Some(End::NeedsMemory),
        Err(_) if input.ran_out && !is_whole => Some(End::RanOut),
        Err(_) => Some(End::Invalid),
    }
}

/// Decompresses with a decoder of liblzma.
fn read_stream(
    stream: Result<Stream, liblzma::stream::Error>,
    input: &mut Input<'_>,
    left: u64,
    output: &mut Vec<u8>,
) -> io::Result<usize> {
    XzDecoder::new_stream(&mut *input, stream?).take(left).read_to_end(output)
}

/// Whether a decoder needs more memory than its limit.
pub(crate) fn needs_memory(error: &io::Error) -> bool {
    use liblzma::stream::Error;
    let Some(inner) = error.get_ref() else { return false };
    match inner.downcast_ref::<Error>() {
        Some(error) => matches!(error, Error::MemLimit | Error::Mem),
        // The decoder for Zstandard has no typed errors.
        None => inner.to_string().contains("too much memory"),
    }
}
