//! Reconciliation: makes the draft on the server equal to the publication.

use super::{
    Event, Publication, Publish,
    prepared::{PreparedArtifact, unwanted},
};
use crate::error::{Error, unless};
use imgsrv_api::{
    Attachment, CreateArtifact, CreateAttachment, CreateImage, Manifest, ManifestEntry, ProblemCode, UpdateImage,
    Version,
};
use imgsrv_domain::files::INCUS_METADATA;

/// How often the reconciliation is repeated if others change the draft meanwhile.
const MAX_RETRIES: usize = 3;

impl Publish {
    /// Makes the draft equal to the publication, unless the version is no draft any more and equal already.
    pub(super) async fn reconcile(&self, artifacts: &[PreparedArtifact<'_>]) -> Result<Version, Error> {
        for _ in 0..MAX_RETRIES {
            match self.reconcile_once(artifacts).await {
                // Another publication of the same version has frozen the draft.
                Err(error) if error.code() == Some(ProblemCode::VersionNotDraft) => {}
                Err(Error::Conflict(conflict)) if conflict.state == "publishing" && self.publication.replace_draft => {
                    self.abandon_failed_job().await?;
                }
                result => return result,
            }
        }
        self.reconcile_once(artifacts).await
    }

    /// Abandons the failed job of a version whose content is to be replaced.
    async fn abandon_failed_job(&self) -> Result<(), Error> {
        let requested = self.client.publish_version(&self.publication.image, &self.publication.version).await?;
        let job = self.client.job(&requested.job_id).await?;
        if job.state == "failed" {
            self.client.abandon_job(&job.id).await?;
        }
        Ok(())
    }

    async fn reconcile_once(&self, artifacts: &[PreparedArtifact<'_>]) -> Result<Version, Error> {
        let Publication { image, version, .. } = &self.publication;
        self.reconcile_image().await?;
        let created = unless_exists(self.client.create_version(image, version).await)?;
        let manifest = match self.client.manifest(image, version).await {
            Err(error) if error.code() == Some(ProblemCode::NotFound) && created.is_none() => {
                return Err(self.conflict("taken", vec![format!("{version} is the name of an alias")]));
            }
            manifest => manifest?,
        };
        if manifest.version.state != "draft" {
            self.compare(&manifest, artifacts)?;
            return Ok(manifest.version);
        }
        self.remove_unwanted(&manifest, artifacts).await?;
        for artifact in artifacts {
            self.add_artifact(artifact).await?;
        }
        // Shows what another publication added meanwhile; what it adds later shows once the version is frozen.
        let manifest = self.client.manifest(image, version).await?;
        self.compare(&manifest, artifacts)?;
        (self.observer)(Event::Drafted);
        Ok(manifest.version)
    }

    /// Creates the image, or changes the metadata of an existing one where the publication has other.
    async fn reconcile_image(&self) -> Result<(), Error> {
        let Publication { image, display_name, description, private, .. } = &self.publication;
        let new = CreateImage {
            name: image.clone(),
            display_name: display_name.clone(),
            description: description.clone(),
            visibility: private.then(|| "private".to_owned()),
        };
        let exists = unless_exists(self.client.create_image(&new).await)?.is_none();
        if exists && (*private || display_name.is_some() || description.is_some()) {
            let existing = self.client.image(image).await?;
            if *private && existing.visibility != "private" {
                return Err(Error::ImageNotPrivate { image: image.clone(), visibility: existing.visibility });
            }
            let changed = |new: &Option<String>, old: Option<String>| new.clone().map(Some).filter(|new| *new != old);
            let change = UpdateImage {
                display_name: changed(display_name, existing.display_name),
                description: changed(description, existing.description),
                visibility: None,
            };
            if change.display_name.is_some() || change.description.is_some() {
                self.client.update_image(image, &change).await?;
            }
        }
        Ok(())
    }

    /// Removes what conflicts with the publication from the draft; without `replace_draft`, it is refused.
    async fn remove_unwanted(&self, manifest: &Manifest, artifacts: &[PreparedArtifact<'_>]) -> Result<(), Error> {
        let Publication { image, version, replace_draft, .. } = &self.publication;
        let mut differences = Vec::new();
        for entry in &manifest.artifacts {
            let found = match artifacts.iter().find(|artifact| artifact.has_key_of(entry)) {
                Some(artifact) => artifact.differences(entry),
                None => vec![unwanted(entry)],
            };
            if !found.is_empty() && *replace_draft {
                // It may be gone already, by a request whose response was lost.
                let deleted = self.client.delete_artifact(image, version, &entry.artifact_id).await;
                unless(ProblemCode::NotFound, deleted)?;
            } else {
                differences.extend(found);
            }
        }
        if differences.is_empty() { Ok(()) } else { Err(self.conflict("draft", differences)) }
    }

    /// Adds an artifact with its attachments to the draft, as far as they are missing.
    async fn add_artifact(&self, artifact: &PreparedArtifact<'_>) -> Result<(), Error> {
        let Publication { image, version, .. } = &self.publication;
        let new = artifact.new;
        let body = CreateArtifact {
            variant: Some(new.variant.clone()),
            operating_system: new.operating_system.clone(),
            architecture: new.architecture.clone(),
            format: new.format.to_string(),
            primary_blob_digest: artifact.blob.digest.to_string(),
            primary_blob_size_bytes: artifact.blob.size.signed(),
            primary_media_type: new.media_type.clone(),
        };
        let refused = match self.client.create_artifact(image, version, &body).await {
            Ok(created) => return self.add_attachments(artifact, &created.id, &[]).await,
            Err(error) if error.code() == Some(ProblemCode::NameTaken) => error,
            Err(error) => return Err(error),
        };
        let manifest = self.client.manifest(image, version).await?;
        match manifest.artifacts.iter().find(|entry| artifact.has_key_of(entry)) {
            Some(entry) => self.add_attachments(artifact, &entry.artifact_id, &entry.attachments).await,
            // Its file name, or its Incus product, is that of another artifact.
            None => Err(refused),
        }
    }

    async fn add_attachments(
        &self,
        artifact: &PreparedArtifact<'_>,
        artifact_id: &str,
        existing: &[Attachment],
    ) -> Result<(), Error> {
        let exists = |name: &str| existing.iter().any(|attachment| attachment.name == name);
        let Publication { image, version, .. } = &self.publication;
        for (new, blob) in artifact.attachments.iter().filter(|(new, _)| !exists(&new.name)) {
            let attachment = CreateAttachment {
                name: new.name.clone(),
                media_type: new.media_type.clone(),
                blob_digest: blob.digest.to_string(),
                blob_size_bytes: blob.size.signed(),
            };
            unless_exists(self.client.create_attachment(image, version, artifact_id, &attachment).await)?;
        }
        if let Some(metadata) = artifact.new.incus.as_ref().filter(|_| !exists(INCUS_METADATA)) {
            unless_exists(self.client.create_incus_metadata(image, version, artifact_id, metadata).await)?;
        }
        Ok(())
    }

    /// Fails with every difference between a version and the publication.
    pub(super) fn compare(&self, manifest: &Manifest, artifacts: &[PreparedArtifact<'_>]) -> Result<(), Error> {
        let mut differences = Vec::new();
        for artifact in artifacts {
            match manifest.artifacts.iter().find(|entry| artifact.has_key_of(entry)) {
                Some(entry) => {
                    differences.extend(artifact.differences(entry));
                    differences.extend(artifact.missing_attachments(entry));
                }
                None => differences.push(format!("it lacks {}", artifact.key().join("/"))),
            }
        }
        let is_wanted = |entry: &&ManifestEntry| artifacts.iter().any(|artifact| artifact.has_key_of(entry));
        differences.extend(manifest.artifacts.iter().filter(|entry| !is_wanted(entry)).map(unwanted));
        if differences.is_empty() { Ok(()) } else { Err(self.conflict(&manifest.version.state, differences)) }
    }
}

/// What was created; `None` if it exists already.
fn unless_exists<T>(created: Result<T, Error>) -> Result<Option<T>, Error> {
    unless(ProblemCode::NameTaken, created)
}
