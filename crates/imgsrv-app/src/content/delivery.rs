//! Delivery: finding the files of published versions, and opening their bytes.

use crate::{
    audit,
    auth::caller::Caller,
    bytes::reader::{SPAN, open_blob, read_blob, replacement},
    content::{
        audited::{Audited, hour_of, start_of},
        fetches::Fetched,
        published::{PublishedVersion, PublishedVersions},
    },
    context::Context,
    error::{Gone, Missing, Result, UseCaseError},
    work::retry::retrying,
};
use bytes::Bytes;
use imgsrv_domain::{
    access::{View, Visibility},
    audit::{AuditAction, AuditEntry, Event},
    digest::{BlobClaim, Digest},
    error_chain, files,
    ids::{ArtifactId, AttachmentId},
    lifecycle::{Lifecycle, LifecycleState},
    manifest::{Manifest, ManifestFile},
    names::{FileName, ImageName, RefName, UrlSegment, VersionName},
    ports::{BlobError, BlobStream, CatalogError, TrustedBlob},
    text::MediaType,
    time::Timestamp,
};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// The use cases of downloads.
#[derive(Clone)]
pub struct Delivery(pub(crate) Arc<PublishedVersions>);

/// Stored bytes that the caller may download.
#[derive(Debug, Clone)]
pub struct Download {
    /// The blob that has them.
    pub blob: TrustedBlob,
    /// Their media type; absent when only their digest is known.
    pub media_type: Option<MediaType>,
    /// The suggested file name.
    pub file_name: String,
    /// When they were published, or became known to the caller; under an alias, not before it last moved.
    pub modified_at: Timestamp,
    /// Whether anonymous callers may download them.
    pub public: bool,
    /// The lifecycle of their version, if they were found through one that is not active.
    pub lifecycle: Option<Box<Lifecycle>>,
    /// What is fetched once they are sent.
    fetched: Fetched,
    /// What the audit log records when they are private.
    audited: Option<Box<Audited>>,
}

/// The names that files have under an alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamesUnderAlias {
    /// Without the version; names with it are accepted as well.
    Short,
    /// With the version, as under the version itself.
    Versioned,
}

/// A file of a published version, found by its name.
#[derive(Debug, Clone)]
pub struct NamedFile {
    /// Its content.
    pub content: FileContent,
    /// When it was found through an alias: the path under which the same file remains.
    pub versioned: Option<String>,
}

/// The content of a file.
#[derive(Debug, Clone)]
pub enum FileContent {
    /// An artifact or attachment.
    Stored(Download),
    /// Checksums.
    Generated(GeneratedText),
}

/// A text that is derived from a version's manifest.
#[derive(Debug, Clone)]
pub struct GeneratedText {
    /// The text.
    pub text: String,
    /// The suggested file name.
    pub file_name: String,
    /// When the version was published; under an alias, not before it last moved.
    pub modified_at: Timestamp,
    /// Whether anonymous callers may read it.
    pub public: bool,
    /// The lifecycle of the version, if it is not active.
    pub lifecycle: Option<Box<Lifecycle>>,
}

impl GeneratedText {
    /// Its digest and size.
    pub fn claim(&self) -> BlobClaim {
        BlobClaim::of(self.text.as_bytes())
    }
}

/// The files of a published version.
#[derive(Debug, Clone)]
pub struct VersionFiles {
    /// Its manifest.
    pub manifest: Arc<Manifest>,
    /// Its files by name.
    pub files: Arc<[ManifestFile]>,
    /// Whether it was found through an alias, under which the names of files leave the version out.
    pub is_alias: bool,
    /// When it was published; under an alias, not before it last moved.
    pub modified_at: Timestamp,
}

impl VersionFiles {
    /// Every file once, by the name that it is listed under. The version is left out of names under an alias, except where
    /// that would be the name of another file.
    pub fn by_name(&self) -> BTreeMap<String, &ManifestFile> {
        let (image, version) = (&self.manifest.image.name, &self.manifest.version.name);
        let short = |file: &ManifestFile| {
            let short = files::without_version(image, version, &file.name).filter(|_| self.is_alias)?;
            locate(&self.files, &short).is_none().then_some(short)
        };
        self.files.iter().map(|file| (short(file).unwrap_or_else(|| file.name.clone()), file)).collect()
    }

