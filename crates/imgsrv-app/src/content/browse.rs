//! What people see of the catalog: searches, images with their versions, versions with their files.

use crate::{
    auth::caller::Caller,
    content::{
        delivery::VersionFiles,
        incus::{METADATA_NAME, root},
        published::PublishedVersions,
    },
    error::{Gone, Missing, Result},
};
use imgsrv_domain::{
    browse::{
        FeedEntry, ImageOrder, ImageOverview, ImageSearch, ImageSummary, ListedArtifact, PreviousVersion, StreamSeries,
        VersionContext,
    },
    digest::{ByteSize, Digest},
    ids::ArtifactId,
    inspection::ImageKind,
    lifecycle::{LifecycleFilter, LifecycleState},
    manifest::{Attachment, Manifest, ManifestEntry},
    names::{AliasName, Format, ImageName, RefName, VersionName},
    packages::{PackageChange, PackageList},
    page::{Page, PageRequest},
    ports::CatalogError,
    publish::StepName,
    time::Timestamp,
};
use imgsrv_simplestreams::Root;
use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    sync::Arc,
};

/// How many versions a feed has.
const FEED_ENTRIES: u16 = 50;

/// The use cases of people who look at the catalog.
#[derive(Clone)]
pub struct Browse(pub(crate) Arc<PublishedVersions>);

/// A published version with its files, as it is found under its own name or an alias.
#[derive(Debug, Clone)]
pub struct VersionDetail {
    /// Its manifest, with the lifecycle as of now.
    pub manifest: Arc<Manifest>,
    /// The name that it was found by.
    pub reference: RefName,
    /// When the alias that it was found by last moved; absent if it was found by its own name.
    pub moved_at: Option<Timestamp>,
    /// The state of its lifecycle.
    pub state: LifecycleState,
    /// Whether its files can be downloaded.
    pub is_served: bool,
    /// Its artifacts, in the manifest's order.
    pub artifacts: Vec<ArtifactDetail>,
    /// The aliases that point to it.
    pub aliases: Vec<AliasName>,
    /// The current version of its image, if one is offered.
    pub current: Option<VersionName>,
    /// How its files differ from those of the version before it, if there is one.
    pub changes: Option<Changes>,
}

/// An artifact of a version, by the names that its files have where it was found.
#[derive(Debug, Clone)]
pub struct ArtifactDetail {
    /// The artifact, its attachments and what was detected in it.
    pub entry: ManifestEntry,
    /// The name of its file.
    pub file: String,
    /// Its attachments with the names of their files.
    pub attachments: Vec<(String, Attachment)>,
    /// Whether clients of Incus find it.
    pub incus: IncusOffer,
    /// The warnings of publish steps about it.
    pub warnings: Vec<String>,
}

/// Whether clients of Incus find an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IncusOffer {
    /// They do.
    Offered {
        /// Its fingerprint.
        fingerprint: Digest,
        /// The kind of instance that it creates.
        kind: ImageKind,
    },
    /// They do not, because its version was revoked or removed.
    Withdrawn,
    /// They do not, because Simple Streams list only so many of the newest versions, and those with an alias.
    Superseded(NonZeroU32),
    /// They do not, and why.
    NotOffered(String),
}

/// How the files of a version differ from those of the version before it. The names leave the version out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The version before.
    pub since: VersionName,
    /// The files that differ or are in one of both only, by name.
    pub files: Vec<FileChange>,
    /// How many files are the same.
    pub unchanged: usize,
    /// How the packages differ in the artifacts of which both versions have a list.
    pub packages: Vec<PackageChanges>,
}

/// How the packages in an artifact differ from those in the same artifact of the version before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageChanges {
    /// The name of the list, without the version.
    pub list: String,
    /// The packages that differ, by name; at most [`PackageChanges::MAX`].
    pub changes: Vec<PackageChange>,
    /// How many more differ.
    pub more: usize,
}

impl PackageChanges {
    /// The most packages of a list.
    pub const MAX: usize = 500;
}

/// A file that differs between two versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Its name.
    pub name: String,
    /// Its size before; absent if it is new.
    pub before: Option<ByteSize>,
    /// Its size now; absent if it is gone.
    pub now: Option<ByteSize>,
}

impl Browse {
    /// Images that are visible to the caller and that `search` finds, in that order.
    #[tracing::instrument(name = "browse.search", level = "debug", skip_all, err(level = "debug"))]
    pub async fn search(
        &self,
        caller: &Caller,
        search: &ImageSearch,
        order: ImageOrder,
        page: &PageRequest,
    ) -> Result<Page<ImageSummary>> {
        Ok(self.0.context.catalog.search_images(&caller.reach(), search, order, page).await?)
    }

