//! What the files of a draft conflict with.

use crate::{
    content::{
        drafts::{Drafts, NewArtifact},
        incus::product,
    },
    error::{Existing, Result},
};
use imgsrv_domain::{
    files::{self, NameClash},
    ids::ArtifactId,
    manifest::{Artifact, Attachment, Manifest},
    names::{AttachmentName, ImageName, VersionName},
    ports::View,
};

impl Drafts {
    /// What `new` conflicts with: an artifact of the same key, a file of the same name, or an artifact of the same Incus
    /// product.
    pub(super) async fn conflicting(
        &self,
        image: &ImageName,
        version: &VersionName,
        new: &NewArtifact,
    ) -> Result<Option<Existing>> {
        let found = self.0.catalog.get_manifest(image, version, View::All).await?;
        let Some(manifest) = found else { return Ok(None) };
        let artifact = |is_same: &dyn Fn(&Artifact) -> bool| {
            let found = manifest.entries.iter().find(|entry| is_same(&entry.artifact))?;
            Some(Existing::Artifact(found.artifact.id, image.clone(), version.clone()))
        };
        let same_key = artifact(&|artifact| {
            artifact.operating_system == new.operating_system
                && artifact.architecture == new.architecture
                && artifact.variant == new.variant
                && artifact.format == new.format
        });
        let file = files::artifact_file(image, version, &new.architecture, &new.variant, new.format);
        let called = product(new.format, &new.architecture, &new.variant);
        let same_product = artifact(&|artifact| {
            called.is_some() && product(artifact.format, &artifact.architecture, &artifact.variant) == called
        });
        Ok(same_key.or_else(|| owner_of(&manifest, &file)).or(same_product))
    }

    /// What an attachment of that name conflicts with.
    pub(crate) async fn attached(
        &self,
        image: &ImageName,
        version: &VersionName,
        artifact: ArtifactId,
        name: &AttachmentName,
    ) -> Result<Option<Existing>> {
        let manifest = self.0.catalog.get_manifest(image, version, View::All).await?;
        Ok(manifest.and_then(|manifest| {
            let of = manifest.entries.iter().find(|entry| entry.artifact.id == artifact)?;
            owner_of(&manifest, &files::attachment_file(&of.artifact.file_name(image, version), name))
        }))
    }

    /// The file that the server generates with the name of an attachment, or whose generated file has it.
    pub(super) async fn clash(
        &self,
        image: &ImageName,
        version: &VersionName,
        artifact: ArtifactId,
        name: &AttachmentName,
    ) -> Result<Option<NameClash>> {
        let Some(manifest) = self.0.catalog.get_manifest(image, version, View::All).await? else {
            return Ok(None);
        };
        let of = manifest.entries.iter().find(|entry| entry.artifact.id == artifact);
        let file = of.map(|of| files::attachment_file(&of.artifact.file_name(image, version), name));
        let others = manifest.files();
        let clash = files::check_names(others.iter().map(|file| file.name.as_str()).chain(file.as_deref())).err();
        Ok(clash.filter(|clash| matches!(clash, NameClash::Generated { .. })))
    }
}

/// The artifact or attachment whose file, or checksum file, has the name of `file` or of its checksum file.
fn owner_of(manifest: &Manifest, file: &str) -> Option<Existing> {
    let (image, version) = (&manifest.image.name, &manifest.version.name);
    let taken = files::names_taken_by(file);
    let conflicts = |other: &str| files::names_taken_by(other).iter().any(|name| taken.contains(name));
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