    /// The checksums of all files, in the format of GNU coreutils, by the names that they are listed under.
    pub fn checksums(&self) -> String {
        self.by_name().iter().map(|(name, file)| checksum_line(&file.claim.digest, name)).collect()
    }
}

/// A line of a checksum file (GNU coreutils).
fn checksum_line(digest: &Digest, name: &str) -> String {
    format!("{}  {name}\n", digest.hex())
}

/// The checksum of a file that was requested as `name`, and those of the files next to it: systemd verifies all of them by one
/// checksum file.
fn checksum_lines(file: &ManifestFile, name: &str) -> String {
    let beside = file.beside.iter().filter_map(|(attachment, digest)| {
        files::side_file(name, attachment).map(|beside| checksum_line(digest, &beside))
    });
    std::iter::once(checksum_line(&file.claim.digest, name)).chain(beside).collect()
}

impl Delivery {
    /// The blob with that digest, if the caller may download it.
    #[tracing::instrument(name = "delivery.blob", level = "debug", skip_all, fields(blob.digest = %digest), err(level = "debug"))]
    pub async fn blob(&self, caller: &Caller, digest: &Digest) -> Result<Download> {
        let catalog = &self.0.context.catalog;
        let Some((blob, public)) = self.readable(caller, digest).await? else {
            let (reach, sender) = (caller.reach(), caller.sender());
            if catalog.is_quarantined(digest, &reach, sender.as_ref()).await? {
                return Err(UseCaseError::Quarantined(*digest));
            }
            let revoked = catalog.get_revoked_version_of(digest, &reach).await?;
            let missing = || Missing::Blob(*digest).into();
            return Err(revoked.map_or_else(missing, |version| Gone::of(&version, self.0.context.clock.now()).into()));
        };
        let fetched = Fetched::Digest(*digest);
        let (file_name, modified_at) = (blob.claim.digest.hex(), blob.created_at);
        let audited = if public { None } else { audited(caller, digest.to_string()) };
        Ok(Download { blob, media_type: None, file_name, modified_at, public, lifecycle: None, fetched, audited })
    }

    /// The trusted blob with that digest, if the caller may read it, and whether everybody may.
    async fn readable(&self, caller: &Caller, digest: &Digest) -> Result<Option<(TrustedBlob, bool)>> {
        let (context, catalog) = (&self.0.context, &self.0.context.catalog);
        let public = self.0.public_blobs.get(context, digest).await?;
        if public.is_some() || caller.principal().is_none() {
            return Ok(public.map(|blob| (blob, true)));
        }
        let own = match caller.view_of_everything() {
            View::All => catalog.get_blob(digest, View::All).await?,
            View::Public | View::Published => {
                catalog.get_readable_blob(digest, &caller.reach(), caller.sender().as_ref()).await?
            }
        };
        Ok(own.map(|blob| (blob, false)))
    }

    /// The bytes of an artifact of a published version that the caller may read, or of one of its attachments.
    #[tracing::instrument(name = "delivery.file", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.name = %version, artifact.id = %artifact))]
    pub async fn file(
        &self,
        caller: &Caller,
        image: &ImageName,
        version: &VersionName,
        artifact: ArtifactId,
        attachment: Option<AttachmentId>,
    ) -> Result<Download> {
        let missing = || match attachment {
            None => Missing::Artifact(image.clone(), version.clone(), artifact),
            Some(id) => Missing::Attachment(artifact, id),
        };
        let see = caller.view(image).min(View::Published);
        let found = self.0.by_version(image, version, see).await?.ok_or_else(missing)?;
        self.require_served(&found)?;
        let entry = found.manifest.entries.iter().find(|entry| entry.artifact.id == artifact).ok_or_else(missing)?;
        let (file_name, claim, media_type) = match attachment {
            Some(id) => {
                let found = entry.attachments.iter().find(|attachment| attachment.id == id).ok_or_else(missing)?;
                (found.name.to_string(), found.blob, &found.media_type)
            }
            None => (entry.artifact.file_name(image, version), entry.artifact.primary, &entry.artifact.media_type),
        };
        let modified_at = published_at(&found.manifest);
        self.download(caller, &found, &claim.digest, media_type, file_name, modified_at).await
    }

