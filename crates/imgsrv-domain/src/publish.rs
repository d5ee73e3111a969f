//! Publish jobs: the durable steps that take a frozen version to `published`.

use crate::{
    audit::{AuditAction, Event},
    ids::{JobId, VersionId},
    lease::{LeaseKey, LeaseLost, NotAcquirable, Queued, Running, WorkerId},
    names::{ImageName, VersionName, words},
    time::Timestamp,
    transition::{IllegalTransition, Machine, Revision},
    version::Version,
};
use std::{ops::Deref, time::Duration};

/// How long a step is tried again after failures of the infrastructure before it fails.
pub const STEP_RETRY_LIMIT: Duration = Duration::from_mins(15);

words! {
    /// A step of publishing. Jobs run them in the order of declaration.
    StepName: "a publish step" {
        /// Every digest that the manifest names is a trusted blob of the declared size, and no qcow2 is unsafe.
        ValidateCatalog = "validate_catalog",
        /// Whatever Simple Streams are to list is found out; never fails for what is in the manifest.
        IncusIndex = "incus_index",
        /// The version becomes published.
        FinalizePublish = "finalize_publish",
    }
}

impl StepName {
    /// Whether the job fails when the step does.
    pub const fn is_blocking(self) -> bool {
        match self {
            Self::ValidateCatalog | Self::IncusIndex | Self::FinalizePublish => true,
        }
    }
}

/// How far a step has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepState {
    /// It waits for its turn.
    Queued,
    /// A worker runs it.
    Running,
    /// It is done and never runs again.
    Succeeded,
    /// It failed.
    Failed {
        /// Why, for the client.
        reason: String,
    },
    /// It was not needed.
    Skipped {
        /// Why, for the client.
        reason: String,
    },
}

impl StepState {
    /// Every state as clients see it.
    pub const NAMES: [&str; 5] = ["queued", "running", "succeeded", "failed", "skipped"];

    /// The state as clients see it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
        }
    }

    /// Why it failed or was skipped.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Failed { reason } | Self::Skipped { reason } => Some(reason),
            Self::Queued | Self::Running | Self::Succeeded => None,
        }
    }
}

/// One step of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub name: StepName,
    /// How far it has come.
    pub state: StepState,
    /// How often it was started.
    pub attempts: u32,
    /// When it was last started.
    pub started_at: Option<Timestamp>,
    /// When it came to its end.
    pub finished_at: Option<Timestamp>,
}

/// How far a job has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// It waits for a worker.
    Queued(Queued),
    /// A worker runs its current step.
    Running(Running),
    /// The version is published.
    Succeeded,
    /// A blocking step failed; it may be retried or abandoned.
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
    /// Its identity.
    pub id: JobId,
    /// The version it publishes.
    pub version_id: VersionId,
    /// The name of the version's image.
    pub image: ImageName,
    /// The name of the version.
    pub version: VersionName,
    /// How far it has come.
    pub state: JobState,
    /// Its steps in order.
    pub steps: Vec<Step>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When a worker first took it up.
    pub started_at: Option<Timestamp>,
    /// When it came to its end.
    pub finished_at: Option<Timestamp>,
    /// Counts its changes.
    pub revision: Revision,
}

