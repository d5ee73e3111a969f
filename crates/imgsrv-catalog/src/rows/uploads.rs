//! Rows of upload sessions and their parts.

use crate::rows::decode::{Corrupt, claim, convert, hash_state, parse_optional};
use crate::rows::time::SqlTime;
use imgsrv_domain::{
    digest::HashState,
    ids::{AttemptId, PrincipalId, UploadId},
    names::PartNumber,
    parts::{Frontier, Part, PartLocation},
    transition::Revision,
    upload::{
        Claim, FrontierWriter, PendingIngest, Receiving, Recorded, UploadKind, UploadRecord, UploadSession, UploadState,
    },
};
use uuid::Uuid;

const WHAT: &str = "upload session";

/// The columns of `upload_sessions` that depend on its state. Those that the state does not use are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct UploadStateColumns {
    pub(crate) state: String,
    pub(crate) kind: String,
    pub(crate) expected_digest: String,
    pub(crate) digest_computed: bool,
    pub(crate) received_bytes: i64,
    pub(crate) attempts: i64,
    pub(crate) frontier_writer_attempt: Option<Uuid>,
    pub(crate) frontier_writer_number: Option<i64>,
    pub(crate) frontier_number: Option<i64>,
    pub(crate) hashed_bytes: Option<i64>,
    pub(crate) hashed_state: Option<Vec<u8>>,
    pub(crate) failure_reason: Option<String>,
}

/// A row of `upload_sessions` with the part at its frontier.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct UploadRow {
    pub(crate) id: Uuid,
    pub(crate) created_by: Uuid,
    pub(crate) expected_size_bytes: i64,
    pub(crate) media_type_hint: Option<String>,
    pub(crate) filename_hint: Option<String>,
    pub(crate) expires_at: SqlTime,
    pub(crate) created_at: SqlTime,
    pub(crate) updated_at: SqlTime,
    pub(crate) revision: i64,
    #[sqlx(flatten)]
    pub(crate) columns: UploadStateColumns,
    pub(crate) frontier_attempt: Option<Uuid>,
    pub(crate) frontier_size: Option<i64>,
    pub(crate) frontier_location: Option<String>,
    pub(crate) frontier_hash_bytes: Option<i64>,
    pub(crate) frontier_hash_state: Option<Vec<u8>>,
}

impl From<&UploadSession> for UploadStateColumns {
    fn from(session: &UploadSession) -> Self {
        let (declared, digest) = (session.declared(), session.digest());
        let columns = Self {
            state: session.state.name().to_owned(),
            kind: match declared.kind() {
                UploadKind::Multipart => "multipart".to_owned(),
                UploadKind::Append => "append".to_owned(),
            },
            digest_computed: digest.is_some() && !declared.is_declared(),
            expected_digest: digest.map(|digest| digest.to_string()).unwrap_or_default(),
            received_bytes: session.offset().signed(),
            ..Self::default()
        };
        match &session.state {
            UploadState::Receiving(receiving) => {
                let writer = receiving.frontier_writer.as_ref();
                Self {
                    attempts: receiving.attempts,
                    frontier_writer_attempt: writer.map(|writer| writer.attempt.uuid()),
                    frontier_writer_number: writer.map(|writer| writer.number.get().into()),
                    frontier_number: receiving.frontier().map(|frontier| frontier.number.get().into()),
                    ..columns
                }
            }
            UploadState::Completed(ingest) | UploadState::Ingesting(ingest) => columns.hashed(ingest),
            UploadState::Failed { reason, .. } => Self { failure_reason: Some(reason.clone()), ..columns },
            UploadState::Ready(_) | UploadState::Aborted { .. } => columns,
        }
    }
}

impl UploadStateColumns {
    fn hashed(self, ingest: &PendingIngest) -> Self {
        let (hashed_bytes, hashed_state) = hash_columns(ingest.hashed.as_ref());
        Self { hashed_bytes, hashed_state, ..self }
    }

    fn decode(&self, size: i64, frontier: Option<Frontier>) -> Result<UploadState, Corrupt> {
        let kind = if self.kind == "multipart" { UploadKind::Multipart } else { UploadKind::Append };
        let blob = || claim(WHAT, &self.expected_digest, size);
        let declared = || match self.expected_digest.as_str() {
            "" => Ok(Claim::Undeclared(convert(WHAT, size)?)),
            _ => Ok(Claim::Declared(kind, blob()?)),
        };
        let complete =
            || Ok(if self.digest_computed { Claim::Undeclared(blob()?) } else { Claim::Declared(kind, blob()?) });
        let ingest = || {
            let hashed = hash_state(self.hashed_bytes, self.hashed_state.as_deref())?;
            Ok(PendingIngest { claim: complete()?, hashed })
        };
        let receiving = |recorded| {
            let frontier_writer = match self.frontier_writer_attempt.zip(self.frontier_writer_number) {
                Some((attempt, number)) => {
                    Some(FrontierWriter { attempt: AttemptId::new(attempt), number: convert(WHAT, number)? })
                }
                None => None,
            };
            Ok(Receiving { claim: declared()?, attempts: self.attempts, frontier_writer, recorded })
        };
        let received = convert(WHAT, self.received_bytes)?;
        match self.state.as_str() {
            "created" => receiving(None).map(UploadState::Receiving),
            "uploading" => receiving(Some(Recorded { received, frontier })).map(UploadState::Receiving),
            "completed" => ingest().map(UploadState::Completed),
            "ingesting" => ingest().map(UploadState::Ingesting),
            "ready" => complete().map(UploadState::Ready),
            "failed" => {
                Ok(UploadState::Failed { claim: complete()?, reason: self.failure_reason.clone().unwrap_or_default() })
            }
            "aborted" => Ok(UploadState::Aborted { claim: declared()?, received }),
            other => Err(Corrupt::new(WHAT, format!("unknown state {other}"))),
        }
    }
}

