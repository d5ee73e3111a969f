//! Editing drafts and their manifests.

use crate::{
    audit,
    auth::caller::Writer,
    content::incus::product,
    context::Context,
    error::{Existing, Missing, UseCaseError},
    work::retry::retrying,
};
use imgsrv_domain::{
    audit::{Actor, AuditAction, Event},
    digest::BlobClaim,
    files,
    ids::{ArtifactId, AttachmentId, VersionId},
    manifest::{Artifact, Attachment, MAX_ARTIFACTS, MAX_ATTACHMENTS, Manifest},
    names::{Architecture, AttachmentName, Format, ImageName, OperatingSystem, Variant, VersionName},
    ports::{CatalogError, CatalogTx, Visibility},
    text::MediaType,
    version::Version,
};
use std::sync::Arc;

/// The use cases of drafts.
#[derive(Clone)]
pub struct Drafts(pub(crate) Arc<Context>);

/// An artifact to be added.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields of an artifact")]
pub struct NewArtifact {
    pub variant: Variant,
    pub operating_system: OperatingSystem,
    pub architecture: Architecture,
    pub format: Format,
    pub primary: BlobClaim,
    pub media_type: MediaType,
}

/// An attachment to be added.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields of an attachment")]
pub struct NewAttachment {
    pub name: AttachmentName,
    pub media_type: MediaType,
    pub blob: BlobClaim,
}