    /// An image that is visible to the caller, its aliases, and its published versions that `lifecycle` selects; when
    /// absent, those that are neither revoked nor removed.
    #[tracing::instrument(name = "browse.image", level = "debug", skip_all, fields(image.name = %image), err(level = "debug"))]
    pub async fn image(
        &self,
        caller: &Caller,
        image: &ImageName,
        lifecycle: Option<LifecycleFilter>,
        page: &PageRequest,
    ) -> Result<ImageOverview> {
        let found = self.0.context.catalog.get_image_overview(image, caller.view(image), lifecycle, page).await?;
        let mut found = found.ok_or_else(|| Missing::Image(image.clone()))?;
        let now = self.0.context.clock.now();
        for summary in &mut found.versions.items {
            summary.version = summary.version.clone().as_of(now);
        }
        Ok(found)
    }

    /// The published version that is named or aliased so, if the caller may read its image, unless it is a tombstone.
    #[tracing::instrument(name = "browse.version", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.reference = %reference))]
    pub async fn version(&self, caller: &Caller, image: &ImageName, reference: &RefName) -> Result<VersionDetail> {
        let (context, now) = (&self.0.context, self.0.context.clock.now());
        let found = self.0.by_ref(image, reference, caller.view(image)).await?;
        let (found, moved_at) = found.ok_or_else(|| Missing::Ref(image.clone(), reference.clone()))?;
        let stored = &found.manifest.version;
        let state = stored.lifecycle.state(now);
        if state == LifecycleState::Tombstone {
            return Err(Gone::of(stored, now).into());
        }
        let manifest = Arc::new(Manifest { version: stored.clone().as_of(now), ..(*found.manifest).clone() });
        let VersionContext { aliases, listed, current, previous, packages } =
            context.catalog.get_version_context(stored.id).await?;
        let newest = context.settings.streams_newest.filter(|_| aliases.is_empty());
        let superseded = match newest {
            Some(newest) if !listed.is_empty() => self.superseded(&manifest, &listed, newest).await?,
            _ => HashMap::new(),
        };
        let files = VersionFiles {
            manifest: Arc::clone(&manifest),
            files: Arc::clone(&found.files),
            is_alias: moved_at.is_some(),
            modified_at: now,
        };
        let names: HashMap<String, String> =
            files.by_name().into_iter().map(|(name, file)| (file.name.clone(), name)).collect();
        let is_served = !manifest.version.lifecycle.is_revoked();
        let artifacts = manifest.entries.iter().map(|entry| {
            let mut artifact = detail(&manifest, entry, &names, &listed, is_served);
            if let IncusOffer::Offered { .. } = artifact.incus
                && let Some(newest) = superseded.get(&entry.artifact.id)
            {
                artifact.incus = IncusOffer::Superseded(*newest);
            }
            artifact
        });
        let artifacts = artifacts.collect();
        let changes = match previous {
            Some(previous) => {
                let (manifest, span) = (Arc::clone(&manifest), tracing::Span::current());
                let compare = move || span.in_scope(|| changes(previous, &manifest.entries, &packages));
                Some(tokio::task::spawn_blocking(compare).await.map_err(CatalogError::backend)?)
            }
            None => None,
        };
        Ok(VersionDetail {
            artifacts,
            manifest,
            reference: reference.clone(),
            moved_at,
            state,
            is_served,
            aliases,
            current,
            changes,
        })
    }

    /// The artifacts of a version without an alias that are older than the `newest` ones that Simple Streams list.
    async fn superseded(
        &self,
        manifest: &Manifest,
        listed: &[ListedArtifact],
        newest: NonZeroU32,
    ) -> Result<HashMap<ArtifactId, NonZeroU32>> {
        let of = |row: &ListedArtifact| {
            let artifact = &manifest.entries.iter().find(|entry| entry.artifact.id == row.artifact)?.artifact;
            let kind = kind(artifact.format, Some(row))?;
            let is_split = |format: &Format| root(*format).is_some_and(|root| root.kind() == kind);
            let formats = Format::ALL.iter().copied().filter(is_split).collect();
            let (architecture, variant) = (artifact.architecture.clone(), artifact.variant.clone());
            Some((artifact.id, StreamSeries { architecture, variant, kind, formats }))
        };
        let (ids, series): (Vec<_>, Vec<_>) = listed.iter().filter_map(of).unzip();
        let found = self.0.context.catalog.list_superseded_series(manifest.version.id, &series, newest).await?;
        Ok(found.into_iter().filter_map(|position| Some((*ids.get(position)?, newest))).collect())
    }

