//! Hyper-V disk (Microsoft, MS-VHDX; `block/vhdx.c` of QEMU).

use super::{
    image::Image,
    problem::{Problem, Stop},
};
use crate::{fields::Fields, source::Source};
use crc::{CRC_32_ISCSI, Crc};

pub(super) const MAGIC: &[u8] = b"vhdxfile";
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
const KIB: u64 = 1 << 10;
/// Where the headers and the region tables are; of each there are two.
const HEADERS: [u64; 2] = [64 * KIB, 128 * KIB];
const REGION_TABLES: [u64; 2] = [192 * KIB, 256 * KIB];
const HEADER_BYTES: u64 = 4 * KIB;
const TABLE_BYTES: u64 = 64 * KIB;
const MAX_REGIONS: u32 = 2047;
const MAX_METADATA: u16 = 2047;
/// Limit of the block allocation table: 64 TiB in blocks of 8 MiB.
const MAX_TABLE_BYTES: u64 = 64 << 20;
const FULLY_PRESENT: u64 = 6;
const PARTIALLY_PRESENT: u64 = 7;
const STATE: u64 = 7;
const OFFSET: u64 = !0xf_ffff;

/// GUIDs as they are stored.
const BLOCK_TABLE: [u8; 16] = *b"\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08";
const METADATA: [u8; 16] = *b"\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e";
const FILE_PARAMETERS: [u8; 16] = *b"\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b";
const VIRTUAL_SIZE: [u8; 16] = *b"\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8";
const PARENT_LOCATOR: [u8; 16] = *b"\x2d\x5f\xd3\xa8\x0b\xb3\x4d\x45\xab\xf7\xd3\xd8\x48\x34\xab\x0c";

/// Whether a structure has the signature and a valid checksum.
fn is_valid(fields: &Fields, signature: &[u8]) -> bool {
    let mut digest = CRC.digest();
    digest.update(fields.slice(0..4));
    digest.update(&[0; 4]);
    digest.update(fields.slice(8..fields.0.len()));
    fields.has(0, signature) && digest.finalize() == fields.le32(4)
}

/// Reads both headers, both region tables, what they refer to, and the allocation table: at most 65 MiB.
pub(super) async fn inspect<S: Source>(image: &Image<'_, S>) -> Result<(), Stop<S::Error>> {
    check_headers(image).await?;
    let mut has_table = false;
    // Programs differ in which of the two they read.
    for at in REGION_TABLES {
        let table = image.read_needed("region table", at, TABLE_BYTES).await?;
        if is_valid(&table, b"regi") {
            check_regions(image, &table).await?;
            has_table = true;
        } else if at == REGION_TABLES[0] {
            return Err(Problem::Invalid("region table").into());
        }
    }
    if has_table { Ok(()) } else { Err(Problem::Invalid("region table").into()) }
}

/// Checks the header that is current: the valid one that was written last.
async fn check_headers<S: Source>(image: &Image<'_, S>) -> Result<(), Stop<S::Error>> {
    let mut current: Option<Fields> = None;
    for at in HEADERS {
        let header = image.read_needed("header", at, HEADER_BYTES).await?;
        let is_newer = current.as_ref().is_none_or(|current| header.le64(8) > current.le64(8));
        if is_valid(&header, b"head") && header.le16(66) == 1 && is_newer {
            current = Some(header);
        }
    }
    let header = current.ok_or(Problem::Invalid("header"))?;
    let (length, offset) = (u64::from(header.le32(68)), header.le64(72));
    if header.slice(48..64).iter().any(|byte| *byte != 0) && length > 0 {
        return Err(Problem::UnreplayedLog.into());
    }
    if header.le16(64) != 0 || offset < 1 << 20 || !offset.is_multiple_of(1 << 20) || !image.contains(offset, length) {
        return Err(Problem::OutOfBounds("log").into());
    }
    Ok(())
}

async fn check_regions<S: Source>(image: &Image<'_, S>, table: &Fields) -> Result<(), Stop<S::Error>> {
    let count = table.le32(8);
    if count > MAX_REGIONS {
        return Err(Problem::Invalid("region table").into());
    }
    let entry = |index: u32| 16 + 32 * index as usize;
    let find = |guid: [u8; 16]| {
        let mut found = (0..count).map(entry).filter(|at| table.bytes(*at) == guid);
        let region = found.next().map(|at| (table.le64(at + 16), u64::from(table.le32(at + 24))));
        if found.next().is_some() { None } else { region }
    };
    let (metadata, _) = find(METADATA).ok_or(Problem::Invalid("metadata region"))?;
    let (blocks, blocks_bytes) = find(BLOCK_TABLE).ok_or(Problem::Invalid("block allocation table"))?;
    if (0..count)
        .map(entry)
        .any(|at| ![METADATA, BLOCK_TABLE].contains(&table.bytes(at)) && table.le32(at + 28) & 1 != 0)
    {
        return Err(Problem::Invalid("required region").into());
    }
    let (block, virtual_size) = read_metadata(image, metadata).await?;
    check_blocks(image, block, virtual_size, (blocks, blocks_bytes)).await
}

