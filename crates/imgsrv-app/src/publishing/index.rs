//! `incus_index`: determines which artifacts Simple Streams lists, and computes their fingerprints.

use crate::{
    bytes::reader::BlobReader,
    content::incus::{METADATA_NAME, may_be_unified, root},
    context::Context,
    publishing::{
        error::{Result, StepError},
        fingerprint::{fingerprint, verify},
        near_miss,
        publication::Publication,
    },
};
use imgsrv_domain::{
    digest::{BlobClaim, Digest},
    ids::{AttachmentId, VersionId},
    inspection::{ImageKind, IncusLayout, IncusProperties, IncusRow, Warning},
    manifest::{Artifact, Attachment, ManifestEntry},
    names::{Format, Variant},
    ports::{BlobError, CatalogError, CatalogTx, TrustedBlob},
    publish::StepName,
    time::Timestamp,
};
use imgsrv_inspect::{
    IncusMetadata, MAX_METADATA_BYTES, MetadataProblem, Source, UnifiedImage, UnifiedProblem, read_unified,
};
use imgsrv_simplestreams::{IncusArchitecture, is_ambiguous};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};
use tracing::Span;

/// The artifacts to list, and warnings about their metadata and about those that are not listed.
#[derive(Default)]
pub(super) struct Indexed {
    rows: Vec<IncusRow>,
    warnings: Vec<Warning>,
}

impl Indexed {
    /// Whether no artifact is listed.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// The content of metadata, or why it has none.
type Content = Result<IncusMetadata, MetadataProblem>;
/// The name of an artifact in streams, without its kind.
type Slot = (IncusArchitecture, Variant);

pub(super) async fn run(context: &Arc<Context>, publication: &Publication) -> Result<Indexed> {
    let (known, taken) = (HashMap::new(), HashMap::new());
    let mut indexing = Indexing { context, publication, known, taken, indexed: Indexed::default() };
    // In the order in which artifacts with the same names are preferred.
    let mut entries: Vec<_> = publication.manifest.entries.iter().collect();
    entries.sort_by_key(|entry| (may_be_unified(entry.artifact.format), entry.artifact.format == Format::RootTarXz));
    for entry in entries {
        indexing.index(entry).await?;
    }
    Ok(indexing.indexed)
}

/// The indexing of one version.
struct Indexing<'a> {
    context: &'a Arc<Context>,
    publication: &'a Publication,
    /// The content of metadata by digest: artifacts of a version often share it.
    known: HashMap<Digest, Content>,
    /// The format of the artifact that is listed for a name and kind.
    taken: HashMap<(Slot, ImageKind), Format>,
    indexed: Indexed,
}

