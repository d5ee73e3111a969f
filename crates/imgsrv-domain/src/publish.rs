//! Publish jobs: the durable steps that take a frozen version to `published`.

use crate::{
    audit::{AuditAction, Event},
    ids::{JobId, VersionId},
    names::{ImageName, VersionName, string_enum},
    time::Timestamp,
    transition::{IllegalTransition, Machine, Revision},
    version::Version,
};
use std::{collections::BTreeSet, ops::Deref};

string_enum! {
    /// A step of publishing. Jobs run them in the order of declaration, and fail when one fails.
    StepName: "a publish step" {
        /// Checks that every digest of the manifest is a trusted blob of the declared size, and that disk images stand alone.
        ValidateCatalog = "validate_catalog",
        /// Computes what Simple Streams will list. Faults in metadata become warnings, never a failure.
        IncusIndex = "incus_index",
        /// Publishes the version.
        FinalizePublish = "finalize_publish",
    }
}

/// The state of a step, with the times that exist in that state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepState {
    /// It waits for its turn or for another attempt.
    Queued {
        /// When its last attempt started; absent before the first one.
        started_at: Option<Timestamp>,
    },
    /// A worker runs it.
    Running {
        /// When this attempt started.
        started_at: Timestamp,
    },
    /// It is done and never runs again.
    Succeeded {
        /// When its last attempt started.
        started_at: Timestamp,
        /// When it succeeded.
        finished_at: Timestamp,
    },
    /// It failed, and its job with it.
    Failed {
        /// When its last attempt started.
        started_at: Timestamp,
        /// When it failed.
        finished_at: Timestamp,
        /// Why, for the client.
        reason: String,
    },
}

impl StepState {
    /// The state as clients see it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Queued { .. } => "queued",
            Self::Running { .. } => "running",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
        }
    }

    /// When the last attempt started.
    pub const fn started_at(&self) -> Option<Timestamp> {
        match self {
            Self::Queued { started_at } => *started_at,
            Self::Running { started_at } | Self::Succeeded { started_at, .. } | Self::Failed { started_at, .. } => {
                Some(*started_at)
            }
        }
    }

    /// When the step succeeded or failed.
    pub const fn finished_at(&self) -> Option<Timestamp> {
        match self {
            Self::Queued { .. } | Self::Running { .. } => None,
            Self::Succeeded { finished_at, .. } | Self::Failed { finished_at, .. } => Some(*finished_at),
        }
    }

    const fn has_succeeded(&self) -> bool {
        matches!(self, Self::Succeeded { .. })
    }

    /// Why the step failed.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed { reason, .. } => Some(reason),
            Self::Queued { .. } | Self::Running { .. } | Self::Succeeded { .. } => None,
        }
    }
}

/// One step of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which step it is.
    pub name: StepName,
    /// Its state.
    pub state: StepState,
    /// How many attempts have started.
    pub attempts: u32,
}

string_enum! {
    /// The state of a job.
    JobState: "queued, running, succeeded, failed or abandoned" {
        /// It waits for a worker.
        Queued = "queued",
        /// A worker runs its current step.
        Running = "running",
        /// The version is published.
        Succeeded = "succeeded",
        /// A step failed; the job may be retried or abandoned.
        Failed = "failed",
        /// Abandoned; the version is a draft again.
        Abandoned = "abandoned",
    }
}

/// The jobs that a list contains.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobFilter {
    /// Only jobs in one of these states; jobs in any state if empty.
    pub states: BTreeSet<JobState>,
    /// Only jobs of versions of the image with this name.
    pub image: Option<ImageName>,
}

/// What a catalog stores of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// The version it publishes.
    pub version_id: VersionId,
    /// The name of the image of that version.
    pub image: ImageName,
    /// The name of that version.
    pub version: VersionName,
    /// The state and its data.
    pub state: JobState,
    /// Every step, in order.
    pub steps: Vec<Step>,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// When its state or a step last changed.
    pub updated_at: Timestamp,
    /// When a worker first acquired it.
    pub started_at: Option<Timestamp>,
    /// Its revision.
    pub revision: Revision,
}

