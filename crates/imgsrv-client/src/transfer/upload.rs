//! Uploads of a source: from an upload session, new or resumed, to a trusted blob.

use super::{
    Blob,
    part_plan::PartPlan,
    progress::{Observer, Progress, Stage, no_observer},
    source::{Snapshot, Source},
};
use crate::{
    client::Client,
    error::{Error, unless},
    retry::PollDelays,
};
use futures::TryStreamExt;
use imgsrv_api::{CompleteUpload, CreateUpload, ListedPart, PartSummary, ProblemCode, UploadSession};
use imgsrv_domain::{digest::BlobClaim, text::ShortText};
use std::{iter, sync::Arc};

/// Parts that are sent in parallel by default, at most.
pub(crate) const DEFAULT_PARALLEL: usize = 4;
/// Sessions that are tried: another client may abort one, or break one that it shares with this one.
const MAX_SESSIONS: usize = 3;
/// Completions of one session that are tried: another client may replace parts between the listing and the completion.
const MAX_COMPLETIONS: usize = 3;

/// An upload that has not started; made by [`Client::upload`].
#[must_use = "nothing is sent before `send`"]
pub struct Upload {
    pub(super) client: Client,
    pub(super) source: Source,
    pub(super) max_parallel: usize,
    pub(super) observer: Observer,
    part_bytes: Option<u64>,
    media_type: Option<String>,
    file_name: Option<String>,
}

impl Client {
    /// Uploads a file or bytes, and waits until the server has verified them.
    ///
    /// Repeat it after any interruption, on any machine: it resumes a session of the same principal, and returns at once
    /// if the server has a trusted blob with the same digest.
    pub fn upload(&self, source: impl Into<Source>) -> Upload {
        Upload {
            client: self.clone(),
            source: source.into(),
            max_parallel: DEFAULT_PARALLEL,
            observer: no_observer(),
            part_bytes: None,
            media_type: None,
            file_name: None,
        }
    }
}

/// How the use of one session ended.
enum Outcome {
    /// The digest is a trusted blob.
    Stored,
    /// The session cannot become a blob; another one may.
    Unusable(Error),
}

/// A session that can be filled.
pub(super) struct Session {
    pub(super) id: String,
    pub(super) plan: PartPlan,
    pub(super) stored: Vec<PartSummary>,
}

impl Upload {
    /// Sends parts of this size; they are larger if the server would not allow so many.
    pub fn part_bytes(self, bytes: u64) -> Self {
        Self { part_bytes: Some(bytes.max(1)), ..self }
    }

    /// Sends at most so many parts in parallel, at least one. It is more than one where a single connection is slow.
    pub fn parallel(self, parts: usize) -> Self {
        Self { max_parallel: parts.max(1), ..self }
    }

    /// Calls `observer` with the progress; often, so it should be quick.
    pub fn on_progress(self, observer: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self { observer: Arc::new(observer), ..self }
    }

    /// The media type, for people who look at upload sessions.
    pub fn media_type(self, media_type: impl Into<String>) -> Self {
        Self { media_type: Some(media_type.into()), ..self }
    }

    /// The file name, for people who look at upload sessions.
    pub fn file_name(self, name: impl Into<String>) -> Self {
        Self { file_name: Some(name.into()), ..self }
    }

    /// Computes the digest, sends what the server lacks, and returns once the bytes are a trusted blob.
    pub async fn send(self) -> Result<Blob, Error> {
        let snapshot = self.source.snapshot().await?;
        let BlobClaim { digest, size } = self.source.hash(snapshot, self.observer.clone()).await?;
        let blob = |already_stored| Blob { digest, size, already_stored };
        let new = CreateUpload {
            expected_digest: digest.to_string(),
            expected_size_bytes: size.signed(),
            media_type_hint: self.media_type.clone(),
            // The server refuses a hint that is not a short text.
            filename_hint: self.file_name.clone().filter(|name| name.parse::<ShortText>().is_ok()),
        };
        let mut tries = 0;
        loop {
            // A resumed session may be shared with a client that breaks it: then a new one is opened.
            let resumed = if tries == 0 { self.resumable(&new, snapshot).await? } else { None };
            let session = match resumed {
                Some(session) => session,
                None => {
                    let UploadSession { id, state, .. } = self.client.create_upload(&new).await?;
                    if state == "ready" {
                        return Ok(blob(true));
                    }
                    let plan = PartPlan::new(snapshot.size.get(), self.part_bytes);
                    Session { id, plan, stored: Vec::new() }
                }
            };
            tries += 1;
            match self.fill(session, snapshot).await? {
                Outcome::Stored => return Ok(blob(false)),
                Outcome::Unusable(error) if tries >= MAX_SESSIONS => return Err(error),
                Outcome::Unusable(_) => self.source.check_unchanged(snapshot).await?,
            }
        }
    }

