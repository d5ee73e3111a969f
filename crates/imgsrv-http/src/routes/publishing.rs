//! Publishing.

use crate::{
    extract::{JobPath, JobsQuery, VersionPath},
    public_url::Urls,
    response::{page::page_response, problem::Result, wire},
    routes::problems::{GuardedProblems, WrongState},
    state::AppState,
};
use axum::{
    Json,
    http::{StatusCode, Uri},
    response::Response,
};
use imgsrv_api as api;
use imgsrv_app::{Publishing, Writer};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(publish))
        .routes(routes!(list))
        .routes(routes!(get))
        .routes(routes!(retry))
        .routes(routes!(abandon))
}

/// Publish a draft
///
/// Freezes the manifest and queues the publish job. If the version is already `publishing` or `published`, the response
/// contains its state and the existing job. A draft whose manifest refers to a missing blob, or to a blob of a
/// different size, is refused and stays a draft.
#[utoipa::path(post, path = "/v1/images/{name}/versions/{version}/publish", operation_id = "publishVersion",
    tag = "publishing", security(("bearer" = [])), params(VersionPath),
    responses((status = ACCEPTED, description = "The job is queued.", body = api::PublishRequested),
        (status = OK, description = "The job was queued by an earlier request.", body = api::PublishRequested),
        GuardedProblems, WrongState))]
async fn publish(
    publishing: Publishing,
    writer: Writer,
    urls: Urls,
    path: VersionPath,
) -> Result<(StatusCode, Json<api::PublishRequested>)> {
    let requested = publishing.publish(&writer, &path.name, &path.version).await?;
    let status = if requested.started { StatusCode::ACCEPTED } else { StatusCode::OK };
    let body =
        api::PublishRequested { version: wire::version(&requested.version, &urls), job_id: requested.job.to_string() };
    Ok((status, Json(body)))
}

/// List publish jobs
///
/// Newest first. `state=failed,running,queued` selects the jobs that have not succeeded and are not abandoned. `reason`
/// is why a job failed or its last attempt failed, `next_attempt_at` the time of the next attempt.
#[utoipa::path(get, path = "/v1/publish-jobs", operation_id = "listPublishJobs", tag = "publishing",
    security(("bearer" = [])), params(JobsQuery),
    responses((status = OK, description = "A page of jobs.", body = api::PublishJobList), GuardedProblems))]
async fn list(publishing: Publishing, writer: Writer, query: JobsQuery, uri: Uri) -> Result<Response> {
    let page = publishing.jobs(&writer, &query.filter()?, &query.page()?).await?;
    Ok(page_response(&uri, &page, wire::job, |jobs, next_cursor| api::PublishJobList { jobs, next_cursor }))
}

/// Read a publish job
#[utoipa::path(get, path = "/v1/publish-jobs/{job_id}", operation_id = "getPublishJob", tag = "publishing",
    security(("bearer" = [])), params(JobPath),
    responses((status = OK, description = "The job.", body = api::PublishJob), GuardedProblems))]
async fn get(publishing: Publishing, writer: Writer, path: JobPath) -> Result<Json<api::PublishJob>> {
    let job = publishing.job(&writer, path.job_id).await?;
    Ok(Json(wire::job(&job)))
}

/// Retry a failed publish job
///
/// Continues with the first blocking step that failed. Steps that succeeded are not repeated.
#[utoipa::path(post, path = "/v1/publish-jobs/{job_id}/retry", operation_id = "retryPublishJob", tag = "publishing",
    security(("bearer" = [])), params(JobPath),
    responses((status = ACCEPTED, description = "The job is queued again.", body = api::PublishJob), GuardedProblems, WrongState))]
async fn retry(publishing: Publishing, writer: Writer, path: JobPath) -> Result<(StatusCode, Json<api::PublishJob>)> {
    let job = publishing.retry(&writer, path.job_id).await?;
    Ok((StatusCode::ACCEPTED, Json(wire::job(&job))))
}

/// Abandon a failed publish job
///
/// The version becomes a draft again.
#[utoipa::path(post, path = "/v1/publish-jobs/{job_id}/abandon", operation_id = "abandonPublishJob", tag = "publishing",
    security(("bearer" = [])), params(JobPath),
    responses((status = OK, description = "The job, `abandoned`.", body = api::PublishJob), GuardedProblems, WrongState))]
async fn abandon(publishing: Publishing, writer: Writer, path: JobPath) -> Result<Json<api::PublishJob>> {
    let job = publishing.abandon(&writer, path.job_id).await?;
    Ok(Json(wire::job(&job)))
}
