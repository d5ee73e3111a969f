//! `incus_index`: determines which artifacts Simple Streams lists, and computes their fingerprints.

use crate::{
    bytes::reader::BlobReader,
    content::incus::{METADATA_NAME, root},
    context::Context,
    publishing::{
        error::{Result, StepError},
        fingerprint::{fingerprint, verify},
        publication::Publication,
    },
};
use imgsrv_domain::{
    digest::{BlobClaim, Digest},
    ids::VersionId,
    inspection::{IncusProperties, IncusRow, Warning},
    manifest::{Artifact, ManifestEntry},
    names::{Format, Variant},
    ports::{BlobError, CatalogError, CatalogTx, TrustedBlob},
    publish::StepName,
};
use imgsrv_inspect::{IncusMetadata, MAX_METADATA_BYTES, MetadataProblem, Source};
use imgsrv_simplestreams::{IncusArchitecture, is_ambiguous};
use std::collections::{HashMap, HashSet, hash_map::Entry};
use tracing::Span;

/// The artifacts to list, and warnings for those that are not listed.
#[derive(Default)]
pub(super) struct Indexed {
    rows: Vec<IncusRow>,
    warnings: Vec<Warning>,
}

/// The content of metadata, or why it has none.
type Content = Result<IncusMetadata, MetadataProblem>;
/// The name of an artifact in streams, without its format.
type Slot = (IncusArchitecture, Variant);

pub(super) async fn run(context: &Context, publication: &Publication) -> Result<Indexed> {
    let (known, taken) = (HashMap::new(), HashSet::new());
    let mut indexing = Indexing { context, publication, known, taken, indexed: Indexed::default() };
    // Tarballs last: one is listed only if no squashfs is.
    let is_tarball = |entry: &&ManifestEntry| entry.artifact.format == Format::RootTarXz;
    let (tarballs, others): (Vec<_>, Vec<_>) = publication.manifest.entries.iter().partition(is_tarball);
    for entry in others.into_iter().chain(tarballs) {
        indexing.index(entry).await?;
    }
    Ok(indexing.indexed)
}

/// The indexing of one version.
struct Indexing<'a> {
    context: &'a Context,
    publication: &'a Publication,
    /// The content of metadata by digest: artifacts of a version often share it.
    known: HashMap<Digest, Content>,
    taken: HashSet<(Slot, Format)>,
    indexed: Indexed,
}

impl Indexing<'_> {
    /// Warns that an artifact is not listed.
    fn warn(&mut self, artifact: &Artifact, why: &str) {
        let manifest = &self.publication.manifest;
        let file = artifact.file_name(&manifest.image.name, &manifest.version.name);
        let reason = format!("{file} is not listed: {why}");
        self.indexed.warnings.push(Warning { step: StepName::IncusIndex, artifact: artifact.id, reason });
    }

    /// Determines how an artifact is listed, if it has metadata for Incus.
    async fn index(&mut self, entry: &ManifestEntry) -> Result<()> {
        let artifact = &entry.artifact;
        let attached = entry.attachments.iter().find(|attachment| attachment.name.as_str() == METADATA_NAME);
        let Some(attachment) = attached.filter(|_| root(artifact.format).is_some()) else { return Ok(()) };
        let metadata = self.publication.blob(&attachment.blob.digest)?;
        let content = match self.known.entry(attachment.blob.digest) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(unknown) => unknown.insert(read_metadata(self.context, metadata).await?).clone(),
        };
        let root = self.publication.blob(&artifact.primary.digest)?;
        let (slot, properties) = match self.check(entry, content) {
            Ok(checked) => checked,
            Err(why) => {
                self.warn(artifact, &why);
                return Ok(());
            }
        };
        let fingerprint = fingerprint(self.context, metadata, root).await?;
        self.taken.insert((slot, artifact.format));
        let row = IncusRow { artifact: artifact.id, attachment: attachment.id, fingerprint, properties };
        self.indexed.rows.push(row);
        Ok(())
    }

    /// The name of an artifact in streams and its properties, or why it is not listed.
    fn check(&self, entry: &ManifestEntry, metadata: Content) -> Result<(Slot, IncusProperties), String> {
        let artifact = &entry.artifact;
        let architecture = IncusArchitecture::of_artifact(artifact.architecture.as_str());
        let architecture = architecture.map_err(|unknown| unknown.to_string())?;
        if is_ambiguous(&artifact.variant) {
            return Err(format!("Incus clients would interpret its variant {} as an architecture", artifact.variant));
        }
        let metadata = metadata.map_err(|why| format!("{METADATA_NAME}: {why}"))?;
        if metadata.architecture.parse() != Ok(architecture) {
            // The content of a hostile file is not repeated.
            return Err(format!(
                "{METADATA_NAME}: metadata.yaml does not have the architecture {}",
                artifact.architecture
            ));
        }
        let mismatch = entry.inspection.filter(|inspection| !inspection.matches(artifact.format));
        if let Some(detected) = mismatch.and_then(|inspection| inspection.detected) {
            return Err(format!("its content is {detected}, not {}", artifact.format));
        }
        let slot = (architecture, artifact.variant.clone());
        if artifact.format == Format::RootTarXz && self.taken.contains(&(slot.clone(), Format::Squashfs)) {
            return Err(
                "the version has a squashfs for the same architecture and variant, which is listed instead".to_owned()
            );
        }
        if self.taken.contains(&(slot.clone(), artifact.format)) {
            return Err("Incus clients cannot distinguish it from another artifact, which is listed".to_owned());
        }
        Ok((slot, IncusProperties::of(&metadata.properties)))
    }
}

async fn read_metadata(context: &Context, blob: &TrustedBlob) -> Result<Content> {
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
    tx.delete_stream_rows(version).await?;
    tx.delete_warnings(version, Some(StepName::IncusIndex)).await?;
    for row in &indexed.rows {
        tx.insert_stream_row(version, row).await?;
    }
    tx.insert_warnings(version, &indexed.warnings).await
}
