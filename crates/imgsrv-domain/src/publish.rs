//! Publish jobs: the durable steps that take a frozen version to `published`.

use crate::{
    audit::{AuditAction, Event},
    ids::{JobId, VersionId},
    lease::{LeaseKey, LeaseLost, NotAcquirable, Queued, Running, WorkerId},
    names::{ImageName, VersionName, string_enum},
    time::Timestamp,
    transition::{IllegalTransition, Machine, Revision},
    version::Version,
};
use std::{ops::Deref, time::Duration};

/// How long transient errors may keep a step from succeeding, counted from the first of them, before it fails.
pub const STEP_RETRY_LIMIT: Duration = Duration::from_mins(15);

string_enum! {
    /// A step of publishing. Jobs run them in the order of declaration, and fail when one fails.
    StepName: "a publish step" {
        /// Checks that every digest of the manifest is a trusted blob of the declared size, and that no qcow2 is unsafe.
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

/// The state of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// It waits for a worker.
    Queued(Queued),
    /// A worker runs its current step.
    Running(Running),
    /// The version is published.
    Succeeded,
    /// A step failed; the job may be retried or abandoned.
    Failed,
    /// Given up; the version is a draft again.
    Abandoned,
}

impl JobState {
    /// Every state as clients see it.
    pub const NAMES: [&str; 5] = ["queued", "running", "succeeded", "failed", "abandoned"];

    /// The state as clients see it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Queued(_) => "queued",
            Self::Running(_) => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
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
#[error("the steps disagree with the state of the job")]
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
    /// A job for a version that was just frozen, due at once.
    pub fn enqueue(id: JobId, version: &Version, now: Timestamp) -> Self {
        let step = |name: &StepName| Step { name: *name, state: StepState::Queued { started_at: None }, attempts: 0 };
        Self(JobRecord {
            id,
            version_id: version.id,
            image: version.image.clone(),
            version: version.name.clone(),
            state: JobState::Queued(Queued::fresh(now)),
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
            (JobState::Queued(_), _) => matches!(current, Some(StepState::Queued { .. })),
            (JobState::Running(_), Some(_)) => matches!(current, Some(StepState::Running { .. })),
            (JobState::Succeeded, Some(_)) => current.is_none(),
            (JobState::Failed | JobState::Abandoned, Some(_)) => matches!(current, Some(StepState::Failed { .. })),
            (JobState::Running(_) | JobState::Succeeded | JobState::Failed | JobState::Abandoned, None) => false,
        };
        let rest_waits = unfinished.all(|step| step.attempts == 0);
        if is_complete && agrees && rest_waits { Ok(job) } else { Err(InconsistentJob) }
    }

    /// The step that runs or runs next; absent when all have succeeded.
    pub fn current_step(&self) -> Option<&Step> {
        self.steps.iter().find(|step| !step.state.has_succeeded())
    }

    /// The step that failed.
    pub fn failed_step(&self) -> Option<&Step> {
        self.steps.iter().find(|step| matches!(step.state, StepState::Failed { .. }))
    }

    /// When the job succeeded or failed.
    pub fn finished_at(&self) -> Option<Timestamp> {
        match self.state {
            JobState::Queued(_) | JobState::Running(_) => None,
            JobState::Succeeded | JobState::Failed | JobState::Abandoned => {
                self.steps.iter().rev().find_map(|step| step.state.finished_at())
            }
        }
    }

    /// Leases the job to `owner` for `term`, if it is due or its lease has expired; its current step starts.
    #[must_use = "a transition counts once stored"]
    pub fn acquire(
        mut self,
        owner: &WorkerId,
        now: Timestamp,
        term: Duration,
    ) -> Result<(Self, LeaseKey), NotAcquirable> {
        let running = match &self.state {
            JobState::Queued(queued) => queued.clone().acquire(owner, now, term)?,
            JobState::Running(running) => running.clone().reacquire(owner, now, term)?,
            JobState::Succeeded | JobState::Failed | JobState::Abandoned => return Err(NotAcquirable),
        };
        let key = running.key.clone();
        self.0.started_at = self.0.started_at.or(Some(now));
        self.start_current(now);
        Ok((self.into_state(JobState::Running(running), now), key))
    }

    /// Extends the lease to `term` from `now`.
    #[must_use = "a transition counts once stored"]
    pub fn renew(mut self, key: &LeaseKey, now: Timestamp, term: Duration) -> Result<Self, LeaseLost> {
        let running = self.leased(key)?.renew(key, now, term)?;
        self.0.state = JobState::Running(running);
        Ok(self)
    }

    /// Ends the current step. The next one starts under the same lease, or the job has succeeded.
    #[must_use = "a transition counts once stored"]
    pub fn step_succeeded(mut self, key: &LeaseKey, now: Timestamp) -> Result<Self, LeaseLost> {
        let running = self.leased(key)?;
        self.end_current(now, |started_at| StepState::Succeeded { started_at, finished_at: now });
        if self.current_step().is_none() {
            return Ok(self.into_state(JobState::Succeeded, now));
        }
        self.start_current(now);
        Ok(self.into_state(JobState::Running(running), now))
    }

    /// Fails the current step with a permanent error, and the job with it.
    #[must_use = "a transition counts once stored"]
    pub fn step_failed(mut self, key: &LeaseKey, reason: String, now: Timestamp) -> Result<(Self, Event), LeaseLost> {
        self.leased(key)?;
        let event = Event::new(AuditAction::JobFailed, self.id).with(&reason);
        self.end_current(now, |started_at| StepState::Failed { started_at, finished_at: now, reason });
        Ok((self.into_state(JobState::Failed, now), event))
    }

    /// Postpones the current step by `delay` after a transient error. Fails it instead, which is the event, once every
    /// attempt has failed so for [`STEP_RETRY_LIMIT`].
    #[must_use = "a transition counts once stored"]
    pub fn postpone(self, key: &LeaseKey, delay: Duration, now: Timestamp) -> Result<(Self, Option<Event>), LeaseLost> {
        let (queued, failing) = self.leased(key)?.postpone(key, delay, now)?;
        if failing >= STEP_RETRY_LIMIT {
            let reason = "the catalog or the storage could not be reached for 15 minutes".to_owned();
            return self.step_failed(key, reason, now).map(|(job, event)| (job, Some(event)));
        }
        Ok((self.requeue(queued, now), None))
    }

    /// Releases the lease of a worker that is stopping; another one may acquire the job at once.
    #[must_use = "a transition counts once stored"]
    pub fn release(self, key: &LeaseKey, now: Timestamp) -> Result<Self, LeaseLost> {
        let queued = self.leased(key)?.release(key, now)?;
        Ok(self.requeue(queued, now))
    }

    /// Queues a failed job again, from the step that failed.
    #[must_use = "a transition counts once stored"]
    pub fn retry(self, now: Timestamp) -> Result<(Self, Event), IllegalTransition> {
        self.require_failed("retry")?;
        let event = Event::new(AuditAction::JobRetried, self.id);
        let attempts = self.steps.iter().map(|step| step.attempts).sum();
        let queued = Queued { attempts, ..Queued::fresh(now) };
        Ok((self.requeue(queued, now), event))
    }

    /// Gives a failed job up, so that its version can become a draft again.
    #[must_use = "a transition counts once stored"]
    pub fn abandon(self, now: Timestamp) -> Result<(Self, Event), IllegalTransition> {
        self.require_failed("abandon")?;
        let event = Event::new(AuditAction::JobAbandoned, self.id);
        Ok((self.into_state(JobState::Abandoned, now), event))
    }

    fn require_failed(&self, action: &'static str) -> Result<(), IllegalTransition> {
        match self.state {
            JobState::Failed => Ok(()),
            JobState::Queued(_) | JobState::Running(_) | JobState::Succeeded | JobState::Abandoned => {
                Err(IllegalTransition { action, subject: Machine::PublishJob, state: self.state.name() })
            }
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

    fn requeue(mut self, queued: Queued, now: Timestamp) -> Self {
        if let Some(step) = self.current_mut() {
            step.state = StepState::Queued { started_at: step.state.started_at() };
        }
        self.into_state(JobState::Queued(queued), now)
    }

    /// The lease of `key`.
    fn leased(&self, key: &LeaseKey) -> Result<Running, LeaseLost> {
        match &self.state {
            JobState::Running(running) => running.check(key).map(|()| running.clone()),
            JobState::Queued(_) | JobState::Succeeded | JobState::Failed | JobState::Abandoned => Err(LeaseLost),
        }
    }

    fn into_state(mut self, state: JobState, now: Timestamp) -> Self {
        self.0.state = state;
        self.0.updated_at = now;
        self
    }
}