impl Indexing<'_> {
    fn warn(&mut self, artifact: &Artifact, text: &str) {
        let manifest = &self.publication.manifest;
        let file = artifact.file_name(&manifest.image.name, &manifest.version.name);
        let reason = format!("{file} {text}");
        self.indexed.warnings.push(Warning { step: StepName::IncusIndex, artifact: artifact.id, reason });
    }

    /// Warns that an artifact is not listed.
    fn refuse(&mut self, artifact: &Artifact, why: &str) {
        self.warn(artifact, &format!("is not listed: {why}"));
    }

    /// Determines how an artifact is listed, if it is meant for Incus.
    async fn index(&mut self, entry: &ManifestEntry) -> Result<()> {
        let artifact = &entry.artifact;
        let attached = entry.attachments.iter().find(|attachment| attachment.name.as_str() == METADATA_NAME);
        match (root(artifact.format), attached) {
            (Some(root), Some(attachment)) => self.index_split(entry, attachment, root.kind()).await?,
            (Some(_), None) => {
                if let Some(why) = near_miss::without_metadata(&self.publication.manifest, entry) {
                    self.refuse(artifact, &why);
                }
            }
            (None, _) if may_be_unified(artifact.format) && self.index_unified(entry).await? => {}
            (None, Some(_)) => self.refuse(artifact, &near_miss::unsupported_format(artifact.format)),
            (None, None) => {}
        }
        Ok(())
    }

    /// Determines how an artifact with metadata is listed.
    async fn index_split(&mut self, entry: &ManifestEntry, attachment: &Attachment, kind: ImageKind) -> Result<()> {
        let metadata = self.publication.blob(&attachment.blob.digest)?;
        let content = match self.known.entry(attachment.blob.digest) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(unknown) => unknown.insert(read_metadata(self.context, metadata).await?).clone(),
        };
        let root = self.publication.blob(&entry.artifact.primary.digest)?;
        let content = content.map_err(|why| format!("{METADATA_NAME}: {why}"));
        let Some(content) = self.check(entry, kind, content, METADATA_NAME) else { return Ok(()) };
        let fingerprint = fingerprint(self.context, metadata, root).await?;
        self.list(&entry.artifact, IncusLayout::Split(attachment.id), fingerprint, &content);
        Ok(())
    }

    /// Determines how a tarball is listed; `false` if it does not resemble a unified image.
    async fn index_unified(&mut self, entry: &ManifestEntry) -> Result<bool> {
        let artifact = &entry.artifact;
        let blob = self.publication.blob(&artifact.primary.digest)?;
        let image = match read_start(self.context, blob).await? {
            None => return Ok(false),
            Some(Ok(image)) => image,
            Some(Err(why)) => {
                self.refuse(artifact, &why.to_string());
                return Ok(true);
            }
        };
        let kind = if image.is_machine { ImageKind::VirtualMachine } else { ImageKind::Container };
        if let Some(content) = self.check(entry, kind, Ok(image.metadata), "metadata") {
            self.list(artifact, IncusLayout::Unified(kind), artifact.primary.digest, &content);
        }
        Ok(true)
    }

    fn list(
        &mut self,
        artifact: &Artifact,
        layout: IncusLayout<AttachmentId>,
        fingerprint: Digest,
        content: &IncusMetadata,
    ) {
        let properties = IncusProperties::of(&content.properties);
        let expires_at =
            content.expiry_date.and_then(|date| Some(Timestamp::from_micros(date.checked_mul(1_000_000)?)));
        self.indexed.rows.push(IncusRow { artifact: artifact.id, layout, fingerprint, properties, expires_at });
    }

    /// The metadata of an artifact that is listed. Otherwise `None`, with a warning. `source` is the name of the metadata.
    fn check(
        &mut self,
        entry: &ManifestEntry,
        kind: ImageKind,
        metadata: Result<IncusMetadata, String>,
        source: &str,
    ) -> Option<IncusMetadata> {
        let artifact = &entry.artifact;
        match self.check_names(entry, kind, metadata, source) {
            Ok((slot, metadata)) => {
                self.taken.insert((slot, kind), artifact.format);
                if !metadata.remarks.is_empty() {
                    let remarks: Vec<_> = metadata.remarks.iter().map(ToString::to_string).collect();
                    let remarks = remarks.join(", ");
                    self.warn(
                        artifact,
                        &format!("is listed, but incus-simplestreams add would refuse its {source}: {remarks}"),
                    );
                }
                Some(metadata)
            }
            Err(why) => {
                self.refuse(artifact, &why);
                None
            }
        }
    }

    /// The name of an artifact in streams and its metadata, or why it is not listed.
    fn check_names(
        &self,
        entry: &ManifestEntry,
        kind: ImageKind,
        metadata: Result<IncusMetadata, String>,
        source: &str,
    ) -> Result<(Slot, IncusMetadata), String> {
        let artifact = &entry.artifact;
        let architecture = IncusArchitecture::of_artifact(artifact.architecture.as_str());
        let architecture = architecture.map_err(|unknown| unknown.to_string())?;
        if is_ambiguous(&artifact.variant) {
            return Err(format!("Incus clients would interpret its variant {} as an architecture", artifact.variant));
        }
        let metadata = metadata?;
        if metadata.architecture.parse() != Ok(architecture) {
            // The content of a hostile file is not repeated.
            return Err(format!("{source}: metadata.yaml does not have the architecture {}", artifact.architecture));
        }
        let mismatch = entry.inspection.filter(|inspection| !inspection.matches(artifact.format));
        if let Some(detected) = mismatch.and_then(|inspection| inspection.detected) {
            return Err(format!("its content is {detected}, not {}", artifact.format));
        }
        let slot = (architecture, artifact.variant.clone());
        match self.taken.get(&(slot.clone(), kind)) {
            None => Ok((slot, metadata)),
            Some(format) if *format == artifact.format => {
                Err("Incus clients cannot distinguish it from another artifact, which is listed".to_owned())
            }
            Some(format) => Err(format!(
                "the version has a {format} for the same architecture and variant, which is listed instead"
            )),
        }
    }
}

/// The unified image that a tarball is, by its first bytes.
async fn read_start(
    context: &Arc<Context>,
    blob: &TrustedBlob,
) -> Result<Option<Result<UnifiedImage, UnifiedProblem>>> {
    let length = usize::try_from(blob.claim.size.get().min(MAX_METADATA_BYTES)).unwrap_or(usize::MAX);
    let bytes = BlobReader { context, blob }.read(0, length).await.map_err(|error| StepError::reading(blob, error))?;
    let span = Span::current();
    let read = tokio::task::spawn_blocking(move || span.in_scope(|| read_unified(&bytes))).await;
    Ok(read.unwrap_or_else(|panicked| {
        tracing::error!(%panicked, blob.digest = %blob.claim.digest, "metadata reader panicked");
        None
    }))
}

async fn read_metadata(context: &Arc<Context>, blob: &TrustedBlob) -> Result<Content> {
    let size = blob.claim.size.get();
    if size > MAX_METADATA_BYTES {
        return Ok(Err(MetadataProblem::TooLarge));
    }
    let length = usize::try_from(size).unwrap_or(usize::MAX);
    let bytes = BlobReader { context, blob }.read(0, length).await.map_err(|error| StepError::reading(blob, error))?;
    // Hashing and unpacking may take long.
    let hashed = tokio::task::spawn_blocking(move || (BlobClaim::of(&bytes).digest, bytes)).await;
    let (digest, bytes) = hashed.map_err(|error| StepError::reading(blob, BlobError::unavailable(error)))?;
    verify(context, blob, digest).await?;
    let span = Span::current();
    let read = tokio::task::spawn_blocking(move || span.in_scope(|| IncusMetadata::read(&bytes))).await;
    Ok(read.unwrap_or_else(|panicked| {
        tracing::error!(%panicked, blob.digest = %blob.claim.digest, "metadata reader panicked");
        Err(MetadataProblem::NotATarball)
    }))
}

pub(super) async fn record(tx: &mut dyn CatalogTx, version: VersionId, indexed: &Indexed) -> Result<(), CatalogError> {
    for row in &indexed.rows {
        tx.insert_stream_row(version, row).await?;
    }
    tx.insert_warnings(version, &indexed.warnings).await
}
