//! Inspects one file, also if it is compressed, but not the files in it.

use crate::{
    compressed::{Compressed, End},
    detect,
    disk::{
        Image, InspectError, Problem, Qcow2, Refusal, detect_start, inspect_contents, names_others_late,
        refuse_descriptor,
    },
    ending,
    fields::Fields,
    format::DetectedFormat,
    source::Source,
};

/// Bytes that are decompressed: enough for the volume descriptor of an ISO 9660.
const START: usize = 256 << 10;
/// Bytes of a compressed file that are read for them.
const MAX_INPUT: u64 = 8 << 20;
/// Bytes that are decompressed of a disk that may name other files there: a VHDX usually does so within 4 MiB.
const LONG_START: usize = 8 << 20;
/// Bytes of a compressed file that are read for them.
const MAX_LONG_INPUT: u64 = 16 << 20;

/// What a file that is not refused is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inspected {
    /// The format; absent if none was recognised.
    pub detected: Option<DetectedFormat>,
    /// Properties of a qcow2 that is not compressed.
    pub qcow2: Option<Qcow2>,
}

/// Like [`inspect`](crate::inspect), but without what is in a tarball.
pub(crate) async fn inspect_file<S: Source>(source: &S) -> Result<Inspected, InspectError<S::Error>> {
    let image = Image::open(source).await.map_err(InspectError::Source)?;
    let Some(compressor) = detect::compressor(&image.head) else {
        let (contents, qcow2) = inspect_contents(&image).await?;
        let detected =
            contents.map(|contents| DetectedFormat { contents: Some(contents), ..DetectedFormat::default() });
        return Ok(Inspected { detected, qcow2 });
    };
    refuse_descriptor(&image).await?;
    let compressed = |compressor| DetectedFormat { compressor: Some(compressor), ..DetectedFormat::default() };
    if !compressor.is_decompressed() {
        return Ok(Inspected { detected: Some(compressed(compressor)), qcow2: None });
    }
    let magic = Fields(image.head.slice(0..16).to_vec());
    let mut file = Compressed::new(source, compressor, image.head.0);
    let mut start = file.start(START, MAX_INPUT).await.map_err(InspectError::Source)?;
    let problem = match start.end {
        End::Enough | End::All => None,
        End::RanOut | End::TooManyMembers => Some(Problem::NoContent),
        End::Invalid => Some(Problem::NotDecompressed),
        End::NeedsMemory => Some(Problem::NeedsMemory),
    };
    if let Some(problem) = problem {
        return Err(InspectError::Refused(Refusal { format: compressed(start.compressor), problem }));
    }
    let mut head = Image::<S>::beginning(start.bytes, start.end == End::All);
    if start.end == End::Enough && names_others_late(&head.head) {
        start = file.start(LONG_START, MAX_LONG_INPUT).await.map_err(InspectError::Source)?;
        head = Image::beginning(start.bytes, start.end == End::All);
    }
    let compressor = Some(start.compressor);
    inspect_contents(&head).await.map_err(|error| error.in_compressed(compressor))?;
    let again = detect::compressor(&head.head);
    let contents = if again.is_some() { None } else { detect_start(&head.head) };
    let format = DetectedFormat { contents, compressor, again };
    // If all was decompressed, nothing is missing.
    let is_all = start.end == End::All;
    if !is_all && ending::is_missing(source, &magic, start.compressor, contents).await.map_err(InspectError::Source)? {
        return Err(InspectError::Refused(Refusal { format, problem: Problem::EndMissing }));
    }
    Ok(Inspected { detected: Some(format), qcow2: None })
}
