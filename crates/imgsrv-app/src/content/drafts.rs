//! Editing drafts and their manifests.

use crate::{
    audit,
    auth::caller::Writer,
    content::incus::product,
    context::Context,
    error::{Existing, Missing, Result, UseCaseError, with_clash, with_existing},
    work::retry::retrying,
};
use imgsrv_domain::{
    audit::{Actor, AuditAction, Event},
    digest::BlobClaim,
    files::{self, Names},
    ids::{ArtifactId, AttachmentId, VersionId},
    manifest::{Artifact, Attachment, MAX_ARTIFACTS, MAX_ATTACHMENTS},
    names::{Architecture, AttachmentName, Format, ImageName, OperatingSystem, Variant, VersionName},
    ports::{CatalogError, CatalogTx, View},
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

impl NewArtifact {
    /// The names of its file in `version` of `image`.
    pub(crate) fn names(&self, image: &ImageName, version: &VersionName) -> Names {
        files::artifact_names(image, version, &self.architecture, &self.variant, self.format)
    }
}

impl Drafts {
    /// Creates a draft.
    #[tracing::instrument(name = "draft.create", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.name = %name))]
    pub async fn create(&self, who: &Writer, image: &ImageName, name: &VersionName) -> Result<Version> {
        let actor = who.on(&self.0, image).await?;
        let created = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let image = tx.get_image(image).await?.ok_or_else(|| Missing::Image(image.clone()))?;
            let id = VersionId::new(self.0.ids.next());
            let (version, event) = Version::draft(id, image.id, image.name, name.clone(), tx.now());
            tx.insert_version(&version).await?;
            audit::commit(tx, actor, event).await?;
            Ok(version)
        })
        .await;
        with_existing(created, self.find_ref(image, name)).await
    }

    /// The version or alias of that name.
    async fn find_ref(&self, image: &ImageName, name: &VersionName) -> Result<Option<Existing>> {
        let mut tx = self.0.catalog.begin().await?;
        if let Some(version) = tx.lock_version(image, name).await? {
            return Ok(Some(Existing::Version(version.id, image.clone(), name.clone())));
        }
        drop(tx);
        let Ok(alias) = name.as_str().parse() else { return Ok(None) };
        let found = self.0.catalog.get_alias(image, &alias, View::All).await?;
        Ok(found.map(|found| Existing::Alias(found.id, image.clone(), found.name)))
    }

    /// Deletes a draft with its manifest.
    #[tracing::instrument(name = "draft.delete", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.name = %name))]
    pub async fn delete(&self, who: &Writer, image: &ImageName, name: &VersionName) -> Result<()> {
        let actor = who.on(&self.0, image).await?;
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let version = lock_version(&mut *tx, image, name).await?;
            let event = version.delete()?;
            tx.delete_version(&version).await?;
            Ok(audit::commit(tx, actor, event).await?)
        })
        .await
    }

    /// Adds an artifact to a draft. Its digest need not be a blob yet.
    #[tracing::instrument(name = "draft.add_artifact", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.name = %version))]
    pub async fn add_artifact(
        &self,
        who: &Writer,
        image: &ImageName,
        version: &VersionName,
        new: NewArtifact,
    ) -> Result<Artifact> {
        let actor = who.on(&self.0, image).await?;
        let added = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let version = lock_version(&mut *tx, image, version).await?;
            let version = edit(&mut *tx, version).await?;
            if tx.count_artifacts(version.id).await? >= MAX_ARTIFACTS {
                return Err(UseCaseError::ManifestFull {
                    owner: format!("version {}", version.path()),
                    what: "artifacts",
                    limit: MAX_ARTIFACTS,
                });
            }
            let artifact = insert_artifact(&self.0, &mut *tx, actor, &version, new.clone()).await?;
            tx.record_citation(version.id, &artifact.primary.digest, who.sender()).await?;
            tx.commit().await?;
            Ok(artifact)
        })
        .await;
        let added = with_existing(added, self.conflicting(image, version, &new)).await;
        with_clash(added, self.respelled(image, version, &new)).await
    }

    /// Removes an artifact with its attachments from a draft.
    #[tracing::instrument(name = "draft.remove_artifact", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.name = %version, artifact.id = %id))]
    pub async fn remove_artifact(
        &self,
        who: &Writer,
        image: &ImageName,
        version: &VersionName,
        id: ArtifactId,
    ) -> Result<()> {
        let actor = who.on(&self.0, image).await?;
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let (version, artifact) = lock_artifact(&mut *tx, image, version, id).await?;
            edit(&mut *tx, version).await?;
            tx.delete_artifact(artifact.id).await?;
            Ok(audit::commit(tx, actor, Event::new(AuditAction::ArtifactRemoved, id)).await?)
        })
        .await
    }

    /// Adds an attachment to an artifact of a draft. Its digest need not be a blob yet.
    #[tracing::instrument(name = "draft.add_attachment", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.name = %version, artifact.id = %artifact))]
    pub async fn add_attachment(
        &self,
        who: &Writer,
        image: &ImageName,
        version: &VersionName,
        artifact: ArtifactId,
        new: NewAttachment,
    ) -> Result<Attachment> {
        let actor = who.on(&self.0, image).await?;
        let added = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let (version, artifact) = lock_artifact(&mut *tx, image, version, artifact).await?;
            let version = edit(&mut *tx, version).await?;
            if tx.count_attachments(artifact.id).await? >= MAX_ATTACHMENTS {
                return Err(UseCaseError::ManifestFull {
                    owner: format!("artifact {}", artifact.id),
                    what: "attachments",
                    limit: MAX_ATTACHMENTS,
                });
            }
            let NewAttachment { name, media_type, blob } = new.clone();
            let (id, created_at) = (AttachmentId::new(self.0.ids.next()), tx.now());
            let attachment = Attachment { id, artifact_id: artifact.id, name, media_type, blob, created_at };
            let names = artifact.names(image, &version.name).of_attachment(&attachment.name);
            tx.insert_attachment(version.id, &attachment, &names.taken()).await?;
            tx.record_citation(version.id, &blob.digest, who.sender()).await?;
            let event = Event::new(AuditAction::AttachmentAdded, format!("{}/{}", version.path(), names.own));
            audit::commit(tx, actor, event.with(blob.digest)).await?;
            Ok(attachment)
        })
        .await;
        let added = with_existing(added, self.attached(image, version, artifact, &new.name)).await;
        with_clash(added, self.clash(image, version, artifact, &new.name)).await
    }

    /// Removes an attachment from an artifact of a draft.
    #[tracing::instrument(name = "draft.remove_attachment", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.name = %version, artifact.id = %artifact))]
    pub async fn remove_attachment(
        &self,
        who: &Writer,
        image: &ImageName,
        version: &VersionName,
        artifact: ArtifactId,
        id: AttachmentId,
    ) -> Result<()> {
        let actor = who.on(&self.0, image).await?;
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let (version, artifact) = lock_artifact(&mut *tx, image, version, artifact).await?;
            let found = tx.get_attachment(id).await?.filter(|found| found.artifact_id == artifact.id);
            let attachment = found.ok_or(Missing::Attachment(artifact.id, id))?;
            edit(&mut *tx, version).await?;
            tx.delete_attachment(attachment.id).await?;
            Ok(audit::commit(tx, actor, Event::new(AuditAction::AttachmentRemoved, id)).await?)
        })
        .await
    }
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
    let names = artifact.names(&version.image, &version.name);
    let product = product(artifact.format, &artifact.architecture, &artifact.variant);
    tx.insert_artifact(&artifact, &names.taken(), product.as_deref()).await?;
    let event = Event::new(AuditAction::ArtifactAdded, format!("{}/{}", version.path(), names.own));
    audit::record(tx, actor, event.with(artifact.primary.digest)).await?;
    Ok(artifact)
}

pub(crate) async fn lock_version(tx: &mut dyn CatalogTx, image: &ImageName, version: &VersionName) -> Result<Version> {
    tx.lock_version(image, version).await?.ok_or_else(|| Missing::Version(image.clone(), version.clone()).into())
}

/// The draft, with its revision raised, so that concurrent edits and publishes of it fail.
async fn edit(tx: &mut dyn CatalogTx, draft: Version) -> Result<Version> {
    let draft = draft.edit(tx.now())?;
    tx.update_version(&draft).await?;
    Ok(draft)
}

/// The version, locked, and its artifact with that id.
pub(crate) async fn lock_artifact(
    tx: &mut dyn CatalogTx,
    image: &ImageName,
    version: &VersionName,
    id: ArtifactId,
) -> Result<(Version, Artifact)> {
    let version = lock_version(tx, image, version).await?;
    let artifact = tx.get_artifact(id).await?.filter(|artifact| artifact.version_id == version.id);
    let artifact = artifact.ok_or_else(|| Missing::Artifact(image.clone(), version.name.clone(), id))?;
    Ok((version, artifact))
}
