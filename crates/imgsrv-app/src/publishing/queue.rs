//! Queueing publish jobs.

use imgsrv_domain::{
    ports::{CatalogError, CatalogTx},
    publish::PublishJob,
    work::WorkName,
};

/// Stores a new job and queues it.
pub(crate) async fn enqueue(tx: &mut dyn CatalogTx, job: &PublishJob) -> Result<(), CatalogError> {
    tx.insert_job(job).await?;
    tx.enqueue_work(WorkName::publish(job.id)).await
}
