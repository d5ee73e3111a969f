//! Publishing, step by step; each finds what an earlier run, or another publication of the same, has done.

use super::{
    Contradiction, Event, Publication, Publish, Published,
    ready::{Ready, not_wanted},
};
use crate::{
    client::Client,
    error::Error,
    fit::{self, INCUS_METADATA},
    transfer::{Blob, Source},
};
use futures::TryStreamExt;
use imgsrv_api::{
    CreateArtifact, CreateAttachment, CreateImage, Manifest, ManifestEntry, ProblemCode, PublishJob, Version,
};
use std::{sync::Arc, time::Duration};

/// Between looks at a publish job, at first and at most.
const POLL: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How often a draft is tried to be made hold what is wanted, should others change it meanwhile.
const SETTLINGS: usize = 3;

impl Publish {
    /// Does it.
    pub async fn run(self) -> Result<Published, Error> {
        fit::check(&self.what)?;
        let there = self.look().await?;
        // What is published has all its bytes, and takes no others: then it is enough to know what these are.
        let is_published = there.is_some_and(|manifest| manifest.version.state == "published");
        let mut artifacts = Vec::new();
        for new in &self.what.artifacts {
            let blob = self.bring(&new.source, &new.media_type, is_published).await?;
            let mut attachments = Vec::new();
            for attachment in &new.attachments {
                let blob = self.bring(&attachment.source, &attachment.media_type, is_published).await?;
                attachments.push((attachment, blob));
            }
            artifacts.push(Ready { new, blob, attachments });
        }
        let mut settled = self.settle(&artifacts).await;
        for _ in 0..SETTLINGS {
            match &settled {
                // Another publication of the same froze it meanwhile.
                Err(error) if error.code() == Some(ProblemCode::VersionNotDraft) => {}
                Err(Error::Contradiction(found)) if found.state == "publishing" && self.what.replace_draft => {
                    self.abandon().await?;
                }
                _ => break,
            }
            settled = self.settle(&artifacts).await;
        }
        let (mut version, was_there) = settled?;
        let mut job = None;
        if version.state != "published" {
            let requested = self.client.publish_version(&self.what.image, &self.what.version).await?;
            (self.watcher)(Event::Publishing(&requested.job_id));
            let mut found = self.client.job(&requested.job_id).await?;
            if found.state == "failed" {
                found = match self.client.retry_job(&found.id).await {
                    // Another publication of the same has had it tried again.
                    Err(error) if error.code() == Some(ProblemCode::JobState) => self.client.job(&found.id).await?,
                    retried => retried?,
                };
            }
            if self.is_awaited || !self.what.aliases.is_empty() {
                found = self.client.wait_for_job(found).await?;
                // Another publication may have slipped something else in before this one asked.
                let manifest = self.client.manifest(&self.what.image, &self.what.version).await?;
                self.check(&manifest, &artifacts)?;
                version = manifest.version;
            } else {
                version = requested.version;
            }
            job = Some(found);
        }
        if version.state == "published" {
            (self.watcher)(Event::Published);
        }
        for alias in &self.what.aliases {
            self.client.set_alias(&self.what.image, alias, &self.what.version).await?;
            (self.watcher)(Event::AliasSet(alias));
        }
        let blobs = artifacts
            .into_iter()
            .flat_map(|ready| std::iter::once(ready.blob).chain(ready.attachments.into_iter().map(|(_, blob)| blob)));
        Ok(Published { version, job, blobs: blobs.collect(), was_there })
    }

    /// Finds out before anything is sent what would only come out after gigabytes: a token that is refused, a name that is
    /// taken. Returns what is there of the version.
    async fn look(&self) -> Result<Option<Manifest>, Error> {
        let Publication { image, version, aliases, .. } = &self.what;
        // To somebody who may not write, a draft is not there: ask as a writer first.
        self.client.open_uploads(None).try_next().await?;
        for alias in aliases {
            if found(self.client.manifest(image, alias).await)?.is_some() {
                return Err(self.contradiction("taken", vec![format!("the alias {alias} is the name of a version")]));
            }
        }
        let there = found(self.client.manifest(image, version).await)?;
        if there.is_none() && found(self.client.alias(image, version).await)?.is_some() {
            return Err(self.contradiction("taken", vec![format!("{version} is the name of an alias")]));
        }
        Ok(there)
    }

