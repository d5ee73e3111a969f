//! Versions of an image: drafts can be edited, published versions never change.

use crate::{
    audit::{AuditAction, Event},
    ids::{ImageId, VersionId},
    lifecycle::{Lifecycle, LifecycleState},
    names::{ImageName, VersionName, string_enum},
    time::Timestamp,
    transition::{IllegalTransition, Machine, Revision},
};
use std::ops::Deref;

/// The state of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionState {
    /// Its manifest may change.
    Draft,
    /// The manifest is frozen while the publish job runs.
    Publishing,
    /// The manifest never changes again.
    Published {
        /// When it was published.
        at: Timestamp,
    },
}

string_enum! {
    /// The versions that a list contains.
    VersionFilter: "draft, publishing, published or all" {
        /// Drafts. Needs `content.write`.
        Draft = "draft",
        /// Frozen versions that are not yet published. Needs `content.write`.
        Publishing = "publishing",
        /// Published versions.
        Published = "published",
        /// All versions. Needs `content.write`.
        All = "all",
    }
}

impl VersionState {
    /// The state as clients see it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Publishing => "publishing",
            Self::Published { .. } => "published",
        }
    }

    /// When the version was published.
    pub const fn published_at(&self) -> Option<Timestamp> {
        match self {
            Self::Draft | Self::Publishing => None,
            Self::Published { at } => Some(*at),
        }
    }
}

/// What a catalog stores of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRecord {
    /// Its id.
    pub id: VersionId,
    /// Its image.
    pub image_id: ImageId,
    /// The name of that image.
    pub image: ImageName,
    /// Its name, unique in the image together with the aliases.
    pub name: VersionName,
    /// The state and its data.
    pub state: VersionState,
    /// The lifecycle after its publication.
    pub lifecycle: Lifecycle,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its state or its manifest last changed.
    pub updated_at: Timestamp,
    /// Its revision, which a change of the manifest moves as well.
    pub revision: Revision,
}

/// A version. Its record can be read and changes only through the transitions below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(VersionRecord);

impl Deref for Version {
    type Target = VersionRecord;

    fn deref(&self) -> &VersionRecord {
        &self.0
    }
}

impl Version {
    /// A new draft.
    pub fn draft(
        id: VersionId,
        image_id: ImageId,
        image: ImageName,
        name: VersionName,
        now: Timestamp,
    ) -> (Self, Event) {
        let version = Self(VersionRecord {
            id,
            image_id,
            image,
            name,
            state: VersionState::Draft,
            lifecycle: Lifecycle::active(now),
            created_at: now,
            updated_at: now,
            revision: Revision::FIRST,
        });
        let event = version.event(AuditAction::VersionCreated);
        (version, event)
    }

    /// A version as a catalog stored it.
    pub const fn restore(record: VersionRecord) -> Self {
        Self(record)
    }

    /// `image/version`, as people write it.
    pub fn path(&self) -> String {
        format!("{}/{}", self.image, self.name)
    }

    /// Notes a change of the manifest of a draft.
    #[must_use = "a transition counts once stored"]
    pub fn edit(self, now: Timestamp) -> Result<Self, IllegalTransition> {
        self.require(VersionState::Draft, "edit")?;
        Ok(Self(VersionRecord { updated_at: now, ..self.0 }))
    }

    /// Checks that the version may be deleted: only a draft may.
    pub fn delete(&self) -> Result<Event, IllegalTransition> {
        self.require(VersionState::Draft, "delete")?;
        Ok(self.event(AuditAction::VersionDeleted))
    }

    /// Freezes the manifest of a draft for its publish job.
    #[must_use = "a transition counts once stored"]
    pub fn freeze(self, now: Timestamp) -> Result<(Self, Event), IllegalTransition> {
        self.require(VersionState::Draft, "publish")?;
        Ok(self.into_state(VersionState::Publishing, now, AuditAction::PublishRequested))
    }

    /// Publishes a frozen version. `published` is final.
    #[must_use = "a transition counts once stored"]
    pub fn publish(self, now: Timestamp) -> Result<(Self, Event), IllegalTransition> {
        self.require(VersionState::Publishing, "finish publishing")?;
        let (mut version, event) =
            self.into_state(VersionState::Published { at: now }, now, AuditAction::VersionPublished);
        version.0.lifecycle = Lifecycle::active(now);
        Ok((version, event))
    }

    /// The same version with another lifecycle.
    #[must_use]
    pub fn with_lifecycle(self, lifecycle: Lifecycle) -> Self {
        Self(VersionRecord { lifecycle, ..self.0 })
    }

    /// The version as everybody sees it at `now`; see [`Lifecycle::as_of`].
    #[must_use]
    pub fn as_of(self, now: Timestamp) -> Self {
        match self.lifecycle.as_of(now) {
            Some(lifecycle) => self.with_lifecycle(lifecycle),
            None => self,
        }
    }

    /// Whether it is published, and neither revoked nor removed.
    pub const fn is_offered(&self) -> bool {
        self.0.state.published_at().is_some()
            && matches!(self.0.lifecycle.stored_state(), LifecycleState::Active | LifecycleState::Deprecated)
    }

    /// Makes a frozen version a draft again after its job was abandoned.
    #[must_use = "a transition counts once stored"]
    pub fn reopen(self, now: Timestamp) -> Result<(Self, Event), IllegalTransition> {
        self.require(VersionState::Publishing, "reopen")?;
        Ok(self.into_state(VersionState::Draft, now, AuditAction::VersionReopened))
    }

    /// Refuses `action` in any other state than `state`.
    fn require(&self, state: VersionState, action: &'static str) -> Result<(), IllegalTransition> {
        if self.0.state == state {
            return Ok(());
        }
        Err(IllegalTransition { action, subject: Machine::Version, name: self.path(), state: self.0.state.name() })
    }

    fn into_state(self, state: VersionState, now: Timestamp, action: AuditAction) -> (Self, Event) {
        let version = Self(VersionRecord { state, updated_at: now, ..self.0 });
        let event = version.event(action);
        (version, event)
    }

    fn event(&self, action: AuditAction) -> Event {
        Event::new(action, self.path())
    }
}
