//! Checking the catalog against the blob store, in both directions, and repairing what is certain.

use crate::{
    bytes::{
        quarantine::{open_unverified, quarantine, require_store},
        verify::{hash, verify_blob},
    },
    context::Context,
    error::Result,
};
use imgsrv_domain::{
    digest::Digest,
    ids::UploadId,
    ports::{BlobError, BlobName, StoredBlob, StoredObject},
    time::Timestamp,
};
use std::{collections::HashMap, sync::Arc};

/// Blobs and orphans that are read at once.
const BATCH: u16 = 500;
/// Unknown bytes above which they are deleted only on demand: a catalog that was restored to an earlier state does not know
/// what is newer.
const MAX_UNKNOWN_BYTES: u64 = 1 << 30;
/// The same, as a part of the bytes in the store.
const MAX_UNKNOWN_PERCENT: u64 = 1;

/// What is checked, and what is repaired.
#[derive(Debug, Clone, Copy, Default)]
pub struct FsckOptions {
    /// Whether the bytes of every blob are hashed.
    pub bytes: bool,
    /// The digest after which bytes are hashed, to continue an earlier check.
    pub after: Option<Digest>,
    /// Whether damaged blobs are quarantined, and unknown bytes deleted.
    pub repair: bool,
    /// Whether unknown bytes are deleted however many there are.
    pub delete_unknown: bool,
}

/// Why a blob is not all right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its bytes are missing, or their number is wrong.
    Missing,
    /// Its bytes do not have its digest.
    WrongBytes,
    /// It is quarantined, although no fault was found now.
    Quarantined,
}

/// What a check found.
#[derive(Debug, Clone, Default)]
pub struct FsckReport {
    /// The blobs in the catalog.
    pub blobs: u64,
    /// The bytes in them.
    pub blob_bytes: u64,
    /// The bytes in the store.
    pub stored_bytes: u64,
    /// How many blobs were hashed.
    pub hashed: u64,
    /// Blobs that are not all right.
    pub faults: Vec<(Digest, Fault)>,
    /// Stored bytes that belong to no blob and no upload, with their size.
    pub unknown: Vec<(BlobName, u64)>,
    /// How many of them were deleted.
    pub deleted: u64,
    /// Why the others were not, if they should have been.
    pub not_deleted: Option<String>,
    /// Sessions with staged bytes that the catalog does not know.
    pub unknown_sessions: Vec<UploadId>,
    /// Counters of the catalog that differ from what they count.
    pub counters: Vec<String>,
}

impl FsckReport {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        let Self { faults, unknown, unknown_sessions, counters, .. } = self;
        faults.is_empty() && unknown.is_empty() && unknown_sessions.is_empty() && counters.is_empty()
    }

    /// The bytes that belong to nothing.
    pub fn unknown_bytes(&self) -> u64 {
        self.unknown.iter().map(|(_, size)| size).sum()
    }
}

/// Checks the catalog against the blob store. `hashed` is called with each blob whose bytes were hashed.
pub(crate) async fn fsck(
    context: &Arc<Context>,
    options: FsckOptions,
    hashed: impl Fn(&Digest) + Send + Sync,
) -> Result<FsckReport> {
    require_store(context).await?;
    let before = context.catalog.statistics().await?;
    let mut report = FsckReport::default();
    // The store first: what is stored later is in the catalog only later.
    let mut objects: HashMap<BlobName, StoredObject> = HashMap::new();
    for object in context.blobs.stored_objects().await? {
        report.stored_bytes += object.size;
        objects.insert(object.name.clone(), object);
    }
    let (mut after, mut trusted) = (None, (0, 0));
    loop {
        let blobs = context.catalog.list_stored_blobs(after.as_ref(), BATCH).await?;
        let Some(last) = blobs.last() else { break };
        after = Some(last.blob.claim.digest);
        for stored in &blobs {
            let claim = stored.blob.claim;
            (report.blobs, report.blob_bytes) = (report.blobs + 1, report.blob_bytes + claim.size.get());
            if !stored.is_quarantined {
                trusted = (trusted.0 + 1, trusted.1 + claim.size.get());
            }
            let object = objects.remove(&stored.blob.name);
            let is_hashed = options.bytes && options.after.is_none_or(|after| claim.digest > after);
            let fault = check(context, stored, object.as_ref(), is_hashed, options.repair).await?;
            if is_hashed {
                report.hashed += 1;
                hashed(&claim.digest);
            }
            report.faults.extend(fault.map(|fault| (claim.digest, fault)));
        }
    }
    let after = context.catalog.statistics().await?;
    let counted =
        [("blobs", before.blobs, after.blobs, trusted.0), ("bytes", before.blob_bytes, after.blob_bytes, trusted.1)];
    for (what, before, after, actual) in counted {
        // A server that runs may change both meanwhile.
        if before == after && before != actual {
            report
                .counters
                .push(format!("the catalog counts {before} {what} in trusted blobs, but there are {actual}"));
        }
    }
    unknown(context, &mut report, objects, options).await?;
    for id in context.blobs.staged_sessions().await? {
        if context.catalog.get_upload(id).await?.is_none() {
            if options.repair {
                context.blobs.clear_staging(id, None).await?;
            }
            report.unknown_sessions.push(id);
        }
    }
    Ok(report)
}

