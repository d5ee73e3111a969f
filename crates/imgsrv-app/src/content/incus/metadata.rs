//! Creating the metadata of an Incus image from its artifact, for publishers who have only a disk.

use crate::{
    auth::caller::Writer,
    bytes::store::store_blob,
    content::{
        drafts::{Drafts, NewAttachment, lock_artifact},
        incus::{METADATA_NAME, root},
    },
    context::Context,
    error::{Result, UseCaseError},
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
use imgsrv_simplestreams::IncusArchitecture;
use std::{collections::BTreeMap, sync::Arc};

/// Maximum number of additional properties.
const MAX_PROPERTIES: usize = 32;

/// The properties that a publisher chooses; the others are those of the artifact.
#[derive(Debug, Clone, Default)]
pub struct NewIncusMetadata {
    /// The description in lists.
    pub description: Option<ShortText>,
    /// The display name of the operating system.
    pub os: Option<ShortText>,
    /// Its release.
    pub release: Option<ShortText>,
    /// When the image expires.
    pub expires_at: Option<Timestamp>,
    /// Additional properties.
    pub properties: BTreeMap<PropertyName, ShortText>,
}

/// The use case of creating metadata.
#[derive(Clone)]
pub struct IncusMetadata(pub(crate) Arc<Context>);

impl IncusMetadata {
    /// Creates the metadata of an artifact of a draft, stores it as a blob and attaches it.
    #[tracing::instrument(name = "incus_metadata.attach", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.name = %version, artifact.id = %artifact))]
    pub async fn attach(
        &self,
        who: &Writer,
        image: &ImageName,
        version: &VersionName,
        artifact: ArtifactId,
        new: NewIncusMetadata,
    ) -> Result<Attachment> {
        who.on(&self.0, image).await?;
        let name: AttachmentName = METADATA_NAME.parse().map_err(CatalogError::backend)?;
        let media_type: MediaType = "application/x-xz".parse().map_err(CatalogError::backend)?;
        let drafts = Drafts(Arc::clone(&self.0));
        let found = {
            let mut tx = self.0.catalog.begin().await?;
            let (draft, found) = lock_artifact(&mut *tx, image, version, artifact).await?;
            // What attaching would refuse is refused before a blob is stored.
            if new.expires_at.is_some_and(|at| at <= tx.now()) {
                return Err(UseCaseError::ExpiryInPast);
            }
            let entries = tx.list_manifest_entries(draft.edit(tx.now())?.id).await?;
            let own = entries.iter().find(|entry| entry.artifact.id == found.id);
            if own.is_some_and(|entry| entry.attachments.iter().any(|attachment| attachment.name == name)) {
                drop(tx);
                let existing = drafts.attached(image, version, artifact, &name).await?;
                return Err(UseCaseError::taken(Conflict::AttachmentName, existing));
            }
            found
        };
        let tarball = metadata(&found, version, new)?.tarball().map_err(CatalogError::backend)?;
        let blob = store_blob(&self.0, who, tarball, &media_type).await?;
        drafts.add_attachment(who, image, version, artifact, NewAttachment { name, media_type, blob }).await
    }
}

fn metadata(artifact: &Artifact, version: &VersionName, new: NewIncusMetadata) -> Result<NewMetadata> {
    if root(artifact.format).is_none() {
        let reason = format!("Incus boots qcow2, squashfs and root.tar.xz, not {}", artifact.format);
        return Err(UseCaseError::invalid("artifact_id", reason));
    }
    let architecture = IncusArchitecture::of_artifact(artifact.architecture.as_str());
    let architecture = architecture.map_err(|unknown| UseCaseError::invalid("artifact_id", unknown))?;
    if new.properties.len() > MAX_PROPERTIES {
        return Err(UseCaseError::invalid("properties", format!("must have at most {MAX_PROPERTIES} entries")));
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
        return Err(UseCaseError::invalid("properties", format!("must not contain {name}")));
    }
    let further = new.properties.into_iter().map(|(name, value)| (name.to_string(), value.to_string()));
    Ok(NewMetadata {
        architecture: architecture.kernel_name().to_owned(),
        creation_date: (artifact.created_at.micros() / 1_000_000).max(1),
        expiry_date: new.expires_at.map(|at| at.micros() / 1_000_000),
        // The content is that of no other artifact, so that nobody else needs it when it is purged with its version.
        comment: format!("artifact {}", artifact.id),
        properties: own.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(further).collect(),
    })
}