    /// The file of that name, or its checksums, of the published version that is named or aliased so, if the caller may read
    /// the image. Every spelling of the
    /// architecture finds the file, in any case of letters, if no other file has that name.
    #[tracing::instrument(name = "delivery.named_file", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.reference = %reference, file.name = %name))]
    pub async fn named_file(
        &self,
        caller: &Caller,
        image: &ImageName,
        reference: &RefName,
        names: NamesUnderAlias,
        name: &FileName,
    ) -> Result<NamedFile> {
        if name.as_str() == files::CHECKSUMS {
            let files = self.files(caller, image, reference).await?;
            let version = &files.manifest.version;
            let versioned = files.is_alias.then(|| format!("/images/{image}/{}/{name}", version.name.in_url()));
            let files = VersionFiles { is_alias: files.is_alias && names == NamesUnderAlias::Short, ..files };
            let text = generated(files.checksums(), name, &files.manifest, files.modified_at);
            return Ok(NamedFile { content: FileContent::Generated(text), versioned });
        }
        let (found, moved_at) = self.find(caller, image, reference).await?;
        let missing = || Missing::File(image.clone(), reference.clone(), name.clone());
        let version = &found.manifest.version.name;
        let (is_alias, modified_at) = (moved_at.is_some(), modified_at(&found.manifest, moved_at));
        let rest = name.as_str().strip_prefix(image.as_str()).and_then(|rest| rest.strip_prefix('-'));
        let full = rest
            .filter(|_| is_alias && names == NamesUnderAlias::Short)
            .map(|rest| format!("{image}-{version}-{rest}"));
        let exact = [Some(name.to_string()), full];
        let (found_by, file) = find_named(&found.files, &exact, image, version).ok_or_else(missing)?;
        let versioned = is_alias.then(|| format!("/images/{image}/{}/{}", version.in_url(), UrlSegment(&found_by)));
        let content = if file.name == found_by {
            let name = name.to_string();
            let download =
                self.download(caller, &found, &file.claim.digest, &file.media_type, name, modified_at).await?;
            FileContent::Stored(download)
        } else {
            let of = files::checksummed_file(name.as_str()).unwrap_or(&file.name);
            let text = checksum_lines(file, of);
            FileContent::Generated(generated(text, name, &found.manifest, modified_at))
        };
        Ok(NamedFile { content, versioned })
    }

    /// The files of the published version that is named or aliased so, if the caller may read the image.
    #[tracing::instrument(name = "delivery.files", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.reference = %reference))]
    pub async fn files(&self, caller: &Caller, image: &ImageName, reference: &RefName) -> Result<VersionFiles> {
        let (found, moved_at) = self.find(caller, image, reference).await?;
        let (manifest, files) = (Arc::clone(&found.manifest), Arc::clone(&found.files));
        let modified_at = modified_at(&manifest, moved_at);
        Ok(VersionFiles { manifest, files, is_alias: moved_at.is_some(), modified_at })
    }

    /// The version of that name or alias, if the caller may read it and its files are served, and when the alias was moved.
    async fn find(
        &self,
        caller: &Caller,
        image: &ImageName,
        reference: &RefName,
    ) -> Result<(Arc<PublishedVersion>, Option<Timestamp>)> {
        let found = self.0.by_ref(image, reference, caller.view(image)).await?;
        let found = found.ok_or_else(|| Missing::Ref(image.clone(), reference.clone()))?;
        self.require_served(&found.0)?;
        Ok(found)
    }

    /// Refuses a version whose files are no longer served.
    fn require_served(&self, found: &PublishedVersion) -> Result<()> {
        let (version, now) = (&found.manifest.version, self.0.context.clock.now());
        if version.lifecycle.is_revoked() || version.lifecycle.state(now) == LifecycleState::Tombstone {
            return Err(Gone::of(version, now).into());
        }
        Ok(())
    }

