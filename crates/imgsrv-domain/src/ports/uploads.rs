//! Upload sessions, their parts and intakes in the catalog.

use super::CatalogError;
use crate::{
    access::Sender,
    digest::Digest,
    ids::{JobId, PrincipalId, UploadId},
    intake::Intake,
    names::PartNumber,
    page::{Page, PageRequest},
    parts::Part,
    upload::{IdempotencyKey, UploadSession},
};
use async_trait::async_trait;

/// A part, and the one with the number before it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NeighbouringParts {
    /// The recorded part with the requested number.
    pub current: Option<Part>,
    /// The recorded part with the number before it.
    pub previous: Option<Part>,
}

/// Upload sessions and their parts.
#[async_trait]
pub trait UploadRepo: Send {
    /// The session with that id, locked.
    async fn lock_upload(&mut self, id: UploadId) -> Result<Option<UploadSession>, CatalogError>;
    /// The number of sessions that wait for parts.
    async fn count_open_uploads(&mut self) -> Result<u64, CatalogError>;
    /// The number of sessions that `by` opened and that wait for parts or bytes.
    async fn count_open_uploads_of(&mut self, by: PrincipalId) -> Result<u64, CatalogError>;
    /// The sum of the expected sizes of all sessions that have not ended.
    async fn sum_staged_bytes(&mut self) -> Result<u64, CatalogError>;
    /// The sum of the expected sizes of the sessions that `by` opened and that have not ended.
    async fn sum_staged_bytes_of(&mut self, by: PrincipalId) -> Result<u64, CatalogError>;
    /// The session that `by` opened with `key`, not locked.
    async fn get_upload_by_key(
        &mut self,
        by: PrincipalId,
        key: &IdempotencyKey,
    ) -> Result<Option<UploadSession>, CatalogError>;
    /// Stores a new session, which was opened with `key` if one is given. If its principal has opened another session
    /// with it, fails with [`Conflict::IdempotencyKey`](super::Conflict::IdempotencyKey).
    async fn insert_upload(
        &mut self,
        session: &UploadSession,
        key: Option<&IdempotencyKey>,
    ) -> Result<(), CatalogError>;
    /// Makes the key with which a session was opened available again.
    async fn release_key(&mut self, id: UploadId) -> Result<(), CatalogError>;
    /// Stores `session` if its revision is current, else
    /// [`Conflict::StaleRevision`](super::Conflict::StaleRevision).
    async fn update_upload(&mut self, session: &UploadSession) -> Result<(), CatalogError>;
    /// The recorded part of that number.
    async fn get_part(&mut self, session: UploadId, number: PartNumber) -> Result<Option<Part>, CatalogError>;
    /// The recorded part of that number and the one before it; one statement.
    async fn get_neighbouring_parts(
        &mut self,
        session: UploadId,
        number: PartNumber,
    ) -> Result<NeighbouringParts, CatalogError>;
    /// Every recorded part, ascending, with its hash state.
    async fn list_parts(&mut self, session: UploadId) -> Result<Vec<Part>, CatalogError>;
    /// Records a part, in place of any with its number.
    async fn put_part(&mut self, session: UploadId, part: &Part) -> Result<(), CatalogError>;
    /// Up to `limit` unfinished sessions that have expired, in the order of their ids, after `after`.
    async fn list_expired_uploads(&mut self, after: UploadId, limit: u16) -> Result<Vec<UploadId>, CatalogError>;
    /// Deletes the recorded parts of an ended session.
    async fn delete_parts(&mut self, id: UploadId) -> Result<(), CatalogError>;
}

/// Intakes.
#[async_trait]
pub trait IntakeRepo: Send {
    /// The intake of that upload, locked.
    async fn lock_intake(&mut self, id: UploadId) -> Result<Option<Intake>, CatalogError>;
    /// The intake whose version `job` publishes, locked.
    async fn lock_intake_of_job(&mut self, job: JobId) -> Result<Option<Intake>, CatalogError>;
    /// Stores a new intake; its upload must be stored.
    async fn insert_intake(&mut self, intake: &Intake) -> Result<(), CatalogError>;
    /// Stores `intake` if its revision is current, else
    /// [`Conflict::StaleRevision`](super::Conflict::StaleRevision).
    async fn update_intake(&mut self, intake: &Intake) -> Result<(), CatalogError>;
}

/// Reads of upload sessions, parts and intakes.
#[async_trait]
pub trait UploadQueries: Send + Sync {
    /// The session with that id.
    async fn get_upload(&self, id: UploadId) -> Result<Option<UploadSession>, CatalogError>;
    /// Multipart sessions that wait for parts, newest first: those that `by` may continue, or all of them; if `digest` is
    /// given, only those for it.
    async fn list_open_uploads(
        &self,
        by: Option<&Sender>,
        digest: Option<&Digest>,
        page: &PageRequest,
    ) -> Result<Page<UploadSession>, CatalogError>;
    /// Every recorded part of a session, ascending, with its hash state.
    async fn list_hashed_parts(&self, id: UploadId) -> Result<Vec<Part>, CatalogError>;
    /// The recorded parts of a session after `after`, ascending, at most `limit`, without their hash states.
    async fn list_parts(&self, id: UploadId, after: Option<PartNumber>, limit: u16) -> Result<Vec<Part>, CatalogError>;
    /// The intake of that upload.
    async fn get_intake(&self, id: UploadId) -> Result<Option<Intake>, CatalogError>;
}
