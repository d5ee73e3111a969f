//! Upload sessions and their parts.

use crate::tx::{SqliteTx, run};
use async_trait::async_trait;
use imgsrv_catalog_sql::{PartRow, SqlTime, UploadRow, WorkColumns};
use imgsrv_domain::{
    digest::HashState,
    ids::UploadId,
    names::PartNumber,
    parts::Part,
    ports::{CatalogError, UploadRepo},
    upload::{UploadSession, UploadState},
};
use sqlx::{query, query_as};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT s.id, s.created_by, s.expected_digest, s.expected_size_bytes, s.media_type_hint, s.filename_hint,
            s.state, s.failure_reason, s.expires_at, s.received_bytes, s.attempts, s.appender_attempt,
            s.appender_number, s.hashed_bytes, s.hashed_state, s.wanted_since, s.failing_since, s.due_at, s.lease_attempts,
            s.lease_owner, s.created_at, s.updated_at, s.revision, s.frontier_number, f.attempt AS frontier_attempt,
            f.size_bytes AS frontier_size, f.place AS frontier_place, f.hash_bytes AS frontier_hash_bytes,
            f.hash_state AS frontier_hash_state
            FROM upload_sessions s LEFT JOIN upload_parts f ON f.session_id = s.id AND f.number = s.frontier_number ",
            $rest
        )
    };
}

pub(crate) const FIND: &str = select!("WHERE s.id = $1");
const FIND_CLAIMABLE: &str =
    select!("WHERE s.state IN ('completed', 'ingesting') AND s.due_at <= $1 ORDER BY s.due_at LIMIT 1");
const LIST_EXPIRED: &str =
    select!("WHERE s.state IN ('created', 'uploading') AND s.expires_at <= $1 ORDER BY s.expires_at LIMIT $2");
const LIST_UNCLEARED: &str =
    select!("WHERE s.state IN ('ready', 'failed', 'aborted') AND s.cleared = 0 ORDER BY s.updated_at LIMIT $1");
const INSERT: &str = "INSERT INTO upload_sessions (id, created_by, expected_digest, expected_size_bytes,
    media_type_hint, filename_hint, state, expires_at, received_bytes, attempts, cleared, created_at, updated_at,
    revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, $9, $10, $11, 1)";
const UPDATE: &str = "UPDATE upload_sessions SET state = $3, failure_reason = $4, expires_at = $5, received_bytes = $6,
    attempts = $7, appender_attempt = $8, appender_number = $9, frontier_number = $10, hashed_bytes = $11,
    hashed_state = $12, wanted_since = $13, due_at = $14, lease_attempts = $15, lease_owner = $16, updated_at = $17, failing_since = $18,
    revision = revision + 1 WHERE id = $1 AND revision = $2";
const CLEARED: &str = "UPDATE upload_sessions SET cleared = 1, frontier_number = NULL, hashed_bytes = NULL,
    hashed_state = NULL WHERE id = $1 AND state IN ('ready', 'failed', 'aborted')";
const FIND_PART: &str = "SELECT number, attempt, sequence, size_bytes, place, hash_bytes, hash_state
    FROM upload_parts WHERE session_id = $1 AND number = $2";
pub(crate) const LIST_PARTS: &str = "SELECT number, attempt, sequence, size_bytes, place, NULL AS hash_bytes,
    NULL AS hash_state FROM upload_parts WHERE session_id = $1 AND number > $2 ORDER BY number LIMIT $3";
const DELETE_PART: &str = "DELETE FROM upload_parts WHERE session_id = $1 AND number = $2";
const INSERT_PART: &str = "INSERT INTO upload_parts (session_id, number, attempt, sequence, size_bytes, place,
    hash_bytes, hash_state) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const DELETE_PARTS: &str = "DELETE FROM upload_parts WHERE session_id = $1";
pub(crate) const STATEMENTS: &[&str] = &[
    FIND,
    FIND_CLAIMABLE,
    LIST_EXPIRED,
    LIST_UNCLEARED,
    INSERT,
    UPDATE,
    CLEARED,
    FIND_PART,
    LIST_PARTS,
    DELETE_PART,
    INSERT_PART,
    DELETE_PARTS,
];

fn hash_columns(hash: Option<&HashState>) -> (Option<i64>, Option<&[u8]>) {
    (hash.map(|hash| i64::try_from(hash.bytes).unwrap_or(i64::MAX)), hash.map(|hash| hash.state.as_slice()))
}

