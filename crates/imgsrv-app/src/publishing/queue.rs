//! Queueing publish jobs.

use crate::{
    context::Context,
    work::queued::{self, Queued},
};
use imgsrv_domain::{
    ports::{CatalogError, CatalogTx},
    publish::PublishJob,
    work::WorkName,
};

/// Stores a new job and queues it; it is stored as running if it is queued here.
pub(crate) async fn queue(context: &Context, tx: &mut dyn CatalogTx, job: PublishJob) -> Result<Queued, CatalogError> {
    let work = queued::queue(context, tx, WorkName::publish(job.id)).await?;
    let started = work.is_here().then(|| job.clone().start(tx.now()));
    tx.insert_job(&started.and_then(Result::ok).unwrap_or(job)).await?;
    Ok(work)
}