    /// A session of an earlier run whose parts are of this upload.
    async fn resumable(&self, new: &CreateUpload, snapshot: Snapshot) -> Result<Option<Session>, Error> {
        let mut open = self.client.open_uploads(Some(&new.expected_digest));
        while let Some(session) = open.try_next().await? {
            if session.expected_size_bytes != new.expected_size_bytes {
                continue;
            }
            let stored: Vec<PartSummary> = self.client.upload_parts(&session.id).try_collect().await?;
            // The first part has the size that all but the last one have.
            let first = stored.first().filter(|part| part.part_number == 1);
            let theirs = first.and_then(|part| u64::try_from(part.size_bytes).ok());
            let part_sizes = iter::once(self.part_bytes).chain(theirs.map(Some));
            let mut plans = part_sizes.map(|part_bytes| PartPlan::new(snapshot.size.get(), part_bytes));
            if let Some(plan) = plans.find(|plan| plan.matches(&stored)) {
                return Ok(Some(Session { id: session.id, plan, stored }));
            }
        }
        Ok(None)
    }

    /// Sends the missing parts of a session, completes it and waits until it is ingested.
    async fn fill(&self, mut session: Session, snapshot: Snapshot) -> Result<Outcome, Error> {
        let mut tries = 0;
        loop {
            let Session { id, plan, .. } = &session;
            if let Err(error) = self.send_parts(&session, snapshot).await {
                return self.after_refusal(id, error, snapshot).await;
            }
            self.source.check_unchanged(snapshot).await?;
            // The server's list, since another client may have sent some of the same parts.
            let stored: Vec<PartSummary> = self.client.upload_parts(id).try_collect().await?;
            let listed = |part: &PartSummary| ListedPart {
                number: part.part_number.into(),
                etag: part.etag.clone(),
                size_bytes: part.size_bytes,
            };
            let parts = CompleteUpload { parts: stored.iter().map(listed).collect() };
            let Err(error) = self.client.complete_upload(id, &parts).await else {
                return self.wait_for_ingest(id, snapshot).await;
            };
            if error.code() != Some(ProblemCode::PartListMismatch) {
                return self.after_refusal(id, error, snapshot).await;
            }
            tries += 1;
            if tries >= MAX_COMPLETIONS || !plan.matches(&stored) {
                return Ok(Outcome::Unusable(error));
            }
            session.stored = stored;
        }
    }

    /// What a refusal means for the session: another client may have completed it, or it may have ended.
    async fn after_refusal(&self, session: &str, error: Error, snapshot: Snapshot) -> Result<Outcome, Error> {
        let is_about_state =
            matches!(error.code(), Some(ProblemCode::UploadState | ProblemCode::UploadExpired | ProblemCode::NotFound));
        if !is_about_state {
            return Err(error);
        }
        match unless(ProblemCode::NotFound, self.client.upload_session(session).await)? {
            Some(session) if matches!(session.state.as_str(), "completed" | "ingesting" | "ready") => {
                self.wait_for_ingest(&session.id, snapshot).await
            }
            _ => Ok(Outcome::Unusable(error)),
        }
    }

    /// Waits until the server has ingested a completed session.
    async fn wait_for_ingest(&self, session: &str, snapshot: Snapshot) -> Result<Outcome, Error> {
        let mut delays = PollDelays::new();
        let size = snapshot.size.get();
        loop {
            (self.observer)(Progress { stage: Stage::Verifying, done: size, total: size });
            let UploadSession { state, failure_reason, .. } = self.client.upload_session(session).await?;
            match state.as_str() {
                "ready" => return Ok(Outcome::Stored),
                "completed" | "ingesting" => {}
                _ => {
                    let reason = failure_reason.unwrap_or_else(|| format!("the upload is {state}"));
                    return Ok(Outcome::Unusable(Error::UploadFailed(reason)));
                }
            }
            delays.wait().await;
        }
    }
}