    /// A file of a published version as a download. The blobs of such a version are trusted, unless they are quarantined.
    async fn download(
        &self,
        caller: &Caller,
        version: &PublishedVersion,
        digest: &Digest,
        media_type: &MediaType,
        file_name: String,
        modified_at: Timestamp,
    ) -> Result<Download> {
        let media_type = Some(media_type.clone());
        let blob = self.0.blob(version, digest).await?.ok_or(UseCaseError::Quarantined(*digest))?;
        let fetched = Fetched::Version(version.manifest.version.id);
        let lifecycle = discouraged(&version.manifest);
        let public = is_public(&version.manifest);
        let audited = if public {
            None
        } else {
            let file = version.files.iter().find(|file| file.claim.digest == *digest);
            let name = file.map_or(file_name.as_str(), |file| file.name.as_str());
            audited(caller, format!("{}/{name}", version.manifest.version.path()))
        };
        Ok(Download { blob, media_type, file_name, modified_at, public, lifecycle, fetched, audited })
    }

    /// Opens `range` of the bytes, which counts as a fetch; that is noted in memory, and stored later. A blob whose bytes are
    /// missing or wrong is quarantined, so that it is not served again; if it has been replaced since the download was found,
    /// the replacement is opened. A range of up to 1 MiB is verified before it is returned; the stream of a larger one fails
    /// before the first wrong byte. If it has been collected or purged since the download was found, it does not exist.
    #[tracing::instrument(name = "delivery.open", level = "debug", skip_all, fields(blob.digest = %download.blob.claim.digest), err(level = "debug"))]
    pub async fn open(&self, download: &Download, range: Range<u64>) -> Result<BlobStream> {
        let opened = self.stream(download, range).await?;
        self.note(download).await;
        Ok(opened)
    }

    /// Opens the bytes and verifies the first block, without sending anything, which does not count as a fetch. Errors are those
    /// of [`Delivery::open`].
    #[tracing::instrument(name = "delivery.check", level = "debug", skip_all, fields(blob.digest = %download.blob.claim.digest), err(level = "debug"))]
    pub async fn check(&self, download: &Download) -> Result<()> {
        self.stream(download, 0..download.blob.claim.size.get().min(1)).await.map(drop)
    }

    async fn stream(&self, download: &Download, range: Range<u64>) -> Result<BlobStream> {
        match open_blob(&self.0.context, &download.blob, range.clone()).await {
            Ok(opened) => Ok(opened),
            Err(error) => {
                let current = self.replacement(download, error).await?;
                let opened = open_blob(&self.0.context, &current, range).await;
                opened.map_err(|error| undeliverable(download, error))
            }
        }
    }

    /// Reads `range` of the bytes at once, verified, if it has little more than a hundred KiB; else `None`. The bytes keep up
    /// to [`Delivery::HELD`] of memory. Otherwise it is like [`Delivery::open`].
    #[tracing::instrument(name = "delivery.read", level = "debug", skip_all, fields(blob.digest = %download.blob.claim.digest), err(level = "debug"))]
    pub async fn read(&self, download: &Download, range: Range<u64>) -> Result<Option<Bytes>> {
        let read = match read_blob(&self.0.context, &download.blob, range.clone()).await {
            Ok(read) => read,
            Err(error) => {
                let current = self.replacement(download, error).await?;
                let read = read_blob(&self.0.context, &current, range).await;
                read.map_err(|error| undeliverable(download, error))?
            }
        };
        if read.is_some() {
            self.note(download).await;
        }
        Ok(read)
    }

    /// The memory that bytes keep which were read at once.
    pub const HELD: u64 = SPAN;

    /// Notes that bytes are sent: the day of the last fetch and, if they are private, who fetched them.
    async fn note(&self, download: &Download) {
        let context = &self.0.context;
        context.fetches.note(download.fetched, context.clock.now());
        if let Some(audited) = &download.audited {
            record(context, audited).await;
        }
    }

