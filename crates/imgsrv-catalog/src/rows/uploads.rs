//! Rows of upload sessions and their parts.

use crate::core::{Corrupt, Record, Row};
use imgsrv_domain::{
    access::Sender,
    blocks::BlockChecksums,
    digest::{BlobClaim, ByteSize, Digest, HashState},
    ids::AttemptId,
    names::PartNumber,
    parts::{Frontier, Part},
    upload::{
        Claim, FrontierWriter, PendingIngest, Receiving, Recorded, UploadKind, UploadRecord, UploadSession, UploadState,
    },
};

/// The columns of `upload_sessions` that depend on its state. Those that the state does not use are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UploadStateColumns {
    pub(crate) state: String,
    pub(crate) kind: String,
    /// Empty if the digest is not known.
    pub(crate) expected_digest: String,
    pub(crate) digest_computed: bool,
    pub(crate) received_bytes: i64,
    pub(crate) attempts: i64,
    pub(crate) frontier_writer_attempt: Option<AttemptId>,
    pub(crate) frontier_writer_number: Option<PartNumber>,
    pub(crate) frontier_number: Option<PartNumber>,
    pub(crate) hashed_bytes: Option<u64>,
    pub(crate) hashed_state: Option<[u8; HashState::LENGTH]>,
    pub(crate) hashed_blocks: Option<BlockChecksums>,
    pub(crate) failure_reason: Option<String>,
}

impl Record for UploadStateColumns {
    const WHAT: &'static str = "upload session";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            state: row.get("state")?,
            kind: row.get("kind")?,
            expected_digest: row.get("expected_digest")?,
            digest_computed: row.get("digest_computed")?,
            received_bytes: row.get("received_bytes")?,
            attempts: row.get("attempts")?,
            frontier_writer_attempt: row.optional("frontier_writer_attempt")?,
            frontier_writer_number: row.optional("frontier_writer_number")?,
            frontier_number: row.optional("frontier_number")?,
            hashed_bytes: row.optional("hashed_bytes")?,
            hashed_state: row.optional("hashed_state")?,
            hashed_blocks: row.optional("hashed_blocks")?,
            failure_reason: row.optional("failure_reason")?,
        })
    }
}

impl From<&UploadSession> for UploadStateColumns {
    fn from(session: &UploadSession) -> Self {
        let (declared, digest) = (session.declared(), session.digest());
        let columns = Self {
            state: session.state.name().to_owned(),
            kind: declared.kind().to_string(),
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
                    frontier_writer_attempt: writer.map(|writer| writer.attempt),
                    frontier_writer_number: writer.map(|writer| writer.number),
                    frontier_number: receiving.frontier().map(|frontier| frontier.number),
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
        let hashed = ingest.hashed.as_ref();
        Self {
            hashed_bytes: hashed.map(|hash| hash.bytes),
            hashed_state: hashed.map(|hash| hash.state),
            hashed_blocks: hashed.map(|hash| hash.blocks.clone()),
            ..self
        }
    }

    /// The state of a session of `size` bytes.
    fn decode(&self, size: ByteSize, frontier: Option<Frontier>) -> Result<UploadState, Corrupt> {
        let kind = self.kind.parse::<UploadKind>().map_err(|why| Corrupt::new(Self::WHAT, why))?;
        let blob = || {
            let digest = self.expected_digest.parse::<Digest>();
            digest.map(|digest| BlobClaim { digest, size }).map_err(|why| Corrupt::new(Self::WHAT, why))
        };
        let declared = || match self.expected_digest.as_str() {
            "" => Ok(Claim::Undeclared(size)),
            _ => Ok(Claim::Declared(kind, blob()?)),
        };
        let complete =
            || Ok(if self.digest_computed { Claim::Undeclared(blob()?) } else { Claim::Declared(kind, blob()?) });
        let ingest = || {
            let blocks = self.hashed_blocks.clone().unwrap_or_default();
            let hashed = self.hashed_bytes.zip(self.hashed_state);
            let hashed = hashed.map(|(bytes, state)| HashState { bytes, state, blocks });
            Ok(PendingIngest { claim: complete()?, hashed })
        };
        let receiving = |recorded| {
            let writer = self.frontier_writer_attempt.zip(self.frontier_writer_number);
            let frontier_writer = writer.map(|(attempt, number)| FrontierWriter { attempt, number });
            Ok(Receiving { claim: declared()?, attempts: self.attempts, frontier_writer, recorded })
        };
        let received = self.received_bytes.try_into().map_err(|why| Corrupt::new(Self::WHAT, why))?;
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
            other => Err(Corrupt::new(Self::WHAT, format!("unknown state {other}"))),
        }
    }
}

