//! Intakes, health, and documents that are read as they are.

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

/// Intakes: a version in one request, whose bytes then come as one stream. [`Client::publish`] needs none of it, and
/// resumes in parallel; this is for programs that have their bytes only once.
impl Client {
    fn tus_url(&self, intake: &str) -> Url {
        self.at(["api", "uploads", "tus", intake])
    }

    /// Says what is to be published, before its bytes are sent.
    pub async fn create_intake(&self, intake: &api::CreateIntake) -> Result<api::IntakeCreated, Error> {
        self.create(self.at(["api", "images"]), intake).await
    }

    /// How far an intake has come.
    pub async fn intake(&self, intake: &str) -> Result<api::IntakeStatus, Error> {
        self.get(self.at(["api", "uploads", intake])).await
    }

    /// Where the next byte of an intake goes.
    pub async fn intake_offset(&self, intake: &str) -> Result<u64, Error> {
        let headers = HeaderMap::from_iter([(TUS_RESUMABLE, VERSION)]);
        offset(&self.head(Method::HEAD, self.tus_url(intake), headers).await?)
    }

    /// Adds bytes at `at`, which must be where the next byte goes; returns where the one after them goes. When it fails,
    /// [`Client::intake_offset`] tells how many of them have come.
    pub async fn append_to_intake(&self, intake: &str, at: u64, bytes: impl Into<Bytes>) -> Result<u64, Error> {
        let (url, bytes) = (self.tus_url(intake), bytes.into());
        let request = |token: Option<&_>| {
            let request = self.bare(Method::PATCH, url.clone(), token).header(TUS_RESUMABLE, VERSION);
            let request = request.header(UPLOAD_OFFSET, at).header(CONTENT_TYPE, "application/offset+octet-stream");
            request.body(bytes.clone())
        };
        offset(self.authenticated(request).await?.headers())
    }

    /// Gives an intake up; its bytes go.
    pub async fn terminate_intake(&self, intake: &str) -> Result<(), Error> {
        let headers = HeaderMap::from_iter([(TUS_RESUMABLE, VERSION)]);
        self.head(Method::DELETE, self.tus_url(intake), headers).await.map(drop)
    }
}

fn offset(headers: &HeaderMap) -> Result<u64, Error> {
    let offset = headers.get(UPLOAD_OFFSET).and_then(|value| value.to_str().ok()?.parse().ok());
    offset.ok_or_else(|| Error::Answer("it has no Upload-Offset".into()))
}

/// What a server tells of itself.
impl Client {
    /// Whether the process serves.
    pub async fn health(&self) -> Result<(), Error> {
        self.quiet(Method::GET, self.at(["healthz"])).await
    }

    /// Whether its catalog and its blob store are there; what is not, the refusal names.
    pub async fn readiness(&self) -> Result<(), Error> {
        self.quiet(Method::GET, self.at(["readyz"])).await
    }

    /// The contract of the API, OpenAPI 3.1.
    pub async fn openapi(&self) -> Result<Value, Error> {
        self.get(self.at(["openapi", "v1.json"])).await
    }

    /// The index of Simple Streams.
    pub async fn streams_index(&self) -> Result<Value, Error> {
        self.get(self.at(["streams", "v1", "index.json"])).await
    }

    /// The products of Simple Streams.
    pub async fn streams_images(&self) -> Result<Value, Error> {
        self.get(self.at(["streams", "v1", "images.json"])).await
    }
}
