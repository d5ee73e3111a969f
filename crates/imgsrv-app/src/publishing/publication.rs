//! What a publish job reads once: the frozen manifest and its trusted blobs.

use crate::{context::Context, publishing::error::StepError};
use imgsrv_domain::{
    digest::{BlobClaim, ByteSize, Digest},
    ids::ArtifactId,
    inspection::Inspection,
    manifest::{Manifest, Unpublishable, Untrusted},
    ports::{TrustedBlob, View},
    publish::PublishJob,
};
use std::collections::{BTreeMap, HashMap};

/// The frozen version that a job publishes. All of its blobs were trusted when it was read.
pub(super) struct Publication {
    pub(super) manifest: Manifest,
    blobs: HashMap<Digest, TrustedBlob>,
}

impl Publication {
    /// Reads the version of `job`.
    pub(super) async fn read(context: &Context, job: &PublishJob) -> Result<Self, StepError> {
        let found = context.catalog.get_manifest(&job.image, &job.version, View::All).await?;
        let found = found.filter(|manifest| manifest.version.id == job.version_id);
        let manifest = found.ok_or_else(|| StepError::Permanent("the version no longer exists".to_owned()))?;
        let blobs = context.catalog.get_manifest_blobs(job.version_id).await?;
        let blobs: HashMap<_, _> = blobs.into_iter().map(|blob| (blob.claim.digest, blob)).collect();
        let untrusted = |BlobClaim { digest, size }| {
            let trusted = blobs.get(&digest).map(|blob| blob.claim.size);
            let trusted_bytes = trusted.map(ByteSize::get);
            let untrusted = Untrusted { digest, declared: size.get(), trusted: trusted_bytes, collected_on: None };
            (trusted != Some(size)).then_some((digest, untrusted))
        };
        // Now, and not when the step is recorded: until then they may be trusted again, but were not inspected.
        let untrusted: BTreeMap<_, _> = manifest.files().into_iter().filter_map(|file| untrusted(file.claim)).collect();
        if !untrusted.is_empty() {
            let reason = Unpublishable::Untrusted(untrusted.into_values().collect());
            return Err(StepError::Permanent(reason.to_string()));
        }
        Ok(Self { manifest, blobs })
    }

    /// The blob with that digest.
    pub(super) fn blob(&self, digest: &Digest) -> Result<&TrustedBlob, StepError> {
        self.blobs.get(digest).ok_or_else(|| StepError::Permanent(format!("the blob {digest} has not been uploaded")))
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
