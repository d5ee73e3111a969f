//! `validate_catalog`: bytes are what the manifest says, and no qcow2 is unsafe.

use crate::publishing::steps::{self, Trouble};
use crate::{
    bytes::reader::StoredBlob,
    context::{Context, FormatCheck},
};
use imgsrv_domain::{
    digest::ByteSize,
    ids::{ArtifactId, VersionId},
    inspection::{ClusterCompression, DetectedFormat, Inspection, Warning},
    ports::{CatalogError, CatalogTx, TrustedBlob, Visibility},
    publish::{PublishJob, StepName},
};
use imgsrv_inspect::{self as inspect, Qcow2, Qcow2Error, detect};

/// What the bytes of a version's artifacts are.
#[derive(Default)]
pub(super) struct Validated {
    inspections: Vec<(ArtifactId, Inspection)>,
    warnings: Vec<Warning>,
}

pub(super) async fn run(context: &Context, job: &PublishJob) -> Result<Validated, Trouble> {
    let manifest = steps::manifest(context, job).await?;
    let (mut validated, mut refusals) = (Validated::default(), Vec::new());
    for artifact in manifest.entries.iter().map(|entry| &entry.artifact) {
        // One that is not trusted fails the step where it is recorded, with all others like it.
        let Some(blob) = context.catalog.get_blob(&artifact.primary.digest, Visibility::All).await? else { continue };
        let file = artifact.file_name(&job.image, &job.version);
        let inspection = match look_into(context, &blob).await? {
            Ok(inspection) => inspection,
            Err(problem) => {
                refusals.push(format!("{file}: {problem}"));
                continue;
            }
        };
        if !inspection.matches(artifact.format) {
            let is = inspection.detected.map_or("not recognised".to_owned(), |detected| format!("{detected}"));
            let reason = format!("{file}: declared as {}, but the bytes are {is}", artifact.format);
            match context.settings.format_check {
                FormatCheck::Warn => {
                    validated.warnings.push(Warning { step: StepName::ValidateCatalog, artifact: artifact.id, reason });
                }
                FormatCheck::Enforce => refusals.push(reason),
            }
        }
        validated.inspections.push((artifact.id, inspection));
    }
    if refusals.is_empty() { Ok(validated) } else { Err(Trouble::Final(refusals.join("; "))) }
}

/// What the bytes are, or why they are not safe to hand out.
pub(super) async fn look_into(context: &Context, blob: &TrustedBlob) -> Result<Result<Inspection, String>, Trouble> {
    let source = StoredBlob { context, blob };
    let trouble = |error| Trouble::reading(blob, error);
    let detected = detect(&source).await.map_err(trouble)?;
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
        // Tools that probe take it for what it is, whatever the artifact is declared as.
        Err(Qcow2Error::Unsafe(problem)) => Ok(Err(problem.to_string())),
        Err(Qcow2Error::Source(error)) => Err(trouble(error)),
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

pub(super) async fn record(
    tx: &mut dyn CatalogTx,
    version: VersionId,
    validated: &Validated,
) -> Result<(), CatalogError> {
    tx.delete_inspections(version).await?;
    tx.delete_warnings(version, Some(StepName::ValidateCatalog)).await?;
    for (artifact, inspection) in &validated.inspections {
        tx.insert_inspection(version, *artifact, inspection).await?;
    }
    tx.insert_warnings(version, &validated.warnings).await
}
