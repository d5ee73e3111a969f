//! Publishing a version whole: its bytes, what they mean, the job, the aliases. Done again, it does nothing twice.

mod ready;
mod run;

use crate::{
    client::Client,
    transfer::{Blob, Progress, Source},
};
use imgsrv_api::{CreateIncusMetadata, PublishJob, Version, usual_media_type};
use std::{fmt, sync::Arc};

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
    /// very content is a success, with other content [`Error::Contradiction`](crate::Error::Contradiction).
    pub fn publish(&self, what: Publication) -> Publish {
        // Whatever is there by its name is as good as made: it is looked at before the version is frozen.
        Publish { client: self.converging(), what, is_awaited: true, at_once: None, watcher: Arc::new(|_| {}) }
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
}
