//! What the files of a draft conflict with.

use crate::{
    content::{
        drafts::{Drafts, NewArtifact},
        incus::product,
    },
    error::{Existing, Result},
};
use imgsrv_domain::{
    architecture,
    files::{self, NameClash, Names},
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
                && architecture::is_same(artifact.architecture.as_str(), new.architecture.as_str())
                && artifact.variant == new.variant
                && artifact.format == new.format
        });
        let names = new.names(image, version);
        let called = product(new.format, &new.architecture, &new.variant);
        let same_product = artifact(&|artifact| {
            called.is_some() && product(artifact.format, &artifact.architecture, &artifact.variant) == called
        });
        Ok(same_key.or_else(|| owner_of(&manifest, &names)).or(same_product))
    }

    /// The artifact that `new` differs from only in the spelling of its architecture.
    pub(super) async fn respelled(
        &self,
        image: &ImageName,
        version: &VersionName,
        new: &NewArtifact,
    ) -> Result<Option<NameClash>> {
        let manifest = self.0.catalog.get_manifest(image, version, View::All).await?;
        let names = manifest.iter().flat_map(Manifest::names).chain([new.names(image, version)]);
        Ok(files::check_spellings(names).err())
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
            owner_of(&manifest, &of.artifact.names(image, version).of_attachment(name))
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

/// The artifact or attachment whose file, or checksum file, has one of the names that a file with `names` takes.
fn owner_of(manifest: &Manifest, names: &Names) -> Option<Existing> {
    let (image, version) = (&manifest.image.name, &manifest.version.name);
    let taken = names.taken();
    let conflicts = |other: &Names| other.taken().iter().any(|name| taken.contains(name));
    manifest.entries.iter().find_map(|entry| {
        let own = entry.artifact.names(image, version);
        if conflicts(&own) {
            return Some(Existing::Artifact(entry.artifact.id, image.clone(), version.clone()));
        }
        let attached = |attachment: &&Attachment| conflicts(&own.of_attachment(&attachment.name));
        let found = entry.attachments.iter().find(attached)?;
        Some(Existing::Attachment(found.id, entry.artifact.id, image.clone(), version.clone()))
    })
}
