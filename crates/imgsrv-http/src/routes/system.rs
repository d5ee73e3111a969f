//! Operation of the server: garbage collection, blocked digests, nodes, storage and its verification.

use crate::{
    extract::{BlobPath, JsonBody, PageQuery, StoredBlobsQuery},
    response::{
        page::{page_response, slice},
        problem::Result,
        purges,
        wire::time,
    },
    routes::problems::{BodyProblems, GuardedProblems},
    state::AppState,
};
use axum::{
    Json,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use imgsrv_api as api;
use imgsrv_app::{Blocks, ContentAdmin, Explained, Garbage, Nodes, Storage, SystemOperator, SystemReader};
use imgsrv_domain::{node::SeenNode, ports::QuarantinedBlob, time::Timestamp};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(collect))
        .routes(routes!(explain))
        .routes(routes!(list_blocked))
        .routes(routes!(unblock))
        .routes(routes!(list_nodes))
        .routes(routes!(storage))
        .routes(routes!(list_blobs))
        .routes(routes!(verify))
}

/// Collect garbage
///
/// Starts the collection that otherwise runs every `--gc-interval`, and responds with what it will delete: blobs that
/// nothing has referred to for `--gc-grace`. It runs in the background on one node. With `dry_run`, nothing changes.
#[utoipa::path(post, path = "/v1/system/gc", operation_id = "collectGarbage", tag = "system",
    security(("bearer" = [])), request_body = api::CollectGarbage,
    responses(
        (status = OK, description = "What a collection would delete.", body = api::GarbageCollection),
        (status = ACCEPTED, description = "The collection was started.", body = api::GarbageCollection),
        GuardedProblems, BodyProblems))]
async fn collect(
    garbage: Garbage,
    operator: SystemOperator,
    JsonBody(body): JsonBody<api::CollectGarbage>,
) -> Result<Response> {
    let dry_run = body.dry_run;
    let found = if dry_run { garbage.count(&operator.reader()).await? } else { garbage.collect(&operator).await? };
    let (blobs, bytes, complete) = (number(found.blobs), number(found.bytes), found.is_complete);
    let status = if dry_run { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(api::GarbageCollection { dry_run, blobs, bytes, complete })).into_response())
}

/// Read why a blob is kept
///
/// Shows what refers to the blob, or since when nothing does and when it may be deleted.
#[utoipa::path(get, path = "/v1/system/blobs/{digest}", operation_id = "explainBlob", tag = "system",
    security(("bearer" = [])), params(BlobPath),
    responses((status = OK, description = "The blob.", body = api::StoredBlob), GuardedProblems))]
async fn explain(garbage: Garbage, reader: SystemReader, path: BlobPath) -> Result<Json<api::StoredBlob>> {
    Ok(Json(stored_blob(garbage.explain(&reader, &path.digest).await?)))
}

/// List nodes
///
/// Lists the server processes that share the catalog, by name. A node records every 15 seconds that it runs. It is `gone`
/// after a minute without a record, and forgotten after a day, or when it starts again under the same name. A node that is
/// stopped with SIGTERM is removed from the list.
#[utoipa::path(get, path = "/v1/system/nodes", operation_id = "listNodes", tag = "system", security(("bearer" = [])),
    params(PageQuery),
    responses((status = OK, description = "A page of nodes.", body = api::NodeList), GuardedProblems))]
async fn list_nodes(nodes: Nodes, reader: SystemReader, query: PageQuery, uri: Uri) -> Result<Response> {
    let (nodes, now) = nodes.list(&reader).await?;
    let page = slice(&nodes, &query.page()?, |node| node.node.worker.to_string())?;
    Ok(page_response(&uri, &page, |seen| node(seen, now), |nodes, next_cursor| api::NodeList { nodes, next_cursor }))
}

fn node(seen: &SeenNode, now: Timestamp) -> api::Node {
    api::Node {
        id: seen.node.worker.to_string(),
        name: seen.node.name.clone(),
        version: seen.node.version.clone(),
        state: seen.state(now).to_string(),
        workers: seen.node.workers.clone(),
        started_at: time(seen.started_at),
        last_seen_at: time(seen.seen_at),
    }
}

/// Read the state of the storage
#[utoipa::path(get, path = "/v1/system/storage", operation_id = "getStorage", tag = "system",
    security(("bearer" = [])),
    responses((status = OK, description = "The state of the storage.", body = api::StorageStatus), GuardedProblems))]
