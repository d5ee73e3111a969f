//! A server with a content administrator, and what the tests of purges do with it.

use axum::http::StatusCode;
use imgsrv_testkit::{TestResponse, TestServer, digest};
use serde_json::{Value, json};

/// A server with a content administrator.
pub(crate) struct Administered {
    pub(crate) server: TestServer,
    pub(crate) admin: String,
}

impl std::ops::Deref for Administered {
    type Target = TestServer;

    fn deref(&self) -> &TestServer {
        &self.server
    }
}

impl Administered {
    pub(crate) async fn start() -> Self {
        Self::on(TestServer::start().await).await
    }

    pub(crate) async fn on(server: TestServer) -> Self {
        let admin = server.token_with("content-admin").await;
        Self { server, admin }
    }

    pub(crate) async fn administer(&self, method: &str, path: &str, body: Option<Value>) -> TestResponse {
        self.call(Some(&self.admin), method, path, body).await
    }

    pub(crate) async fn remove(&self, version: &str, body: Value) -> TestResponse {
        self.administer("POST", &format!("/v1/images/debian/versions/{version}/remove"), Some(body)).await
    }

    /// Purges a version of `debian`; returns the response.
    pub(crate) async fn purge(&self, version: &str) -> Value {
        let purged = self.remove(version, json!({"purge": true, "reason": "contains a private key"})).await;
        assert_eq!(purged.status, StatusCode::OK, "{purged:?}");
        purged.json()
    }

    pub(crate) async fn open(&self, bytes: &[u8]) -> TestResponse {
        let new = json!({"expected_digest": digest(bytes), "expected_size_bytes": bytes.len()});
        self.write("POST", "/v1/uploads", Some(new)).await
    }

    /// A token of a principal that has the role on one image alone.
    pub(crate) async fn scoped(&self, role: &str, image: &str) -> String {
        let body = json!({"kind": "service", "display_name": format!("{role} of {image}")});
        let made = self.manage("POST", "/v1/auth/principals", Some(body)).await.json();
        let url = format!("/v1/auth/principals/{}", made["id"].as_str().expect("an id"));
        let granted = self.manage("PUT", &format!("{url}/roles/{role}"), Some(json!({"images": [image]}))).await;
        assert_eq!(granted.status, StatusCode::NO_CONTENT, "{granted:?}");
        let body = json!({"expires_at": "2099-01-01T00:00:00Z"});
        let issued = self.manage("POST", &format!("{url}/api-tokens"), Some(body)).await.json();
        issued["plaintext"].as_str().expect("a token").to_owned()
    }

    /// A draft that cites the content, which need not be stored.
    pub(crate) async fn draft(&self, image: &str, version: &str, bytes: &[u8]) {
        let versions = format!("/v1/images/{image}/versions");
        self.write("POST", &versions, Some(json!({"version": version}))).await;
        let artifact = json!({"operating_system": "debian", "architecture": "amd64", "format": "qcow2",
            "primary_blob_digest": digest(bytes), "primary_blob_size_bytes": bytes.len(), "primary_media_type": "a/b"});
        let added = self.write("POST", &format!("{versions}/{version}/artifacts"), Some(artifact)).await;
        assert_eq!(added.status, StatusCode::CREATED, "a draft may cite any digest: {added:?}");
    }

    pub(crate) async fn publish_draft(&self, image: &str, version: &str, bytes: &[u8]) -> TestResponse {
        self.draft(image, version, bytes).await;
        self.write("POST", &format!("/v1/images/{image}/versions/{version}/publish"), None).await
    }

    /// The digests of what is stored.
    pub(crate) fn stored(&self) -> Vec<String> {
        let is_blob = |name: &String| name.contains("sha256");
        let files = self.stored_files().into_iter().filter(is_blob);
        files.filter_map(|name| Some(format!("sha256:{}", name.rsplit('/').next()?.get(..64)?))).collect()
    }
}