    /// Gives up the failed job of a version whose content is to be replaced.
    async fn abandon(&self) -> Result<(), Error> {
        let requested = self.client.publish_version(&self.what.image, &self.what.version).await?;
        let job = self.client.job(&requested.job_id).await?;
        if job.state == "failed" {
            self.client.abandon_job(&job.id).await?;
        }
        Ok(())
    }

    /// Makes the bytes of a source known to the server; if it is sure to have them, finds out what they are.
    async fn bring(&self, source: &Source, media_type: &str, is_there: bool) -> Result<Blob, Error> {
        if is_there {
            let (watcher, watched) = (Arc::clone(&self.watcher), source.clone());
            return source.blob(Arc::new(move |progress| watcher(Event::Transfer(&watched, progress)))).await;
        }
        self.upload(source, media_type).await
    }

    async fn upload(&self, source: &Source, media_type: &str) -> Result<Blob, Error> {
        let (watcher, watched) = (Arc::clone(&self.watcher), source.clone());
        let mut upload = self.client.upload(source.clone()).media_type(media_type);
        if let Some(name) = source.file_name() {
            upload = upload.file_name(name);
        }
        if let Some(parts) = self.at_once {
            upload = upload.at_once(parts);
        }
        let upload = upload.observed_by(move |progress| watcher(Event::Transfer(&watched, progress)));
        let blob = upload.send().await?;
        (self.watcher)(Event::Uploaded(source, &blob));
        Ok(blob)
    }

