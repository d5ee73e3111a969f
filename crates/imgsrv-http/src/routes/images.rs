//! Images.

use crate::{
    extract::{Fields, ImagePath, ImagesQuery, JsonBody},
    response::{page::page_response, problem::Result, wire},
    routes::problems::{BodyProblems, GuardedProblems, ReadProblems, Taken, WrongState},
    state::AppState,
};
use axum::{
    Json,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use imgsrv_api as api;
use imgsrv_app::{Caller, ImageMetadata, Images, NewImage, Writer};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, update, delete))
}

/// List images
///
/// Sorted by name. Private images are listed only for callers with `content.read` on them. Images without a published version are listed only with `include_unpublished=true`, which requires
/// `content.write`, and of them those on which the caller has it.
#[utoipa::path(get, path = "/v1/images", operation_id = "listImages", tag = "images", params(ImagesQuery),
    responses((status = OK, description = "A page of images.", body = api::ImageList), GuardedProblems))]
async fn list(images: Images, caller: Caller, query: ImagesQuery, uri: Uri) -> Result<Response> {
    let unpublished = query.includes_unpublished()?;
    if unpublished {
        caller.writer()?;
    }
    let page = images.list(&caller, unpublished, &query.page()?).await?;
    Ok(page_response(&uri, &page, wire::image, |images, next_cursor| api::ImageList { images, next_cursor }))
}

/// Create an image
///
/// Another visibility than the server's default requires `content.retire`.
#[utoipa::path(post, path = "/v1/images", operation_id = "createImage", tag = "images", security(("bearer" = [])),
    request_body = api::CreateImage,
    responses((status = CREATED, description = "The image.", body = api::Image), GuardedProblems, BodyProblems, Taken))]
async fn create(images: Images, writer: Writer, JsonBody(body): JsonBody<api::CreateImage>) -> Result<Response> {
    let mut fields = Fields::default();
    let name = fields.parse("name", &body.name);
    let display_name = fields.optional("display_name", body.display_name.as_deref());
    let description = fields.optional("description", body.description.as_deref());
    let visibility = fields.optional("visibility", body.visibility.as_deref());
    let new = || {
        let (display_name, description, visibility) = (display_name?, description?, visibility?);
        Some(NewImage { name: name?, display_name, description, visibility })
    };
    let new = fields.finish(new)?;
    let image = images.create(&writer, new).await?;
    let location = [(header::LOCATION, format!("/v1/images/{}", image.name))];
    Ok((StatusCode::CREATED, location, Json(wire::image(&image))).into_response())
}

/// Read an image
#[utoipa::path(get, path = "/v1/images/{name}", operation_id = "getImage", tag = "images", security((), ("bearer" = [])), params(ImagePath),
    responses((status = OK, description = "The image.", body = api::Image), ReadProblems))]
async fn get(images: Images, caller: Caller, path: ImagePath) -> Result<Json<api::Image>> {
    let image = images.get(&caller, &path.name).await?;
    Ok(Json(wire::image(&image)))
}

/// Change the metadata or the visibility of an image
///
/// Changing the visibility requires `content.retire`. A private image does not exist for callers without `content.read`
/// on it, from the response on.
#[utoipa::path(patch, path = "/v1/images/{name}", operation_id = "updateImage", tag = "images",
    security(("bearer" = [])), params(ImagePath), request_body = api::UpdateImage,
    responses((status = OK, description = "The image.", body = api::Image), GuardedProblems, BodyProblems))]
async fn update(
    images: Images,
    writer: Writer,
    path: ImagePath,
    JsonBody(body): JsonBody<api::UpdateImage>,
) -> Result<Json<api::Image>> {
    let mut fields = Fields::default();
    let display_name =
        body.display_name.map_or(Some(None), |text| fields.optional("display_name", text.as_deref()).map(Some));
    let description =
        body.description.map_or(Some(None), |text| fields.optional("description", text.as_deref()).map(Some));
    let visibility = fields.optional("visibility", body.visibility.as_deref());
    let metadata = || {
        let (display_name, description, visibility) = (display_name?, description?, visibility?);
        Some(ImageMetadata { display_name, description, visibility })
    };
    let metadata = fields.finish(metadata)?;
    let image = images.update(&writer, &path.name, metadata).await?;
    Ok(Json(wire::image(&image)))
}

/// Delete an image that has no versions
#[utoipa::path(delete, path = "/v1/images/{name}", operation_id = "deleteImage", tag = "images",
    security(("bearer" = [])), params(ImagePath),
    responses((status = NO_CONTENT, description = "The image is deleted."), GuardedProblems, WrongState))]
async fn delete(images: Images, writer: Writer, path: ImagePath) -> Result<StatusCode> {
    images.delete(&writer, &path.name).await?;
    Ok(StatusCode::NO_CONTENT)
}