/// The steps of a stored job disagree with its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the steps do not match the state of the job")]
pub struct InconsistentJob;

/// A publish job. Its record can be read and changes only through the transitions below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishJob(JobRecord);

impl Deref for PublishJob {
    type Target = JobRecord;

    fn deref(&self) -> &JobRecord {
        &self.0
    }
}

impl PublishJob {
    /// A job for a version that was just frozen.
    pub fn enqueue(id: JobId, version: &Version, now: Timestamp) -> Self {
        let step = |name: &StepName| Step { name: *name, state: StepState::Queued { started_at: None }, attempts: 0 };
        Self(JobRecord {
            id,
            version_id: version.id,
            image: version.image.clone(),
            version: version.name.clone(),
            state: JobState::Queued,
            steps: StepName::ALL.iter().map(step).collect(),
            created_at: now,
            updated_at: now,
            started_at: None,
            revision: Revision::FIRST,
        })
    }

    /// A job as a catalog stored it: with every step, of which the current one agrees with the state of the job and
    /// later ones have not started.
    pub fn restore(record: JobRecord) -> Result<Self, InconsistentJob> {
        let job = Self(record);
        let is_complete = job.steps.iter().map(|step| &step.name).eq(StepName::ALL);
        let mut unfinished = job.steps.iter().skip_while(|step| step.state.has_succeeded());
        let current = unfinished.next().map(|step| &step.state);
        let agrees = match (&job.state, job.started_at) {
            (JobState::Queued, _) => matches!(current, Some(StepState::Queued { .. })),
            (JobState::Running, Some(_)) => matches!(current, Some(StepState::Running { .. })),
            (JobState::Succeeded, Some(_)) => current.is_none(),
            (JobState::Failed | JobState::Abandoned, Some(_)) => matches!(current, Some(StepState::Failed { .. })),
            (JobState::Running | JobState::Succeeded | JobState::Failed | JobState::Abandoned, None) => false,
        };
        let rest_waits = unfinished.all(|step| step.attempts == 0);
        if is_complete && agrees && rest_waits { Ok(job) } else { Err(InconsistentJob) }
    }

    /// The step that runs or runs next; absent when all have succeeded.
    pub fn current_step(&self) -> Option<&Step> {
        self.remaining_steps().next()
    }

