//! Operation of the server: garbage collection, blocked digests and nodes.

use crate::{
    extract::{BlobPath, JsonBody, PageQuery},
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
use imgsrv_app::{Blocks, ContentAdmin, Explained, Garbage, Nodes, SystemOperator, SystemReader};
use imgsrv_domain::{node::SeenNode, time::Timestamp};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(collect))
        .routes(routes!(explain))
        .routes(routes!(list_blocked))
        .routes(routes!(unblock))
        .routes(routes!(list_nodes))
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
    let found = if dry_run { garbage.count(&operator).await? } else { garbage.collect(&operator).await? };
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
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
    }
}

/// List blocked digests
///
/// The content of these digests was purged. They cannot be uploaded or published until they are unblocked. Requires
/// `content.retire`.
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
/// Its content can be uploaded and published again. Requires `content.retire`.
#[utoipa::path(delete, path = "/v1/system/blocked-digests/{digest}", operation_id = "unblockDigest", tag = "system",
    security(("bearer" = [])), params(BlobPath),
    responses((status = NO_CONTENT, description = "The digest is unblocked."), GuardedProblems))]
async fn unblock(blocks: Blocks, admin: ContentAdmin, path: BlobPath) -> Result<StatusCode> {
    blocks.unblock(&admin, &path.digest).await?;
    Ok(StatusCode::NO_CONTENT)
}