    /// The blob that has replaced that of a download, which was read with that error.
    async fn replacement(&self, download: &Download, error: BlobError) -> Result<TrustedBlob> {
        let (context, blob) = (&self.0.context, &download.blob);
        if let BlobError::Damaged = error {
            if let Some(current) = replacement(context, blob).await? {
                return Ok(current);
            }
            if context.catalog.get_blob_status(&blob.claim.digest, 0).await?.is_none() {
                return Err(Missing::Blob(blob.claim.digest).into());
            }
        }
        Err(undeliverable(download, error))
    }
}

fn undeliverable(download: &Download, error: BlobError) -> UseCaseError {
    match error {
        BlobError::Damaged => UseCaseError::Quarantined(download.blob.claim.digest),
        error => error.into(),
    }
}

/// The file with one of these names, or else with one in another spelling of the architecture; and the name that it has.
fn find_named<'a>(
    files: &'a [ManifestFile],
    names: &[Option<String>],
    image: &ImageName,
    version: &VersionName,
) -> Option<(String, &'a ManifestFile)> {
    let names = || names.iter().flatten();
    let respelled = names().flat_map(|name| {
        let taken = files.iter().flat_map(|file| files::names_taken_by(&file.name));
        taken.filter(move |taken| files::is_respelled(image, version, name, taken))
    });
    let mut candidates = names().cloned().chain(respelled);
    candidates.find_map(|name| locate(files, &name).map(|file| (name, file)))
}

/// The file that has that name, or whose checksum has it.
fn locate<'a>(files: &'a [ManifestFile], name: &str) -> Option<&'a ManifestFile> {
    let find = |name: &str| files.get(files.binary_search_by(|file| file.name.as_str().cmp(name)).ok()?);
    find(name).or_else(|| find(files::checksummed_file(name)?))
}

fn generated(text: String, name: &FileName, manifest: &Manifest, modified_at: Timestamp) -> GeneratedText {
    let (public, lifecycle) = (is_public(manifest), discouraged(manifest));
    GeneratedText { text, file_name: name.to_string(), modified_at, public, lifecycle }
}

/// Records a download, unless one in the same hour is recorded. One that cannot be recorded is logged, and served all the
/// same: a catalog that is not writable does not stop downloads.
async fn record(context: &Context, download: &Audited) {
    let hour = hour_of(context.clock.now());
    if context.audited.is_known(hour, download) {
        return;
    }
    match retrying(|| append(context, download)).await {
        Ok(()) => context.audited.remember(hour, download),
        Err(error) => {
            let (subject, error) = (&download.subject, error_chain::text(&error));
            tracing::warn!(principal.id = %download.principal, subject, error, "download of a private file was not recorded");
        }
    }
}

async fn append(context: &Context, download: &Audited) -> Result<(), CatalogError> {
    let mut tx = context.catalog.begin().await?;
    let event = Event::new(AuditAction::FileDownloaded, &download.subject);
    let entry = AuditEntry { at: tx.now(), actor: download.actor.clone(), event };
    let since = start_of(hour_of(entry.at));
    if tx.has_audited(&entry, since).await? {
        return Ok(());
    }
    audit::commit(tx, &entry.actor, entry.event).await
}

/// What the audit log records of a download of what is private.
fn audited(caller: &Caller, subject: String) -> Option<Box<Audited>> {
    let (principal, actor) = (caller.principal()?, caller.actor()?);
    Some(Box::new(Audited { principal, actor, subject }))
}

/// Whether everybody may read the files of a version.
fn is_public(manifest: &Manifest) -> bool {
    manifest.image.visibility == Visibility::Public
}

/// The lifecycle of a version that is not active.
fn discouraged(manifest: &Manifest) -> Option<Box<Lifecycle>> {
    let lifecycle = &manifest.version.lifecycle;
    (lifecycle.stored_state() != LifecycleState::Active).then(|| Box::new(lifecycle.clone()))
}

fn published_at(manifest: &Manifest) -> Timestamp {
    manifest.version.state.published_at().unwrap_or(manifest.version.created_at)
}

/// When the version was published, or an alias that it was found by last moved, whichever is later.
fn modified_at(manifest: &Manifest, moved_at: Option<Timestamp>) -> Timestamp {
    moved_at.into_iter().fold(published_at(manifest), Timestamp::max)
}
