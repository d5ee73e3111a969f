//! Decompresses the beginning of LZ4 frames, of which the rest is missing ("LZ4 Frame Format" 1.6.1 and "LZ4 Block
//! Format"). Libraries decompress whole blocks, which may have 8 MiB.

/// Magic number of a frame.
pub(crate) const FRAME: &[u8] = b"\x04\x22\x4d\x18";
/// Magic number of the older frame that kernels and initial RAM disks have (`lz4 -l`).
pub(crate) const LEGACY: &[u8] = b"\x02\x21\x4c\x18";
/// Flags of a frame's descriptor.
const BLOCK_CHECKSUM: u8 = 1 << 4;
const CONTENT_SIZE: u8 = 1 << 3;
const CONTENT_CHECKSUM: u8 = 1 << 2;
const DICTIONARY: u8 = 1;
/// The block is not compressed.
const STORED: u32 = 1 << 31;
/// Size of an older frame's block that does not compress; what seems larger is another frame.
const MAX_LEGACY_BLOCK: u32 = (8 << 20) + (8 << 20) / 255 + 16;
const MIN_MATCH: usize = 4;

/// Why a frame was not decompressed to its end.
pub(crate) enum Stop {
    /// More bytes of the file are needed.
    RanOut,
    /// The bytes are not valid.
    Invalid,
}

/// Appends what the frame contains that `rest` begins with, until `output` has at least `max` bytes, and takes the frame off
/// `rest`. An older frame ends where the `whole` file does, or another frame begins. Returns the number of bytes.
pub(crate) fn decompress(rest: &mut &[u8], is_whole: bool, output: &mut Vec<u8>, max: usize) -> Result<usize, Stop> {
    let before = output.len();
    let is_legacy = rest.starts_with(LEGACY);
    let flags = rest.get(4).copied().unwrap_or_default();
    let has = |flag: u8, bytes: usize| if flags & flag == 0 { 0 } else { bytes };
    let (header, trailer) = if is_legacy {
        (4, 0)
    } else {
        // Magic number, flags, block size and checksum of the header.
        (7 + has(CONTENT_SIZE, 8) + has(DICTIONARY, 4), has(BLOCK_CHECKSUM, 4))
    };
    *rest = rest.get(header..).ok_or(Stop::RanOut)?;
    while output.len() < max {
        if is_legacy && is_whole && rest.is_empty() {
            break;
        }
        let (size, blocks) = rest.split_first_chunk().ok_or(Stop::RanOut)?;
        let size = u32::from_le_bytes(*size);
        if is_legacy && size > MAX_LEGACY_BLOCK {
            break;
        }
        if !is_legacy && size == 0 {
            *rest = blocks.get(has(CONTENT_CHECKSUM, 4)..).ok_or(Stop::RanOut)?;
            break;
        }
        let length = usize::try_from(size & !STORED).unwrap_or(usize::MAX);
        let block = blocks.get(..length.min(blocks.len())).unwrap_or_default();
        let is_cut = block.len() < length;
        if !is_legacy && size & STORED != 0 {
            output.extend_from_slice(block);
        } else if decompress_block(block, output, max).is_none() && !is_cut {
            return Err(Stop::Invalid);
        }
        if output.len() < max {
            *rest = blocks.get(length.saturating_add(trailer)..).ok_or(Stop::RanOut)?;
        }
    }
    output.truncate(max);
    Ok(output.len() - before)
}

/// Appends what a block contains, as far as it goes; `None` if it is cut off or not valid.
fn decompress_block(mut block: &[u8], output: &mut Vec<u8>, max: usize) -> Option<()> {
    while output.len() < max {
        let Some((token, rest)) = block.split_first() else { break };
        block = rest;
        let literals = length(usize::from(token >> 4), &mut block)?;
        output.extend_from_slice(block.get(..literals.min(block.len()))?);
        block = block.get(literals..)?;
        // The last sequence has no match.
        let Some((offset, rest)) = block.split_first_chunk() else { break };
        block = rest;
        let offset = usize::from(u16::from_le_bytes(*offset));
        let length = length(usize::from(token & 15), &mut block)? + MIN_MATCH;
        let from = output.len().checked_sub(offset).filter(|_| offset > 0)?;
        for at in from..from.saturating_add(length.min(max)) {
            output.push(*output.get(at)?);
        }
    }
    Some(())
}

/// A length of which a token has the first four bits.
fn length(mut length: usize, block: &mut &[u8]) -> Option<usize> {
    if length < 15 {
        return Some(length);
    }
    loop {
        let (more, rest) = block.split_first()?;
        *block = rest;
        length += usize::from(*more);
        if *more < u8::MAX {
            return Some(length);
        }
    }
}
