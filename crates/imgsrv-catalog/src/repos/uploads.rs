//! Upload sessions and their parts.

use crate::{
    core::{connection::Connection, tx::SqlTx, value::values},
    rows::{PartRow, UploadRow, UploadStateColumns, hash_columns},
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::UploadId,
    names::PartNumber,
    parts::Part,
    ports::{CatalogError, NeighbouringParts, UploadRepo},
    text::{MediaType, ShortText},
    upload::UploadSession,
};
use uuid::Uuid;

/// Sessions that `rest` selects, each with the part at its frontier.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT s.id, s.created_by, s.kind, s.expected_digest, s.digest_computed, s.expected_size_bytes,
            s.media_type_hint, s.filename_hint, s.state, s.failure_reason, s.expires_at, s.received_bytes, s.attempts,
            s.frontier_writer_attempt, s.frontier_writer_number, s.hashed_bytes, s.hashed_state, s.created_at,
            s.updated_at, s.revision,
            s.frontier_number, f.attempt AS frontier_attempt, f.size_bytes AS frontier_size,
            f.location AS frontier_location, f.hash_bytes AS frontier_hash_bytes, f.hash_state AS frontier_hash_state
            FROM upload_sessions s
            LEFT JOIN upload_parts f ON f.session_id = s.id AND f.number = s.frontier_number ",
            $rest
        )
    };
}
pub(crate) const GET: &str = select!("WHERE s.id = $1");
pub(crate) const LIST_OPEN: &str = select!(
    "WHERE s.state IN ('created', 'uploading') AND s.kind = 'multipart' AND s.created_by = $1 AND s.id < $2
    AND s.expected_digest = coalesce($3, s.expected_digest) ORDER BY s.id DESC LIMIT $4"
);

// Locked first and read afterwards: a statement that waits for the lock would join the part of an older session.
const LOCK: &str = "SELECT id FROM upload_sessions WHERE id = $1 FOR NO KEY UPDATE";
const LIST_EXPIRED: &str = "SELECT id FROM upload_sessions
    WHERE state IN ('created', 'uploading') AND expires_at <= $1 AND id > $2 ORDER BY id LIMIT $3";
const COUNT_OPEN: &str = "SELECT CAST(coalesce(sum(value), 0) AS BIGINT) FROM counters
    WHERE name IN ('uploads:created', 'uploads:uploading')";
const SUM_STAGED_BYTES: &str = "SELECT CAST(
    (SELECT coalesce(sum(expected_size_bytes), 0) FROM upload_sessions WHERE state IN ('created', 'uploading'))
    + (SELECT coalesce(sum(expected_size_bytes), 0) FROM upload_sessions WHERE state IN ('completed', 'ingesting'))
    AS BIGINT)";
const INSERT: &str = "INSERT INTO upload_sessions (id, created_by, expected_digest, expected_size_bytes,
    media_type_hint, filename_hint, state, expires_at, received_bytes, attempts, created_at, updated_at, kind,
    digest_computed, revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, $11, $12, $13, 1)";
const UPDATE: &str = "UPDATE upload_sessions SET state = $3, failure_reason = $4, expires_at = $5, received_bytes = $6,
    attempts = $7, frontier_writer_attempt = $8, frontier_writer_number = $9, frontier_number = $10, hashed_bytes = $11,
    hashed_state = $12, updated_at = $13, expected_digest = $14, digest_computed = $15, revision = revision + 1
    WHERE id = $1 AND revision = $2";
const GET_PART: &str = "SELECT number, attempt, sequence, size_bytes, location, hash_bytes, hash_state
    FROM upload_parts WHERE session_id = $1 AND number = $2";
const GET_NEIGHBOURING_PARTS: &str = "SELECT number, attempt, sequence, size_bytes, location, hash_bytes, hash_state
    FROM upload_parts WHERE session_id = $1 AND number BETWEEN $2 AND $3";
pub(crate) const LIST_PARTS: &str = "SELECT number, attempt, sequence, size_bytes, location, NULL AS hash_bytes,
    NULL AS hash_state FROM upload_parts WHERE session_id = $1 AND number > $2 ORDER BY number LIMIT $3";
const PUT_PART: &str = "INSERT INTO upload_parts (session_id, number, attempt, sequence, size_bytes, location,
    hash_bytes, hash_state) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (session_id, number) DO UPDATE SET attempt = excluded.attempt, sequence = excluded.sequence,
    size_bytes = excluded.size_bytes, location = excluded.location, hash_bytes = excluded.hash_bytes,
    hash_state = excluded.hash_state";