#[async_trait]
impl UploadRepo for SqliteTx {
    async fn find_upload(&mut self, id: UploadId) -> Result<Option<UploadSession>, CatalogError> {
        run!(self, find, query_as::<_, UploadRow>(FIND).bind(id.uuid()))
    }

    async fn insert_upload(&mut self, session: &UploadSession) -> Result<(), CatalogError> {
        let statement = query(INSERT)
            .bind(session.id.uuid())
            .bind(session.created_by.uuid())
            .bind(session.claim.digest.to_string())
            .bind(session.claim.size.signed())
            .bind(session.media_type_hint.as_ref().map(imgsrv_domain::text::MediaType::as_str))
            .bind(session.filename_hint.as_ref().map(imgsrv_domain::text::ShortText::as_str))
            .bind(session.state.name())
            .bind(SqlTime::from(session.expires_at))
            .bind(matches!(session.state, UploadState::Ready))
            .bind(SqlTime::from(session.created_at))
            .bind(SqlTime::from(session.updated_at));
        run!(self, execute, statement).map(drop)
    }

    async fn update_upload(&mut self, session: &UploadSession) -> Result<(), CatalogError> {
        let work = match &session.state {
            UploadState::Completed(queued) => queued.into(),
            UploadState::Ingesting(running) => running.into(),
            UploadState::Created
            | UploadState::Uploading
            | UploadState::Ready
            | UploadState::Failed { .. }
            | UploadState::Aborted => WorkColumns::default(),
        };
        let reason = match &session.state {
            UploadState::Failed { reason } => Some(reason.as_str()),
            _ => None,
        };
        let (hashed_bytes, hashed_state) = hash_columns(session.hashed.as_ref());
        let statement = query(UPDATE)
            .bind(session.id.uuid())
            .bind(session.revision.get())
            .bind(session.state.name())
            .bind(reason)
            .bind(SqlTime::from(session.expires_at))
            .bind(session.received.signed())
            .bind(session.attempts)
            .bind(session.appender.as_ref().map(|appender| appender.attempt.uuid()))
            .bind(session.appender.as_ref().map(|appender| appender.number.get()))
            .bind(session.frontier.as_ref().map(|frontier| frontier.number.get()))
            .bind(hashed_bytes)
            .bind(hashed_state)
            .bind(work.wanted_since)
            .bind(work.due_at)
            .bind(work.attempts)
            .bind(work.owner)
            .bind(SqlTime::from(session.updated_at))
            .bind(work.failing_since);
        run!(self, execute_held, statement)
    }

    async fn find_part(&mut self, session: UploadId, number: PartNumber) -> Result<Option<Part>, CatalogError> {
        run!(self, find, query_as::<_, PartRow>(FIND_PART).bind(session.uuid()).bind(number.get()))
    }

    async fn list_parts(&mut self, session: UploadId) -> Result<Vec<Part>, CatalogError> {
        run!(self, list, query_as::<_, PartRow>(LIST_PARTS).bind(session.uuid()).bind(0).bind(PartNumber::MAX))
    }

    async fn put_part(&mut self, session: UploadId, part: &Part) -> Result<(), CatalogError> {
        run!(self, execute, query(DELETE_PART).bind(session.uuid()).bind(part.number.get()))?;
        let (hash_bytes, hash_state) = hash_columns(part.hash.as_ref());
        let statement = query(INSERT_PART)
            .bind(session.uuid())
            .bind(part.number.get())
            .bind(part.attempt.uuid())
            .bind(part.sequence)
            .bind(part.size.signed())
            .bind(&part.place.0)
            .bind(hash_bytes)
            .bind(hash_state);
        run!(self, execute, statement).map(drop)
    }

    async fn find_claimable_upload(&mut self) -> Result<Option<UploadSession>, CatalogError> {
        run!(self, find, query_as::<_, UploadRow>(FIND_CLAIMABLE).bind(SqlTime::from(self.time())))
    }

    async fn list_expired_uploads(&mut self, limit: u16) -> Result<Vec<UploadSession>, CatalogError> {
        run!(self, list, query_as::<_, UploadRow>(LIST_EXPIRED).bind(SqlTime::from(self.time())).bind(limit))
    }

    async fn list_uncleared_uploads(&mut self, limit: u16) -> Result<Vec<UploadSession>, CatalogError> {
        run!(self, list, query_as::<_, UploadRow>(LIST_UNCLEARED).bind(limit))
    }

    async fn mark_upload_cleared(&mut self, id: UploadId) -> Result<(), CatalogError> {
        run!(self, execute, query(CLEARED).bind(id.uuid()))?;
        run!(self, execute, query(DELETE_PARTS).bind(id.uuid())).map(drop)
    }
}