impl TryFrom<UploadRow> for UploadSession {
    type Error = Corrupt;

    fn try_from(row: UploadRow) -> Result<Self, Corrupt> {
        let hash = hash_state(row.frontier_hash_bytes, row.frontier_hash_state.as_deref())?;
        let frontier =
            match (row.columns.frontier_number, row.frontier_attempt, row.frontier_size, row.frontier_location) {
                (Some(number), Some(attempt), Some(size), Some(location)) => Some(Frontier {
                    number: convert(WHAT, number)?,
                    attempt: AttemptId::new(attempt),
                    hash: hash.ok_or_else(|| Corrupt::new(WHAT, "its frontier has no hash"))?,
                    location: PartLocation(location),
                    size: convert(WHAT, size)?,
                }),
                _ => None,
            };
        let session = Self::restore(UploadRecord {
            id: UploadId::new(row.id),
            created_by: PrincipalId::new(row.created_by),
            media_type_hint: parse_optional(WHAT, row.media_type_hint.as_deref())?,
            filename_hint: parse_optional(WHAT, row.filename_hint.as_deref())?,
            state: row.columns.decode(row.expected_size_bytes, frontier)?,
            expires_at: row.expires_at.into(),
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            revision: Revision::new(row.revision),
        });
        // A session is stored in exactly one way: any other columns were not written by this catalog.
        if UploadStateColumns::from(&session) == row.columns {
            Ok(session)
        } else {
            Err(Corrupt::new(WHAT, "its columns disagree with its state"))
        }
    }
}

/// The columns in which a hash is stored.
pub(crate) fn hash_columns(hash: Option<&HashState>) -> (Option<i64>, Option<Vec<u8>>) {
    (hash.map(|hash| i64::try_from(hash.bytes).unwrap_or(i64::MAX)), hash.map(|hash| hash.state.to_vec()))
}

/// A row of `upload_parts`.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct PartRow {
    pub(crate) number: i64,
    pub(crate) attempt: Uuid,
    pub(crate) sequence: i64,
    pub(crate) size_bytes: i64,
    pub(crate) location: String,
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
            location: PartLocation(row.location),
            hash: hash_state(row.hash_bytes, row.hash_state.as_deref())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgsrv_domain::{
        digest::{BlobClaim, ByteSize, Digest},
        time::Timestamp,
        upload::{NewAppendUpload, NewUpload},
    };
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_micros(7);
    const TERM: Duration = Duration::from_secs(30);

    fn row(session: &UploadSession) -> UploadRow {
        UploadRow {
            id: session.id.uuid(),
            created_by: session.created_by.uuid(),
            expected_size_bytes: session.size().signed(),
            media_type_hint: None,
            filename_hint: None,
            expires_at: session.expires_at.into(),
            created_at: session.created_at.into(),
            updated_at: session.updated_at.into(),
            revision: session.revision.get(),
            columns: session.into(),
            frontier_attempt: None,
            frontier_size: None,
            frontier_location: None,
            frontier_hash_bytes: None,
            frontier_hash_state: None,
        }
    }

    /// An append upload of no bytes and of undeclared digest, in each of its states.
    fn sessions() -> [UploadSession; 6] {
        let new = NewAppendUpload { size: ByteSize::ZERO, digest: None, media_type_hint: None };
        let (id, by) = (UploadId::new(Uuid::nil()), PrincipalId::new(Uuid::nil()));
        let created = UploadSession::open_append(id, by, new, NOW, TERM).0;
        let aborted = created.clone().abort(NOW).unwrap().0;
        let completed = created.clone().complete_empty(NOW).unwrap().0;
        let (ingesting, _) = completed.clone().start_ingest(NOW).unwrap();
        let ready = ingesting.clone().finish_ingest(NOW).unwrap().0;
        let failed = ingesting.clone().reject("why".to_owned(), NOW).unwrap().0;
        [created, completed, ingesting, ready, failed, aborted]
    }

    #[test]
    fn sessions_are_restored_as_they_were_stored() {
        for session in sessions() {
            assert_eq!(UploadSession::try_from(row(&session)).unwrap(), session);
        }
    }

    #[test]
    fn columns_that_disagree_with_the_state_are_corruption() {
        let alter: [fn(&mut UploadStateColumns); 7] = [
            |columns| columns.kind = "multipart".to_owned(),
            |columns| (columns.digest_computed, columns.expected_digest) = (true, String::new()),
            |columns| columns.received_bytes = -1,
            |columns| columns.frontier_writer_number = Some(1),
            |columns| columns.frontier_number = Some(1),
            |columns| columns.hashed_bytes = Some(1),
            |columns| columns.failure_reason = columns.failure_reason.is_none().then(|| "why".to_owned()),
        ];
        for session in sessions() {
            for (at, alter) in alter.iter().enumerate() {
                let mut altered = row(&session);
                alter(&mut altered.columns);
                assert!(UploadSession::try_from(altered).is_err(), "alteration {at} of {}", session.state.name());
            }
        }
    }

    #[test]
    fn a_final_session_has_no_attempts() {
        let claim = BlobClaim { digest: Digest::new([7; 32]), size: ByteSize::ZERO };
        let new = NewUpload { claim, media_type_hint: None, filename_hint: None };
        let (id, by) = (UploadId::new(Uuid::nil()), PrincipalId::new(Uuid::nil()));
        let ready = UploadSession::already_ready(id, by, new, NOW).0;
        let mut altered = row(&ready);
        altered.columns.attempts = 1;
        assert!(UploadSession::try_from(altered).is_err());
    }
}
