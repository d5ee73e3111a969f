//! Intakes: uploads that publish themselves. A client declares the artifact to publish and appends its bytes; the last
//! byte starts the ingest, which creates and publishes the version and sets the aliases.
//!
//! `receiving` → `publishing` → `published`, with `failed` as the other final state.

use crate::{
    claims::Binding,
    ids::{JobId, PrincipalId, UploadId},
    names::{AliasName, Architecture, Format, ImageName, OperatingSystem, Variant, VersionName},
    text::MediaType,
    time::Timestamp,
    transition::{IllegalTransition, Machine, Revision},
};
use std::ops::Deref;

/// How many aliases an intake may set at most.
pub const MAX_ALIASES: usize = 16;

/// The artifact, version and aliases that an intake is to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of an artifact and its version")]
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

/// The state of an intake, with the data that exists in that state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntakeState {
    /// Its upload is received or ingested, as the state of the upload says.
    Receiving,
    /// A job publishes the version.
    Publishing(JobId),
    /// The version is published and the aliases point to it.
    Published(JobId),
    /// It published nothing, or could not set every alias.
    Failed {
        /// Why, for the client.
        reason: String,
        /// The job, if one was enqueued.
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

    /// The publish job, if one was enqueued.
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
    /// Its id, which is that of the upload of its bytes.
    pub id: UploadId,
    /// Who created it.
    pub created_by: PrincipalId,
    /// The rule that admitted the token of its creator, and the values of the claims that the rule forwards; absent if an
    /// API token was used. This is what its image is bound to if it is created through a pattern with claims.
    pub admitted_by: Option<Binding>,
    /// What it is to publish.
    pub wanted: NewIntake,
    /// The state and its data.
    pub state: IntakeState,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its state last changed.
    pub updated_at: Timestamp,
    /// Its revision.
    pub revision: Revision,
}

/// An intake. Its record can be read and changes only through the transitions below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intake(IntakeRecord);

impl Deref for Intake {
    type Target = IntakeRecord;

    fn deref(&self) -> &IntakeRecord {
        &self.0
    }
}

impl Intake {
    /// An intake of `upload`, whose bytes are still to be received.
    pub fn open(
        upload: UploadId,
        by: PrincipalId,
        admitted_by: Option<Binding>,
        wanted: NewIntake,
        now: Timestamp,
    ) -> Self {
        Self(IntakeRecord {
            id: upload,
            created_by: by,
            admitted_by,
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

    /// Starts publishing: the bytes are trusted, and `job` publishes their version.
    #[must_use = "a transition counts once stored"]
    pub fn publish(self, job: JobId, now: Timestamp) -> Result<Self, IllegalTransition> {
        match self.state {
            IntakeState::Receiving => Ok(self.into_state(IntakeState::Publishing(job), now)),
            IntakeState::Publishing(_) | IntakeState::Published(_) | IntakeState::Failed { .. } => {
                Err(self.illegal("publish"))
            }
        }
    }

    /// Finishes: the version is published, and every alias points to it.
    #[must_use = "a transition counts once stored"]
    pub fn finish(self, now: Timestamp) -> Result<Self, IllegalTransition> {
        match self.state {
            IntakeState::Publishing(job) => Ok(self.into_state(IntakeState::Published(job), now)),
            IntakeState::Receiving | IntakeState::Published(_) | IntakeState::Failed { .. } => {
                Err(self.illegal("finish"))
            }
        }
    }

    /// Fails: nothing was published, or an alias could not be set.
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
        IllegalTransition { action, subject: Machine::Intake, name: self.id.to_string(), state: self.state.name() }
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
        Intake::open(UploadId::new(Uuid::nil()), PrincipalId::new(Uuid::nil()), None, wanted, Timestamp::from_micros(0))
    }

    #[test]
    fn each_state_allows_only_its_own_actions() {
        let (job, now) = (JobId::new(Uuid::nil()), Timestamp::from_micros(1));
        let publishing = intake().publish(job, now).expect("allowed");
        let published = publishing.clone().finish(now).expect("allowed");
        let failed = publishing.clone().fail("why".to_owned(), now).expect("allowed");
        assert_eq!(failed.state.job(), Some(job));
        // The state, and whether it may publish, finish and fail.
        let table = [
            (intake(), [true, false, true]),
            (publishing, [false, true, true]),
            (published, [false, false, false]),
            (failed, [false, false, false]),
        ];
        for (intake, allowed) in table {
            let actual = [
                intake.clone().publish(job, now).is_ok(),
                intake.clone().finish(now).is_ok(),
                intake.clone().fail("why".to_owned(), now).is_ok(),
            ];
            assert_eq!(actual, allowed, "{:?}", intake.state);
        }
    }
}
