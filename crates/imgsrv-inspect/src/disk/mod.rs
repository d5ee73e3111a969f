//! Checks that a disk image stands alone.
//!
//! A disk image may name other files of the machine that opens it: a backing file, a parent, or the files with its data.
//! One that is published for others must not (compare CVE-2022-47951 and CVE-2024-32498), and its tables must lie inside
//! the file. Every format that QEMU detects is read, since QEMU is often left to detect it, whatever was declared.

mod image;
mod problem;
mod qcow;
mod qcow2;
mod qed;
mod small;
mod vdi;
mod vhd;
mod vhdx;
mod vmdk;

pub use problem::{InspectError, Problem, Refusal};
pub use qcow2::{Compression, Qcow2};

use crate::{detect, fields::Fields, format::Contents, source::Source};
pub(crate) use image::Image;
use problem::Stop;

/// Bytes at the end that may be a trailer.
const TAIL: u64 = 1024;

/// The disk format with the magic number that the file begins with. QEMU fills the last sector of a file with zeros.
fn detect_disk(head: &Fields) -> Option<Contents> {
    let mut padded = head.slice(0..512).to_vec();
    padded.resize(512, 0);
    let head = &Fields(padded);
    let start: &[(usize, &[u8], Contents)] = &[
        (0, vmdk::SPARSE, Contents::Vmdk),
        (0, vmdk::COW, Contents::Vmdk),
        (0, vhdx::MAGIC, Contents::Vhdx),
        (0, vhd::MAGIC, Contents::Vhd),
        (0, b"QED\0", Contents::Qed),
        (0, small::PARALLELS[0], Contents::Parallels),
        (0, small::PARALLELS[1], Contents::Parallels),
        (0, small::BOCHS, Contents::Bochs),
        (0, small::CLOOP, Contents::Cloop),
        (0, small::LUKS, Contents::Luks),
        (0, small::ENCRYPTED_DMG, Contents::Dmg),
        (vdi::MAGIC.0, vdi::MAGIC.1, Contents::Vdi),
    ];
    if head.has(0, b"QFI\xfb") {
        return Some(if head.be32(4) == 1 { Contents::Qcow } else { Contents::Qcow2 });
    }
    start.iter().find(|(at, magic, _)| head.has(*at, magic)).map(|(_, _, format)| *format)
}

/// What uncompressed bytes are, or why they are refused.
pub(crate) async fn inspect_contents<S: Source>(
    image: &Image<'_, S>,
) -> Result<(Option<Contents>, Option<Qcow2>), InspectError<S::Error>> {
    let mut qcow2 = None;
    let disk = detect_disk(&image.head);
    if disk != Some(Contents::Vmdk) {
        refuse_descriptor(image).await?;
    }
    if let Some(format) = disk {
        let checked = match format {
            Contents::Qcow2 => qcow2::inspect(image).await.map(|found| qcow2 = Some(found)),
            Contents::Qcow => qcow::inspect(image).await,
            Contents::Qed => qed::inspect(image).await,
            Contents::Vmdk if image.head.has(0, vmdk::COW) => vmdk::cow(image).await,
            Contents::Vmdk => vmdk::sparse(image).await,
            Contents::Vhdx => vhdx::inspect(image).await,
            Contents::Vhd => vhd::inspect(image, &Fields(image.head.slice(0..512).to_vec())).await,
            Contents::Vdi => vdi::inspect(image).await,
            Contents::Parallels => small::parallels(image).await,
            Contents::Bochs => small::bochs(image).await,
            Contents::Cloop => small::cloop(image).await,
            _ => Err(Problem::Encrypted.into()),
        };
        as_far_as_known(format, checked)?;
    }
    let trailer = check_trailer(image).await?;
    let contents = disk.or_else(|| match detect::contents(&image.head) {
        // A boot sector does not tell what the file is.
        None | Some(Contents::Raw) => trailer.or(detect::contents(&image.head)),
        contents => contents,
    });
    Ok((contents, qcow2))
}

/// Refuses a file that programs which expect a VMDK take for a descriptor, whatever it begins with.
pub(crate) async fn refuse_descriptor<S: Source>(image: &Image<'_, S>) -> Result<(), InspectError<S::Error>> {
    as_far_as_known(Contents::Vmdk, vmdk::refuse_descriptor(image).await)
}

/// Whether a file that begins so may name another file after that: a disk with fields at any place, or a text.
pub(crate) fn names_others_late(head: &Fields) -> bool {
    matches!(detect_disk(head), Some(Contents::Vmdk | Contents::Vhdx | Contents::Vhd)) || !head.0.contains(&0)
}

/// What the bytes are by their first ones alone.
pub(crate) fn detect_start(head: &Fields) -> Option<Contents> {
    detect_disk(head).or_else(|| detect::contents(head))
}

/// Checks the trailer, which a file of any format may have, and by which two formats are recognised.
async fn check_trailer<S: Source>(image: &Image<'_, S>) -> Result<Option<Contents>, InspectError<S::Error>> {
    let start = image.size.saturating_sub(TAIL);
    let tail = match image.read(start, TAIL).await {
        Ok(tail) => tail,
        Err(stop) => return as_far_as_known(Contents::Raw, Err(stop)).map(|()| None),
    };
    let end = tail.0.len();
    let footer = Fields(tail.slice(end.saturating_sub(512)..end).to_vec());
    if vhd::is_footer(&footer) {
        as_far_as_known(Contents::Vhd, vhd::inspect(image, &footer).await)?;
        return Ok(Some(Contents::Vhd));
    }
    if let Some(at) = small::find_dmg_trailer(&tail) {
        let trailer = Fields(tail.slice(at..at.saturating_add(512)).to_vec());
        return match small::dmg(image.size, &trailer) {
            Ok(()) => Ok(Some(Contents::Dmg)),
            Err(Problem::OtherFile { role, name }) => {
                Err(InspectError::Refused(Refusal::of(Contents::Dmg, Problem::OtherFile { role, name })))
            }
            // Four letters at the end of a disk are a coincidence.
            Err(_) => Ok(None),
        };
    }
    Ok(None)
}

/// The result of a reader. What comes after the bytes that are known is not checked.
fn as_far_as_known<E>(format: Contents, checked: Result<(), Stop<E>>) -> Result<(), InspectError<E>> {
    match checked {
        Ok(()) | Err(Stop::NotKnown) => Ok(()),
        Err(Stop::Problem(problem)) => Err(InspectError::Refused(Refusal::of(format, problem))),
        Err(Stop::Source(error)) => Err(InspectError::Source(error)),
    }
}
