//! Upload sessions, route by route. [`Client::upload`] does all of it.

use crate::{client::Client, error::Error, pages::Rows};
use imgsrv_api as api;
use reqwest::Method;

/// Upload sessions. All of it needs `content.write`.
impl Client {
    /// Opens an upload session. It is `ready` at once when the digest is trusted already.
    pub async fn create_upload(&self, upload: &api::CreateUpload) -> Result<api::UploadSession, Error> {
        // Should the answer be lost, a second session does no harm: the first one expires.
        self.repeatable(Method::POST, self.at(["v1", "uploads"]), Some(upload)).await
    }

    /// The caller's own uploads that wait for parts, newest first; those for `digest` alone if one is given.
    pub fn open_uploads(&self, digest: Option<&str>) -> Rows<api::UploadSession> {
        let mut url = self.at(["v1", "uploads"]);
        if let Some(digest) = digest {
            url.query_pairs_mut().append_pair("expected_digest", digest);
        }
        self.rows::<api::UploadList>(url)
    }

    /// An upload session.
    pub async fn upload_session(&self, upload: &str) -> Result<api::UploadSession, Error> {
        self.get(self.at(["v1", "uploads", upload])).await
    }

    /// The parts that a session holds, by number.
    pub fn upload_parts(&self, upload: &str) -> Rows<api::PartSummary> {
        self.rows::<api::PartList>(self.at(["v1", "uploads", upload, "parts"]))
    }

    /// Fixes the parts, so that the server makes a blob of them.
    pub async fn complete_upload(
        &self,
        upload: &str,
        parts: &api::CompleteUpload,
    ) -> Result<api::UploadSession, Error> {
        self.repeatable(Method::POST, self.at(["v1", "uploads", upload, "complete"]), Some(parts)).await
    }

    /// Gives an upload up; its bytes go.
    pub async fn abort_upload(&self, upload: &str) -> Result<api::UploadSession, Error> {
        self.repeatable(Method::POST, self.at(["v1", "uploads", upload, "abort"]), None::<&()>).await
    }
}
