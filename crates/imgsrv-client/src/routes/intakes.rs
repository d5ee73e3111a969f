//! Intakes, health checks, and documents that are returned as JSON.

use crate::{client::Client, error::Error};
use bytes::Bytes;
use imgsrv_api as api;
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value;
use url::Url;

const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const VERSION: HeaderValue = HeaderValue::from_static("1.0.0");

/// Intakes: a version declared in one request, whose bytes are then appended as one stream, for programs that can read
/// their bytes only once. [`Client::publish`] does not use them: it uploads parts in parallel.
impl Client {
    fn tus_url(&self, intake: &str) -> Url {
        self.endpoint(["api", "uploads", "tus", intake])
    }

    async fn tus_headers(&self, method: Method, intake: &str) -> Result<HeaderMap, Error> {
        self.headers(method, self.tus_url(intake), HeaderMap::from_iter([(TUS_RESUMABLE, VERSION)])).await
    }

    /// Declares what is to be published, before its bytes are sent.
    pub async fn create_intake(&self, intake: &api::CreateIntake) -> Result<api::IntakeCreated, Error> {
        self.create(self.endpoint(["api", "images"]), intake).await
    }

    /// The status of an intake.
    pub async fn intake(&self, intake: &str) -> Result<api::IntakeStatus, Error> {
        self.get(self.endpoint(["api", "uploads", intake])).await
    }

    /// The offset of the next byte of an intake.
    pub async fn intake_offset(&self, intake: &str) -> Result<u64, Error> {
        offset(&self.tus_headers(Method::HEAD, intake).await?)
    }

    /// Appends bytes at the offset `at`, which must be that of the next byte; returns the offset after them. If this
    /// fails, [`Client::intake_offset`] says how many bytes the server has accepted.
    pub async fn append_to_intake(&self, intake: &str, at: u64, bytes: impl Into<Bytes>) -> Result<u64, Error> {
        let (url, bytes) = (self.tus_url(intake), bytes.into());
        let request = |token: Option<&_>| {
            let request = self.request(Method::PATCH, url.clone(), token).header(TUS_RESUMABLE, VERSION);
            let request = request.header(UPLOAD_OFFSET, at).header(CONTENT_TYPE, "application/offset+octet-stream");
            request.body(bytes.clone())
        };
        offset(self.authenticated(request).await?.headers())
    }

    /// Terminates an intake; its bytes are deleted.
    pub async fn terminate_intake(&self, intake: &str) -> Result<(), Error> {
        self.tus_headers(Method::DELETE, intake).await.map(drop)
    }
}

fn offset(headers: &HeaderMap) -> Result<u64, Error> {
    let offset = headers.get(UPLOAD_OFFSET).and_then(|value| value.to_str().ok()?.parse().ok());
    offset.ok_or_else(|| Error::invalid_response("it has no Upload-Offset"))
}

/// Health, and documents.
impl Client {
    /// Checks that the process serves requests.
    pub async fn health(&self) -> Result<(), Error> {
        self.execute(Method::GET, self.endpoint(["healthz"])).await
    }

    /// Checks that catalog and blob store are available; a refusal names what is not.
    pub async fn readiness(&self) -> Result<(), Error> {
        self.execute(Method::GET, self.endpoint(["readyz"])).await
    }

    /// The OpenAPI 3.1 document of the API.
    pub async fn openapi(&self) -> Result<Value, Error> {
        self.get(self.endpoint(["openapi", "v1.json"])).await
    }

    /// The Simple Streams index.
    pub async fn streams_index(&self) -> Result<Value, Error> {
        self.get(self.endpoint(["streams", "v1", "index.json"])).await
    }

    /// The Simple Streams products.
    pub async fn streams_images(&self) -> Result<Value, Error> {
        self.get(self.endpoint(["streams", "v1", "images.json"])).await
    }
}
