//! What a publish job reads once: the frozen manifest and its trusted blobs.

use crate::{context::Context, publishing::error::StepError};
use imgsrv_domain::{
    digest::Digest,
    ids::ArtifactId,
    inspection::Inspection,
    manifest::Manifest,
    ports::{TrustedBlob, Visibility},
    publish::PublishJob,
};
use std::collections::HashMap;

/// The frozen version that a job publishes.
pub(super) struct Publication {
    pub(super) manifest: Manifest,
    blobs: HashMap<Digest, TrustedBlob>,
}

impl Publication {
    /// Reads the version of `job`.
    pub(super) async fn read(context: &Context, job: &PublishJob) -> Result<Self, StepError> {
        let found = context.catalog.get_manifest(&job.image, &job.version, Visibility::All).await?;
        let found = found.filter(|manifest| manifest.version.id == job.version_id);
        let manifest = found.ok_or_else(|| StepError::Permanent("the version is gone".to_owned()))?;
        let blobs = context.catalog.get_manifest_blobs(job.version_id).await?;
        let blobs = blobs.into_iter().map(|blob| (blob.claim.digest, blob)).collect();
        Ok(Self { manifest, blobs })
    }

    /// The trusted blob with that digest.
    pub(super) fn blob(&self, digest: &Digest) -> Option<&TrustedBlob> {
        self.blobs.get(digest)
    }

    /// Adds the recorded inspection results to the manifest.
    pub(super) fn inspected(&mut self, inspections: &[(ArtifactId, Inspection)]) {
        for (artifact, inspection) in inspections {
            let mut entries = self.manifest.entries.iter_mut();
            if let Some(entry) = entries.find(|entry| entry.artifact.id == *artifact) {
                entry.inspection = Some(*inspection);
            }
        }
    }
}
