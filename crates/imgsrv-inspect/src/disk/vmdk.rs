//! `VMware` disk (`VMware`, "Virtual Disk Format 5.0"; `block/vmdk.c` of QEMU).
//!
//! A disk is a descriptor, a text that names the files with the data, or one file with data in which a descriptor may be
//! embedded. Only the latter, without a parent, stands alone.

use super::{
    image::Image,
    problem::{Problem, Stop},
};
use crate::{
    fields::Fields,
    source::{MAX_READ, Source},
};

/// Magic numbers of files with data.
pub(super) const SPARSE: &[u8] = b"KDMV";
pub(super) const COW: &[u8] = b"COWD";
const HEADER: usize = 512;
const SECTOR: u64 = 512;
/// `VMDK4_GD_AT_END`: the header is repeated at the end.
const AT_END: u64 = u64::MAX;
const HAS_REDUNDANT_DIRECTORY: u32 = 1 << 1;
/// `COWDISK_ROOT`: the disk has no parent.
const IS_ROOT: u32 = 1;
/// As much of a descriptor as QEMU reads, and where it looks for the name of a parent.
const MAX_DESCRIPTOR: u64 = 1 << 20;
const PARENT_NAME_AT: u64 = 512;
const PARENT_NAME_BYTES: u64 = 20 * 512;
/// Limit of a grain directory: 4 TiB in the smallest grains.
const MAX_DIRECTORY_BYTES: u64 = 64 << 20;

/// Whether `text` contains `wanted`, which is in lower case, in any case.
fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window.eq_ignore_ascii_case(wanted))
}