impl Drafts {
    /// Creates a draft.
    #[tracing::instrument(
        name = "draft.create", level = "debug", skip_all, fields(image.name = %image, version.name = %name), err(level = "debug")
    )]
    pub async fn create(&self, who: &Writer, image: &ImageName, name: &VersionName) -> Result<Version, UseCaseError> {
        let created = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let image = tx.get_image(image).await?.ok_or(UseCaseError::NotFound(Missing::Image))?;
            let id = VersionId::new(self.0.ids.next());
            let (version, event) = Version::draft(id, image.id, image.name, name.clone(), tx.now());
            tx.insert_version(&version).await?;
            audit::record(&mut *tx, who.actor(), event).await?;
            tx.commit().await?;
            Ok(version)
        })
        .await;
        match created {
            Err(error @ UseCaseError::Taken { .. }) => {
                let existing = self.find_ref(image, name).await?;
                Err(error.with_existing(existing))
            }
            done => done,
        }
    }

    /// The version or alias of that name.
    async fn find_ref(&self, image: &ImageName, name: &VersionName) -> Result<Option<Existing>, UseCaseError> {
        let mut tx = self.0.catalog.begin().await?;
        if let Some(version) = tx.lock_version(image, name).await? {
            return Ok(Some(Existing::Version(version.id, image.clone(), name.clone())));
        }
        drop(tx);
        let Ok(alias) = name.as_str().parse() else { return Ok(None) };
        let found = self.0.catalog.get_alias(image, &alias).await?;
        Ok(found.map(|found| Existing::Alias(found.id, image.clone(), found.name)))
    }

    /// Deletes a draft with its manifest.
    #[tracing::instrument(
        name = "draft.delete", level = "debug", skip_all, fields(image.name = %image, version.name = %name), err(level = "debug")
    )]
    pub async fn delete(&self, who: &Writer, image: &ImageName, name: &VersionName) -> Result<(), UseCaseError> {
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let version = lock_version(&mut *tx, image, name).await?;
            let event = version.delete()?;
            tx.delete_version(&version).await?;
            audit::record(&mut *tx, who.actor(), event).await?;
            tx.commit().await?;
            Ok(())
        })
        .await
    }

    /// Adds an artifact to a draft. Its digest need not be a blob yet.
    #[tracing::instrument(
        name = "draft.add_artifact", level = "debug", skip_all, fields(image.name = %image, version.name = %version), err(level = "debug")
    )]
    pub async fn add_artifact(
        &self,
        who: &Writer,
        image: &ImageName,
        version: &VersionName,
        new: NewArtifact,
    ) -> Result<Artifact, UseCaseError> {
        let added = retrying(|| self.add_artifact_once(who, image, version, new.clone())).await;
        match added {
            Err(error @ UseCaseError::Taken { .. }) => {
                let existing = self.conflicting(image, version, &new).await?;
                Err(error.with_existing(existing))
            }
            done => done,
        }
    }

    async fn add_artifact_once(
        &self,
        who: &Writer,
        image: &ImageName,
        version: &VersionName,
        new: NewArtifact,
    ) -> Result<Artifact, UseCaseError> {
        let mut tx = self.0.catalog.begin().await?;
        let version = edit(&mut *tx, image, version).await?;
        if tx.count_artifacts(version.id).await? >= MAX_ARTIFACTS {
            return Err(UseCaseError::ManifestFull { what: "artifacts", limit: MAX_ARTIFACTS });
        }
        let artifact = insert_artifact(&self.0, &mut *tx, who.actor(), &version, new).await?;
        tx.commit().await?;
        Ok(artifact)
    }

    /// What `new` conflicts with: an artifact of the same key, a file of the same name, or an artifact of the same Incus
    /// product.
    async fn conflicting(
        &self,
        image: &ImageName,
        version: &VersionName,
        new: &NewArtifact,
    ) -> Result<Option<Existing>, UseCaseError> {
        let Some(manifest) = self.0.catalog.get_manifest(image, version, Visibility::All).await? else {
            return Ok(None);
        };
        let same_key = |artifact: &Artifact| {
            artifact.operating_system == new.operating_system
                && artifact.architecture == new.architecture
                && artifact.variant == new.variant
                && artifact.format == new.format
        };
        if let Some(entry) = manifest.entries.iter().find(|entry| same_key(&entry.artifact)) {
            return Ok(Some(Existing::Artifact(entry.artifact.id, image.clone(), version.clone())));
        }
        let file = files::artifact_file(image, version, &new.architecture, &new.variant, new.format);
        if let Some(owner) = owner_of(&manifest, &file) {
            return Ok(Some(owner));
        }
        let called = product(new.format, &new.architecture, &new.variant);
        let same_product = |artifact: &Artifact| {
            called.is_some() && product(artifact.format, &artifact.architecture, &artifact.variant) == called
        };
        let found = manifest.entries.iter().find(|entry| same_product(&entry.artifact));
        Ok(found.map(|entry| Existing::Artifact(entry.artifact.id, image.clone(), version.clone())))
    }

    /// Removes an artifact with its attachments from a draft.
    #[tracing::instrument(
        name = "draft.remove_artifact", level = "debug", skip_all, fields(image.name = %image, version.name = %version, artifact.id = %id), err(level = "debug")
    )]
    pub async fn remove_artifact(
        &self,
        who: &Writer,
        image: &ImageName,
        version: &VersionName,
        id: ArtifactId,
    ) -> Result<(), UseCaseError> {
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let (version, artifact) = lock_artifact(&mut *tx, image, version, id).await?;
            save_edit(&mut *tx, version).await?;
            tx.delete_artifact(artifact.id).await?;
            audit::record(&mut *tx, who.actor(), Event::new(AuditAction::ArtifactRemoved, id)).await?;
            tx.commit().await?;
            Ok(())
        })
        .await
    }

    /// Adds an attachment to an artifact of a draft. Its digest need not be a blob yet.
    #[tracing::instrument(
        name = "draft.add_attachment", level = "debug", skip_all, fields(image.name = %image, version.name = %version, artifact.id = %artifact), err(level = "debug")
    )]
    pub async fn add_attachment(
        &self,
        who: &Writer,
        image: &ImageName,
        version: &VersionName,
        artifact: ArtifactId,
        new: NewAttachment,
    ) -> Result<Attachment, UseCaseError> {
        let added = retrying(|| self.add_attachment_once(who, image, version, artifact, new.clone())).await;
        match added {
            Err(error @ UseCaseError::Taken { .. }) => {
                Err(error.with_existing(self.attached(image, version, artifact, &new.name).await?))
            }
            done => done,
        }
    }

    /// What an attachment of that name conflicts with.
    pub(crate) async fn attached(
        &self,
        image: &ImageName,
        version: &VersionName,
        artifact: ArtifactId,
        name: &AttachmentName,
    ) -> Result<Option<Existing>, UseCaseError> {
        let manifest = self.0.catalog.get_manifest(image, version, Visibility::All).await?;
        Ok(manifest.and_then(|manifest| {
            let of = manifest.entries.iter().find(|entry| entry.artifact.id == artifact)?;
            owner_of(&manifest, &files::attachment_file(&of.artifact.file_name(image, version), name))
        }))
    }

    async fn add_attachment_once(
        &self,
        who: &Writer,
        image: &ImageName,
        version: &VersionName,
        artifact: ArtifactId,
        new: NewAttachment,
    ) -> Result<Attachment, UseCaseError> {
        let mut tx = self.0.catalog.begin().await?;
        let (version, artifact) = lock_artifact(&mut *tx, image, version, artifact).await?;
        let version = save_edit(&mut *tx, version).await?;
        if tx.count_attachments(artifact.id).await? >= MAX_ATTACHMENTS {
            return Err(UseCaseError::ManifestFull { what: "attachments an artifact", limit: MAX_ATTACHMENTS });
        }
        let attachment = Attachment {
            id: AttachmentId::new(self.0.ids.next()),
            artifact_id: artifact.id,
            name: new.name,
            media_type: new.media_type,
            blob: new.blob,
            created_at: tx.now(),
        };
        let file = files::attachment_file(&artifact.file_name(image, &version.name), &attachment.name);
        tx.insert_attachment(version.id, &attachment, &[files::checksum_file(&file), file.clone()]).await?;
        let event = Event::new(AuditAction::AttachmentAdded, format!("{}/{file}", version.path()));
        audit::record(&mut *tx, who.actor(), event.with(attachment.blob.digest)).await?;
        tx.commit().await?;
        Ok(attachment)
    }

    /// Removes an attachment from an artifact of a draft.
    #[tracing::instrument(
        name = "draft.remove_attachment", level = "debug", skip_all, fields(image.name = %image, version.name = %version, artifact.id = %artifact), err(level = "debug")
    )]
    pub async fn remove_attachment(
        &self,
        who: &Writer,
        image: &ImageName,
        version: &VersionName,
        artifact: ArtifactId,
        id: AttachmentId,
    ) -> Result<(), UseCaseError> {
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let (version, artifact) = lock_artifact(&mut *tx, image, version, artifact).await?;
            let attachment = tx.get_attachment(id).await?.filter(|found| found.artifact_id == artifact.id);
            let attachment = attachment.ok_or(UseCaseError::NotFound(Missing::Attachment))?;
            save_edit(&mut *tx, version).await?;
            tx.delete_attachment(attachment.id).await?;
            audit::record(&mut *tx, who.actor(), Event::new(AuditAction::AttachmentRemoved, id)).await?;
            tx.commit().await?;
            Ok(())
        })
        .await
    }
}

