//! `incus_index`: which artifacts Simple Streams list, and under which fingerprint.

use super::steps::{self, Trouble};
use crate::{services::Context, stored::StoredBlob, work::WorkError};
use futures::TryStreamExt;
use imgsrv_domain::{
    digest::Digest,
    hash::RunningHash,
    ids::VersionId,
    inspection::{IncusRow, Warning},
    manifest::{Manifest, ManifestEntry},
    names::{Architecture, Format, Variant},
    ports::{CatalogError, CatalogTx, Pair, PairHash, TrustedBlob, Visibility},
    publish::{PublishJob, StepName},
};
use imgsrv_inspect::{IncusMetadata, MAX_METADATA_BYTES, MetadataProblem, Source};
use imgsrv_simplestreams::{IncusArchitecture, Root, UnknownArchitecture, is_ambiguous};
use std::collections::HashMap;

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
type Read = HashMap<Digest, Result<IncusMetadata, MetadataProblem>>;

pub(super) async fn run(context: &Context, job: &PublishJob) -> Result<Indexed, Trouble> {
    let manifest = steps::manifest(context, job).await?;
    let (mut indexed, mut read) = (Indexed::default(), Read::new());
    for entry in &manifest.entries {
        let artifact = &entry.artifact;
        let attached = entry.attachments.iter().find(|attachment| attachment.name.as_str() == METADATA_NAME);
        let Some(attachment) = attached.filter(|_| root(artifact.format).is_some()) else { continue };
        let metadata = trusted(context, attachment.blob.digest).await?;
        let said = match read.get(&attachment.blob.digest) {
            Some(said) => said.clone(),
            None => {
                let said = read_metadata(context, &metadata).await?;
                read.insert(attachment.blob.digest, said.clone());
                said
            }
        };
        if let Err(why) = check(&manifest, entry, said) {
            let reason = format!("{} is not listed: {why}", artifact.file_name(&job.image, &job.version));
            indexed.warnings.push(Warning { step: StepName::IncusIndex, artifact: artifact.id, reason });
            continue;
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
    // It may unpack to much.
    let read = tokio::task::spawn_blocking(move || IncusMetadata::read(&bytes)).await;
    Ok(read.unwrap_or(Err(MetadataProblem::NotATarball)))
}

/// Why streams are not to list an artifact.
fn check(
    manifest: &Manifest,
    entry: &ManifestEntry,
    metadata: Result<IncusMetadata, MetadataProblem>,
) -> Result<(), String> {
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
    let takes_its_place = |other: &&ManifestEntry| {
        other.artifact.format == Format::Squashfs
            && other.artifact.variant == artifact.variant
            && other.artifact.architecture.as_str().parse() == Ok(architecture)
            && other.attachments.iter().any(|attachment| attachment.name.as_str() == METADATA_NAME)
    };
    if artifact.format == Format::RootTarXz && manifest.entries.iter().any(|other| takes_its_place(&other)) {
        return Err("the squashfs beside it is".to_owned());
    }
    Ok(())
}

/// The digest of metadata and root, one after the other: computed once a pair, and continued where an earlier attempt
/// got to.
async fn fingerprint(context: &Context, metadata: &TrustedBlob, root: &TrustedBlob) -> Result<Digest, Trouble> {
    let pair = Pair { metadata: metadata.claim.digest, root: root.claim.digest };
    let known = context.catalog.begin().await?.find_pair(&pair).await?;
    let mut hash = match known {
        Some(PairHash::Done(digest)) => return Ok(digest),
        Some(PairHash::Begun(state)) => RunningHash::resume(&state).unwrap_or_default(),
        None => RunningHash::default(),
    };
    let mut saved = hash.bytes();
    let mut start = 0;
    for blob in [metadata, root] {
        let size = blob.claim.size.get();
        let from = hash.bytes().saturating_sub(start).min(size);
        start += size;
        if from == size {
            continue;
        }
        let opened = context.open_blob(&blob.claim, &blob.name, from..size).await;
        let mut bytes = opened.map_err(|error| Trouble::reading(blob, error))?;
        while let Some(chunk) = bytes.try_next().await.map_err(|error| Trouble::reading(blob, error))? {
            hash.update(&chunk);
            if hash.bytes() - saved >= SAVE_EVERY {
                save(context, &pair, &PairHash::Begun(hash.save())).await?;
                saved = hash.bytes();
            }
        }
    }
    let digest = hash.finish();
    save(context, &pair, &PairHash::Done(digest)).await?;
    Ok(digest)
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
