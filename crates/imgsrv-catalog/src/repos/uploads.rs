//! Upload sessions and their parts.

use crate::{
    core::{Connection, Dialects, SqlTx, Value, values},
    rows::{reach::within, uploads::UploadStateColumns},
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::{PrincipalId, UploadId},
    names::PartNumber,
    parts::Part,
    ports::{CatalogError, NeighbouringParts, UploadRepo},
    upload::{IdempotencyKey, UploadRecord, UploadSession},
};

/// Sessions that `rest` selects, each with the part at its frontier.
macro_rules! select {
    ($rest:expr) => {
        concat!(
            "SELECT s.id, s.created_by, s.image_scope, s.kind, s.expected_digest, s.digest_computed, s.expected_size_bytes,
            s.media_type_hint, s.filename_hint, s.state, s.failure_reason, s.expires_at, s.received_bytes, s.attempts,
            s.frontier_writer_attempt, s.frontier_writer_number, s.hashed_bytes, s.hashed_state,
            s.hashed_blocks, s.created_at, s.updated_at, s.revision, s.frontier_number, f.attempt AS frontier_attempt, f.size_bytes AS frontier_size,
            f.location AS frontier_location, f.hash_bytes AS frontier_hash_bytes, f.hash_state AS frontier_hash_state,
            f.hash_blocks AS frontier_hash_blocks
            FROM upload_sessions s
            LEFT JOIN upload_parts f ON f.session_id = s.id AND f.number = s.frontier_number ",
            $rest
        )
    };
}
pub(crate) const GET: &str = select!("WHERE s.id = $1");
const GET_BY_KEY: &str = select!("WHERE s.created_by = $1 AND s.idempotency_key = $2");
macro_rules! list_open {
    ($dialect:ident) => {
        select!(concat!(
            "WHERE s.state IN ('created', 'uploading') AND s.kind = 'multipart' AND s.created_by = $1 AND s.id < $2
            AND s.expected_digest = coalesce($3, s.expected_digest) AND ",
            within!($dialect, "s.image_scope", "$5"),
            " ORDER BY s.id DESC LIMIT $4"
        ))
    };
}
pub(crate) const LIST_OPEN: Dialects = Dialects { sqlite: list_open!(sqlite), postgres: list_open!(postgres) };
pub(crate) const SQLITE: &[&str] = &[LIST_OPEN.sqlite];

// Locked first and read afterwards: a statement that waits for the lock would join the part of an older session.
const LOCK: &str = "SELECT id FROM upload_sessions WHERE id = $1 FOR NO KEY UPDATE";
const LIST_EXPIRED: &str = "SELECT id FROM upload_sessions
    WHERE state IN ('created', 'uploading') AND expires_at <= $1 AND id > $2 ORDER BY id LIMIT $3";
pub(crate) const LIST_ALL_OPEN: &str = select!(
    "WHERE s.state IN ('created', 'uploading') AND s.kind = 'multipart' AND s.id < $1
    AND s.expected_digest = coalesce($2, s.expected_digest) ORDER BY s.id DESC LIMIT $3"
);
const COUNT_OPEN_OF: &str =
    "SELECT count(*) FROM upload_sessions WHERE created_by = $1 AND state IN ('created', 'uploading')";
const COUNT_OPEN: &str = "SELECT CAST(coalesce(sum(value), 0) AS BIGINT) FROM counters
    WHERE name IN ('uploads:created', 'uploads:uploading')";
const SUM_STAGED_BYTES: &str = "SELECT CAST(
    (SELECT coalesce(sum(expected_size_bytes), 0) FROM upload_sessions WHERE state IN ('created', 'uploading'))
    + (SELECT coalesce(sum(expected_size_bytes), 0) FROM upload_sessions WHERE state IN ('completed', 'ingesting'))
    AS BIGINT)";
const SUM_STAGED_BYTES_OF: &str = "SELECT CAST(coalesce(sum(expected_size_bytes), 0) AS BIGINT) FROM upload_sessions
    WHERE created_by = $1 AND state IN ('created', 'uploading', 'completed', 'ingesting')";
