//! Intakes: an image in one request. What is to be published is said first; then its bytes come as one stream, and with
//! the last of them everything else follows by itself.
//!
//! `receiving` → `publishing` → `published`, with `failed` as the other end.

use crate::{
    ids::{JobId, PrincipalId, UploadId},
    names::{AliasName, Architecture, Format, ImageName, OperatingSystem, Variant, VersionName},
    text::MediaType,
    time::Timestamp,
    transition::{IllegalTransition, Machine, Revision},
};
use std::ops::Deref;

/// The most aliases that an intake may set.
pub const MAX_ALIASES: usize = 16;

/// What is to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of an artifact and where it goes")]
pub struct NewIntake {
    pub image: ImageName,
    pub version: VersionName,
    pub operating_system: OperatingSystem,
    pub architecture: Architecture,
    pub variant: Variant,
    pub format: Format,
    pub media_type: MediaType,
    pub aliases: Vec<AliasName>,
}

/// How far an intake has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntakeState {
    /// Its upload is received or ingested; how far, the upload says.
    Receiving,
    /// A job publishes the version.
    Publishing(JobId),
    /// The version is published and the aliases point to it.
    Published(JobId),
    /// It came to nothing, or not to all that was wanted.
    Failed {
        /// Why, for the client.
        reason: String,
        /// The job, if there came to be one.
        job: Option<JobId>,
    },
}

impl IntakeState {
    /// The state as catalogs store it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Publishing(_) => "publishing",
            Self::Published(_) => "published",
            Self::Failed { .. } => "failed",
        }
    }

    /// The job, if there is one.
    pub const fn job(&self) -> Option<JobId> {
        match self {
            Self::Receiving => None,
            Self::Publishing(job) | Self::Published(job) => Some(*job),
            Self::Failed { job, .. } => *job,
        }
    }
}

/// What a catalog stores of an intake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntakeRecord {
    /// The upload that brings its bytes, and its own identity.
    pub id: UploadId,
    /// Who made it.
    pub created_by: PrincipalId,
    /// What is to be published.
    pub wanted: NewIntake,
    /// How far it has come.
    pub state: IntakeState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Counts its changes.
    pub revision: Revision,
}

/// An intake; its record can be read but changes only by the transitions below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intake(IntakeRecord);

impl Deref for Intake {
    type Target = IntakeRecord;

    fn deref(&self) -> &IntakeRecord {
        &self.0
    }
}

impl Intake {
    /// An intake that waits for the bytes of `upload`.
    pub fn open(upload: UploadId, by: PrincipalId, wanted: NewIntake, now: Timestamp) -> Self {
        Self(IntakeRecord {
            id: upload,
            created_by: by,
            wanted,
            state: IntakeState::Receiving,
            created_at: now,
            updated_at: now,
            revision: Revision::FIRST,
        })
    }

    /// An intake as a catalog stored it.
    pub const fn restore(record: IntakeRecord) -> Self {
        Self(record)
    }

    /// Its bytes are trusted, and `job` publishes the version that they are in.
    #[must_use = "a transition counts once stored"]
    pub fn publish(self, job: JobId, now: Timestamp) -> Result<Self, IllegalTransition> {
        match self.state {
            IntakeState::Receiving => Ok(self.into_state(IntakeState::Publishing(job), now)),
            IntakeState::Publishing(_) | IntakeState::Published(_) | IntakeState::Failed { .. } => {
                Err(self.illegal("publish"))
            }
        }
    }

    /// The version is published, and the aliases were moved.
    #[must_use = "a transition counts once stored"]
    pub fn finish(self, now: Timestamp) -> Result<Self, IllegalTransition> {
        match self.state {
            IntakeState::Publishing(job) => Ok(self.into_state(IntakeState::Published(job), now)),
            IntakeState::Receiving | IntakeState::Published(_) | IntakeState::Failed { .. } => {
                Err(self.illegal("finish"))
            }
        }
    }

    /// It comes to nothing, or not to all that was wanted.
    #[must_use = "a transition counts once stored"]
    pub fn fail(self, reason: String, now: Timestamp) -> Result<Self, IllegalTransition> {
        match self.state {
            IntakeState::Receiving | IntakeState::Publishing(_) => {
                let job = self.state.job();
                Ok(self.into_state(IntakeState::Failed { reason, job }, now))
            }
            IntakeState::Published(_) | IntakeState::Failed { .. } => Err(self.illegal("fail")),
        }
    }

    fn into_state(self, state: IntakeState, now: Timestamp) -> Self {
        Self(IntakeRecord { state, updated_at: now, ..self.0 })
    }

    fn illegal(&self, action: &'static str) -> IllegalTransition {
        IllegalTransition { action, subject: Machine::Intake, state: self.state.name() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn intake() -> Intake {
        let wanted = NewIntake {
            image: "debian".parse().expect("a name"),
            version: "1".parse().expect("a name"),
            operating_system: "linux".parse().expect("a name"),
            architecture: "amd64".parse().expect("a name"),
            variant: "default".parse().expect("a name"),
            format: Format::Qcow2,
            media_type: "a/b".parse().expect("a media type"),
            aliases: Vec::new(),
        };
        Intake::open(UploadId::new(Uuid::nil()), PrincipalId::new(Uuid::nil()), wanted, Timestamp::from_micros(0))
    }

    #[test]
    fn every_state_allows_exactly_what_it_should() {
        let (job, now) = (JobId::new(Uuid::nil()), Timestamp::from_micros(1));
        let publishing = intake().publish(job, now).expect("allowed");
        let published = publishing.clone().finish(now).expect("allowed");
        let failed = publishing.clone().fail("why".to_owned(), now).expect("allowed");
        assert_eq!(failed.state.job(), Some(job));
        // State, and whether it may be published, finished, failed.
        let table = [
            (intake(), [true, false, true]),
            (publishing, [false, true, true]),
            (published, [false, false, false]),
            (failed, [false, false, false]),
        ];
        for (intake, allowed) in table {
            let tried = [
                intake.clone().publish(job, now).is_ok(),
                intake.clone().finish(now).is_ok(),
                intake.clone().fail("why".to_owned(), now).is_ok(),
            ];
            assert_eq!(tried, allowed, "{:?}", intake.state);
        }
    }
}
