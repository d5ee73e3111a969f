//! Inspects one file, also if it is compressed, but not the files in it.

use crate::{
    compressed::decompress,
    detect,
    disk::{
        Image, InspectError, Qcow2, detect_start, inspect_contents, refuse_descriptor, refuse_header_of_descriptor,
    },
    fields::Fields,
    format::{Compressor, DetectedFormat},
    source::{Source, read_up_to},
};

/// Compressed bytes that contain the first block of a bzip2, which cannot be decompressed in part.
const BZIP2_BLOCK: u64 = 1 << 20;

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
        let detected = contents.map(|contents| DetectedFormat { contents: Some(contents), compressor: None });
        return Ok(Inspected { detected, qcow2 });
    };
    refuse_descriptor(&image).await?;
    let mut start = image.head.0;
    while compressor == Compressor::Bzip2 && (start.len() as u64) < BZIP2_BLOCK.min(source.size()) {
        let done = start.len() as u64;
        start.extend(read_up_to(source, done, BZIP2_BLOCK - done).await.map_err(InspectError::Source)?);
    }
    let is_whole = start.len() as u64 == source.size();
    let (start, is_all) = source.run(move || decompress(compressor, &start, is_whole)).await;
    let contents = detect_start(&Fields(start.clone()));
    refuse_header_of_descriptor(&Fields(start.clone())).map_err(InspectError::Refused)?;
    let size = if is_all { start.len() as u64 } else { i64::MAX as u64 };
    // A disk image is read as far as its beginning goes; what lies beyond is not known.
    match inspect_contents(&Image::beginning(&NoMore, start, size)).await {
        Ok(_) | Err(InspectError::Source(Beyond)) => {}
        Err(InspectError::Refused(refusal)) => return Err(InspectError::Refused(refusal)),
    }
    Ok(Inspected { detected: Some(DetectedFormat { contents, compressor: Some(compressor) }), qcow2: None })
}

/// The rest of a file of which only the beginning was decompressed.
struct NoMore;

/// Bytes after those that were decompressed.
struct Beyond;

impl Source for NoMore {
    type Error = Beyond;

    fn size(&self) -> u64 {
        0
    }

    async fn read(&self, _: u64, _: usize) -> Result<Vec<u8>, Beyond> {
        Err(Beyond)
    }
}
