//! The certificate of the server's own certificate authority, which clients must trust.

use crate::{
    middleware::budgeted::AccountedBody,
    response::problem::{Code, Problem, Result},
    routes::problems::ReadProblems,
    state::{AppState, Authority},
};
use axum::{
    Extension,
    http::header,
    response::{IntoResponse, Response},
};
use imgsrv_app::Caller;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(get))
}

/// Download the certificate of the server's certificate authority
///
/// In PEM format. It exists only on servers with `--tls-self-signed`. It is also served over plain HTTP on the same
/// port: compare its SHA-256 with the one that the server prints at startup. Supports `HEAD`.
#[utoipa::path(get, path = "/ca.pem", operation_id = "getCertificateAuthority", tag = "tls",
    responses((status = OK, description = "The certificate.", content_type = "application/x-pem-file", body = String),
        ReadProblems))]
async fn get(Authority(pem): Authority, _caller: Caller) -> Result<Response> {
    let missing = || {
        Problem::new(Code::NotFound)
            .detail("this server does not use a certificate of its own authority (--tls-self-signed)")
    };
    let headers = [(header::CONTENT_TYPE, "application/x-pem-file"), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, Extension(AccountedBody), pem.ok_or_else(missing)?).into_response())
}
