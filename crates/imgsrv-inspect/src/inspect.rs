//! Inspects a file: its format, also if it is compressed, and whether a disk image stands alone.

use crate::{
    compressed::decompress,
    detect,
    disk::{Image, InspectError, Qcow2, detect_start, inspect_contents},
    format::DetectedFormat,
    source::Source,
};

/// What a file that is not refused is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inspected {
    /// The format; absent if none was recognised.
    pub detected: Option<DetectedFormat>,
    /// Properties of a qcow2 that is not compressed.
    pub qcow2: Option<Qcow2>,
}

/// Detects the format of a file, and refuses a disk image that does not stand alone, is encrypted or is cut off. What a
/// file is declared as does not matter. Of a compressed file, the first 256 KiB are decompressed, and a disk image in it is
/// checked as far as it is in them.
///
/// Reads at most 131 MiB, 256 KiB at once, and keeps at most 2 MiB in memory; of a file that is no disk image, the first
/// 256 KiB and the last 1 KiB.
pub async fn inspect<S: Source>(source: &S) -> Result<Inspected, InspectError<S::Error>> {
    let image = Image::open(source).await.map_err(InspectError::Source)?;
    let Some(compressor) = detect::compressor(&image.head) else {
        let (contents, qcow2) = inspect_contents(&image).await?;
        let detected = contents.map(|contents| DetectedFormat { contents: Some(contents), compressor: None });
        return Ok(Inspected { detected, qcow2 });
    };
    let start = image.head.0;
    let (start, is_all) = source.run(move || decompress(compressor, &start)).await;
    let contents = detect_start(&crate::fields::Fields(start.clone()));
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
