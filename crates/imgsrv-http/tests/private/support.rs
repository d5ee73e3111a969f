//! Teams that share a server, each with a private image.

use axum::{body::Body, http::Request};
use imgsrv_testkit::{TestResponse, TestServer, digest};
use serde_json::{Value, json};

/// A principal with roles on some images.
pub(crate) struct Team {
    /// The pattern of its images.
    pub(crate) images: String,
    /// The URL of its principal.
    pub(crate) principal: String,
    /// A token of it.
    pub(crate) token: String,
}

impl Team {
    /// A principal with `role` on the images that the pattern names.
    pub(crate) async fn with(server: &TestServer, role: &str, images: &str) -> Self {
        let body = json!({"kind": "service", "display_name": format!("{role} of {images}")});
        let made = server.manage("POST", "/v1/auth/principals", Some(body)).await.json();
        let principal = format!("/v1/auth/principals/{}", made["id"].as_str().expect("an id"));
        let body = Some(json!({"images": [images]}));
        let granted = server.manage("PUT", &format!("{principal}/roles/{role}"), body).await;
        assert!(granted.status.is_success(), "{granted:?}");
        let body = json!({"name": "test", "expires_at": "2099-01-01T00:00:00Z"});
        let issued = server.manage("POST", &format!("{principal}/api-tokens"), Some(body)).await.json();
        let token = issued["plaintext"].as_str().expect("a token").to_owned();
        Self { images: images.to_owned(), principal, token }
    }

    pub(crate) async fn call(
        &self,
        server: &TestServer,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> TestResponse {
        server.call(Some(&self.token), method, path, body).await
    }

    /// The response to a request that must succeed.
    pub(crate) async fn done(
        &self,
        server: &TestServer,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> TestResponse {
        let response = self.call(server, method, path, body).await;
        assert!(response.status.is_success(), "{method} {path} as {}: {response:?}", self.images);
        response
    }

    pub(crate) async fn get(&self, server: &TestServer, path: &str) -> TestResponse {
        self.call(server, "GET", path, None).await
    }

    /// Opens an upload; returns the response.
    pub(crate) async fn open(&self, server: &TestServer, bytes: &[u8], size: usize) -> TestResponse {
        let body = json!({"expected_digest": digest(bytes), "expected_size_bytes": size});
        self.call(server, "POST", "/v1/uploads", Some(body)).await
    }

    /// Sends all bytes of an upload, and ingests them; returns its state.
    pub(crate) async fn send(&self, server: &TestServer, upload: &str, bytes: &[u8]) -> String {
        let part = Request::builder()
            .method("PUT")
            .uri(format!("/v1/uploads/{upload}/parts/1"))
            .header("authorization", format!("Bearer {}", self.token))
            .body(Body::from(bytes.to_vec()))
            .expect("a request");
        let part = server.send(part).await;
        assert!(part.status.is_success(), "{part:?}");
        let listed = self.get(server, &format!("/v1/uploads/{upload}/parts")).await.json();
        let part = &listed["parts"][0];
        let parts = json!([{"number": 1, "etag": part["etag"], "size_bytes": part["size_bytes"]}]);
        self.done(server, "POST", &format!("/v1/uploads/{upload}/complete"), Some(json!({"parts": parts}))).await;
        server.settle().await;
        let session = self.get(server, &format!("/v1/uploads/{upload}")).await.json();
        session["state"].as_str().expect("a state").to_owned()
    }

    /// Uploads `bytes`, unless the server says that it has them.
    pub(crate) async fn upload(&self, server: &TestServer, bytes: &[u8]) {
        let opened = self.open(server, bytes, bytes.len()).await.json();
        if opened["state"] != "ready" {
            let id = opened["id"].as_str().expect("an id");
            assert_eq!(self.send(server, id, bytes).await, "ready");
        }
    }

    /// Adds an artifact of bytes that need not be stored to a new draft; returns its id.
    pub(crate) async fn cite(&self, server: &TestServer, image: &str, version: &str, bytes: &[u8]) -> String {
        let url = format!("/v1/images/{image}/versions");
        self.done(server, "POST", &url, Some(json!({"version": version}))).await;
        let artifact = json!({
            "operating_system": "debian", "architecture": "amd64", "format": "qcow2",
            "primary_blob_digest": digest(bytes), "primary_blob_size_bytes": bytes.len(),
            "primary_media_type": "application/x-qemu-disk",
        });
        let added = self.done(server, "POST", &format!("{url}/{version}/artifacts"), Some(artifact)).await.json();
        added["id"].as_str().expect("an id").to_owned()
    }

    /// Publishes a draft.
    pub(crate) async fn publish(&self, server: &TestServer, image: &str, version: &str) {
        self.done(server, "POST", &format!("/v1/images/{image}/versions/{version}/publish"), None).await;
        server.settle().await;
        let published = self.get(server, &format!("/v1/images/{image}/versions/{version}")).await.json();
        assert_eq!(published["version"]["state"], "published", "{published}");
    }

    /// Creates an image with that visibility, and publishes a version of it with an artifact of `bytes`; returns the
    /// artifact's id.
    pub(crate) async fn image(&self, server: &TestServer, name: &str, visibility: &str, bytes: &[u8]) -> String {
        self.done(server, "POST", "/v1/images", Some(json!({"name": name, "visibility": visibility}))).await;
        self.upload(server, bytes).await;
        let artifact = self.cite(server, name, "1", bytes).await;
        self.publish(server, name, "1").await;
        self.done(server, "PUT", &format!("/v1/images/{name}/aliases/latest"), Some(json!({"version": "1"}))).await;
        artifact
    }
}

/// What a response shows, without what differs between any two responses.
pub(crate) fn shown(response: &TestResponse) -> (u16, Vec<(String, String)>, String) {
    let mut headers: Vec<(String, String)> = response
        .headers
        .iter()
        .filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
        .collect();
    headers.sort();
    let id = response.header("x-request-id");
    let body = String::from_utf8_lossy(&response.body).into_owned();
    let body = if id.is_empty() { body } else { body.replace(id, "REQUEST") };
    (response.status.as_u16(), headers, body)
}