const DELETE_PARTS: &str = "DELETE FROM upload_parts WHERE session_id = $1";
pub(crate) const STATEMENTS: &[&str] = &[
    GET,
    LIST_OPEN,
    LIST_EXPIRED,
    COUNT_OPEN,
    SUM_STAGED_BYTES,
    INSERT,
    UPDATE,
    GET_PART,
    GET_NEIGHBOURING_PARTS,
    LIST_PARTS,
    PUT_PART,
    DELETE_PARTS,
];
pub(crate) const POSTGRES: &[&str] = &[LOCK];

#[async_trait]
impl<C: Connection> UploadRepo for SqlTx<C> {
    async fn lock_upload(&mut self, id: UploadId) -> Result<Option<UploadSession>, CatalogError> {
        self.lock(LOCK, values![id.uuid()]).await?;
        self.find::<UploadRow, _>(GET, values![id.uuid()]).await
    }

    async fn count_open_uploads(&mut self) -> Result<u64, CatalogError> {
        let open: i64 = self.scalar(COUNT_OPEN, values![]).await?;
        Ok(u64::try_from(open).unwrap_or(0))
    }

    async fn sum_staged_bytes(&mut self) -> Result<u64, CatalogError> {
        let staged: i64 = self.scalar(SUM_STAGED_BYTES, values![]).await?;
        Ok(u64::try_from(staged).unwrap_or(0))
    }

    async fn insert_upload(&mut self, session: &UploadSession) -> Result<(), CatalogError> {
        let columns = UploadStateColumns::from(session);
        let values = values![
            session.id.uuid(),
            session.created_by.uuid(),
            columns.expected_digest,
            session.size().signed(),
            session.media_type_hint.as_ref().map(MediaType::as_str),
            session.filename_hint.as_ref().map(ShortText::as_str),
            columns.state,
            session.expires_at,
            columns.received_bytes,
            session.created_at,
            session.updated_at,
            columns.kind,
            columns.digest_computed,
        ];
        self.execute(INSERT, values).await.map(drop)
    }

    async fn update_upload(&mut self, session: &UploadSession) -> Result<(), CatalogError> {
        let columns = UploadStateColumns::from(session);
        let values = values![
            session.id.uuid(),
            session.revision.get(),
            columns.state,
            columns.failure_reason,
            session.expires_at,
            columns.received_bytes,
            columns.attempts,
            columns.frontier_writer_attempt,
            columns.frontier_writer_number,
            columns.frontier_number,
            columns.hashed_bytes,
            columns.hashed_state.as_deref(),
            session.updated_at,
            columns.expected_digest,
            columns.digest_computed,
        ];
        self.execute_fenced(UPDATE, values).await
    }

    async fn get_part(&mut self, session: UploadId, number: PartNumber) -> Result<Option<Part>, CatalogError> {
        self.find::<PartRow, _>(GET_PART, values![session.uuid(), number.get()]).await
    }

    async fn get_neighbouring_parts(
        &mut self,
        session: UploadId,
        number: PartNumber,
    ) -> Result<NeighbouringParts, CatalogError> {
        let mut found = NeighbouringParts::default();
        let values = values![session.uuid(), number.get() - 1, number.get()];
        for part in self.list::<PartRow, Part>(GET_NEIGHBOURING_PARTS, values).await? {
            let slot = if part.number == number { &mut found.current } else { &mut found.previous };
            *slot = Some(part);
        }
        Ok(found)
    }

    async fn list_parts(&mut self, session: UploadId) -> Result<Vec<Part>, CatalogError> {
        self.list::<PartRow, _>(LIST_PARTS, values![session.uuid(), 0_i64, PartNumber::MAX]).await
    }

    async fn put_part(&mut self, session: UploadId, part: &Part) -> Result<(), CatalogError> {
        let (hash_bytes, hash_state) = hash_columns(part.hash.as_ref());
        let values = values![
            session.uuid(),
            part.number.get(),
            part.attempt.uuid(),
            part.sequence,
            part.size.signed(),
            &part.location.0,
            hash_bytes,
            hash_state.as_deref(),
        ];
        self.execute(PUT_PART, values).await.map(drop)
    }

    async fn list_expired_uploads(&mut self, after: UploadId, limit: u16) -> Result<Vec<UploadId>, CatalogError> {
        let ids: Vec<(Uuid,)> = self.rows(LIST_EXPIRED, values![self.time(), after.uuid(), limit]).await?;
        Ok(ids.into_iter().map(|(id,)| UploadId::new(id)).collect())
    }

    async fn delete_parts(&mut self, id: UploadId) -> Result<(), CatalogError> {
        self.execute(DELETE_PARTS, values![id.uuid()]).await.map(drop)
    }
}
