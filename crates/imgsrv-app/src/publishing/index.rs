//! `incus_index`: which artifacts Simple Streams list, and under which fingerprint.

use super::steps::Trouble;
use crate::{services::Context, stored::StoredBlob, work::WorkError};
use futures::TryStreamExt;
use imgsrv_domain::{
    digest::Digest,
    hash::RunningHash,
    ids::VersionId,
    inspection::{IncusRow, Warning},
    manifest::{Manifest, ManifestEntry},
    names::{Architecture, Format, Variant},
    ports::{BlobError, CatalogError, CatalogTx, Pair, PairHash, TrustedBlob, Visibility},
    publish::StepName,
};
use imgsrv_inspect::{IncusMetadata, MAX_METADATA_BYTES, MetadataProblem, Source};
use imgsrv_simplestreams::{IncusArchitecture, Root, UnknownArchitecture, is_ambiguous};
use std::collections::{HashMap, HashSet};

/// The attachment that holds the metadata of an Incus image.
pub(crate) const METADATA_NAME: &str = "incus.tar.xz";
/// Bytes that are hashed before it is saved how far that has come.
const SAVE_EVERY: u64 = 1 << 30;

/// What streams are to list, and what they are not to and why.
#[derive(Default)]
pub(super) struct Indexed {
    rows: Vec<IncusRow>,
    warnings: Vec<Warning>,
}

/// What streams call an artifact in its version, if they can list it.
pub(crate) fn product(format: Format, architecture: &Architecture, variant: &Variant) -> Option<String> {
    let architecture: IncusArchitecture = architecture.as_str().parse().ok()?;
    root(format).map(|_| format!("{architecture}:{variant}:{format}"))
}

/// What artifacts of a format boot as, if Incus boots them.
pub(crate) const fn root(format: Format) -> Option<Root> {
    match format {
        Format::Qcow2 => Some(Root::Disk),
        Format::Squashfs => Some(Root::Squashfs),
        Format::RootTarXz => Some(Root::Tarball),
        Format::Raw | Format::RawGz | Format::RawXz | Format::RawZst | Format::Iso | Format::Vmdk | Format::Vhdx => {
            None
        }
    }
}

/// What metadata says, by digest: artifacts of a version often share it.
type KnownMetadata = HashMap<Digest, Result<IncusMetadata, MetadataProblem>>;
/// What streams call an artifact, its format aside.
type Slot = (IncusArchitecture, Variant);

