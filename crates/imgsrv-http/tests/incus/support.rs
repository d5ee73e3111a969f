//! Images with metadata, and requests of clients.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use imgsrv_simplestreams::{ImageKind, Images, Index, Products, RemoteImage};
use imgsrv_testkit::{TestResponse, TestServer};
use serde_json::{Value, json};

/// What `gzip` and `xz` make of no bytes.
pub(crate) const EMPTY_GZIP: &[u8] = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0";
pub(crate) const EMPTY_XZ: &[u8] =
    b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46\0\0\0\0\x1c\xdf\x44\x21\x1f\xb6\xf3\x7d\x01\0\0\0\0\x04YZ";

/// An artifact to add to a draft.
pub(crate) struct Artifact<'a> {
    pub(crate) format: &'a str,
    pub(crate) architecture: &'a str,
    pub(crate) variant: &'a str,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Artifact<'a> {
    pub(crate) fn qcow2(bytes: &'a [u8]) -> Self {
        Self { format: "qcow2", architecture: "x86_64", variant: "default", bytes }
    }
}

pub(crate) fn version_url(image: &str, version: &str) -> String {
    format!("/v1/images/{image}/versions/{version}")
}

/// A draft without artifacts.
pub(crate) async fn draft(server: &TestServer, image: &str, version: &str) {
    let body = json!({"name": image});
    let made = server.write("POST", "/v1/images", Some(body)).await.status;
    assert!(matches!(made, StatusCode::CREATED | StatusCode::CONFLICT));
    let made = server.write("POST", &format!("/v1/images/{image}/versions"), Some(json!({"version": version}))).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
}

/// Adds an artifact whose bytes are trusted; returns its URL.
pub(crate) async fn add(server: &TestServer, image: &str, version: &str, artifact: &Artifact<'_>) -> String {
    let digest = server.blob(artifact.bytes).await;
    let body = json!({
        "operating_system": "debian", "architecture": artifact.architecture, "variant": artifact.variant,
        "format": artifact.format, "primary_blob_digest": digest, "primary_blob_size_bytes": artifact.bytes.len(),
        "primary_media_type": "application/octet-stream",
    });
    let url = format!("{}/artifacts", version_url(image, version));
    let added = server.write("POST", &url, Some(body)).await;
    assert_eq!(added.status, StatusCode::CREATED, "{added:?}");
    format!("{url}/{}", added.json()["id"].as_str().expect("an id"))
}

/// Attaches bytes that are trusted to an artifact.
pub(crate) async fn attach(server: &TestServer, artifact: &str, name: &str, bytes: &[u8]) {
    let digest = server.blob(bytes).await;
    let body =
        json!({"name": name, "media_type": "application/x-xz", "blob_digest": digest, "blob_size_bytes": bytes.len()});
    let attached = server.write("POST", &format!("{artifact}/attachments"), Some(body)).await;
    assert_eq!(attached.status, StatusCode::CREATED, "{attached:?}");
}

/// Generates metadata for an artifact.
pub(crate) async fn describe(server: &TestServer, artifact: &str) -> Value {
    let made = server.write("POST", &format!("{artifact}/incus-metadata"), Some(json!({}))).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    made.json()
}

/// Publishes, and returns the finished job.
pub(crate) async fn publish(server: &TestServer, image: &str, version: &str) -> Value {
    let requested = server.write("POST", &format!("{}/publish", version_url(image, version)), None).await;
    assert_eq!(requested.status, StatusCode::ACCEPTED, "{requested:?}");
    server.settle().await;
    let job = requested.json()["job_id"].as_str().expect("an id").to_owned();
    server.write("GET", &format!("/v1/publish-jobs/{job}"), None).await.json()
}

/// A published version with a qcow2 and generated metadata.
pub(crate) async fn released(server: &TestServer, image: &str, version: &str, bytes: &[u8]) {
    draft(server, image, version).await;
    let artifact = add(server, image, version, &Artifact::qcow2(bytes)).await;
    describe(server, &artifact).await;
    assert_eq!(publish(server, image, version).await["state"], "succeeded");
}

pub(crate) async fn alias(server: &TestServer, image: &str, alias: &str, version: &str) {
    let url = format!("/v1/images/{image}/aliases/{alias}");
    assert_eq!(server.write("PUT", &url, Some(json!({"version": version}))).await.status, StatusCode::OK);
}

/// Sends a request with headers.
pub(crate) async fn get(server: &TestServer, method: &str, path: &str, headers: &[(&str, &str)]) -> TestResponse {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    server.send(request.body(Body::empty()).expect("a request")).await
}

/// The images that a client finds in the documents.
pub(crate) async fn images(server: &TestServer) -> Images {
    let index = server.get("/streams/v1/index.json").await.body;
    let index: Index = serde_json::from_slice(&index).expect("an index");
    let mut documents: Vec<Products> = Vec::new();
    for path in index.image_documents() {
        let document = server.get(&format!("/{path}")).await.body;
        documents.push(serde_json::from_slice(&document).expect("products"));
    }
    Images::of(&documents)
}

/// The virtual machine of amd64 that a client finds.
pub(crate) fn machine<'a>(images: &'a Images, alias: &str) -> Option<&'a RemoteImage> {
    images.find(alias, ImageKind::VirtualMachine, "amd64".parse().expect("an architecture"))
}