/// A job; its record can be read but changes only by the transitions below.
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
        let step = |name: &StepName| Step {
            name: *name,
            state: StepState::Queued,
            attempts: 0,
            started_at: None,
            finished_at: None,
        };
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
            finished_at: None,
            revision: Revision::FIRST,
        })
    }

    /// A job as a catalog stored it.
    pub const fn restore(record: JobRecord) -> Self {
        Self(record)
    }

    /// The step that runs or runs next; none when all are done.
    pub fn current_step(&self) -> Option<&Step> {
        self.current().map(|at| &self.steps[at])
    }

    /// The first blocking step that failed.
    pub fn failed_step(&self) -> Option<&Step> {
        self.steps.iter().find(|step| step.name.is_blocking() && matches!(step.state, StepState::Failed { .. }))
    }

    /// Gives the job to `owner` for `term`; its current step starts.
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

    /// Holds the job for another `term`.
    #[must_use = "a transition counts once stored"]
    pub fn renew(mut self, key: &LeaseKey, now: Timestamp, term: Duration) -> Result<Self, LeaseLost> {
        let running = self.held(key)?.renew(key, now, term)?;
        self.0.state = JobState::Running(running);
        Ok(self)
    }

    /// The current step is done. The next one starts under the same lease, or the job has succeeded.
    #[must_use = "a transition counts once stored"]
    pub fn step_succeeded(self, key: &LeaseKey, now: Timestamp) -> Result<Self, LeaseLost> {
        let running = self.held(key)?;
        let mut job = self.end_current(StepState::Succeeded, now);
        if job.current().is_none() {
            job.0.finished_at = Some(now);
            return Ok(job.into_state(JobState::Succeeded, now));
        }
        job.start_current(now);
        Ok(job.into_state(JobState::Running(running), now))
    }

    /// The current step failed for good, and the job with it.
    #[must_use = "a transition counts once stored"]
    pub fn step_failed(self, key: &LeaseKey, reason: String, now: Timestamp) -> Result<(Self, Event), LeaseLost> {
        self.held(key)?;
        let event = Event::new(AuditAction::JobFailed, self.id).with(&reason);
        let mut job = self.end_current(StepState::Failed { reason }, now);
        job.0.finished_at = Some(now);
        Ok((job.into_state(JobState::Failed, now), event))
    }

    /// The infrastructure failed: the current step is tried again after `delay`, until
    /// [`STEP_RETRY_LIMIT`] has run out since it first failed so.
    #[must_use = "a transition counts once stored"]
    pub fn postpone(self, key: &LeaseKey, delay: Duration, now: Timestamp) -> Result<(Self, Option<Event>), LeaseLost> {
        let (queued, failing) = self.held(key)?.postpone(key, delay, now)?;
        if failing >= STEP_RETRY_LIMIT {
            let reason = "the catalog or the storage could not be reached for 15 minutes".to_owned();
            return self.step_failed(key, reason, now).map(|(job, event)| (job, Some(event)));
        }
        Ok((self.requeue(queued, now), None))
    }

    /// The worker is stopping: another may go on at once.
    #[must_use = "a transition counts once stored"]
    pub fn release(self, key: &LeaseKey, now: Timestamp) -> Result<Self, LeaseLost> {
        let queued = self.held(key)?.release(key, now)?;
        Ok(self.requeue(queued, now))
    }

    fn requeue(mut self, queued: Queued, now: Timestamp) -> Self {
        if let Some(at) = self.current() {
            self.0.steps[at].state = StepState::Queued;
        }
        self.into_state(JobState::Queued(queued), now)
    }

    /// Queues a failed job again, from the first blocking step that failed.
    #[must_use = "a transition counts once stored"]
    pub fn retry(mut self, now: Timestamp) -> Result<(Self, Event), IllegalTransition> {
        match self.state {
            JobState::Failed => {
                if let Some(at) = self.current() {
                    let step = &mut self.0.steps[at];
                    step.state = StepState::Queued;
                    step.finished_at = None;
                }
                self.0.finished_at = None;
                let event = Event::new(AuditAction::JobRetried, self.id);
                let attempts = self.steps.iter().map(|step| step.attempts).sum();
                let queued = Queued { attempts, ..Queued::fresh(now) };
                Ok((self.into_state(JobState::Queued(queued), now), event))
            }
            JobState::Queued(_) | JobState::Running(_) | JobState::Succeeded | JobState::Abandoned => {
                Err(self.illegal("retry"))
            }
        }
    }

    /// Gives a failed job up, so that its version can become a draft again.
    #[must_use = "a transition counts once stored"]
    pub fn abandon(self, now: Timestamp) -> Result<(Self, Event), IllegalTransition> {
        match self.state {
            JobState::Failed => {
                let event = Event::new(AuditAction::JobAbandoned, self.id);
                Ok((self.into_state(JobState::Abandoned, now), event))
            }
            JobState::Queued(_) | JobState::Running(_) | JobState::Succeeded | JobState::Abandoned => {
                Err(self.illegal("abandon"))
            }
        }
    }

    /// The first step that is neither done nor skipped.
    fn current(&self) -> Option<usize> {
        self.steps.iter().position(|step| match step.state {
            StepState::Queued | StepState::Running => true,
            StepState::Failed { .. } => step.name.is_blocking(),
            StepState::Succeeded | StepState::Skipped { .. } => false,
        })
    }

    fn start_current(&mut self, now: Timestamp) {
        if let Some(at) = self.current() {
            let step = &mut self.0.steps[at];
            step.state = StepState::Running;
            step.attempts = step.attempts.saturating_add(1);
            step.started_at = Some(now);
            step.finished_at = None;
        }
    }

    fn end_current(mut self, state: StepState, now: Timestamp) -> Self {
        if let Some(at) = self.current() {
            let step = &mut self.0.steps[at];
            step.state = state;
            step.finished_at = Some(now);
        }
        self
    }

    fn held(&self, key: &LeaseKey) -> Result<Running, LeaseLost> {
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

    fn illegal(&self, action: &'static str) -> IllegalTransition {
        IllegalTransition { action, subject: Machine::PublishJob, state: self.state.name() }
    }
}
