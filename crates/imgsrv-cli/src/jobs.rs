//! `imgsrv jobs`.

use crate::{
    drafts::{Unpublished, unpublished},
    failure::Failure,
    options::Session,
    report::date,
    versions::describe_warnings,
};
use clap::Subcommand;
use imgsrv_client::{VersionFilter, api::PublishJob};

#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// List the versions whose publish job has not succeeded yet
    List {
        /// Image [default: all images]
        image: Option<String>,
    },
    /// Show the state and the steps of a publish job
    Show {
        /// Job id
        job: String,
        /// Wait until the job has ended; a failed job is exit code 3
        #[arg(long)]
        wait: bool,
    },
    /// Retry a failed job, and wait until it has ended
    Retry {
        /// Job id
        job: String,
    },
    /// Abandon a failed job: its version becomes a draft again
    Abandon {
        /// Job id
        job: String,
    },
}

pub(crate) async fn run(command: JobsCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    let job = match command {
        JobsCommand::List { image } => {
            let jobs = unpublished(client, image, &[VersionFilter::Publishing]).await?;
            return report.list("jobs", ["IMAGE", "VERSION", "STATE", "SINCE"], jobs, |job| {
                let Unpublished { image, version } = job;
                let since = date(&version.updated_at);
                [image, version.version, version.state, since]
            });
        }
        JobsCommand::Show { job, wait: false } => client.job(&job).await.map_err(about(&job))?,
        JobsCommand::Show { job, wait: true } => {
            client.wait_for_job(client.job(&job).await.map_err(about(&job))?).await?
        }
        JobsCommand::Retry { job } => client.wait_for_job(client.retry_job(&job).await.map_err(about(&job))?).await?,
        JobsCommand::Abandon { job } => client.abandon_job(&job).await.map_err(about(&job))?,
    };
    report.result(&describe(&job), &job)
}

fn about(job: &str) -> impl FnOnce(imgsrv_client::Error) -> Failure {
    Failure::about(format!("job {job}"))
}

fn describe(job: &PublishJob) -> String {
    let because = |reason: &Option<String>| reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let mut text = format!("{} {}: {}{}\n", job.image_name, job.version, job.state, because(&job.reason));
    for step in &job.steps {
        let attempts =
            if step.attempt_count > 1 { format!(" ({} attempts)", step.attempt_count) } else { String::new() };
        text += &format!("  {} {}{attempts}{}\n", step.name, step.state, because(&step.reason));
    }
    text + &describe_warnings(&job.warnings)
}
