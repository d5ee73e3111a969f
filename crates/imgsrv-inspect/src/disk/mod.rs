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

use crate::{
    fields::Fields,
    format::{DetectedFormat, detect_other},
    source::Source,
};
use image::Image;
use problem::Stop;

/// What a file that stands alone is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inspected {
    /// The format; absent if none was recognised.
    pub detected: Option<DetectedFormat>,
    /// Properties of a qcow2.
    pub qcow2: Option<Qcow2>,
}

/// Bytes at the end that may be a trailer.
const TAIL: u64 = 1024;

/// The disk format with the magic number that the file begins with. QEMU fills the last sector of a file with zeros.
fn detect_disk(head: &Fields) -> Option<DetectedFormat> {
    let mut padded = head.slice(0..512).to_vec();
    padded.resize(512, 0);
    let head = &Fields(padded);
    let start: &[(usize, &[u8], DetectedFormat)] = &[
        (0, vmdk::SPARSE, DetectedFormat::Vmdk),
        (0, vmdk::COW, DetectedFormat::Vmdk),
        (0, vhdx::MAGIC, DetectedFormat::Vhdx),
        (0, vhd::MAGIC, DetectedFormat::Vhd),
        (0, b"QED\0", DetectedFormat::Qed),
        (0, small::PARALLELS[0], DetectedFormat::Parallels),
        (0, small::PARALLELS[1], DetectedFormat::Parallels),
        (0, small::BOCHS, DetectedFormat::Bochs),
        (0, small::CLOOP, DetectedFormat::Cloop),
        (0, small::LUKS, DetectedFormat::Luks),
        (0, small::ENCRYPTED_DMG, DetectedFormat::Dmg),
        (vdi::MAGIC.0, vdi::MAGIC.1, DetectedFormat::Vdi),
    ];
    if head.has(0, b"QFI\xfb") {
        return Some(if head.be32(4) == 1 { DetectedFormat::Qcow } else { DetectedFormat::Qcow2 });
    }
    start.iter().find(|(at, magic, _)| head.has(*at, magic)).map(|(_, _, format)| *format)
}

/// Detects the format of a file, and refuses a disk image that does not stand alone, is encrypted or is cut off. What a
/// file is declared as does not matter.
///
/// Reads at most 131 MiB, 256 KiB at once, and keeps at most 2 MiB in memory; of a file that is no disk image, the first
/// 256 KiB and the last 1 KiB.
pub async fn inspect<S: Source>(source: &S) -> Result<Inspected, InspectError<S::Error>> {
    let image = Image::open(source).await.map_err(InspectError::Source)?;
    let mut inspected = Inspected { detected: detect_disk(&image.head), qcow2: None };
    if inspected.detected != Some(DetectedFormat::Vmdk) {
        vmdk::refuse_descriptor(&image).await.map_err(|stop| refused(DetectedFormat::Vmdk, stop))?;
    }
    if let Some(format) = inspected.detected {
        let checked = match format {
            DetectedFormat::Qcow2 => qcow2::inspect(&image).await.map(|found| inspected.qcow2 = Some(found)),
            DetectedFormat::Qcow => qcow::inspect(&image).await,
            DetectedFormat::Qed => qed::inspect(&image).await,
            DetectedFormat::Vmdk if image.head.has(0, vmdk::COW) => vmdk::cow(&image).await,
            DetectedFormat::Vmdk => vmdk::sparse(&image).await,
            DetectedFormat::Vhdx => vhdx::inspect(&image).await,
            DetectedFormat::Vhd => vhd::inspect(&image, &Fields(image.head.slice(0..512).to_vec())).await,
            DetectedFormat::Vdi => vdi::inspect(&image).await,
            DetectedFormat::Parallels => small::parallels(&image).await,
            DetectedFormat::Bochs => small::bochs(&image).await,
            DetectedFormat::Cloop => small::cloop(&image).await,
            _ => Err(Problem::Encrypted.into()),
        };
        checked.map_err(|stop| refused(format, stop))?;
    } else {
        inspected.detected = detect_other(&image.head);
    }
    let trailer = check_trailer(&image).await?;
    inspected.detected = match inspected.detected {
        // A boot sector does not tell what the file is.
        None | Some(DetectedFormat::Raw) => trailer.or(inspected.detected),
        detected => detected,
    };
    Ok(inspected)
}

/// Checks the trailer, which a file of any format may have, and by which two formats are recognised.
async fn check_trailer<S: Source>(image: &Image<'_, S>) -> Result<Option<DetectedFormat>, InspectError<S::Error>> {
    let start = image.size.saturating_sub(TAIL);
    let read = image.read(start, TAIL).await;
    let tail = read.map_err(|stop| refused(DetectedFormat::Raw, stop))?;
    let end = tail.0.len();
    let footer = Fields(tail.slice(end.saturating_sub(512)..end).to_vec());
    if vhd::is_footer(&footer) {
        vhd::inspect(image, &footer).await.map_err(|stop| refused(DetectedFormat::Vhd, stop))?;
        return Ok(Some(DetectedFormat::Vhd));
    }
    if let Some(at) = small::find_dmg_trailer(&tail) {
        let trailer = Fields(tail.slice(at..at.saturating_add(512)).to_vec());
        return match small::dmg(image.size, &trailer) {
            Ok(()) => Ok(Some(DetectedFormat::Dmg)),
            Err(Problem::OtherFile { role, name }) => {
                Err(refused(DetectedFormat::Dmg, Stop::Problem(Problem::OtherFile { role, name })))
            }
            // Four letters at the end of a disk are a coincidence.
            Err(_) => Ok(None),
        };
    }
    Ok(None)
}

fn refused<E>(format: DetectedFormat, stop: Stop<E>) -> InspectError<E> {
    match stop {
        Stop::Problem(problem) => InspectError::Refused(Refusal { format, problem }),
        Stop::Source(error) => InspectError::Source(error),
    }
}
