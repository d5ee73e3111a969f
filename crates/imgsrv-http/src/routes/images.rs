//! Images.

use crate::{
    extract::{Fields, ImagePath, ImagesQuery, JsonBody, MaybeCaller, WriterOnly},
    response::{page::page_response, problem::Problem, wire},
    routes::problems::{BodyProblems, GuardedProblems, ReadProblems, Taken, WrongState},
    state::AppState,
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use imgsrv_api as api;
use imgsrv_app::{ImageMetadata, Images, NewImage};
use imgsrv_domain::ports::Visibility;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, update, delete))
}

/// List images
///
/// By name. Those with nothing published are listed only to a `content.write` bearer who asks for them.
#[utoipa::path(get, path = "/v1/images", operation_id = "listImages", tag = "images", params(ImagesQuery),
    responses((status = OK, description = "A page of images.", body = api::ImageList), GuardedProblems))]
async fn list(
    State(images): State<Images>,
    MaybeCaller(caller): MaybeCaller,
    query: ImagesQuery,
    uri: Uri,
) -> Result<Response, Problem> {
    let see = if query.wants_unpublished() { Visibility::All } else { Visibility::Published };
    if see == Visibility::All {
        caller.writer()?;
    }
    query.check()?;
    let page = images.list(see, &query.page()?).await?;
    Ok(page_response(&uri, &page, wire::image, |images, next_cursor| api::ImageList { images, next_cursor }))
}

/// Make an image
#[utoipa::path(post, path = "/v1/images", operation_id = "createImage", tag = "images", security(("bearer" = [])),
    request_body = api::CreateImage,
    responses((status = CREATED, description = "The image.", body = api::Image), GuardedProblems, BodyProblems, Taken))]
async fn create(
    State(images): State<Images>,
    WriterOnly(writer): WriterOnly,
    JsonBody(body): JsonBody<api::CreateImage>,
) -> Result<Response, Problem> {
    let mut fields = Fields::default();
    let name = fields.parse("name", &body.name);
    let display_name = fields.optional("display_name", body.display_name.as_deref());
    let description = fields.optional("description", body.description.as_deref());
    let new = || Some(NewImage { name: name?, display_name: display_name?, description: description? });
    let new = fields.finish(new())?;
    let image = images.create(&writer, new).await?;
    let location = [(header::LOCATION, format!("/v1/images/{}", image.name))];
    Ok((StatusCode::CREATED, location, Json(wire::image(&image))).into_response())
}

/// Read an image
#[utoipa::path(get, path = "/v1/images/{name}", operation_id = "getImage", tag = "images", params(ImagePath),
    responses((status = OK, description = "The image.", body = api::Image), ReadProblems))]
async fn get(
    State(images): State<Images>,
    MaybeCaller(caller): MaybeCaller,
    path: ImagePath,
) -> Result<Json<api::Image>, Problem> {
    let image = images.get(&caller, &path.name).await?;
    Ok(Json(wire::image(&image)))
}

/// Change an image's texts
#[utoipa::path(patch, path = "/v1/images/{name}", operation_id = "updateImage", tag = "images",
    security(("bearer" = [])), params(ImagePath), request_body = api::UpdateImage,
    responses((status = OK, description = "The image.", body = api::Image), GuardedProblems, BodyProblems))]
async fn update(
    State(images): State<Images>,
    WriterOnly(writer): WriterOnly,
    path: ImagePath,
    JsonBody(body): JsonBody<api::UpdateImage>,
) -> Result<Json<api::Image>, Problem> {
    let mut fields = Fields::default();
    let display_name = match &body.display_name {
        Some(text) => fields.optional("display_name", text.as_deref()).map(Some),
        None => Some(None),
    };
    let description = match &body.description {
        Some(text) => fields.optional("description", text.as_deref()).map(Some),
        None => Some(None),
    };
    let metadata = || Some(ImageMetadata { display_name: display_name?, description: description? });
    let metadata = fields.finish(metadata())?;
    let image = images.update(&writer, &path.name, metadata).await?;
    Ok(Json(wire::image(&image)))
}

/// Delete an image without versions
#[utoipa::path(delete, path = "/v1/images/{name}", operation_id = "deleteImage", tag = "images",
    security(("bearer" = [])), params(ImagePath),
    responses((status = NO_CONTENT, description = "It is gone."), GuardedProblems, WrongState))]
async fn delete(
    State(images): State<Images>,
    WriterOnly(writer): WriterOnly,
    path: ImagePath,
) -> Result<StatusCode, Problem> {
    images.delete(&writer, &path.name).await?;
    Ok(StatusCode::NO_CONTENT)
}
