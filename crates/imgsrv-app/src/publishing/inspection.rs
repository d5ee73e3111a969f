//! Inspecting the format of stored bytes.

use crate::{bytes::reader::BlobReader, context::Context, publishing::error::StepError};
use imgsrv_domain::{
    digest::ByteSize,
    inspection::{ClusterCompression, DetectedFormat, Inspection},
    ports::TrustedBlob,
};
use imgsrv_inspect::{self as inspect, Qcow2, Qcow2Error, detect};

/// The format of the bytes, or why it is not safe to publish them.
pub(super) async fn inspect(context: &Context, blob: &TrustedBlob) -> Result<Result<Inspection, String>, StepError> {
    let source = BlobReader { context, blob };
    let failed = |error| StepError::reading(blob, error);
    let detected = detect(&source).await.map_err(failed)?;
    let mut inspection = Inspection { detected: detected.map(known), ..Inspection::default() };
    match detected {
        Some(inspect::DetectedFormat::Qcow2) => {}
        Some(inspect::DetectedFormat::VmdkDescriptor) => {
            return Ok(Err("it describes a disk whose data are in other files".to_owned()));
        }
        Some(_) | None => return Ok(Ok(inspection)),
    }
    match Qcow2::inspect(&source).await {
        Ok(found) => {
            inspection.virtual_size = ByteSize::try_from(found.virtual_size).ok();
            inspection.cluster_size = ByteSize::try_from(found.cluster_size).ok();
            inspection.compression = Some(match found.compression {
                inspect::Compression::Zlib => ClusterCompression::Zlib,
                inspect::Compression::Zstd => ClusterCompression::Zstd,
            });
            Ok(Ok(inspection))
        }
        // Whatever format is declared: tools that detect it would open it as qcow2.
        Err(Qcow2Error::Unsafe(problem)) => Ok(Err(problem.to_string())),
        Err(Qcow2Error::Source(error)) => Err(failed(error)),
    }
}

const fn known(format: inspect::DetectedFormat) -> DetectedFormat {
    match format {
        inspect::DetectedFormat::Qcow2 => DetectedFormat::Qcow2,
        inspect::DetectedFormat::Vmdk | inspect::DetectedFormat::VmdkDescriptor => DetectedFormat::Vmdk,
        inspect::DetectedFormat::Vhdx => DetectedFormat::Vhdx,
        inspect::DetectedFormat::Squashfs => DetectedFormat::Squashfs,
        inspect::DetectedFormat::Iso => DetectedFormat::Iso,
        inspect::DetectedFormat::Raw => DetectedFormat::Raw,
        inspect::DetectedFormat::Gzip => DetectedFormat::Gzip,
        inspect::DetectedFormat::Xz => DetectedFormat::Xz,
        inspect::DetectedFormat::Zstd => DetectedFormat::Zstd,
    }
}