/// What is wrong with a blob that the store listed as `object`.
async fn check(
    context: &Arc<Context>,
    stored: &StoredBlob,
    object: Option<&StoredObject>,
    is_hashed: bool,
    repair: bool,
) -> Result<Option<Fault>> {
    let blob = &stored.blob;
    let fault = if object.is_none_or(|object| object.size != blob.claim.size.get()) {
        // It may have been stored or replaced since the listing.
        match open_unverified(context, blob, 0..0).await {
            Ok(_) => None,
            Err(BlobError::Damaged) => Some(Fault::Missing),
            Err(error) => return Err(error.into()),
        }
    } else {
        None
    };
    let fault = match fault {
        None if is_hashed && hash(context, blob, None).await?.is_none() => Some(Fault::WrongBytes),
        None if stored.is_quarantined => Some(Fault::Quarantined),
        fault => fault,
    };
    // A row that was replaced or deleted meanwhile is not that of these bytes.
    let is_current = async || Ok::<_, crate::UseCaseError>(context.catalog.begin().await?.is_stored(&blob.name).await?);
    if fault.is_none() || !is_current().await? {
        return Ok(None);
    }
    if repair {
        match fault {
            Some(Fault::Quarantined) if is_hashed => drop(verify_blob(context, stored, None).await?),
            Some(Fault::Missing | Fault::WrongBytes) if !stored.is_quarantined => quarantine(context, blob).await?,
            _ => {}
        }
    }
    Ok(fault)
}

/// Finds the stored bytes among `objects` that belong to no blob and no upload.
async fn unknown(
    context: &Arc<Context>,
    report: &mut FsckReport,
    mut objects: HashMap<BlobName, StoredObject>,
    options: FsckOptions,
) -> Result<()> {
    let mut after = None;
    loop {
        let orphans = {
            let mut tx = context.catalog.begin().await?;
            tx.list_orphaned_blobs(after.as_ref(), BATCH).await?
        };
        let Some(last) = orphans.last() else { break };
        after = Some(last.name.clone());
        for orphan in &orphans {
            objects.remove(&orphan.name);
        }
    }
    let oldest: Timestamp = context.catalog.catalog_time().await?.minus(context.settings.collection.grace);
    let mut found = Vec::new();
    for object in objects.into_values().filter(|object| object.modified_at < oldest) {
        if is_unknown(context, &object.name).await? {
            found.push(object);
        }
    }
    found.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
    report.unknown = found.iter().map(|object| (object.name.clone(), object.size)).collect();
    if !options.repair || found.is_empty() {
        return Ok(());
    }
    let bytes = report.unknown_bytes();
    if !options.delete_unknown && (bytes > MAX_UNKNOWN_BYTES || bytes > report.stored_bytes / 100 * MAX_UNKNOWN_PERCENT)
    {
        report.not_deleted = Some(format!(
            "{bytes} bytes belong to nothing that the catalog knows, which is more than 1 GiB or 1 % of the store; if the \
             catalog is not an older one that was restored, delete them with --delete-unknown"
        ));
        return Ok(());
    }
    for object in found {
        // Once more: it may have become a blob meanwhile.
        if is_unknown(context, &object.name).await? {
            context.blobs.remove(&object.name).await?;
            report.deleted += 1;
        }
    }
    Ok(())
}

/// Whether no blob has that name, and no upload that has not ended will.
async fn is_unknown(context: &Arc<Context>, name: &BlobName) -> Result<bool> {
    if let Some(session) = name.session()
        && context.catalog.get_upload(session).await?.is_some_and(|session| !session.state.has_ended())
    {
        return Ok(false);
    }
    let mut tx = context.catalog.begin().await?;
    Ok(!tx.is_stored(name).await?)
}
