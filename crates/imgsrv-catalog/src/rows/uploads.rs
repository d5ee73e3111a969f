//! Rows of upload sessions and their parts.

use crate::rows::decode::{Corrupt, claim, convert, hash_state, parse_optional};
use crate::rows::time::SqlTime;
use crate::rows::work::WorkColumns;
use imgsrv_domain::{
    ids::{AttemptId, PrincipalId, UploadId},
    names::PartNumber,
    parts::{Frontier, Part, PartLocation},
    transition::Revision,
    upload::{Claim, FrontierWriter, UploadKind, UploadRecord, UploadSession, UploadState},
};
use uuid::Uuid;

/// A row of `upload_sessions` with the part at its frontier.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct UploadRow {
    pub(crate) id: Uuid,
    pub(crate) created_by: Uuid,
    pub(crate) expected_digest: String,
    pub(crate) expected_size_bytes: i64,
    pub(crate) media_type_hint: Option<String>,
    pub(crate) filename_hint: Option<String>,
    pub(crate) state: String,
    pub(crate) failure_reason: Option<String>,
    pub(crate) expires_at: SqlTime,
    pub(crate) received_bytes: i64,
    pub(crate) attempts: i64,
    pub(crate) appender_attempt: Option<Uuid>,
    pub(crate) appender_number: Option<i64>,
    pub(crate) hashed_bytes: Option<i64>,
    pub(crate) hashed_state: Option<Vec<u8>>,
    pub(crate) wanted_since: Option<SqlTime>,
    pub(crate) failing_since: Option<SqlTime>,
    pub(crate) due_at: Option<SqlTime>,
    pub(crate) lease_attempts: Option<i64>,
    pub(crate) lease_owner: Option<String>,
    pub(crate) created_at: SqlTime,
    pub(crate) updated_at: SqlTime,
    pub(crate) revision: i64,
    pub(crate) kind: String,
    pub(crate) digest_taken: bool,
    pub(crate) frontier_number: Option<i64>,
    pub(crate) frontier_attempt: Option<Uuid>,
    pub(crate) frontier_size: Option<i64>,
    pub(crate) frontier_place: Option<String>,
    pub(crate) frontier_hash_bytes: Option<i64>,
    pub(crate) frontier_hash_state: Option<Vec<u8>>,
}

impl TryFrom<UploadRow> for UploadSession {
    type Error = Corrupt;

    fn try_from(row: UploadRow) -> Result<Self, Corrupt> {
        let work = WorkColumns {
            wanted_since: row.wanted_since,
            failing_since: row.failing_since,
            due_at: row.due_at,
            attempts: row.lease_attempts,
            owner: row.lease_owner,
        };
        let state = match (row.state.as_str(), row.failure_reason) {
            ("created", None) => UploadState::Created,
            ("uploading", None) => UploadState::Uploading,
            ("completed", None) => UploadState::Completed(work.queued()?),
            ("ingesting", None) => UploadState::Ingesting(work.running()?),
            ("ready", None) => UploadState::Ready,
            ("failed", Some(reason)) => UploadState::Failed { reason },
            ("aborted", None) => UploadState::Aborted,
            _ => return Err(Corrupt::new("upload session", "its state and failure reason disagree")),
        };
        let frontier_writer = match (row.appender_attempt, row.appender_number) {
            (Some(attempt), Some(number)) => {
                Some(FrontierWriter { attempt: AttemptId::new(attempt), number: convert("upload session", number)? })
            }
            (None, None) => None,
            _ => return Err(Corrupt::new("upload session", "only half of its frontier_writer is there")),
        };
        let frontier_hash = hash_state(row.frontier_hash_bytes, row.frontier_hash_state.as_deref())?;
        let frontier = match (row.frontier_number, row.frontier_attempt, row.frontier_size, row.frontier_place) {
            (Some(number), Some(attempt), Some(size), Some(place)) => Some(Frontier {
                number: convert("upload session", number)?,
                attempt: AttemptId::new(attempt),
                hash: frontier_hash.ok_or_else(|| Corrupt::new("upload session", "its frontier has no hash"))?,
                place: PartLocation(place),
                size: convert("upload session", size)?,
            }),
            (_, None, None, None) => None,
            _ => return Err(Corrupt::new("upload session", "only half of its frontier is there")),
        };
        let kind = match row.kind.as_str() {
            "parts" => UploadKind::Multipart,
            "stream" => UploadKind::Append,
            other => return Err(Corrupt::new("upload session", format!("its bytes come as {other}"))),
        };
        let claim = match (row.expected_digest.as_str(), row.digest_taken) {
            ("", false) => Claim::Undeclared(convert("upload session", row.expected_size_bytes)?),
            (digest, false) => Claim::Declared(claim("upload session", digest, row.expected_size_bytes)?),
            (digest, true) => Claim::Computed(claim("upload session", digest, row.expected_size_bytes)?),
        };
        Ok(Self::restore(UploadRecord {
            id: UploadId::new(row.id),
            created_by: PrincipalId::new(row.created_by),
            claim,
            kind,
            media_type_hint: parse_optional("upload session", row.media_type_hint.as_deref())?,
            filename_hint: parse_optional("upload session", row.filename_hint.as_deref())?,
            state,
            expires_at: row.expires_at.into(),
            received: convert("upload session", row.received_bytes)?,
            attempts: row.attempts,
            frontier_writer,
            frontier,
            hashed: hash_state(row.hashed_bytes, row.hashed_state.as_deref())?,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            revision: Revision::new(row.revision),
        }))
    }
}

/// A row of `upload_parts`.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct PartRow {
    pub(crate) number: i64,
    pub(crate) attempt: Uuid,
    pub(crate) sequence: i64,
    pub(crate) size_bytes: i64,
    pub(crate) place: String,
    pub(crate) hash_bytes: Option<i64>,
    pub(crate) hash_state: Option<Vec<u8>>,
}

impl TryFrom<PartRow> for Part {
    type Error = Corrupt;

    fn try_from(row: PartRow) -> Result<Self, Corrupt> {
        Ok(Self {
            number: convert::<_, PartNumber>("upload part", row.number)?,
            attempt: AttemptId::new(row.attempt),
            sequence: row.sequence,
            size: convert("upload part", row.size_bytes)?,
            place: PartLocation(row.place),
            hash: hash_state(row.hash_bytes, row.hash_state.as_deref())?,
        })
    }
}
