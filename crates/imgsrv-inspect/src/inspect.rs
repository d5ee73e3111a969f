//! Inspects a file: its format, also if it is compressed, and whether a disk image or an appliance stands alone.

use crate::{
    appliance,
    disk::{InspectError, Problem, Refusal},
    file::{Inspected, inspect_file},
    format::{Contents, DetectedFormat},
    source::Source,
};

/// Detects the format of a file, and refuses a disk image that does not stand alone, is encrypted or is cut off. What a
/// file is declared as does not matter. Of a compressed file, the first 256 KiB are decompressed, of some disks 8 MiB, and a
/// disk image in it is checked as far as it is in them; it is refused if they cannot be decompressed, do not contain what
/// names other files, or if its last bytes show that its end is missing. The files of an appliance are inspected like others, and its descriptor must refer to them alone.
///
/// Reads at most 131 MiB, 256 KiB at once, and keeps at most 4 MiB in memory, 24 MiB of a compressed file; of an appliance
/// so much for each of at most 64 files; of a file that is no disk image, the first 256 KiB and the last 1 KiB.
pub async fn inspect<S: Source>(source: &S) -> Result<Inspected, InspectError<S::Error>> {
    let found = inspect_file(source).await?;
    let of = |contents| Some(DetectedFormat { contents: Some(contents), ..DetectedFormat::default() });
    if found.detected != of(Contents::Tar) && found.detected != of(Contents::Ova) {
        return Ok(found);
    }
    if appliance::inspect(source).await? {
        return Ok(Inspected { detected: of(Contents::Ova), ..found });
    }
    if found.detected == of(Contents::Ova) {
        let problem = Problem::Invalid("list of files");
        return Err(InspectError::Refused(Refusal::of(Contents::Ova, problem)));
    }
    Ok(found)
}
