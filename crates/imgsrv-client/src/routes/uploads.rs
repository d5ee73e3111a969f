//! Upload sessions. [`Client::upload`] combines these routes.

use super::pages::{Rows, with_query};
use crate::{client::Client, error::Error};
use imgsrv_api::{CompleteUpload, CreateUpload, PartList, PartSummary, UploadList, UploadSession};
use reqwest::Method;

/// Upload sessions. They need `content.write`.
impl Client {
    /// Opens an upload session. It is `ready` at once if the server has a trusted blob with this digest.
    pub async fn create_upload(&self, upload: &CreateUpload) -> Result<UploadSession, Error> {
        self.create_once(self.endpoint(["v1", "uploads"]), upload).await
    }

    /// The caller's own sessions that wait for parts, newest first; with `digest` only those of this digest.
    pub fn open_uploads(&self, digest: Option<&str>) -> Rows<UploadSession> {
        let url = with_query(self.endpoint(["v1", "uploads"]), [("expected_digest", digest)]);
        self.rows(url, |page: UploadList| (page.uploads, page.next_cursor))
    }

    /// An upload session.
    pub async fn upload_session(&self, upload: &str) -> Result<UploadSession, Error> {
        self.get(self.endpoint(["v1", "uploads", upload])).await
    }

    /// The accepted parts of a session, by number.
    pub fn upload_parts(&self, upload: &str) -> Rows<PartSummary> {
        let url = self.endpoint(["v1", "uploads", upload, "parts"]);
        self.rows(url, |page: PartList| (page.parts, page.next_cursor))
    }

    /// Completes a session with these parts; the server then ingests them.
    pub async fn complete_upload(&self, upload: &str, parts: &CompleteUpload) -> Result<UploadSession, Error> {
        self.change(Method::POST, self.endpoint(["v1", "uploads", upload, "complete"]), parts).await
    }

    /// Aborts a session; its parts are deleted.
    pub async fn abort_upload(&self, upload: &str) -> Result<UploadSession, Error> {
        self.post(self.endpoint(["v1", "uploads", upload, "abort"])).await
    }
}