pub(super) async fn run(context: &Context, manifest: &Manifest) -> Result<Indexed, Trouble> {
    let (mut indexed, mut known, mut squashed) = (Indexed::default(), KnownMetadata::new(), HashSet::new());
    // A tarball is listed only where no squashfs is.
    let (tarballs, others): (Vec<_>, Vec<_>) =
        manifest.entries.iter().partition(|entry| entry.artifact.format == Format::RootTarXz);
    for entry in others.into_iter().chain(tarballs) {
        let artifact = &entry.artifact;
        let attached = entry.attachments.iter().find(|attachment| attachment.name.as_str() == METADATA_NAME);
        let Some(attachment) = attached.filter(|_| root(artifact.format).is_some()) else { continue };
        let metadata = trusted(context, attachment.blob.digest).await?;
        let said = match known.get(&attachment.blob.digest) {
            Some(said) => said.clone(),
            None => {
                let said = read_metadata(context, &metadata).await?;
                known.insert(attachment.blob.digest, said.clone());
                said
            }
        };
        let slot = match check(entry, said, &squashed) {
            Ok(slot) => slot,
            Err(why) => {
                let reason = format!(
                    "{} is not listed: {why}",
                    artifact.file_name(&manifest.image.name, &manifest.version.name)
                );
                indexed.warnings.push(Warning { step: StepName::IncusIndex, artifact: artifact.id, reason });
                continue;
            }
        };
        if artifact.format == Format::Squashfs {
            squashed.insert(slot);
        }
        let root = trusted(context, artifact.primary.digest).await?;
        let fingerprint = fingerprint(context, &metadata, &root).await?;
        indexed.rows.push(IncusRow { artifact: artifact.id, attachment: attachment.id, fingerprint });
    }
    Ok(indexed)
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

/// Whether the bytes that `hash` has seen are those of `blob`. If not, nobody is served them again.
async fn verify(context: &Context, blob: &TrustedBlob, hash: RunningHash) -> Result<(), Trouble> {
    if hash.finish() == blob.claim.digest {
        return Ok(());
    }
    context.quarantine(&blob.claim, &blob.name).await?;
    Err(Trouble::reading(blob, BlobError::Damaged))
}

/// What streams are to call an artifact, or why they are not to list it; `squashed` has those that are listed as squashfs.
fn check(
    entry: &ManifestEntry,
    metadata: Result<IncusMetadata, MetadataProblem>,
    squashed: &HashSet<Slot>,
) -> Result<Slot, String> {
    let artifact = &entry.artifact;
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
    let inspection = entry.inspection.unwrap_or_default();
    if let Some(detected) = inspection.detected.filter(|_| !inspection.matches(artifact.format)) {
        return Err(format!("its bytes are {detected}, not {}", artifact.format));
    }
    let slot = (architecture, artifact.variant.clone());
    if artifact.format == Format::RootTarXz && squashed.contains(&slot) {
        return Err("the squashfs beside it is".to_owned());
    }
    Ok(slot)
}

/// The digest of metadata and root, one after the other: computed once a pair, and continued where an earlier attempt
/// got to. It is told to every client, so the bytes must be the right ones: both are verified on the way.
async fn fingerprint(context: &Context, metadata: &TrustedBlob, root: &TrustedBlob) -> Result<Digest, Trouble> {
    let pair = Pair { metadata: metadata.claim.digest, root: root.claim.digest };
    let known = context.catalog.begin().await?.find_pair(&pair).await?;
    let begun = match known {
        Some(PairHash::Done(digest)) => return Ok(digest),
        Some(PairHash::Begun { pair, root }) => RunningHash::resume(&pair).zip(RunningHash::resume(&root)),
        None => None,
    };
    let (mut both, mut own) = match begun {
        Some(begun) => begun,
        None => {
            let mut both = RunningHash::new();
            hash(context, metadata, 0, &mut both, &mut RunningHash::new()).await?;
            (both, RunningHash::new())
        }
    };
    while own.bytes() < root.claim.size.get() {
        hash(context, root, own.bytes(), &mut both, &mut own).await?;
        if own.bytes() < root.claim.size.get() {
            save(context, &pair, &PairHash::Begun { pair: both.save(), root: own.save() }).await?;
        }
    }
    verify(context, root, own).await?;
    let digest = both.finish();
    save(context, &pair, &PairHash::Done(digest)).await?;
    Ok(digest)
}

/// Hashes a bounded part of a blob.
async fn hash(
    context: &Context,
    blob: &TrustedBlob,
    from: u64,
    both: &mut RunningHash,
    own: &mut RunningHash,
) -> Result<(), Trouble> {
    let to = blob.claim.size.get().min(from + SAVE_EVERY);
    let opened = context.open_blob(&blob.claim, &blob.name, from..to).await;
    let mut bytes = opened.map_err(|error| Trouble::reading(blob, error))?;
    while let Some(chunk) = bytes.try_next().await.map_err(|error| Trouble::reading(blob, error))? {
        both.update(&chunk);
        own.update(&chunk);
    }
    // A store that gives less than it has must not be asked for ever.
    if own.bytes() == to { Ok(()) } else { Err(Trouble::reading(blob, BlobError::Damaged)) }
}

async fn save(context: &Context, pair: &Pair, hash: &PairHash) -> Result<(), Trouble> {
    let saved = crate::retry::retrying(|| async {
        let mut tx = context.catalog.begin().await?;
        tx.save_pair(pair, hash).await?;
        tx.commit().await
    })
    .await;
    saved.map_err(|error: CatalogError| Trouble::Passing(WorkError::from(error)))
}

pub(super) async fn record(tx: &mut dyn CatalogTx, version: VersionId, indexed: &Indexed) -> Result<(), CatalogError> {
    tx.clear_findings(version, Some(StepName::IncusIndex)).await?;
    for row in &indexed.rows {
        tx.insert_incus_row(version, row).await?;
    }
    tx.insert_warnings(version, &indexed.warnings).await
}

/// Lists what was published before streams were kept. Each version is frozen already; what cannot be listed is told of
/// in its warnings, as when it is published.
pub(crate) async fn list_backlog(context: &Context) -> Result<(), WorkError> {
    while let Some(version) = context.catalog.get_unlisted().await? {
        let manifest = context.catalog.get_manifest(&version.image, &version.name, Visibility::All).await?;
        let Some(manifest) = manifest else { return Ok(()) };
        let indexed = match run(context, &manifest).await {
            Ok(indexed) => indexed,
            Err(Trouble::Passing(error)) => return Err(error),
            Err(Trouble::Final(why)) => {
                tracing::warn!(version = version.path(), why, "a published version is not listed in streams");
                Indexed::default()
            }
        };
        crate::retry::retrying(|| async {
            let mut tx = context.catalog.begin().await?;
            if tx.is_unlisted(version.id).await? {
                record(&mut *tx, version.id, &indexed).await?;
                tx.mark_listed(version.id).await?;
                tx.bump_catalog_revision(version.image_id).await?;
                tx.list_in_streams(version.id).await?;
                tx.commit().await?;
            }
            Ok::<_, CatalogError>(())
        })
        .await?;
    }
    Ok(())
}
