//! `incus_index`: which artifacts Simple Streams list, and under which fingerprint.

use crate::content::incus::{METADATA_NAME, root};
use crate::publishing::{
    fingerprint::{fingerprint, verify},
    steps::Trouble,
    validate::look_into,
};
use crate::{bytes::reader::StoredBlob, context::Context};
use imgsrv_domain::{
    digest::Digest,
    hash::RunningHash,
    ids::VersionId,
    inspection::{IncusRow, Inspection, Warning},
    manifest::{Artifact, Manifest, ManifestEntry},
    names::{Format, Variant},
    ports::{CatalogError, CatalogTx, TrustedBlob, Visibility},
    publish::StepName,
};
use imgsrv_inspect::{IncusMetadata, MAX_METADATA_BYTES, MetadataProblem, Source};
use imgsrv_simplestreams::{IncusArchitecture, UnknownArchitecture, is_ambiguous};
use std::collections::{HashMap, HashSet};

/// What streams are to list, and what they are not to and why.
#[derive(Default)]
pub(super) struct Indexed {
    rows: Vec<IncusRow>,
    warnings: Vec<Warning>,
}

/// What metadata says, by digest: artifacts of a version often share it.
type KnownMetadata = HashMap<Digest, Result<IncusMetadata, MetadataProblem>>;
/// What streams call an artifact, its format aside.
type Slot = (IncusArchitecture, Variant);

pub(super) async fn run(context: &Context, manifest: &Manifest) -> Result<Indexed, Trouble> {
    let mut entries = Entries::new(context, manifest);
    for entry in entries.in_order() {
        entries.index(entry).await?;
    }
    Ok(entries.indexed)
}

/// The artifacts of a version on their way into streams.
pub(super) struct Entries<'a> {
    context: &'a Context,
    manifest: &'a Manifest,
    known: KnownMetadata,
    taken: HashSet<(Slot, Format)>,
    pub(super) indexed: Indexed,
}

impl<'a> Entries<'a> {
    pub(super) fn new(context: &'a Context, manifest: &'a Manifest) -> Self {
        Self { context, manifest, known: HashMap::new(), taken: HashSet::new(), indexed: Indexed::default() }
    }

    /// Tarballs last: one is listed only where no squashfs is.
    pub(super) fn in_order(&self) -> Vec<&'a ManifestEntry> {
        let is_tarball = |entry: &&ManifestEntry| entry.artifact.format == Format::RootTarXz;
        let (tarballs, others): (Vec<_>, Vec<_>) = self.manifest.entries.iter().partition(is_tarball);
        others.into_iter().chain(tarballs).collect()
    }

    /// Notes that an artifact is not listed.
    pub(super) fn warn(&mut self, artifact: &Artifact, why: &str) {
        let file = artifact.file_name(&self.manifest.image.name, &self.manifest.version.name);
        let reason = format!("{file} is not listed: {why}");
        self.indexed.warnings.push(Warning { step: StepName::IncusIndex, artifact: artifact.id, reason });
    }

    /// Finds out what streams are to list of an artifact, if it has metadata for Incus.
    pub(super) async fn index(&mut self, entry: &ManifestEntry) -> Result<(), Trouble> {
        let artifact = &entry.artifact;
        let attached = entry.attachments.iter().find(|attachment| attachment.name.as_str() == METADATA_NAME);
        let Some(attachment) = attached.filter(|_| root(artifact.format).is_some()) else { return Ok(()) };
        let metadata = trusted(self.context, attachment.blob.digest).await?;
        let said = match self.known.get(&attachment.blob.digest) {
            Some(said) => said.clone(),
            None => {
                let said = read_metadata(self.context, &metadata).await?;
                self.known.insert(attachment.blob.digest, said.clone());
                said
            }
        };
        let root = trusted(self.context, artifact.primary.digest).await?;
        // What was validated before anybody looked into disks is looked into now.
        let inspected = match entry.inspection {
            Some(inspection) => Ok(inspection),
            None => look_into(self.context, &root).await?,
        };
        let slot = match check(artifact, said, inspected, &self.taken) {
            Ok(slot) => slot,
            Err(why) => {
                self.warn(artifact, &why);
                return Ok(());
            }
        };
        let fingerprint = fingerprint(self.context, &metadata, &root).await?;
        self.taken.insert((slot, artifact.format));
        self.indexed.rows.push(IncusRow { artifact: artifact.id, attachment: attachment.id, fingerprint });
        Ok(())
    }
}

async fn trusted(context: &Context, digest: Digest) -> Result<TrustedBlob, Trouble> {
    let found = context.catalog.get_blob(&digest, Visibility::All).await?;
    found.ok_or_else(|| Trouble::Final(format!("{digest} is not a trusted blob")))
}

async fn read_metadata(
    context: &Context,
    blob: &TrustedBlob,
) -> Result<Result<IncusMetadata, MetadataProblem>, Trouble> {
    let size = blob.claim.size.get();
    if size > MAX_METADATA_BYTES {
        return Ok(Err(MetadataProblem::TooLarge));
    }
    let length = usize::try_from(size).unwrap_or(usize::MAX);
    let bytes = StoredBlob { context, blob }.read(0, length).await.map_err(|error| Trouble::reading(blob, error))?;
    let mut hash = RunningHash::new();
    hash.update(&bytes);
    verify(context, blob, hash).await?;
    // It may unpack to much.
    let read = tokio::task::spawn_blocking(move || IncusMetadata::read(&bytes)).await;
    Ok(read.unwrap_or_else(|panicked| {
        tracing::error!(%panicked, blob.digest = %blob.claim.digest, "metadata could not be read");
        Err(MetadataProblem::NotATarball)
    }))
}

/// What streams are to call an artifact, or why they are not to list it; `taken` has what they list already.
fn check(
    artifact: &Artifact,
    metadata: Result<IncusMetadata, MetadataProblem>,
    inspected: Result<Inspection, String>,
    taken: &HashSet<(Slot, Format)>,
) -> Result<Slot, String> {
    let architecture: IncusArchitecture =
        artifact.architecture.as_str().parse().map_err(|unknown: UnknownArchitecture| unknown.to_string())?;
    if is_ambiguous(&artifact.variant) {
        return Err(format!("clients would take its variant, {}, for an architecture", artifact.variant));
    }
    let metadata = metadata.map_err(|why| format!("{METADATA_NAME}: {why}"))?;
    if metadata.architecture.parse() != Ok(architecture) {
        // What a hostile file says is not repeated.
        return Err(format!("{METADATA_NAME}: its metadata.yaml is not for {}", artifact.architecture));
    }
    let inspection = inspected?;
    if let Some(detected) = inspection.detected.filter(|_| !inspection.matches(artifact.format)) {
        return Err(format!("its bytes are {detected}, not {}", artifact.format));
    }
    let slot = (architecture, artifact.variant.clone());
    if artifact.format == Format::RootTarXz && taken.contains(&(slot.clone(), Format::Squashfs)) {
        return Err("the squashfs beside it is".to_owned());
    }
    if taken.contains(&(slot.clone(), artifact.format)) {
        return Err("clients could not tell it from another artifact, which is".to_owned());
    }
    Ok(slot)
}

pub(super) async fn record(tx: &mut dyn CatalogTx, version: VersionId, indexed: &Indexed) -> Result<(), CatalogError> {
    tx.delete_stream_rows(version).await?;
    tx.delete_warnings(version, Some(StepName::IncusIndex)).await?;
    for row in &indexed.rows {
        tx.insert_stream_row(version, row).await?;
    }
    tx.insert_warnings(version, &indexed.warnings).await
}