    /// That step and those after it.
    pub fn remaining_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| !step.state.has_succeeded())
    }

    /// The step that failed.
    pub fn failed_step(&self) -> Option<&Step> {
        self.steps.iter().find(|step| matches!(step.state, StepState::Failed { .. }))
    }

    /// How many attempts have started at the step that runs, runs next or failed; at the last step if all succeeded.
    pub fn attempts(&self) -> u32 {
        self.current_step().or_else(|| self.steps.last()).map_or(0, |step| step.attempts)
    }

    /// When the job succeeded or failed.
    pub fn finished_at(&self) -> Option<Timestamp> {
        match self.state {
            JobState::Queued | JobState::Running => None,
            JobState::Succeeded | JobState::Failed | JobState::Abandoned => {
                self.steps.iter().rev().find_map(|step| step.state.finished_at())
            }
        }
    }

    /// Starts an attempt at the current step; an earlier one has ended without a word if the job is running.
    #[must_use = "a transition counts once stored"]
    pub fn start(mut self, now: Timestamp) -> Result<Self, IllegalTransition> {
        self.require_unfinished("run")?;
        self.0.started_at = self.0.started_at.or(Some(now));
        self.start_current(now);
        Ok(self.into_state(JobState::Running, now))
    }

    /// Ends the current step of a running job. The next one starts, or the job has succeeded.
    #[must_use = "a transition counts once stored"]
    pub fn step_succeeded(mut self, now: Timestamp) -> Result<Self, IllegalTransition> {
        if self.state != JobState::Running {
            return Err(self.illegal("end a step of"));
        }
        self.end_current(now, |started_at| StepState::Succeeded { started_at, finished_at: now });
        if self.current_step().is_none() {
            return Ok(self.into_state(JobState::Succeeded, now));
        }
        self.start_current(now);
        Ok(self.into_state(JobState::Running, now))
    }

    /// Fails the current step permanently, and the job with it.
    #[must_use = "a transition counts once stored"]
    pub fn step_failed(mut self, reason: String, now: Timestamp) -> Result<(Self, Event), IllegalTransition> {
        self.require_unfinished("fail")?;
        let event = Event::new(AuditAction::JobFailed, self.id).with(&reason);
        self.0.started_at = self.0.started_at.or(Some(now));
        self.end_current(now, |started_at| StepState::Failed { started_at, finished_at: now, reason });
        Ok((self.into_state(JobState::Failed, now), event))
    }

    /// Makes the current step wait again, after an attempt that has ended early.
    #[must_use = "a transition counts once stored"]
    pub fn requeue(self, now: Timestamp) -> Result<Self, IllegalTransition> {
        self.require_unfinished("requeue")?;
        Ok(self.queued(now))
    }

    /// Makes a job wait again whose first attempt was recorded as started and was not begun.
    #[must_use = "a transition counts once stored"]
    pub fn withdraw(mut self, now: Timestamp) -> Result<Self, IllegalTransition> {
        self.require_unfinished("withdraw")?;
        if let Some(step) = self.current_mut() {
            step.state = StepState::Queued { started_at: None };
            step.attempts = 0;
        }
        self.0.started_at = None;
        Ok(self.into_state(JobState::Queued, now))
    }

    /// Queues a failed job again, from the step that failed.
    #[must_use = "a transition counts once stored"]
    pub fn retry(self, now: Timestamp) -> Result<(Self, Event), IllegalTransition> {
        self.require_failed("retry")?;
        let event = Event::new(AuditAction::JobRetried, self.id);
        Ok((self.queued(now), event))
    }

    /// Gives a failed job up, so that its version can become a draft again.
    #[must_use = "a transition counts once stored"]
    pub fn abandon(self, now: Timestamp) -> Result<(Self, Event), IllegalTransition> {
        self.require_failed("abandon")?;
        let event = Event::new(AuditAction::JobAbandoned, self.id);
        Ok((self.into_state(JobState::Abandoned, now), event))
    }

    fn require_unfinished(&self, action: &'static str) -> Result<(), IllegalTransition> {
        match self.state {
            JobState::Queued | JobState::Running => Ok(()),
            JobState::Succeeded | JobState::Failed | JobState::Abandoned => Err(self.illegal(action)),
        }
    }

    fn require_failed(&self, action: &'static str) -> Result<(), IllegalTransition> {
        match self.state {
            JobState::Failed => Ok(()),
            JobState::Queued | JobState::Running | JobState::Succeeded | JobState::Abandoned => {
                Err(self.illegal(action))
            }
        }
    }

    fn illegal(&self, action: &'static str) -> IllegalTransition {
        IllegalTransition {
            action,
            subject: Machine::PublishJob,
            name: self.id.to_string(),
            state: self.state.as_str(),
        }
    }

    fn current_mut(&mut self) -> Option<&mut Step> {
        self.0.steps.iter_mut().find(|step| !step.state.has_succeeded())
    }

    fn start_current(&mut self, now: Timestamp) {
        if let Some(step) = self.current_mut() {
            step.state = StepState::Running { started_at: now };
            step.attempts = step.attempts.saturating_add(1);
        }
    }

    fn end_current(&mut self, now: Timestamp, ended: impl FnOnce(Timestamp) -> StepState) {
        if let Some(step) = self.current_mut() {
            step.state = ended(step.state.started_at().unwrap_or(now));
        }
    }

    fn queued(mut self, now: Timestamp) -> Self {
        if let Some(step) = self.current_mut() {
            step.state = StepState::Queued { started_at: step.state.started_at() };
        }
        self.into_state(JobState::Queued, now)
    }

    fn into_state(mut self, state: JobState, now: Timestamp) -> Self {
        self.0.state = state;
        self.0.updated_at = now;
        self
    }
}
