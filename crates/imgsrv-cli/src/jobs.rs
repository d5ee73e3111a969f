//! `imgsrv jobs`.

use crate::{
    failure::Failure,
    options::Session,
    report::{Column, date},
    versions::describe_warnings,
};
use clap::Subcommand;
use futures::TryStreamExt;
use imgsrv_client::{JobState, api::PublishJob};
use imgsrv_domain::ids::JobId;

/// The states of jobs that have not succeeded, and that somebody may have to do something about.
const UNFINISHED: &[JobState] = &[JobState::Failed, JobState::Running, JobState::Queued];

#[derive(Debug, Subcommand)]
pub enum JobsCommand {
    /// List publish jobs that have not succeeded: first failed ones, then those whose attempts fail
    List {
        /// Image [default: all images]
        image: Option<String>,
        /// States to list, such as failed or queued,running
        #[arg(long, value_name = "STATE", value_delimiter = ',')]
        state: Vec<JobState>,
        /// List jobs in all states
        #[arg(long, conflicts_with = "state")]
        all: bool,
    },
    /// Show the state and the steps of a publish job
    Show {
        /// Id of the job
        #[arg(value_parser = job_id)]
        job: String,
        /// Wait until the job has ended; a failed job is exit code 3
        #[arg(long)]
        wait: bool,
    },
    /// Retry a failed job, and wait until it has ended
    Retry {
        /// Id of the job
        #[arg(value_parser = job_id)]
        job: String,
    },
    /// Abandon a failed job: its version becomes a draft again
    Abandon {
        /// Id of the job
        #[arg(value_parser = job_id)]
        job: String,
    },
}

pub(crate) async fn run(command: JobsCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    let job = match command {
        JobsCommand::List { image, state, all } => {
            let states = if !state.is_empty() || all { &*state } else { UNFINISHED };
            let mut jobs: Vec<PublishJob> = client.jobs(states, image.as_deref()).try_collect().await?;
            if let Some(image) = image.as_deref().filter(|_| jobs.is_empty()) {
                client.image(image).await.map_err(Failure::about(image))?;
            }
            jobs.sort_by_key(urgency);
            let head = [
                Column::id("ID"),
                Column::name("VERSION"),
                Column::text("STATE"),
                Column::time("SINCE"),
                Column::time("NEXT ATTEMPT"),
                Column::text("REASON"),
            ];
            return report.list("jobs", head, jobs, |job| {
                let version = format!("{}:{}", job.image_name, job.version);
                let next = job.next_attempt_at.as_deref().map(date).unwrap_or_default();
                let state = if job.parked { format!("{}, parked", job.state) } else { job.state };
                [job.id, version, state, date(&job.updated_at), next, job.reason.unwrap_or_default()]
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

/// Checks the id of a job.
fn job_id(raw: &str) -> Result<String, String> {
    let parsed = raw.parse::<JobId>();
    parsed.map(|id| id.to_string()).map_err(|_| "must be the id of a job; imgsrv jobs list shows them".to_owned())
}

/// The place of a job in a list: failed ones first, then those whose attempts fail, then others that have not ended.
fn urgency(job: &PublishJob) -> u8 {
    match job.state.parse() {
        Ok(JobState::Failed) => 0,
        Ok(JobState::Queued | JobState::Running) if job.reason.is_some() => 1,
        Ok(JobState::Queued | JobState::Running) => 2,
        Ok(JobState::Succeeded | JobState::Abandoned) | Err(_) => 3,
    }
}

fn about(job: &str) -> impl FnOnce(imgsrv_client::Error) -> Failure {
    Failure::about(format!("job {job}"))
}

fn describe(job: &PublishJob) -> String {
    let because = |reason: &Option<String>| reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let mut text = format!("{} {}: {}{}\n", job.image_name, job.version, job.state, because(&job.reason));
    if job.parked {
        text += "  parked until it is retried\n";
    }
    if let Some(time) = &job.next_attempt_at {
        text += &format!("  next attempt {}\n", date(time));
    }
    for step in &job.steps {
        let attempts =
            if step.attempt_count > 1 { format!(" ({} attempts)", step.attempt_count) } else { String::new() };
        text += &format!("  {} {}{attempts}{}\n", step.name, step.state, because(&step.reason));
    }
    text + &describe_warnings(&job.warnings)
}
