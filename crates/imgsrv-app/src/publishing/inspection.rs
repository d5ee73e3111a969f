//! Inspecting the format of stored bytes.

use crate::{bytes::reader::BlobReader, context::Context, publishing::error::StepError};
use imgsrv_domain::{
    digest::ByteSize,
    inspection::{ClusterCompression, DetectedFormat, Inspection},
    ports::TrustedBlob,
};
use imgsrv_inspect::{self as inspect, InspectError, Refusal};

/// The format of the bytes, or why they are not safe to publish. What they are declared as does not matter: programs that
/// detect the format open them as what they are.
pub(super) async fn inspect(context: &Context, blob: &TrustedBlob) -> Result<Result<Inspection, Refusal>, StepError> {
    let found = match inspect::inspect(&BlobReader { context, blob }).await {
        Ok(found) => found,
        Err(InspectError::Refused(refusal)) => return Ok(Err(refusal)),
        Err(InspectError::Source(error)) => return Err(StepError::reading(blob, error)),
    };
    let mut inspection = Inspection { detected: found.detected.map(known), ..Inspection::default() };
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

const fn known(format: inspect::DetectedFormat) -> DetectedFormat {
    match format {
        inspect::DetectedFormat::Qcow2 => DetectedFormat::Qcow2,
        inspect::DetectedFormat::Qcow => DetectedFormat::Qcow,
        inspect::DetectedFormat::Qed => DetectedFormat::Qed,
        inspect::DetectedFormat::Vmdk => DetectedFormat::Vmdk,
        inspect::DetectedFormat::Vhdx => DetectedFormat::Vhdx,
        inspect::DetectedFormat::Vhd => DetectedFormat::Vhd,
        inspect::DetectedFormat::Vdi => DetectedFormat::Vdi,
        inspect::DetectedFormat::Parallels => DetectedFormat::Parallels,
        inspect::DetectedFormat::Bochs => DetectedFormat::Bochs,
        inspect::DetectedFormat::Cloop => DetectedFormat::Cloop,
        inspect::DetectedFormat::Dmg => DetectedFormat::Dmg,
        inspect::DetectedFormat::Luks => DetectedFormat::Luks,
        inspect::DetectedFormat::Squashfs => DetectedFormat::Squashfs,
        inspect::DetectedFormat::Iso => DetectedFormat::Iso,
        inspect::DetectedFormat::Raw => DetectedFormat::Raw,
        inspect::DetectedFormat::Gzip => DetectedFormat::Gzip,
        inspect::DetectedFormat::Xz => DetectedFormat::Xz,
        inspect::DetectedFormat::Zstd => DetectedFormat::Zstd,
    }
}
