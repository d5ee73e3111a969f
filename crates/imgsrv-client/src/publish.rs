//! Publishing a version whole: its bytes, what they mean, the job, the aliases. Done again, it does nothing twice.

use crate::{
    client::Client,
    error::Error,
    fit::{self, INCUS_METADATA},
    transfer::{Blob, Progress, Source},
};
use futures::TryStreamExt;
use imgsrv_api::{
    CreateArtifact, CreateAttachment, CreateImage, CreateIncusMetadata, Manifest, ManifestEntry, ProblemCode,
    PublishJob, Version, usual_media_type,
};
use std::{fmt, sync::Arc, time::Duration};

/// Between looks at a publish job, at first and at most.
const POLL: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// How often a draft is tried to be made hold what is wanted, should others change it meanwhile.
const SETTLINGS: usize = 3;

/// A version to be published.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Publication {
    /// The image; it is made if it is not there.
    pub image: String,
    /// The version.
    pub version: String,
    /// What it is made of, at least one.
    pub artifacts: Vec<NewArtifact>,
    /// Aliases that point to the version once it is published.
    pub aliases: Vec<String>,
    /// The name for people of an image that is not there yet.
    pub display_name: Option<String>,
    /// Whether what a draft of that version holds beside this goes, also that of one whose publish job has failed. Without
    /// it, such a draft is a contradiction.
    pub replace_draft: bool,
}

/// An artifact to be published.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewArtifact {
    /// Its bytes.
    pub source: Source,
    /// What boots.
    pub operating_system: String,
    /// On what.
    pub architecture: String,
    /// Which of several alike.
    pub variant: String,
    /// The format of its bytes.
    pub format: String,
    /// What they are served as.
    pub media_type: String,
    /// What goes with it.
    pub attachments: Vec<NewAttachment>,
    /// Has the server make and attach the metadata that Incus needs.
    pub incus: Option<CreateIncusMetadata>,
}

/// An attachment to be published.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NewAttachment {
    /// Its name, unique in the artifact.
    pub name: String,
    /// What it is served as.
    pub media_type: String,
    /// Its bytes.
    pub source: Source,
}

impl Publication {
    /// A version of `image` that is made of `artifacts`.
    pub fn new(
        image: impl Into<String>,
        version: impl Into<String>,
        artifacts: impl IntoIterator<Item = NewArtifact>,
    ) -> Self {
        Self {
            image: image.into(),
            version: version.into(),
            artifacts: artifacts.into_iter().collect(),
            aliases: Vec::new(),
            display_name: None,
            replace_draft: false,
        }
    }

    /// Sets one more alias in the end.
    #[must_use]
    pub fn alias(mut self, alias: impl Into<String>) -> Self {
        self.aliases.push(alias.into());
        self
    }
}

impl NewArtifact {
    /// An artifact of `format` that boots on `architecture`: a Linux of the default variant, without attachments, and
    /// served as such files are.
    pub fn new(source: impl Into<Source>, format: impl Into<String>, architecture: impl Into<String>) -> Self {
        let format = format.into();
        Self {
            source: source.into(),
            operating_system: "linux".to_owned(),
            architecture: architecture.into(),
            variant: "default".to_owned(),
            media_type: usual_media_type(&format).to_owned(),
            format,
            attachments: Vec::new(),
            incus: None,
        }
    }
}

impl NewAttachment {
    /// An attachment that is served as `media_type`.
    pub fn new(name: impl Into<String>, media_type: impl Into<String>, source: impl Into<Source>) -> Self {
        Self { name: name.into(), media_type: media_type.into(), source: source.into() }
    }
}

/// What happens while a version is published.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A source has come so far.
    Transfer(&'a Source, Progress),
    /// The server trusts the bytes of a source.
    Uploaded(&'a Source, &'a Blob),
    /// A draft holds everything.
    Drafted,
    /// A job publishes the version.
    Publishing(&'a str),
    /// The version is published.
    Published,
    /// An alias points to it.
    AliasSet(&'a str),
}

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The version; `publishing` if the end was not waited for.
    pub version: Version,
    /// The job, if one was asked for or found.
    pub job: Option<PublishJob>,
    /// The bytes of the artifacts and, in order, of their attachments.
    pub blobs: Vec<Blob>,
    /// Whether it was published before.
    pub was_there: bool,
}

/// How what is there differs from what was to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contradiction {
    /// The version that is there, as `image version`.
    pub what: String,
    /// Its state; `taken` when a name is an alias' that is to be a version's, or the other way round.
    pub state: String,
    /// Each difference, in words.
    pub differences: Vec<String>,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let differences = self.differences.join("; ");
        match self.state.as_str() {
            "taken" => write!(f, "{} cannot be: {differences}", self.what),
            "draft" => write!(f, "{} is a draft with other content: {differences}", self.what),
            state => write!(f, "{} is {state} with other content: {differences}", self.what),
        }
    }
}