const INSERT: &str = "INSERT INTO upload_sessions (id, expires_at, updated_at, state, expected_digest, digest_computed,
    received_bytes, attempts, frontier_writer_attempt, frontier_writer_number, frontier_number, hashed_bytes,
    hashed_state, hashed_blocks, failure_reason, image_scope, created_by, expected_size_bytes, kind, media_type_hint, filename_hint, created_at,
    idempotency_key, revision)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, 1)";
const UPDATE: &str = "UPDATE upload_sessions SET expires_at = $2, updated_at = $3, state = $4, expected_digest = $5,
    digest_computed = $6, received_bytes = $7, attempts = $8, frontier_writer_attempt = $9, frontier_writer_number = $10,
    frontier_number = $11, hashed_bytes = $12, hashed_state = $13, hashed_blocks = $14, failure_reason = $15,
    image_scope = $16, revision = revision + 1 WHERE id = $1 AND revision = $17";
const RELEASE_KEY: &str = "UPDATE upload_sessions SET idempotency_key = NULL WHERE id = $1";
const GET_PART: &str = "SELECT number, attempt, sequence, size_bytes, location, hash_bytes, hash_state,
    hash_blocks FROM upload_parts WHERE session_id = $1 AND number = $2";
const GET_NEIGHBOURING_PARTS: &str = "SELECT number, attempt, sequence, size_bytes, location, hash_bytes, hash_state,
    hash_blocks FROM upload_parts WHERE session_id = $1 AND number BETWEEN $2 AND $3";
pub(crate) const LIST_PARTS: &str = "SELECT number, attempt, sequence, size_bytes, location, NULL AS hash_bytes,
    NULL AS hash_state, NULL AS hash_blocks FROM upload_parts WHERE session_id = $1 AND number > $2 ORDER BY number LIMIT $3";
pub(crate) const LIST_HASHED_PARTS: &str =
    "SELECT number, attempt, sequence, size_bytes, location, hash_bytes, hash_state,
    hash_blocks FROM upload_parts WHERE session_id = $1 ORDER BY number";
const PUT_PART: &str = "INSERT INTO upload_parts (session_id, number, attempt, sequence, size_bytes, location,
    hash_bytes, hash_state, hash_blocks) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    ON CONFLICT (session_id, number) DO UPDATE SET attempt = excluded.attempt, sequence = excluded.sequence,
    size_bytes = excluded.size_bytes, location = excluded.location, hash_bytes = excluded.hash_bytes,
    hash_state = excluded.hash_state, hash_blocks = excluded.hash_blocks";
const DELETE_PARTS: &str = "DELETE FROM upload_parts WHERE session_id = $1";
pub(crate) const STATEMENTS: &[&str] = &[
    GET,
    GET_BY_KEY,
    LIST_ALL_OPEN,
    LIST_EXPIRED,
    COUNT_OPEN,
    COUNT_OPEN_OF,
    SUM_STAGED_BYTES,
    SUM_STAGED_BYTES_OF,
    INSERT,
    UPDATE,
    RELEASE_KEY,
    GET_PART,
    GET_NEIGHBOURING_PARTS,
    LIST_PARTS,
    LIST_HASHED_PARTS,
    PUT_PART,
    DELETE_PARTS,
];
pub(crate) const POSTGRES: &[&str] = &[LIST_OPEN.postgres, LOCK];

/// The values that `INSERT` and `UPDATE` both store, followed by `own`.
fn upload_values(session: &UploadSession, own: Vec<Value>) -> Vec<Value> {
    let columns = UploadStateColumns::from(session);
    let times = values![session.id, session.expires_at, session.updated_at];
    let digest = values![columns.state, columns.expected_digest, columns.digest_computed];
    let received = values![columns.received_bytes, columns.attempts];
    let writer = values![columns.frontier_writer_attempt, columns.frontier_writer_number, columns.frontier_number];
    let ingest = values![columns.hashed_bytes, columns.hashed_state, columns.hashed_blocks, columns.failure_reason];
    [times, digest, received, writer, ingest, values![session.created_by.images], own].concat()
}