/// The session of `record`, if its state is stored as `columns`. A session is stored in exactly one way: any other
/// columns were not written by this catalog.
fn restore(record: UploadRecord, columns: &UploadStateColumns) -> Result<UploadSession, Corrupt> {
    let session = UploadSession::restore(record);
    if UploadStateColumns::from(&session) == *columns {
        Ok(session)
    } else {
        Err(Corrupt::new(UploadStateColumns::WHAT, "its columns do not match its state"))
    }
}

/// A row of `upload_sessions` with the part at its frontier.
impl Record for UploadSession {
    const WHAT: &'static str = UploadStateColumns::WHAT;

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let columns: UploadStateColumns = row.record()?;
        let hash = row.hash_and_blocks("frontier_hash_bytes", "frontier_hash_state", "frontier_hash_blocks")?;
        let frontier = match columns.frontier_number.zip(row.optional("frontier_attempt")?) {
            Some((number, attempt)) => Some(Frontier {
                number,
                attempt,
                hash: hash.ok_or_else(|| row.corrupt("its frontier has no hash"))?,
                location: row.get("frontier_location")?,
                size: row.get("frontier_size")?,
            }),
            None => None,
        };
        let record = UploadRecord {
            id: row.get("id")?,
            created_by: Sender { principal: row.get("created_by")?, images: row.get("image_scope")? },
            media_type_hint: row.optional("media_type_hint")?,
            filename_hint: row.optional("filename_hint")?,
            state: columns.decode(row.get("expected_size_bytes")?, frontier).map_err(|why| row.corrupt(why.why()))?,
            expires_at: row.get("expires_at")?,
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
            revision: row.get("revision")?,
        };
        restore(record, &columns).map_err(|why| row.corrupt(why.why()))
    }
}

impl Record for Part {
    const WHAT: &'static str = "upload part";
    const ID: &'static str = "attempt";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            number: row.get("number")?,
            attempt: row.get("attempt")?,
            sequence: row.get("sequence")?,
            size: row.get("size_bytes")?,
            location: row.get("location")?,
            hash: row.hash_and_blocks("hash_bytes", "hash_state", "hash_blocks")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgsrv_domain::{
        ids::{PrincipalId, UploadId},
        time::Timestamp,
        upload::{NewAppendUpload, NewUpload},
    };
    use std::time::Duration;
    use uuid::Uuid;

    const NOW: Timestamp = Timestamp::from_micros(7);
    const TERM: Duration = Duration::from_secs(30);

    /// The session as it is restored with these columns of its state.
    fn restored(session: &UploadSession, columns: &UploadStateColumns) -> Result<UploadSession, Corrupt> {
        let state = columns.decode(session.size(), None)?;
        restore(UploadRecord { state, ..(**session).clone() }, columns)
    }

    /// An append upload of no bytes and of undeclared digest, in each of its states.
    fn sessions() -> [UploadSession; 6] {
        let new = NewAppendUpload { size: ByteSize::ZERO, digest: None, media_type_hint: None };
        let (id, by) = (UploadId::new(Uuid::nil()), Sender::unlimited(PrincipalId::new(Uuid::nil())));
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
            assert_eq!(restored(&session, &(&session).into()).unwrap(), session);
        }
    }

    #[test]
    fn columns_that_disagree_with_the_state_are_corruption() {
        let alter: [fn(&mut UploadStateColumns); 7] = [
            |columns| columns.kind = "multipart".to_owned(),
            |columns| (columns.digest_computed, columns.expected_digest) = (true, String::new()),
            |columns| columns.received_bytes = -1,
            |columns| columns.frontier_writer_number = Some(PartNumber::FIRST),
            |columns| columns.frontier_number = Some(PartNumber::FIRST),
            |columns| columns.hashed_bytes = Some(1),
            |columns| columns.failure_reason = columns.failure_reason.is_none().then(|| "why".to_owned()),
        ];
        for session in sessions() {
            for (at, alter) in alter.iter().enumerate() {
                let mut altered = (&session).into();
                alter(&mut altered);
                assert!(restored(&session, &altered).is_err(), "alteration {at} of {}", session.state.name());
            }
        }
    }

    #[test]
    fn a_final_session_has_no_attempts() {
        let claim = BlobClaim { digest: Digest::new([7; 32]), size: ByteSize::ZERO };
        let new = NewUpload { claim, media_type_hint: None, filename_hint: None };
        let (id, by) = (UploadId::new(Uuid::nil()), Sender::unlimited(PrincipalId::new(Uuid::nil())));
        let ready = UploadSession::already_ready(id, by, new, NOW).0;
        let altered = UploadStateColumns { attempts: 1, ..(&ready).into() };
        assert!(restored(&ready, &altered).is_err());
    }
}
