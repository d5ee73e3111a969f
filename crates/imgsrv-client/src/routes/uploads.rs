//! Upload sessions. [`Client::upload`] combines these routes.

use super::Rows;
use crate::{client::Client, error::Error};
use imgsrv_api as api;
use reqwest::Method;

/// Upload sessions. They need `content.write`.
impl Client {
    /// Opens an upload session. It is `ready` at once if the server has a trusted blob with this digest.
    pub async fn create_upload(&self, upload: &api::CreateUpload) -> Result<api::UploadSession, Error> {
        // Safe to repeat: if the response is lost, the first session expires unused.
        self.change(Method::POST, self.endpoint(["v1", "uploads"]), upload).await
    }

    /// The caller's own sessions that wait for parts, newest first; with `digest` only those of this digest.
    pub fn open_uploads(&self, digest: Option<&str>) -> Rows<api::UploadSession> {
        let mut url = self.endpoint(["v1", "uploads"]);
        if let Some(digest) = digest {
            url.query_pairs_mut().append_pair("expected_digest", digest);
        }
        self.rows::<api::UploadList>(url)
    }

    /// An upload session.
    pub async fn upload_session(&self, upload: &str) -> Result<api::UploadSession, Error> {
        self.get(self.endpoint(["v1", "uploads", upload])).await
    }

    /// The accepted parts of a session, by number.
    pub fn upload_parts(&self, upload: &str) -> Rows<api::PartSummary> {
        self.rows::<api::PartList>(self.endpoint(["v1", "uploads", upload, "parts"]))
    }

    /// Completes a session with these parts; the server then ingests them.
    pub async fn complete_upload(
        &self,
        upload: &str,
        parts: &api::CompleteUpload,
    ) -> Result<api::UploadSession, Error> {
        self.change(Method::POST, self.endpoint(["v1", "uploads", upload, "complete"]), parts).await
    }

    /// Aborts a session; its parts are deleted.
    pub async fn abort_upload(&self, upload: &str) -> Result<api::UploadSession, Error> {
        self.post(self.endpoint(["v1", "uploads", upload, "abort"])).await
    }
}
