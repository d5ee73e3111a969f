//! Manifests as JSON documents, which are encoded and tagged once for each state of a version.

use crate::{
    middleware::entity_tag::etag_of,
    public_url::Urls,
    response::{
        discouraged::announce,
        download::USUAL_HEADERS,
        problem::{Code, Problem, Result},
        wire,
    },
};
use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use headers::{ETag, HeaderMapExt};
use imgsrv_domain::{ids::VersionId, manifest::Manifest};
use moka::sync::Cache;
use std::sync::{Arc, Weak};

/// Memory for documents: those of a few thousand versions.
const CAPACITY_BYTES: u64 = 16 << 20;

/// A manifest as JSON.
#[derive(Clone)]
struct Document {
    /// What it was encoded from. While this exists, no other manifest has its address.
    of: Weak<Manifest>,
    json: Bytes,
    etag: ETag,
}

/// The documents of published versions that were read recently.
pub(crate) struct Manifests {
    urls: Urls,
    documents: Cache<VersionId, Document>,
}

impl Manifests {
    /// Documents with those URLs.
    pub(crate) fn new(urls: Urls) -> Self {
        let weigher = |_: &VersionId, document: &Document| u32::try_from(document.json.len()).unwrap_or(u32::MAX);
        Self { urls, documents: Cache::builder().max_capacity(CAPACITY_BYTES).weigher(weigher).build() }
    }

    /// The response with `manifest`.
    pub(crate) fn respond(&self, manifest: &Arc<Manifest>) -> Result<Response> {
        let Document { json, etag, .. } = self.document(manifest)?;
        let mut response = Body::from(json).into_response();
        let headers = response.headers_mut();
        headers.reserve(USUAL_HEADERS);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.typed_insert(etag);
        announce(headers, &manifest.version.lifecycle);
        Ok(response)
    }

    fn document(&self, manifest: &Arc<Manifest>) -> Result<Document> {
        let id = manifest.version.id;
        let is_same = |known: &Document| known.of.as_ptr() == Arc::as_ptr(manifest);
        if let Some(known) = self.documents.get(&id).filter(is_same) {
            return Ok(known);
        }
        let json = serde_json::to_vec(&wire::manifest(manifest, &self.urls)).map(Bytes::from);
        let json = json.map_err(|_| Problem::new(Code::Internal))?;
        let etag = etag_of(&json).ok_or_else(|| Problem::new(Code::Internal))?;
        let document = Document { of: Arc::downgrade(manifest), json, etag };
        if manifest.version.state.published_at().is_some() {
            self.documents.insert(id, document.clone());
        }
        Ok(document)
    }
}
