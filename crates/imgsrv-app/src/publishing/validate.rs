//! `validate_catalog`: the bytes are what the manifest declares, and every disk image is standalone.

use crate::{
    context::{Context, FormatCheck},
    publishing::{error::StepError, inspection::inspect, packages, publication::Publication},
};
use imgsrv_domain::{
    digest::Digest,
    files::check_spellings,
    ids::{ArtifactId, VersionId},
    inspection::{Inspection, Warning},
    manifest::Unpublishable,
    packages::PackageList,
    ports::{CatalogError, CatalogTx},
    publish::StepName,
};
use std::sync::Arc;

/// The results of inspecting a version's artifacts and attachments.
#[derive(Default)]
pub(super) struct Validated {
    pub(super) inspections: Vec<(ArtifactId, Inspection)>,
    packages: Vec<(Digest, PackageList)>,
    warnings: Vec<Warning>,
}

pub(super) async fn run(context: &Arc<Context>, publication: &Publication) -> Result<Validated, StepError> {
    let manifest = &publication.manifest;
    if manifest.entries.is_empty() {
        return Err(StepError::Permanent(Unpublishable::Empty.to_string()));
    }
    // An earlier version of the server may not have known that two names are of one architecture.
    check_spellings(manifest.names()).map_err(|clash| StepError::Permanent(clash.to_string()))?;
    let (mut validated, mut refusals) = (Validated::default(), Vec::new());
    for artifact in manifest.entries.iter().map(|entry| &entry.artifact) {
        let blob = publication.blob(&artifact.primary.digest)?;
        let file = artifact.file_name(&manifest.image.name, &manifest.version.name);
        let inspection = match inspect(context, blob).await? {
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
    for attachment in manifest.entries.iter().flat_map(|entry| &entry.attachments) {
        if packages::may_list(attachment) {
            let blob = publication.blob(&attachment.blob.digest)?;
            let list = packages::read(context, blob).await?;
            validated.packages.extend(list.map(|list| (blob.claim.digest, list)));
        }
    }
    if refusals.is_empty() { Ok(validated) } else { Err(StepError::Permanent(refusals.join("; "))) }
}

pub(super) async fn record(
    tx: &mut dyn CatalogTx,
    version: VersionId,
    validated: &Validated,
) -> Result<(), CatalogError> {
    for (artifact, inspection) in &validated.inspections {
        tx.insert_inspection(version, *artifact, inspection).await?;
    }
    for (digest, list) in &validated.packages {
        tx.insert_package_list(*digest, list).await?;
    }
    tx.insert_warnings(version, &validated.warnings).await
}
