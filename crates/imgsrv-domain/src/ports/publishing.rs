//! Publish jobs, and the inspection results and warnings of their steps, in the catalog.

use super::CatalogError;
use crate::{
    digest::Digest,
    ids::{ArtifactId, JobId, VersionId},
    inspection::{Inspection, Warning},
    packages::PackageList,
    page::{Page, PageRequest},
    publish::{JobFilter, PublishJob},
    time::Timestamp,
};
use async_trait::async_trait;

/// Publish jobs.
#[async_trait]
pub trait JobRepo: Send {
    /// The job with that id, locked.
    async fn lock_job(&mut self, id: JobId) -> Result<Option<PublishJob>, CatalogError>;
    /// The job of a version that is not abandoned.
    async fn get_live_job(&mut self, version: VersionId) -> Result<Option<PublishJob>, CatalogError>;
    /// Stores a new job, else [`Conflict::LiveJob`](super::Conflict::LiveJob).
    async fn insert_job(&mut self, job: &PublishJob) -> Result<(), CatalogError>;
    /// Stores `job` with its steps if its revision is current, else
    /// [`Conflict::StaleRevision`](super::Conflict::StaleRevision).
    async fn update_job(&mut self, job: &PublishJob) -> Result<(), CatalogError>;
}

/// Inspection results and warnings. They change only while their version is publishing.
#[async_trait]
pub trait InspectionRepo: Send {
    /// Records the inspection result of an artifact.
    async fn insert_inspection(
        &mut self,
        version: VersionId,
        artifact: ArtifactId,
        inspection: &Inspection,
    ) -> Result<(), CatalogError>;
    /// Deletes the inspection results of a version.
    async fn delete_inspections(&mut self, version: VersionId) -> Result<(), CatalogError>;
    /// Records the packages that the file with that digest lists, unless they are recorded. They are deleted with its blob.
    async fn insert_package_list(&mut self, digest: Digest, list: &PackageList) -> Result<(), CatalogError>;
    /// Records the warnings of one step, all of them at once.
    async fn insert_warnings(&mut self, version: VersionId, warnings: &[Warning]) -> Result<(), CatalogError>;
    /// Deletes the warnings of a version.
    async fn delete_warnings(&mut self, version: VersionId) -> Result<(), CatalogError>;
}

/// The item of a publish job in the work queue; the default is that of a job without one, as of a job that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobWork {
    /// When the item is due, while it waits; absent while a worker has leased it, and if it is parked.
    pub next_attempt_at: Option<Timestamp>,
    /// Why the last attempt ended early, or why the item is parked.
    pub error: Option<String>,
    /// Whether it is parked.
    pub is_parked: bool,
}

/// A publish job, its item in the work queue, and the warnings of its steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobReport {
    /// The job.
    pub job: PublishJob,
    /// Its item in the work queue.
    pub work: JobWork,
    /// The warnings, by step.
    pub warnings: Vec<Warning>,
}

/// Reads of publish jobs.
#[async_trait]
pub trait JobQueries: Send + Sync {
    /// The job with that id, and the warnings of its steps.
    async fn get_job(&self, id: JobId) -> Result<Option<JobReport>, CatalogError>;
    /// Jobs, newest first.
    async fn list_jobs(&self, filter: &JobFilter, page: &PageRequest) -> Result<Page<JobReport>, CatalogError>;
}
