//! Decompresses the beginning of LZ4 frames, of which the rest is missing ("LZ4 Frame Format" 1.6.1 and "LZ4 Block
//! Format"). Libraries decompress whole blocks, which may have 8 MiB.

use crate::fields::Fields;

/// Magic number of a frame.
pub(crate) const FRAME: &[u8] = b"\x04\x22\x4d\x18";
/// Magic number of the older frame that kernels and initial RAM disks have (`lz4 -l`).
pub(crate) const LEGACY: &[u8] = b"\x02\x21\x4c\x18";
/// Flags of a frame's descriptor.
const BLOCK_CHECKSUM: u8 = 1 << 4;
const CONTENT_SIZE: u8 = 1 << 3;
const DICTIONARY: u8 = 1;
/// The block is not compressed.
const STORED: u32 = 1 << 31;
const MIN_MATCH: usize = 4;

/// At most `max` of the first bytes of what `start` is the first bytes of, fewer if it is cut off or not valid; and whether
/// they are all, which the older frame only tells of a `whole` file.
pub(crate) fn decompress(start: &[u8], is_whole: bool, max: usize) -> (Vec<u8>, bool) {
    let (mut output, fields) = (Vec::new(), Fields(start.to_vec()));
    let is_legacy = fields.has(0, LEGACY);
    let flags = fields.bytes::<1>(4)[0];
    let (mut at, trailer) = if is_legacy {
        (4, 0)
    } else {
        let has = |flag: u8, bytes: usize| if flags & flag == 0 { 0 } else { bytes };
        // Magic number, flags, block size and checksum of the header.
        (7 + has(CONTENT_SIZE, 8) + has(DICTIONARY, 4), has(BLOCK_CHECKSUM, 4))
    };
    let mut is_all = false;
    while output.len() < max {
        is_all = if is_legacy { is_whole && at == start.len() } else { fields.has(at, &[0; 4]) };
        let size = fields.le32(at);
        let length = usize::try_from(size & !STORED).unwrap_or(usize::MAX);
        let block = fields.slice(at + 4..at.saturating_add(4).saturating_add(length));
        if is_all || block.is_empty() {
            break;
        }
        if !is_legacy && size & STORED != 0 {
            output.extend_from_slice(block);
        } else if decompress_block(block, &mut output, max).is_none() {
            break;
        }
        at = at.saturating_add(4 + trailer).saturating_add(length);
    }
    output.truncate(max);
    (output, is_all)
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
