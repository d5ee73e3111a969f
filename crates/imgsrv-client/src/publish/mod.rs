//! Publishing of a whole version: preflight, transfer of the bytes, reconciliation of the draft, job and aliases.

pub(crate) mod conflict;
mod prepared;
mod publication;
mod reconcile;
mod validate;

pub use conflict::PublishConflict;
pub use publication::{NewArtifact, NewAttachment, Publication};

use crate::{
    client::Client,
    error::{Error, unless},
    retry::PollDelays,
    transfer::{Blob, DEFAULT_PARALLEL, Progress, Source},
};
use futures::TryStreamExt;
use imgsrv_api::{Alias, Manifest, ProblemCode, PublishJob, Version};
use imgsrv_domain::{names::AliasName, version::VersionFilter};
use prepared::PreparedArtifact;
use std::{collections::HashSet, sync::Arc};

/// What happens while a version is published.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The transfer of a source has progressed.
    Transfer(&'a Source, Progress),
    /// The bytes of a source are a trusted blob.
    Uploaded(&'a Source, &'a Blob),
    /// The draft is complete.
    Drafted,
    /// The job with this id publishes the version.
    Publishing(&'a str),
    /// The version is published.
    Published,
    /// This alias points to the version.
    AliasSet(&'a str),
}

/// The outcome of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The version; `publishing` if its job was not waited for.
    pub version: Version,
    /// Its job, unless the version was published before.
    pub job: Option<PublishJob>,
    /// The blobs of the artifacts, each followed by those of its attachments.
    pub blobs: Vec<Blob>,
    /// Whether the version was published before.
    pub already_published: bool,
    /// The blobs of a version that was published before that the server had found damaged; they were uploaded again.
    pub repaired: Vec<Blob>,
    /// The aliases that point to another version and were not moved, because this version was published before.
    pub kept_aliases: Vec<Alias>,
}

type Observer = Arc<dyn Fn(Event<'_>) + Send + Sync>;

/// A publication that has not started; made by [`Client::publish`].
#[must_use = "nothing is published before `run`"]
pub struct Publish {
    client: Client,
    publication: Publication,
    waits: bool,
    max_parallel: usize,
    observer: Observer,
}

impl Client {
    /// Publishes a version: uploads what the server lacks, creates image and draft, has the draft published and sets the
    /// aliases.
    ///
    /// Repeat it after any interruption: it does only what is missing. A version that is published with the same content
    /// is a success, one with other content an [`Error::Conflict`].
    pub fn publish(&self, publication: Publication) -> Publish {
        // A name that is taken may be by an earlier request of this publication: the content is compared later.
        let client = Client { retries_creation: true, ..self.clone() };
        Publish { client, publication, waits: true, max_parallel: DEFAULT_PARALLEL, observer: Arc::new(|_| {}) }
    }

    /// Waits until a publish job has ended; if it has not succeeded, the result is [`Error::NotPublished`].
    pub async fn wait_for_job(&self, mut job: PublishJob) -> Result<PublishJob, Error> {
        let mut delays = PollDelays::new();
        loop {
            match job.state.as_str() {
                "succeeded" => return Ok(job),
                "queued" | "running" => {}
                _ => return Err(Error::NotPublished(Box::new(job))),
            }
            delays.wait().await;
            job = self.job(&job.id).await?;
        }
    }
}

impl Publish {
    /// Returns once the version is frozen and its job queued, unless aliases are to be set.
    pub fn without_waiting(self) -> Self {
        Self { waits: false, ..self }
    }

    /// Sends at most so many parts of a file in parallel.
    pub fn parallel(self, parts: usize) -> Self {
        Self { max_parallel: parts, ..self }
    }

    /// Calls `observer` with each event.
    pub fn on_event(self, observer: impl Fn(Event<'_>) + Send + Sync + 'static) -> Self {
        Self { observer: Arc::new(observer), ..self }
    }

    /// Publishes.
    pub async fn run(self) -> Result<Published, Error> {
        validate::validate(&self.publication)?;
        let existing = self.preflight().await?;
        let is_published = existing.as_ref().is_some_and(|manifest| manifest.version.state == "published");
        let mut artifacts = Vec::new();
        for artifact in &self.publication.artifacts {
            artifacts.push(self.prepare(artifact, is_published).await?);
        }
        let version = self.reconcile(&artifacts).await?;
        let already_published = version.state == "published";
        let repaired = match existing.filter(|_| is_published) {
            Some(manifest) => self.repair(&manifest, &artifacts).await?,
            None => Vec::new(),
        };
        let (version, job) = if already_published { (version, None) } else { self.publish_draft(&artifacts).await? };
        if version.state == "published" {
            (self.observer)(Event::Published);
        }
        let kept_aliases = self.set_aliases(already_published && !self.publication.move_aliases).await?;
        let blobs = artifacts.into_iter().flat_map(PreparedArtifact::into_blobs).collect();
        Ok(Published { version, job, blobs, already_published, repaired, kept_aliases })
    }

    /// Sets the aliases; returns those that exist elsewhere, which stay there if `keeps_existing`.
    async fn set_aliases(&self, keeps_existing: bool) -> Result<Vec<Alias>, Error> {
        let Publication { image, version, aliases, .. } = &self.publication;
        let mut kept = Vec::new();
        for alias in aliases {
            if keeps_existing {
                let created = self.client.create_alias(image, alias, version).await;
                if unless(ProblemCode::PreconditionFailed, created)?.is_none() {
                    let existing = self.client.alias(image, alias).await?;
                    if existing.version != *version {
                        kept.push(existing);
                        continue;
                    }
                }
            } else {
                self.client.set_alias(image, alias, version).await?;
            }
            (self.observer)(Event::AliasSet(alias));
        }
        Ok(kept)
    }

    /// Checks what would otherwise fail only after gigabytes were sent: the token, and names that are taken. Returns the
    /// manifest of the version if it exists.
    async fn preflight(&self) -> Result<Option<Manifest>, Error> {
        let Publication { image, version, aliases, .. } = &self.publication;
        // Both need `content.write`, the first one on this image; without it, drafts are not found below.
        if unless(ProblemCode::NotFound, self.client.versions(image, VersionFilter::Draft).try_next().await)?.is_none()
        {
            self.client.open_uploads(None).try_next().await?;
        }
        for alias in aliases {
            if unless(ProblemCode::NotFound, self.client.manifest(image, alias).await)?.is_some() {
                return Err(self.conflict("taken", vec![format!("the alias {alias} is the name of a version")]));
            }
        }
        let manifest = unless(ProblemCode::NotFound, self.client.manifest(image, version).await)?;
        let lifecycle = manifest.as_ref().and_then(|manifest| manifest.version.lifecycle.as_ref());
        if let Some(lifecycle) = lifecycle.filter(|lifecycle| ["revoked", "removed"].contains(&&*lifecycle.state)) {
            let reason = lifecycle.reason.clone().unwrap_or_else(|| "its name is never used again".to_owned());
            return Err(self.conflict(&lifecycle.state, vec![reason]));
        }
        // A longer name, or one with other characters, cannot be that of an alias.
        let can_be_alias = version.parse::<AliasName>().is_ok();
        if manifest.is_none()
            && can_be_alias
            && unless(ProblemCode::NotFound, self.client.alias(image, version).await)?.is_some()
        {
            return Err(self.conflict("taken", vec![format!("{version} is the name of an alias")]));
        }
        Ok(manifest)
    }

    /// Transfers the bytes of an artifact and its attachments. If the version is published already, the server has all
    /// its bytes and takes no others: then only their digests are computed, to compare them.
    async fn prepare<'a>(&self, new: &'a NewArtifact, is_published: bool) -> Result<PreparedArtifact<'a>, Error> {
        let blob = self.transfer(&new.source, &new.media_type, is_published).await?;
        let mut attachments = Vec::new();
        for attachment in &new.attachments {
            let blob = self.transfer(&attachment.source, &attachment.media_type, is_published).await?;
            attachments.push((attachment, blob));
        }
        Ok(PreparedArtifact { new, blob, attachments })
    }

    async fn transfer(&self, source: &Source, media_type: &str, is_published: bool) -> Result<Blob, Error> {
        let (observer, observed) = (Arc::clone(&self.observer), source.clone());
        let on_progress = move |progress| observer(Event::Transfer(&observed, progress));
        if is_published {
            return source.stored_blob(Arc::new(on_progress)).await;
        }
        let upload = self.client.upload(source.clone()).media_type(media_type).parallel(self.max_parallel);
        let mut upload = upload.on_progress(on_progress);
        if let Some(name) = source.file_name() {
            upload = upload.file_name(name);
        }
        let blob = upload.send().await?;
        (self.observer)(Event::Uploaded(source, &blob));
        Ok(blob)
    }

    /// Uploads the bytes again that the server has found damaged; returns their blobs.
    async fn repair(&self, manifest: &Manifest, artifacts: &[PreparedArtifact<'_>]) -> Result<Vec<Blob>, Error> {
        let digests = manifest.artifacts.iter().flat_map(|entry| {
            let attachments = entry.attachments.iter();
            let attachments = attachments.filter(|attachment| attachment.quarantined);
            let own = Some(&entry.artifact).filter(|artifact| artifact.quarantined);
            let own = own.map(|artifact| &artifact.primary_blob_digest);
            own.into_iter().chain(attachments.map(|attachment| &attachment.blob_digest))
        });
        let mut damaged: HashSet<&String> = digests.collect();
        let mut repaired = Vec::new();
        for PreparedArtifact { new, blob, attachments } in artifacts {
            let own = (&new.source, &new.media_type, blob);
            let attached = attachments.iter().map(|(new, blob)| (&new.source, &new.media_type, blob));
            for (source, media_type, blob) in std::iter::once(own).chain(attached) {
                if damaged.remove(&blob.digest.to_string()) {
                    repaired.push(self.transfer(source, media_type, false).await?);
                }
            }
        }
        Ok(repaired)
    }

    /// Has the draft published, and waits for it unless that is not wanted.
    async fn publish_draft(&self, artifacts: &[PreparedArtifact<'_>]) -> Result<(Version, Option<PublishJob>), Error> {
        let Publication { image, version, aliases, .. } = &self.publication;
        let requested = self.client.publish_version(image, version).await?;
        (self.observer)(Event::Publishing(&requested.job_id));
        let mut job = self.client.job(&requested.job_id).await?;
        if job.state == "failed" {
            // In another state, another publication of the same version has retried it.
            job = match unless(ProblemCode::JobState, self.client.retry_job(&job.id).await)? {
                Some(job) => job,
                None => self.client.job(&job.id).await?,
            };
        }
        if !self.waits && aliases.is_empty() {
            return Ok((requested.version, Some(job)));
        }
        let job = self.client.wait_for_job(job).await?;
        // Another publication may have changed the draft before this one had it frozen.
        let manifest = self.client.manifest(image, version).await?;
        self.compare(&manifest, artifacts)?;
        Ok((manifest.version, Some(job)))
    }

    fn conflict(&self, state: &str, differences: Vec<String>) -> Error {
        let what = format!("{} {}", self.publication.image, self.publication.version);
        PublishConflict { what, state: state.to_owned(), differences }.into()
    }
}
