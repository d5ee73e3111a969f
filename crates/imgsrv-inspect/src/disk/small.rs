//! Formats whose headers cannot name other files, or that are always refused.

use super::{
    image::Image,
    problem::{Problem, Stop},
};
use crate::{fields::Fields, source::Source};

/// Limit of the tables: that of QEMU, or 64 MiB where QEMU's is higher.
const MAX_TABLE_BYTES: u64 = 64 << 20;
pub(super) const PARALLELS: [&[u8]; 2] = [b"WithoutFreeSpace", b"WithouFreSpacExt"];
pub(super) const BOCHS: &[u8] = b"Bochs Virtual HD Image\0";
pub(super) const CLOOP: &[u8] = b"#!/bin/sh\n#V2.0 Format\n";
/// Encrypted volumes: LUKS of both versions, and encrypted images of macOS.
pub(super) const LUKS: &[u8] = b"LUKS\xba\xbe";
pub(super) const ENCRYPTED_DMG: &[u8] = b"encrcdsa";

/// Parallels (`docs/interop/parallels.rst` of QEMU): reads the allocation table, at most 64 MiB.
pub(super) async fn parallels<S: Source>(image: &Image<'_, S>) -> Result<(), Stop<S::Error>> {
    let header = image.header(64)?;
    if header.le32(16) != 2 {
        return Err(Problem::Version(header.le32(16)).into());
    }
    let (track, entries) = (u64::from(header.le32(28)), u64::from(header.le32(32)));
    if track == 0 || track > (i32::MAX / 513) as u64 {
        return Err(Problem::Invalid("cluster size").into());
    }
    // Entries are sectors in the older kind, and clusters in the newer one.
    let unit = if header.has(0, PARALLELS[0]) { 512 } else { track * 512 };
    let table = image.table("block allocation table", 64, Some(entries * 4), MAX_TABLE_BYTES)?;
    let extension = header.le64(56);
    if extension != 0 && extension.checked_mul(512).is_none_or(|at| !image.contains(at, 64)) {
        return Err(Problem::OutOfBounds("extension").into());
    }
    image
        .check_entries(table, |entry| {
            let starts_inside = u64::from(u32::from_le_bytes(entry)) * unit < image.size;
            if starts_inside { Ok(()) } else { Err(Problem::OutOfBounds("cluster")) }
        })
        .await
}

/// A growing disk of Bochs (`bximage`): reads the catalog, at most 4 MiB.
pub(super) async fn bochs<S: Source>(image: &Image<'_, S>) -> Result<(), Stop<S::Error>> {
    let header = image.header(512)?;
    // The other kinds, `Undoable` and `Volatile`, hold differences to a base image.
    if !header.has(32, b"Redolog\0") || !header.has(48, b"Growing\0") {
        return Err(Problem::other_file("a base image", b"").into());
    }
    let version = header.le32(64);
    let disk = match version {
        0x0001_0000 => header.le64(84),
        0x0002_0000 => header.le64(88),
        other => return Err(Problem::Version(other).into()),
    };
    let (start, entries, extent) = (header.le32(68), u64::from(header.le32(72)), u64::from(header.le32(80)));
    if !extent.is_power_of_two() || !(512..=0x80_0000).contains(&extent) {
        return Err(Problem::Invalid("extent size").into());
    }
    if entries < disk.div_ceil(extent) {
        return Err(Problem::Invalid("virtual size").into());
    }
    let catalog = image.table("catalog", start.into(), Some(entries * 4), 4 << 20)?;
    let data = catalog.end;
    let extent = u64::from(header.le32(76)).div_ceil(512) * 512 + extent;
    image
        .check_entries(catalog, |entry| match u32::from_le_bytes(entry) {
            u32::MAX => Ok(()),
            index if data + u64::from(index) * extent < image.size => Ok(()),
            _ => Err(Problem::OutOfBounds("extent")),
        })
        .await
}

/// A compressed loop device: reads the offsets of its blocks, at most 64 MiB.
pub(super) async fn cloop<S: Source>(image: &Image<'_, S>) -> Result<(), Stop<S::Error>> {
    let header = image.header(136)?;
    let (block, blocks) = (header.be32(128), header.be32(132));
    if block == 0 || !block.is_multiple_of(512) || block > 64 << 20 {
        return Err(Problem::Invalid("block size").into());
    }
    let offsets = image.table("table of offsets", 136, Some((u64::from(blocks) + 1) * 8), MAX_TABLE_BYTES)?;
    let mut before = 0;
    image
        .check_entries(offsets, move |entry| {
            let offset = u64::from_be_bytes(entry);
            if offset < before || offset > image.size {
                return Err(Problem::OutOfBounds("block"));
            }
            before = offset;
            Ok(())
        })
        .await
}

/// Where the trailer of a macOS image begins in the last bytes of a file. QEMU looks for it in the same places.
pub(super) fn find_dmg_trailer(tail: &Fields) -> Option<usize> {
    let from = tail.0.len().saturating_sub(1023);
    (from..tail.0.len().saturating_sub(3)).find(|at| tail.has(*at, b"koly"))
}

/// A macOS image, of which `trailer` is the last 512 bytes.
pub(super) fn dmg(image_size: u64, trailer: &Fields) -> Result<(), Problem> {
    if trailer.0.len() < 512 {
        return Err(Problem::CutOff);
    }
    // The number of this segment and the count: further segments are other files.
    if trailer.be32(56) > 1 || trailer.be32(60) > 1 {
        return Err(Problem::other_file("segments in other files", b""));
    }
    for (name, at) in [("data fork", 24), ("resource fork", 40), ("property list", 216)] {
        let (offset, length) = (trailer.be64(at), trailer.be64(at + 8));
        if offset.checked_add(length).is_none_or(|end| end > image_size) {
            return Err(Problem::OutOfBounds(name));
        }
    }
    Ok(())
}