/// The artifact or attachment whose file, or checksum file, has the name of `file` or of its checksum file.
fn owner_of(manifest: &Manifest, file: &str) -> Option<Existing> {
    let (image, version) = (&manifest.image.name, &manifest.version.name);
    let conflicts =
        |other: &str| other == file || files::checksum_file(other) == file || other == files::checksum_file(file);
    manifest.entries.iter().find_map(|entry| {
        let own = entry.artifact.file_name(image, version);
        if conflicts(&own) {
            return Some(Existing::Artifact(entry.artifact.id, image.clone(), version.clone()));
        }
        let attached = |attachment: &&Attachment| conflicts(&files::attachment_file(&own, &attachment.name));
        let found = entry.attachments.iter().find(attached)?;
        Some(Existing::Attachment(found.id, entry.artifact.id, image.clone(), version.clone()))
    })
}

/// Adds an artifact to a draft that is locked.
pub(crate) async fn insert_artifact(
    context: &Context,
    tx: &mut dyn CatalogTx,
    actor: &Actor,
    version: &Version,
    new: NewArtifact,
) -> Result<Artifact, CatalogError> {
    let artifact = Artifact {
        id: ArtifactId::new(context.ids.next()),
        version_id: version.id,
        variant: new.variant,
        operating_system: new.operating_system,
        architecture: new.architecture,
        format: new.format,
        primary: new.primary,
        media_type: new.media_type,
        created_at: tx.now(),
    };
    let file = artifact.file_name(&version.image, &version.name);
    let product = product(artifact.format, &artifact.architecture, &artifact.variant);
    let names = [files::checksum_file(&file), file.clone()];
    tx.insert_artifact(&artifact, &names, product.as_deref()).await?;
    let event = Event::new(AuditAction::ArtifactAdded, format!("{}/{file}", version.path()));
    audit::record(tx, actor, event.with(artifact.primary.digest)).await?;
    Ok(artifact)
}

pub(crate) async fn lock_version(
    tx: &mut dyn CatalogTx,
    image: &ImageName,
    version: &VersionName,
) -> Result<Version, UseCaseError> {
    tx.lock_version(image, version).await?.ok_or(UseCaseError::NotFound(Missing::Version))
}

/// The draft, with its revision raised, so that concurrent edits and publishes of it fail.
async fn edit(tx: &mut dyn CatalogTx, image: &ImageName, version: &VersionName) -> Result<Version, UseCaseError> {
    let version = lock_version(tx, image, version).await?;
    save_edit(tx, version).await
}

async fn save_edit(tx: &mut dyn CatalogTx, version: Version) -> Result<Version, UseCaseError> {
    let version = version.edit(tx.now())?;
    tx.update_version(&version).await?;
    Ok(version)
}

/// The version, locked, and its artifact with that id.
pub(crate) async fn lock_artifact(
    tx: &mut dyn CatalogTx,
    image: &ImageName,
    version: &VersionName,
    id: ArtifactId,
) -> Result<(Version, Artifact), UseCaseError> {
    let version = lock_version(tx, image, version).await?;
    let artifact = tx.get_artifact(id).await?.filter(|artifact| artifact.version_id == version.id);
    Ok((version, artifact.ok_or(UseCaseError::NotFound(Missing::Artifact))?))
}