    /// Makes the draft hold what is wanted, unless it is published so already.
    async fn settle(&self, artifacts: &[Ready<'_>]) -> Result<(Version, bool), Error> {
        let Publication { image, version, display_name, .. } = &self.what;
        let new = CreateImage { name: image.clone(), display_name: display_name.clone(), description: None };
        there_already(self.client.create_image(&new).await)?;
        let created = there_already(self.client.create_version(image, version).await)?;
        let manifest = self.client.manifest(image, version).await;
        let manifest = match manifest {
            // The name is taken, but by no version.
            Err(error) if error.code() == Some(ProblemCode::NotFound) && created.is_none() => {
                return Err(self.contradiction("taken", vec![format!("{version} is the name of an alias")]));
            }
            manifest => manifest?,
        };
        if manifest.version.state != "draft" {
            self.check(&manifest, artifacts)?;
            return Ok((manifest.version.clone(), manifest.version.state == "published"));
        }
        self.clear(&manifest, artifacts).await?;
        for ready in artifacts {
            self.draft(ready).await?;
        }
        // What another publication put in meanwhile is seen here, or at the latest once the version is frozen.
        let manifest = self.client.manifest(image, version).await?;
        self.check(&manifest, artifacts)?;
        (self.watcher)(Event::Drafted);
        Ok((manifest.version, false))
    }

    /// Takes out of a draft what contradicts, if that is wanted, or refuses to go on.
    async fn clear(&self, manifest: &Manifest, artifacts: &[Ready<'_>]) -> Result<(), Error> {
        let Publication { image, version, replace_draft, .. } = &self.what;
        let mut differences = Vec::new();
        for entry in &manifest.artifacts {
            let wanted = artifacts.iter().find(|ready| ready.is_named_as(entry));
            let found = match wanted {
                Some(ready) => ready.differences(entry),
                None => vec![not_wanted(entry)],
            };
            if !found.is_empty() && *replace_draft {
                // One that is gone has been deleted, perhaps by a request whose answer was lost.
                self::found(self.client.delete_artifact(image, version, &entry.artifact_id).await)?;
            } else {
                differences.extend(found);
            }
        }
        if differences.is_empty() { Ok(()) } else { Err(self.contradiction("draft", differences)) }
    }

    /// Puts an artifact with its attachments into the draft; what is there already stays.
    async fn draft(&self, ready: &Ready<'_>) -> Result<(), Error> {
        let Publication { image, version, .. } = &self.what;
        let new = ready.new;
        let artifact = CreateArtifact {
            variant: Some(new.variant.clone()),
            operating_system: new.operating_system.clone(),
            architecture: new.architecture.clone(),
            format: new.format.clone(),
            primary_blob_digest: ready.blob.digest.clone(),
            primary_blob_size_bytes: ready.blob.size_bytes,
            primary_media_type: new.media_type.clone(),
        };
        let refused = match self.client.create_artifact(image, version, &artifact).await {
            Ok(made) => return self.attach(ready, &made.id, &[]).await,
            Err(refused) => refused,
        };
        let is_taken = refused.code() == Some(ProblemCode::NameTaken);
        if !is_taken {
            return Err(refused);
        }
        let manifest = self.client.manifest(image, version).await?;
        match manifest.artifacts.iter().find(|entry| ready.is_named_as(entry)) {
            Some(entry) => {
                let names: Vec<_> = entry.attachments.iter().map(|attachment| attachment.name.clone()).collect();
                self.attach(ready, &entry.artifact_id, &names).await
            }
            // A file name, or what Incus calls it, clashes with another artifact.
            None => Err(refused),
        }
    }

    async fn attach(&self, ready: &Ready<'_>, artifact: &str, there: &[String]) -> Result<(), Error> {
        let Publication { image, version, .. } = &self.what;
        let is_there = |name: &str| there.iter().any(|known| known == name);
        for (new, blob) in ready.attachments.iter().filter(|(new, _)| !is_there(&new.name)) {
            let attachment = CreateAttachment {
                name: new.name.clone(),
                media_type: new.media_type.clone(),
                blob_digest: blob.digest.clone(),
                blob_size_bytes: blob.size_bytes,
            };
            there_already(self.client.create_attachment(image, version, artifact, &attachment).await)?;
        }
        if let Some(metadata) = ready.new.incus.as_ref().filter(|_| !is_there(INCUS_METADATA)) {
            there_already(self.client.create_incus_metadata(image, version, artifact, metadata).await)?;
        }
        Ok(())
    }

    /// Makes sure that a version is what was to be published.
    fn check(&self, manifest: &Manifest, artifacts: &[Ready<'_>]) -> Result<(), Error> {
        let mut differences = Vec::new();
        for ready in artifacts {
            match manifest.artifacts.iter().find(|entry| ready.is_named_as(entry)) {
                Some(entry) => differences.extend(ready.differences(entry).into_iter().chain(ready.lacking(entry))),
                None => differences.push(format!("it lacks {}", ready.key().join("/"))),
            }
        }
        let is_wanted = |entry: &&ManifestEntry| artifacts.iter().any(|ready| ready.is_named_as(entry));
        differences.extend(manifest.artifacts.iter().filter(|entry| !is_wanted(entry)).map(not_wanted));
        if differences.is_empty() {
            return Ok(());
        }
        Err(self.contradiction(&manifest.version.state, differences))
    }

    fn contradiction(&self, state: &str, differences: Vec<String>) -> Error {
        let what = format!("{} {}", self.what.image, self.what.version);
        Contradiction { what, state: state.to_owned(), differences }.into()
    }
}

impl Client {
    /// Waits until a publish job has ended; one that has not succeeded is [`Error::NotPublished`].
    pub async fn wait_for_job(&self, mut job: PublishJob) -> Result<PublishJob, Error> {
        let (mut pause, longest) = POLL;
        loop {
            match job.state.as_str() {
                "succeeded" => return Ok(job),
                "queued" | "running" => {}
                _ => return Err(Error::NotPublished(Box::new(job))),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
            job = self.job(&job.id).await?;
        }
    }
}

/// What was asked for; nothing if it is not there.
fn found<T>(asked: Result<T, Error>) -> Result<Option<T>, Error> {
    match asked {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code() == Some(ProblemCode::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What was made; nothing if it is there already.
fn there_already<T>(made: Result<T, Error>) -> Result<Option<T>, Error> {
    match made {
        Ok(made) => Ok(Some(made)),
        Err(error) if error.code() == Some(ProblemCode::NameTaken) => Ok(None),
        Err(error) => Err(error),
    }
}