async fn storage(storage: Storage, reader: SystemReader) -> Result<Json<api::StorageStatus>> {
    let status = storage.status(&reader).await?;
    let (statistics, verification) = (&status.statistics, &status.verification);
    let open = ["created", "uploading", "completed", "ingesting"];
    let sessions = open.iter().filter_map(|state| statistics.uploads.get(*state)).sum();
    Ok(Json(api::StorageStatus {
        blobs: api::BlobTotals {
            count: number(statistics.blobs.saturating_add(verification.quarantined)),
            bytes: number(statistics.blob_bytes.saturating_add(verification.quarantined_bytes)),
            quarantined: number(verification.quarantined),
            oldest_verified_at: verification.oldest_verified_at.map(time),
        },
        staged: api::StagedTotals { sessions: number(sessions), bytes: number(status.staged_bytes) },
        reclaimable: api::ReclaimableTotals {
            blobs: number(status.reclaimable.blobs),
            bytes: number(status.reclaimable.bytes),
        },
        free_bytes: status.free_bytes.map(number),
        scrub: api::ScrubStatus { bytes_last_day: number(verification.verified_bytes), behind: status.is_behind },
        gc: api::GcStatus {
            last_run_at: status.collections.last_success.map(time),
            freed_bytes: number(status.collections.freed_bytes),
        },
    }))
}

/// List quarantined blobs
///
/// Blobs whose stored content is missing or damaged. They are not served until the same content is uploaded again, or is
/// found right: it is checked every hour.
#[utoipa::path(get, path = "/v1/system/blobs", operation_id = "listStoredBlobs", tag = "system",
    security(("bearer" = [])), params(StoredBlobsQuery),
    responses((status = OK, description = "A page of blobs.", body = api::QuarantinedBlobList), GuardedProblems))]
async fn list_blobs(storage: Storage, reader: SystemReader, query: StoredBlobsQuery, uri: Uri) -> Result<Response> {
    query.require_quarantined()?;
    let page = storage.quarantined(&reader, &query.page()?).await?;
    let blob = |blob: &QuarantinedBlob| api::QuarantinedBlob {
        digest: blob.claim.digest.to_string(),
        size_bytes: blob.claim.size.signed(),
        created_at: time(blob.created_at),
        verified_at: blob.verified_at.map(time),
        looked_at: blob.looked_at.map(time),
    };
    Ok(page_response(&uri, &page, blob, |blobs, next_cursor| api::QuarantinedBlobList { blobs, next_cursor }))
}

/// Verify a blob
///
/// Hashes the stored content. A blob whose content is missing or wrong is quarantined; a quarantined one whose content is
/// right is served again. A large blob may take longer than the request, and is then verified in the background.
#[utoipa::path(post, path = "/v1/system/blobs/{digest}/verify", operation_id = "verifyBlob", tag = "system",
    security(("bearer" = [])), params(BlobPath),
    responses((status = OK, description = "The blob as it is now.", body = api::StoredBlob),
        (status = ACCEPTED, description = "The verification continues.", body = api::StoredBlob), GuardedProblems))]
async fn verify(storage: Storage, garbage: Garbage, operator: SystemOperator, path: BlobPath) -> Result<Response> {
    let verdict = storage.verify(&operator, &path.digest).await?;
    let status = if verdict.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let blob = stored_blob(garbage.explain(&operator.reader(), &path.digest).await?);
    Ok((status, Json(blob)).into_response())
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn stored_blob(Explained { status, has_more, collectable_at }: Explained) -> api::StoredBlob {
    api::StoredBlob {
        digest: status.claim.digest.to_string(),
        size_bytes: status.claim.size.signed(),
        state: if status.is_quarantined { "quarantined" } else { "trusted" }.to_owned(),
        created_at: time(status.created_at),
        references: status.references.iter().map(purges::blob_reference).collect(),
        more_references: has_more,
        tombstones: status.tombstones.iter().map(purges::blob_reference).collect(),
        unreferenced_since: status.unreferenced_since.map(time),
        collectable_at: collectable_at.map(time),
        verified_at: status.verified_at.map(time),
    }
}

/// List blocked digests
///
/// The content of these digests was purged. Until they are unblocked, those that are blocked everywhere cannot be uploaded
/// or published, and the others cannot be published in their image. Requires `content.retire` on every image.
#[utoipa::path(get, path = "/v1/system/blocked-digests", operation_id = "listBlockedDigests", tag = "system",
    security(("bearer" = [])), params(PageQuery),
    responses((status = OK, description = "A page of blocked digests.", body = api::BlockedDigestList), GuardedProblems))]
async fn list_blocked(blocks: Blocks, admin: ContentAdmin, query: PageQuery, uri: Uri) -> Result<Response> {
    let page = blocks.list(&admin, &query.page()?).await?;
    Ok(page_response(&uri, &page, purges::blocked_digest, |blocked_digests, next_cursor| api::BlockedDigestList {
        blocked_digests,
        next_cursor,
    }))
}

/// Unblock a digest
///
/// Its content can be uploaded and published again in every image. Requires `content.retire` on every image.
#[utoipa::path(delete, path = "/v1/system/blocked-digests/{digest}", operation_id = "unblockDigest", tag = "system",
    security(("bearer" = [])), params(BlobPath),
    responses((status = NO_CONTENT, description = "The digest is unblocked."), GuardedProblems))]
async fn unblock(blocks: Blocks, admin: ContentAdmin, path: BlobPath) -> Result<StatusCode> {
    blocks.unblock(&admin, &path.digest).await?;
    Ok(StatusCode::NO_CONTENT)
}
