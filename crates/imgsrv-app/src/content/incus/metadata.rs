//! Making the metadata of an Incus image from what the manifest says, for publishers who have only a disk.

use crate::{
    auth::caller::Writer,
    bytes::uploads::Uploads,
    content::drafts::{Drafts, NewAttachment, find_artifact},
    content::incus::{METADATA_NAME, root},
    error::UseCaseError,
};
use imgsrv_domain::{
    ids::ArtifactId,
    manifest::{Artifact, Attachment},
    names::{AttachmentName, ImageName, PropertyName, VersionName},
    ports::{CatalogError, Conflict},
    text::{MediaType, ShortText},
    time::Timestamp,
};
use imgsrv_inspect::NewMetadata;
use imgsrv_simplestreams::{IncusArchitecture, UnknownArchitecture};
use std::{collections::BTreeMap, sync::Arc};

/// The most properties that a client may add.
const MAX_PROPERTIES: usize = 32;

/// What a publisher wants the metadata to say; the artifact says the rest.
#[derive(Debug, Clone, Default)]
pub struct NewIncusMetadata {
    /// What people see in lists.
    pub description: Option<ShortText>,
    /// The operating system's name for people.
    pub os: Option<ShortText>,
    /// Which release of it.
    pub release: Option<ShortText>,
    /// When the image should no longer be used.
    pub expires_at: Option<Timestamp>,
    /// Further properties.
    pub properties: BTreeMap<PropertyName, ShortText>,
}

impl Drafts {
    /// Makes the metadata of an artifact of a draft, stores it as a blob and attaches it.
    pub async fn attach_incus_metadata(
        &self,
        who: &Writer,
        image: &ImageName,
        version: &VersionName,
        artifact: ArtifactId,
        new: NewIncusMetadata,
    ) -> Result<Attachment, UseCaseError> {
        let broken =
            |error: Box<dyn std::error::Error + Send + Sync>| UseCaseError::Catalog(CatalogError::Backend(error));
        let name: AttachmentName = METADATA_NAME.parse().map_err(|error| broken(Box::new(error)))?;
        let media_type: MediaType = "application/x-xz".parse().map_err(|error| broken(Box::new(error)))?;
        let found = {
            let mut tx = self.0.catalog.begin().await?;
            let (draft, found) = find_artifact(&mut *tx, image, version, artifact).await?;
            // Whatever would be refused in the end is refused before a blob is made.
            if new.expires_at.is_some_and(|at| at <= tx.now()) {
                return Err(UseCaseError::ExpiryInPast);
            }
            let entries = tx.list_manifest_entries(draft.edit(tx.now())?.id).await?;
            let own = entries.iter().find(|entry| entry.artifact.id == found.id);
            if own.is_some_and(|entry| entry.attachments.iter().any(|attachment| attachment.name == name)) {
                let taken = UseCaseError::from(CatalogError::Conflict(Conflict::AttachmentName));
                drop(tx);
                return Err(taken.with_existing(self.attached(image, version, artifact, &name).await?));
            }
            found
        };
        let tarball = metadata(&found, version, new)?.tarball().map_err(|error| broken(Box::new(error)))?;
        let blob = Uploads(Arc::clone(&self.0)).store(who, tarball, &media_type).await?;
        self.add_attachment(who, image, version, artifact, NewAttachment { name, media_type, blob }).await
    }
}

fn metadata(artifact: &Artifact, version: &VersionName, new: NewIncusMetadata) -> Result<NewMetadata, UseCaseError> {
    if root(artifact.format).is_none() {
        let reason = format!("Incus boots qcow2, squashfs and root.tar.xz, not {}", artifact.format);
        return Err(UseCaseError::invalid("artifact_id", reason));
    }
    let architecture: IncusArchitecture = artifact
        .architecture
        .as_str()
        .parse()
        .map_err(|unknown: UnknownArchitecture| UseCaseError::invalid("artifact_id", unknown))?;
    if new.properties.len() > MAX_PROPERTIES {
        return Err(UseCaseError::invalid("properties", format!("must be at most {MAX_PROPERTIES}")));
    }
    let os = new.os.map_or_else(|| artifact.operating_system.to_string(), |os| os.to_string());
    let release = new.release.map_or_else(|| version.to_string(), |release| release.to_string());
    let description = new.description.map_or_else(|| format!("{os} {release} {architecture}"), |text| text.to_string());
    let own = [
        ("architecture", architecture.stream_name().to_owned()),
        ("description", description),
        ("os", os),
        ("release", release),
        ("variant", artifact.variant.to_string()),
    ];
    if let Some((name, _)) = own.iter().find(|(name, _)| new.properties.keys().any(|key| key.as_str() == *name)) {
        return Err(UseCaseError::invalid("properties", format!("{name} is not told here")));
    }
    let further = new.properties.into_iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Ok(NewMetadata {
        architecture: architecture.kernel_name().to_owned(),
        creation_date: (artifact.created_at.micros() / 1_000_000).max(1),
        expiry_date: new.expires_at.map(|at| at.micros() / 1_000_000),
        properties: own.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(further).collect(),
    })
}