#[async_trait]
impl<C: Connection> UploadRepo for SqlTx<C> {
    async fn lock_upload(&mut self, id: UploadId) -> Result<Option<UploadSession>, CatalogError> {
        self.lock(LOCK, values![id]).await?;
        self.find(GET, values![id]).await
    }

    async fn count_open_uploads(&mut self) -> Result<u64, CatalogError> {
        let open: i64 = self.get(COUNT_OPEN, values![]).await?;
        Ok(u64::try_from(open).unwrap_or(0))
    }

    async fn count_open_uploads_of(&mut self, by: PrincipalId) -> Result<u64, CatalogError> {
        self.get(COUNT_OPEN_OF, values![by]).await
    }

    async fn sum_staged_bytes(&mut self) -> Result<u64, CatalogError> {
        self.get(SUM_STAGED_BYTES, values![]).await
    }

    async fn sum_staged_bytes_of(&mut self, by: PrincipalId) -> Result<u64, CatalogError> {
        self.get(SUM_STAGED_BYTES_OF, values![by]).await
    }

    async fn get_upload_by_key(
        &mut self,
        by: PrincipalId,
        key: &IdempotencyKey,
    ) -> Result<Option<UploadSession>, CatalogError> {
        self.find(GET_BY_KEY, values![by, key]).await
    }

    async fn insert_upload(
        &mut self,
        session: &UploadSession,
        key: Option<&IdempotencyKey>,
    ) -> Result<(), CatalogError> {
        let UploadRecord { created_by, media_type_hint, filename_hint, created_at, .. } = &**session;
        let (size, kind) = (session.size(), session.declared().kind().as_str());
        let own = values![
            created_by.principal,
            size,
            kind,
            media_type_hint,
            filename_hint,
            created_at,
            key.map(IdempotencyKey::as_str)
        ];
        self.execute(INSERT, upload_values(session, own)).await.map(drop)
    }

    async fn release_key(&mut self, id: UploadId) -> Result<(), CatalogError> {
        self.execute(RELEASE_KEY, values![id]).await.map(drop)
    }

    async fn update_upload(&mut self, session: &UploadSession) -> Result<(), CatalogError> {
        self.execute_fenced(UPDATE, upload_values(session, values![session.revision])).await
    }

    async fn get_part(&mut self, session: UploadId, number: PartNumber) -> Result<Option<Part>, CatalogError> {
        self.find(GET_PART, values![session, number]).await
    }

    async fn get_neighbouring_parts(
        &mut self,
        session: UploadId,
        number: PartNumber,
    ) -> Result<NeighbouringParts, CatalogError> {
        let mut found = NeighbouringParts::default();
        let values = values![session, number.get() - 1, number];
        for part in self.list::<Part>(GET_NEIGHBOURING_PARTS, values).await? {
            let slot = if part.number == number { &mut found.current } else { &mut found.previous };
            *slot = Some(part);
        }
        Ok(found)
    }

    async fn list_parts(&mut self, session: UploadId) -> Result<Vec<Part>, CatalogError> {
        self.list(LIST_HASHED_PARTS, values![session]).await
    }

    async fn put_part(&mut self, session: UploadId, part: &Part) -> Result<(), CatalogError> {
        let Part { number, attempt, sequence, size, location, hash } = part;
        let mut values = values![session, number, attempt, sequence, size, location];
        let hash = hash.as_ref();
        values.extend(values![
            hash.map(|hash| hash.bytes),
            hash.map(|hash| hash.state),
            hash.map(|hash| hash.blocks.clone())
        ]);
        self.execute(PUT_PART, values).await.map(drop)
    }

    async fn list_expired_uploads(&mut self, after: UploadId, limit: u16) -> Result<Vec<UploadId>, CatalogError> {
        self.list_decodable(LIST_EXPIRED, values![self.time(), after, limit]).await
    }

    async fn delete_parts(&mut self, id: UploadId) -> Result<(), CatalogError> {
        self.execute(DELETE_PARTS, values![id]).await.map(drop)
    }
}