    /// The newest versions that are offered, of all images that the caller may read or of one.
    #[tracing::instrument(name = "browse.feed", level = "debug", skip_all, err(level = "debug"))]
    pub async fn feed(&self, caller: &Caller, image: Option<&ImageName>) -> Result<Vec<FeedEntry>> {
        let catalog = &self.0.context.catalog;
        let Some(image) = image else { return Ok(catalog.list_newest_versions(&caller.reach(), FEED_ENTRIES).await?) };
        match catalog.list_newest_versions_of(image, caller.view(image), FEED_ENTRIES).await? {
            found if found.is_empty() => Err(Missing::Image(image.clone()).into()),
            found => Ok(found),
        }
    }

    /// The time that pages show ages relative to.
    pub fn now(&self) -> Timestamp {
        self.0.context.clock.now()
    }
}

fn detail(
    manifest: &Manifest,
    entry: &ManifestEntry,
    names: &HashMap<String, String>,
    listed: &[ListedArtifact],
    is_served: bool,
) -> ArtifactDetail {
    let artifact = &entry.artifact;
    let own = artifact.file_name(&manifest.image.name, &manifest.version.name);
    let name = |file: String| names.get(&file).cloned().unwrap_or(file);
    let attachments = entry.attachments.iter();
    let attachments = attachments
        .map(|attachment| (name(imgsrv_domain::files::attachment_file(&own, &attachment.name)), attachment.clone()))
        .collect();
    let about = |step: Option<StepName>| {
        let about = manifest.warnings.iter().filter(move |warning| warning.artifact == artifact.id);
        about.filter(move |warning| step.is_none_or(|step| warning.step == step)).map(|warning| warning.reason.clone())
    };
    let row = listed.iter().find(|row| row.artifact == artifact.id);
    let kind = kind(artifact.format, row);
    let incus = match (row, kind) {
        (Some(row), Some(kind)) if is_served => IncusOffer::Offered { fingerprint: row.fingerprint, kind },
        (Some(_), _) => IncusOffer::Withdrawn,
        (None, kind) => {
            IncusOffer::NotOffered(about(Some(StepName::IncusIndex)).next().unwrap_or_else(|| match kind {
                Some(_) => format!("no {METADATA_NAME} is attached to it"),
                None => format!("Incus does not boot {} files", artifact.format),
            }))
        }
    };
    ArtifactDetail { file: name(own), attachments, incus, warnings: about(None).collect(), entry: entry.clone() }
}

/// The kind of instance that an artifact creates.
fn kind(format: Format, listed: Option<&ListedArtifact>) -> Option<ImageKind> {
    root(format).map(Root::kind).or_else(|| listed?.unified)
}

/// The digests and sizes of the files of a manifest, by names that leave image and version out.
fn contents(entries: &[ManifestEntry]) -> Contents {
    let mut contents = BTreeMap::new();
    for ManifestEntry { artifact, attachments, .. } in entries {
        let variant = if artifact.variant.is_default() { String::new() } else { format!("-{}", artifact.variant) };
        let own = format!("{}-{}{variant}.{}", artifact.operating_system, artifact.architecture, artifact.format);
        for attachment in attachments {
            let name = imgsrv_domain::files::attachment_file(&own, &attachment.name);
            contents.insert(name, (attachment.blob.digest, attachment.blob.size));
        }
        contents.insert(own, (artifact.primary.digest, artifact.primary.size));
    }
    contents
}

/// The digests and sizes of files, by names that leave image and version out.
type Contents = BTreeMap<String, (Digest, ByteSize)>;

fn package_changes(before: &Contents, now: &Contents, lists: &BTreeMap<Digest, PackageList>) -> Vec<PackageChanges> {
    let list = |contents: &Contents, name: &String| lists.get(&contents.get(name)?.0);
    let changes = |name: &String| {
        let mut changes = list(now, name)?.changes_since(list(before, name)?);
        let more = changes.len().saturating_sub(PackageChanges::MAX);
        changes.truncate(PackageChanges::MAX);
        Some(PackageChanges { list: name.clone(), changes, more })
    };
    now.keys().filter_map(changes).collect()
}

fn changes(previous: PreviousVersion, entries: &[ManifestEntry], lists: &BTreeMap<Digest, PackageList>) -> Changes {
    let (mut before, now) = (contents(&previous.entries), contents(entries));
    let packages = package_changes(&before, &now, lists);
    let (mut files, mut unchanged) = (Vec::new(), 0);
    for (name, (digest, size)) in now {
        match before.remove(&name) {
            Some((same, _)) if same == digest => unchanged += 1,
            before => files.push(FileChange { name, before: before.map(|(_, size)| size), now: Some(size) }),
        }
    }
    files.extend(before.into_iter().map(|(name, (_, size))| FileChange { name, before: Some(size), now: None }));
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Changes { since: previous.name, files, unchanged, packages }
}