/// The size of a block and that of the disk.
async fn read_metadata<S: Source>(image: &Image<'_, S>, start: u64) -> Result<(u64, u64), Stop<S::Error>> {
    let table = image.read_needed("metadata region", start, TABLE_BYTES).await?;
    let count = table.le16(10);
    if !table.has(0, b"metadata") || count > MAX_METADATA {
        return Err(Problem::Invalid("metadata region").into());
    }
    let (mut parameters, mut disk_size) = (None, None);
    for at in (0..usize::from(count)).map(|index| 32 + 32 * index) {
        let (offset, length) = (start.saturating_add(table.le32(at + 16).into()), u64::from(table.le32(at + 20)));
        match table.bytes(at) {
            PARENT_LOCATOR => {
                let locator = image.read(offset, length).await?;
                return Err(Problem::other_file("a parent", parent_name(&locator).as_bytes()).into());
            }
            FILE_PARAMETERS if parameters.is_none() => {
                parameters = Some(image.read_needed("file parameters", offset, 8).await?);
            }
            VIRTUAL_SIZE if disk_size.is_none() => {
                disk_size = Some(image.read_needed("virtual size", offset, 8).await?.le64(0));
            }
            // Programs differ in which of several they read.
            FILE_PARAMETERS | VIRTUAL_SIZE => return Err(Problem::Invalid("metadata region").into()),
            _ => {}
        }
    }
    let parameters = parameters.ok_or(Problem::Invalid("file parameters"))?;
    if parameters.le32(4) & 2 != 0 {
        return Err(Problem::other_file("a parent", b"").into());
    }
    let block = u64::from(parameters.le32(0));
    if !block.is_power_of_two() || !(1 << 20..=256 << 20).contains(&block) {
        return Err(Problem::Invalid("block size").into());
    }
    match disk_size {
        Some(size) if size <= 64 << 40 => Ok((block, size)),
        _ => Err(Problem::Invalid("virtual size").into()),
    }
}

/// The value of the first entry of a parent locator that is a path.
fn parent_name(locator: &Fields) -> String {
    let text = |offset: u32, length: u16| {
        let start = offset as usize;
        let units = locator.slice(start..start.saturating_add(length.into())).as_chunks::<2>().0;
        String::from_utf16_lossy(&units.iter().map(|unit| u16::from_le_bytes(*unit)).collect::<Vec<_>>())
    };
    let entries = (0..usize::from(locator.le16(18).min(16))).map(|index| 20 + 12 * index);
    let mut pairs = entries
        .map(|at| (text(locator.le32(at), locator.le16(at + 8)), text(locator.le32(at + 4), locator.le16(at + 10))));
    pairs.find(|(key, _)| key.ends_with("_path")).map_or_else(String::new, |(_, path)| path)
}

async fn check_blocks<S: Source>(
    image: &Image<'_, S>,
    block: u64,
    virtual_size: u64,
    (start, bytes): (u64, u64),
) -> Result<(), Stop<S::Error>> {
    let blocks = virtual_size.div_ceil(block);
    // After as many blocks as a bitmap of 1 MiB has sectors of 512 bytes, an entry of the bitmap follows.
    let ratio = ((1 << 23) * 512) / block;
    if (blocks + blocks.saturating_sub(1) / ratio) * 8 > bytes {
        return Err(Problem::OutOfBounds("block allocation table").into());
    }
    let table = image.table("block allocation table", start, Some(bytes), MAX_TABLE_BYTES)?;
    image
        .check_entries(table, |entry| {
            let entry = u64::from_le_bytes(entry);
            match entry & STATE {
                // The last block of a fixed disk may be shorter.
                FULLY_PRESENT if entry & OFFSET < image.size => Ok(()),
                FULLY_PRESENT => Err(Problem::OutOfBounds("block")),
                PARTIALLY_PRESENT => Err(Problem::other_file("a parent", b"")),
                _ => Ok(()),
            }
        })
        .await
}
