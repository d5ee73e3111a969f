//! Inspecting the format of stored bytes.

use crate::{bytes::reader::BlobReader, context::Context, publishing::error::StepError};
use imgsrv_domain::{
    digest::ByteSize,
    inspection::{ClusterCompression, DetectedFormat, Inspection},
    ports::TrustedBlob,
};
use imgsrv_inspect::{self as inspect, InspectError, Refusal};
use std::sync::Arc;

/// The format of the bytes, or why they are not safe to publish. What they are declared as does not matter: programs that
/// detect the format open them as what they are.
pub(super) async fn inspect(
    context: &Arc<Context>,
    blob: &TrustedBlob,
) -> Result<Result<Inspection, Refusal>, StepError> {
    let found = match inspect::inspect(&BlobReader { context, blob }).await {
        Ok(found) => found,
        Err(InspectError::Refused(refusal)) => return Ok(Err(refusal)),
        Err(InspectError::Source(error)) => return Err(StepError::reading(blob, error)),
    };
    let mut inspection = Inspection { detected: found.detected.and_then(known), ..Inspection::default() };
    if let Some(qcow2) = found.qcow2 {
        inspection.virtual_size = ByteSize::try_from(qcow2.virtual_size).ok();
        inspection.cluster_size = ByteSize::try_from(qcow2.cluster_size).ok();
        inspection.compression = Some(match qcow2.compression {
            inspect::Compression::Zlib => ClusterCompression::Zlib,
            inspect::Compression::Zstd => ClusterCompression::Zstd,
        });
    }
    Ok(Ok(inspection))
}

/// The same format in the terms of the domain; both have the same names.
fn known(format: inspect::DetectedFormat) -> Option<DetectedFormat> {
    format.to_string().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgsrv_inspect::{Compressor, Contents};

    #[test]
    fn every_detected_format_is_known() {
        let compressors = Compressor::ALL.iter().copied().map(Some).chain([None]);
        for again in Compressor::ALL {
            let (compressor, again) = (Some(Compressor::Gzip), Some(*again));
            let format = inspect::DetectedFormat { contents: None, compressor, again };
            assert_eq!(known(format).map(|known| known.to_string()), Some(format.to_string()));
        }
        for compressor in compressors {
            for contents in Contents::ALL.iter().copied().map(Some).chain([None]) {
                let format = inspect::DetectedFormat { contents, compressor, again: None };
                let name = known(format).map(|known| known.to_string());
                assert_eq!(name, (format != inspect::DetectedFormat::default()).then(|| format.to_string()));
            }
        }
    }
}