impl std::error::Error for Contradiction {}

type Watcher = Arc<dyn Fn(Event<'_>) + Send + Sync>;

/// A publication to be done; made by [`Client::publish`].
#[must_use = "nothing is published before `run`"]
pub struct Publish {
    client: Client,
    what: Publication,
    is_awaited: bool,
    at_once: Option<usize>,
    watcher: Watcher,
}

impl Client {
    /// Publishes a version: uploads what the server lacks, makes the image and the draft, has it published and sets the
    /// aliases.
    ///
    /// It may be called again after any interruption and finishes what is left. A version that is published with this
    /// very content is a success, with other content [`Error::Contradiction`].
    pub fn publish(&self, what: Publication) -> Publish {
        // Whatever is there by its name is as good as made: it is looked at before the version is frozen.
        Publish { client: self.converging(), what, is_awaited: true, at_once: None, watcher: Arc::new(|_| {}) }
    }
}

/// An artifact with its bytes uploaded.
struct Ready<'a> {
    new: &'a NewArtifact,
    blob: Blob,
    attachments: Vec<(&'a NewAttachment, Blob)>,
}

impl Ready<'_> {
    fn key(&self) -> [&str; 4] {
        let NewArtifact { operating_system, architecture, variant, format, .. } = self.new;
        [operating_system, architecture, variant, format]
    }

    fn is_named_as(&self, entry: &ManifestEntry) -> bool {
        self.key() == key(entry)
    }

    /// How what is there under the same name differs.
    fn differences(&self, entry: &ManifestEntry) -> Vec<String> {
        let (name, there) = (self.key().join("/"), &entry.artifact);
        let mut found = Vec::new();
        let compare = |found: &mut Vec<String>, what: &str, there: &str, new: &str| {
            if there != new {
                found.push(format!("{name} has {what} {there}, not {new}"));
            }
        };
        compare(&mut found, "digest", &there.primary_blob_digest, &self.blob.digest);
        compare(&mut found, "media type", &there.primary_media_type, &self.new.media_type);
        for attachment in &entry.attachments {
            match self.attachments.iter().find(|(new, _)| new.name == attachment.name) {
                Some((new, blob)) => {
                    compare(&mut found, &format!("{} with digest", new.name), &attachment.blob_digest, &blob.digest);
                    compare(
                        &mut found,
                        &format!("{} with media type", new.name),
                        &attachment.media_type,
                        &new.media_type,
                    );
                }
                None if attachment.name == INCUS_METADATA && self.new.incus.is_some() => {}
                None => found.push(format!("{name} has the attachment {}", attachment.name)),
            }
        }
        found
    }

    /// What lacks of what is there under the same name.
    fn lacking(&self, entry: &ManifestEntry) -> Vec<String> {
        let has = |name: &str| entry.attachments.iter().any(|attachment| attachment.name == name);
        let wanted = self.attachments.iter().map(|(new, _)| new.name.as_str());
        let wanted = wanted.chain(self.new.incus.as_ref().map(|_| INCUS_METADATA));
        let key = self.key().join("/");
        wanted.filter(|name| !has(name)).map(|name| format!("{key} lacks the attachment {name}")).collect()
    }
}

impl Publish {
    /// Returns as soon as the job is there, unless aliases are to be set.
    pub fn without_waiting(self) -> Self {
        Self { is_awaited: false, ..self }
    }

    /// Sends at most so many parts of a file at once.
    pub fn at_once(self, parts: usize) -> Self {
        Self { at_once: Some(parts), ..self }
    }

    /// Tells `watcher` of what happens.
    pub fn observed_by(self, watcher: impl Fn(Event<'_>) + Send + Sync + 'static) -> Self {
        Self { watcher: Arc::new(watcher), ..self }
    }

    /// Does it.
    pub async fn run(self) -> Result<Published, Error> {
        fit::check(&self.what)?;
        let there = self.look().await?;
        // What is frozen has all its bytes, and takes no others: then it is enough to know what these are.
        let is_frozen = there.is_some_and(|manifest| manifest.version.state != "draft") && !self.what.replace_draft;
        let mut artifacts = Vec::new();
        for new in &self.what.artifacts {
            let blob = self.bring(&new.source, &new.media_type, is_frozen).await?;
            let mut attachments = Vec::new();
            for attachment in &new.attachments {
                let blob = self.bring(&attachment.source, &attachment.media_type, is_frozen).await?;
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

fn key(entry: &ManifestEntry) -> [&str; 4] {
    let there = &entry.artifact;
    [&there.operating_system, &there.architecture, &there.variant, &there.format]
}

fn not_wanted(entry: &ManifestEntry) -> String {
    format!("it has {} as well", key(entry).join("/"))
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