/// The bytes up to the first NUL, which is where QEMU stops reading.
fn text_of(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The text in quotes after `at`.
fn quoted(text: &[u8]) -> &[u8] {
    text.split(|byte| *byte == b'"').nth(1).unwrap_or_default()
}

/// The lines of a descriptor that describe an extent.
fn extents(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = text.split(|byte| matches!(byte, b'\n' | b'\r')).map(<[u8]>::trim_ascii);
    lines.filter(|line| {
        let access = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
        ["rw", "rdonly", "noaccess"].iter().any(|known| access.eq_ignore_ascii_case(known.as_bytes()))
    })
}

/// Refuses a file that is a descriptor. Reads it to the first NUL, at most 1 MiB: programs that expect a VMDK do so,
/// whatever it begins with.
pub(super) async fn refuse_descriptor<S: Source>(image: &Image<'_, S>) -> Result<(), Stop<S::Error>> {
    let head = image.head.slice(0..usize::try_from(MAX_DESCRIPTOR).unwrap_or(usize::MAX));
    let mut text = text_of(head).to_vec();
    let mut has_ended = text.len() < head.len();
    while !has_ended && (text.len() as u64) < MAX_DESCRIPTOR.min(image.size) {
        let at = text.len() as u64;
        let wanted = (MAX_DESCRIPTOR.min(image.size) - at).min(MAX_READ as u64);
        let more = image.read_needed("descriptor", at, wanted).await?;
        text.extend_from_slice(text_of(&more.0));
        has_ended = text.len() as u64 - at < more.0.len() as u64;
    }
    let starts =
        |magic: &[u8]| text.trim_ascii_start().get(..magic.len()).is_some_and(|s| s.eq_ignore_ascii_case(magic));
    if !is_probed(&text) && !starts(b"# disk descriptorfile") && find(&text, b"createtype").is_none() {
        return Ok(());
    }
    Err(descriptor(&text).into())
}

/// Whether the first line that is neither a comment nor blank is that of a version, which is how QEMU recognises it.
fn is_probed(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.find(|line| !line.is_empty() && !line.starts_with(b"#")).is_some_and(|line| line.starts_with(b"version="))
}

/// What the descriptor of data in other files is refused for.
fn descriptor(text: &[u8]) -> Problem {
    parent(text).unwrap_or_else(|| {
        let name = extents(text).map(quoted).find(|name| !name.is_empty());
        Problem::other_file("its data in another file", name.unwrap_or_default())
    })
}

/// The parent that a descriptor names.
fn parent(text: &[u8]) -> Option<Problem> {
    let at = find(text, b"parentfilenamehint")?;
    Some(Problem::other_file("a parent", quoted(text.get(at..)?)))
}

/// Checks the descriptor in a file with data: it describes one extent, which is the file itself.
fn check_embedded(text: &[u8]) -> Result<(), Problem> {
    if let Some(problem) = parent(text) {
        return Err(problem);
    }
    if let Some(at) = find(text, b"changetrackpath") {
        return Err(Problem::other_file("a change tracking file", quoted(text.get(at..).unwrap_or_default())));
    }
    for (index, line) in extents(text).enumerate() {
        let name = quoted(line);
        let is_sparse = find(line.split(|byte| *byte == b'"').next().unwrap_or_default(), b" sparse").is_some();
        let is_elsewhere = name.iter().any(|byte| matches!(byte, b'/' | b'\\' | b':'));
        if index > 0 || is_elsewhere || (!is_sparse && !name.is_empty()) {
            return Err(Problem::other_file("its data in another file", name));
        }
    }
    Ok(())
}

/// A sparse extent, also one of a compressed stream: reads the embedded descriptor and the grain directories, at most
/// 130 MiB.
pub(super) async fn sparse<S: Source>(image: &Image<'_, S>) -> Result<(), Stop<S::Error>> {
    let header = image.header(HEADER)?;
    let (at, length) = (header.le64(28), header.le64(36));
    // Without data of its own, QEMU takes its descriptor for the image.
    if header.le64(12) == 0 && at != 0 {
        let text = match image.read(at.wrapping_mul(SECTOR), MAX_DESCRIPTOR).await {
            Err(Stop::NotKnown) => Fields::default(),
            read => read?,
        };
        return Err(descriptor(text_of(&text.0)).into());
    }
    let mut has_descriptor = false;
    if at != 0 {
        let (Some(at), Some(length)) = (at.checked_mul(SECTOR), length.checked_mul(SECTOR)) else {
            return Err(Problem::OutOfBounds("descriptor").into());
        };
        if length > MAX_DESCRIPTOR || !image.contains(at, length) {
            return Err(Problem::OutOfBounds("descriptor").into());
        }
        let mut text = Vec::new();
        while (text.len() as u64) < length {
            let done = text.len() as u64;
            let wanted = (length - done).min(MAX_READ as u64);
            text.extend(image.read_needed("descriptor", at + done, wanted).await?.0);
        }
        has_descriptor = find(&text, b"cid").is_some();
        check_embedded(&text)?;
    }
    // QEMU looks for the descriptor here, wherever the header places it.
    let text = image.read(PARENT_NAME_AT, PARENT_NAME_BYTES).await?;
    check_embedded(text_of(&text.0))?;
    if !has_descriptor && find(text_of(&text.0), b"cid").is_none() {
        return Err(Problem::Invalid("descriptor").into());
    }
    check_directories(image, header).await
}

async fn check_directories<S: Source>(image: &Image<'_, S>, header: &Fields) -> Result<(), Stop<S::Error>> {
    let footer;
    let mut header = header;
    if header.le64(56) == AT_END {
        // A marker, the footer and the marker of the end.
        let at = image.size.next_multiple_of(SECTOR).saturating_sub(3 * SECTOR) + SECTOR;
        footer = image.read_exact("footer", at, SECTOR).await?;
        if !footer.has(0, SPARSE) {
            return Err(Problem::Invalid("footer").into());
        }
        header = &footer;
    }
    if header.le32(4) > 3 {
        return Err(Problem::Version(header.le32(4)).into());
    }
    let (capacity, grain, entries) = (header.le64(12), header.le64(20), u64::from(header.le32(44)));
    if entries == 0 || entries > 512 || grain == 0 || grain > 0x20_0000 {
        return Err(Problem::Invalid("grain size").into());
    }
    if header.le64(64) > image.size.div_ceil(SECTOR) {
        return Err(Problem::OutOfBounds("data").into());
    }
    let bytes = capacity.div_ceil(entries * grain).checked_mul(4);
    let redundant = header.le32(8) & HAS_REDUNDANT_DIRECTORY != 0 && header.le64(48) != 0;
    let directories = [(header.le64(56), true), (header.le64(48), redundant)];
    for (at, _) in directories.into_iter().filter(|(_, is_used)| *is_used) {
        check_directory(image, at, bytes, entries * 4).await?;
    }
    Ok(())
}

async fn check_directory<S: Source>(
    image: &Image<'_, S>,
    sector: u64,
    bytes: Option<u64>,
    table_bytes: u64,
) -> Result<(), Stop<S::Error>> {
    let at = sector.checked_mul(SECTOR).ok_or(Problem::OutOfBounds("grain directory"))?;
    let directory = image.table("grain directory", at, bytes, MAX_DIRECTORY_BYTES)?;
    image
        .check_entries(directory, |entry| match u64::from(u32::from_le_bytes(entry)) {
            0 => Ok(()),
            sector if image.contains(sector * SECTOR, table_bytes) => Ok(()),
            _ => Err(Problem::OutOfBounds("grain table")),
        })
        .await
}

/// A copy-on-write disk of old versions of `VMware`: reads the grain directory, at most 65 MiB.
pub(super) async fn cow<S: Source>(image: &Image<'_, S>) -> Result<(), Stop<S::Error>> {
    let header = image.header(HEADER)?;
    if header.le32(8) & IS_ROOT == 0 {
        return Err(Problem::other_file("a parent", text_of(image.head.slice(32..32 + 1024))).into());
    }
    if header.le32(4) != 1 {
        return Err(Problem::Version(header.le32(4)).into());
    }
    let text = image.read(PARENT_NAME_AT, PARENT_NAME_BYTES).await?;
    if let Some(problem) = parent(text_of(&text.0)) {
        return Err(problem.into());
    }
    let bytes = Some(u64::from(header.le32(24)) * 4);
    check_directory(image, header.le32(20).into(), bytes, 4096 * 4).await
}
