//! The catalog's writing side: one unit of work per decision.

use super::{BlobName, CatalogQueries, FindingRepo, ManifestQueries, PrincipalRepo, RuleRepo, Source};
use crate::{
    audit::AuditEntry,
    digest::{BlobClaim, Digest},
    ids::{AliasId, ArtifactId, AttachmentId, ImageId, JobId, UploadId, VersionId},
    image::{Alias, Image},
    intake::Intake,
    manifest::{Artifact, Attachment, ManifestEntry, Untrusted},
    names::{AliasName, ImageName, PartNumber, VersionName},
    parts::Part,
    publish::PublishJob,
    time::Timestamp,
    upload::UploadSession,
    version::Version,
};
use async_trait::async_trait;
use futures::stream::BoxStream;
use uuid::Uuid;

/// Which rule of the catalog a write broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The record changed since it was read.
    #[error("the record changed since it was read")]
    StaleRevision,
    /// An image has that name.
    #[error("the image name is taken")]
    ImageName,
    /// A version or alias of the image has that name.
    #[error("the name is taken by a version or an alias of the image")]
    RefName,
    /// An artifact of the version has the same operating system, architecture, variant and format.
    #[error("the version has an artifact of that operating system, architecture, variant and format")]
    ArtifactKey,
    /// A file of the version has that name.
    #[error("a file of the version has that name")]
    FileName,
    /// An artifact of the version has the same architecture, as Incus names it, variant and format.
    #[error("the version has an artifact that Incus clients could not tell from it")]
    ProductKey,
    /// An attachment of the artifact has that name.
    #[error("the artifact has an attachment of that name")]
    AttachmentName,
    /// The digest is trusted already.
    #[error("the digest is a trusted blob already")]
    BlobDigest,
    /// The version has a publish job that is not abandoned.
    #[error("the version has a live publish job")]
    LiveJob,
    /// A principal has that id.
    #[error("the principal exists already")]
    PrincipalId,
    /// A token has that look-up key.
    #[error("the token key is taken")]
    TokenKey,
    /// The identity is a principal's already.
    #[error("the identity is known already")]
    Identity,
    /// A provisioning rule has that id.
    #[error("a provisioning rule has that id")]
    RuleId,
    /// The image still has versions.
    #[error("the image has versions")]
    ImageInUse,
    /// The promise of immutability, or another guarantee to consumers, forbids the change.
    #[error("the catalog's guarantees forbid this change")]
    Forbidden,
}

/// A failure of the catalog. Any error dooms the transaction it happened in.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The write broke a rule.
    #[error("conflict: {0}")]
    Conflict(Conflict),
    /// The cursor is not one of this list.
    #[error("the cursor does not belong to this list")]
    InvalidCursor,
    /// A fresh transaction may succeed.
    #[error("transient catalog failure")]
    Retryable(#[source] Source),
    /// The catalog cannot be reached.
    #[error("the catalog cannot be reached")]
    Unavailable(#[source] Source),
    /// There is no room for what was to be written.
    #[error("the catalog is full")]
    Full(#[source] Source),
    /// Anything else; a fault of the catalog or of this program.
    #[error("catalog failure")]
    Backend(#[source] Source),
}

/// Images.
#[async_trait]
pub trait ImageRepo: Send {
    /// The image of that name.
    async fn get_image(&mut self, name: &ImageName) -> Result<Option<Image>, CatalogError>;
    /// The image of that name, in order to change it.
    async fn lock_image(&mut self, name: &ImageName) -> Result<Option<Image>, CatalogError>;
    /// Stores a new image, else [`Conflict::ImageName`].
    async fn insert_image(&mut self, image: &Image) -> Result<(), CatalogError>;
    /// Stores the image's texts if its revision is still held, else [`Conflict::StaleRevision`].
    async fn update_image(&mut self, image: &Image) -> Result<(), CatalogError>;
    /// Deletes an image without versions, else [`Conflict::ImageInUse`].
    async fn delete_image(&mut self, id: ImageId) -> Result<(), CatalogError>;
}

/// Versions and their manifests.
#[async_trait]
pub trait VersionRepo: Send {
    /// The version of that name.
    async fn lock_version(&mut self, image: &ImageName, name: &VersionName) -> Result<Option<Version>, CatalogError>;
    /// The version with that id.
    async fn lock_version_by_id(&mut self, id: VersionId) -> Result<Option<Version>, CatalogError>;
    /// Stores a new draft, else [`Conflict::RefName`].
    async fn insert_version(&mut self, version: &Version) -> Result<(), CatalogError>;
    /// Stores `version` if its revision is still held, else [`Conflict::StaleRevision`].
    async fn update_version(&mut self, version: &Version) -> Result<(), CatalogError>;
    /// Deletes a draft with its manifest.
    async fn delete_version(&mut self, version: &Version) -> Result<(), CatalogError>;

    /// The artifacts of a version and their attachments, in the manifest's order.
    async fn list_manifest(&mut self, version: VersionId) -> Result<Vec<ManifestEntry>, CatalogError>;
    /// The artifact with that id.
    async fn get_artifact(&mut self, id: ArtifactId) -> Result<Option<Artifact>, CatalogError>;
    /// How many artifacts a version has.
    async fn count_artifacts(&mut self, version: VersionId) -> Result<u32, CatalogError>;
    /// Adds an artifact, the files it makes and what streams call it to a draft, else [`Conflict::ArtifactKey`],
    /// [`Conflict::FileName`] or [`Conflict::ProductKey`].
    async fn insert_artifact(
        &mut self,
        artifact: &Artifact,
        files: &[String],
        product: Option<&str>,
    ) -> Result<(), CatalogError>;
    /// Removes an artifact with its attachments and files from a draft.
    async fn delete_artifact(&mut self, id: ArtifactId) -> Result<(), CatalogError>;
    /// The attachment with that id.
    async fn get_attachment(&mut self, id: AttachmentId) -> Result<Option<Attachment>, CatalogError>;
    /// How many attachments an artifact has.
    async fn count_attachments(&mut self, artifact: ArtifactId) -> Result<u32, CatalogError>;
    /// Adds an attachment and the files it makes to a draft, else [`Conflict::AttachmentName`] or [`Conflict::FileName`].
    async fn insert_attachment(
        &mut self,
        version: VersionId,
        attachment: &Attachment,
        files: &[String],
    ) -> Result<(), CatalogError>;
    /// Removes an attachment and its files from a draft.
    async fn delete_attachment(&mut self, id: AttachmentId) -> Result<(), CatalogError>;
}

/// Aliases.
#[async_trait]
pub trait AliasRepo: Send {
    /// The alias of that name.
    async fn lock_alias(&mut self, image: ImageId, name: &AliasName) -> Result<Option<Alias>, CatalogError>;
    /// Stores a new alias, else [`Conflict::RefName`]. Its version must be published.
    async fn insert_alias(&mut self, alias: &Alias) -> Result<(), CatalogError>;
    /// Moves an alias if its revision is still held, else [`Conflict::StaleRevision`]. Its version must be published.
    async fn update_alias(&mut self, alias: &Alias) -> Result<(), CatalogError>;
    /// Deletes an alias.
    async fn delete_alias(&mut self, id: AliasId) -> Result<(), CatalogError>;
    /// Notes that what consumers see of an image has changed.
    async fn bump_catalog_revision(&mut self, image: ImageId) -> Result<(), CatalogError>;
}

/// Upload sessions and their parts.
#[async_trait]
pub trait UploadRepo: Send {
    /// The session with that id.
    async fn lock_upload(&mut self, id: UploadId) -> Result<Option<UploadSession>, CatalogError>;
    /// How many sessions wait for parts.
    async fn count_open_uploads(&mut self) -> Result<u64, CatalogError>;
    /// The claimed bytes of all sessions that have not ended.
    async fn sum_staged_bytes(&mut self) -> Result<u64, CatalogError>;
    /// Stores a new session.
    async fn insert_upload(&mut self, session: &UploadSession) -> Result<(), CatalogError>;
    /// Stores `session` if its revision is still held, else [`Conflict::StaleRevision`].
    async fn update_upload(&mut self, session: &UploadSession) -> Result<(), CatalogError>;
    /// The recorded part of that number.
    async fn get_part(&mut self, session: UploadId, number: PartNumber) -> Result<Option<Part>, CatalogError>;
    /// Every recorded part, ascending, without its hash.
    async fn list_parts(&mut self, session: UploadId) -> Result<Vec<Part>, CatalogError>;
    /// Records a part in place of any of that number.
    async fn put_part(&mut self, session: UploadId, part: &Part) -> Result<(), CatalogError>;
    /// A session whose ingest may be claimed now, the longest due first. Held by this transaction;
    /// those that other transactions hold are passed over.
    async fn lock_due_upload(&mut self) -> Result<Option<UploadSession>, CatalogError>;
    /// Up to `limit` unfinished sessions that have expired.
    async fn lock_expired_uploads(&mut self, limit: u16) -> Result<Vec<UploadSession>, CatalogError>;
    /// Up to `limit` ended sessions whose staged bytes were not cleared yet.
    async fn lock_uncleared_uploads(&mut self, limit: u16) -> Result<Vec<UploadSession>, CatalogError>;
    /// Notes that nothing is staged any more for an ended session, and forgets its parts.
    async fn mark_upload_cleared(&mut self, id: UploadId) -> Result<(), CatalogError>;
}

/// Intakes.
#[async_trait]
pub trait IntakeRepo: Send {
    /// The intake of that upload.
    async fn lock_intake(&mut self, id: UploadId) -> Result<Option<Intake>, CatalogError>;
    /// The intake whose version `job` publishes.
    async fn lock_intake_of_job(&mut self, job: JobId) -> Result<Option<Intake>, CatalogError>;
    /// Up to `limit` intakes that wait for what has happened already, or will never happen.
    async fn list_stranded_intakes(&mut self, limit: u16) -> Result<Vec<UploadId>, CatalogError>;
    /// Stores a new intake; its upload must be stored.
    async fn insert_intake(&mut self, intake: &Intake) -> Result<(), CatalogError>;
    /// Stores `intake` if its revision is still held, else [`Conflict::StaleRevision`].
    async fn update_intake(&mut self, intake: &Intake) -> Result<(), CatalogError>;
}

/// A blob whose bytes were verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedBlob {
    /// What it is.
    pub claim: BlobClaim,
    /// Where it is stored.
    pub name: BlobName,
    /// When it became trusted.
    pub created_at: Timestamp,
}

/// Trusted blobs.
#[async_trait]
pub trait BlobLedger: Send {
    /// The trusted blob with that digest; a quarantined one is not.
    async fn get_blob(&mut self, digest: &Digest) -> Result<Option<TrustedBlob>, CatalogError>;
    /// Whether a blob, trusted or quarantined, is stored as `name`.
    async fn is_stored(&mut self, name: &BlobName) -> Result<bool, CatalogError>;
    /// Records bytes that are durable under their name. Heals a quarantined digest; one that is trusted
    /// already is [`Conflict::BlobDigest`].
    async fn insert_blob(&mut self, blob: &TrustedBlob) -> Result<(), CatalogError>;
    /// Stops serving the blob stored as `name`; says whether it was trusted until now. Quarantining a blob, or
    /// replacing a quarantined one, changes the catalog revision.
    async fn quarantine_blob(&mut self, digest: &Digest, name: &BlobName) -> Result<bool, CatalogError>;
    /// Digests that the manifest of `version` names and that are not trusted blobs of the declared size;
    /// by digest, at most 100.
    async fn list_untrusted(&mut self, version: VersionId) -> Result<Vec<Untrusted>, CatalogError>;
}

/// Publish jobs.
#[async_trait]
pub trait JobRepo: Send {
    /// The job with that id.
    async fn lock_job(&mut self, id: JobId) -> Result<Option<PublishJob>, CatalogError>;
    /// The job of a version that is not abandoned.
    async fn get_live_job(&mut self, version: VersionId) -> Result<Option<PublishJob>, CatalogError>;
    /// Stores a new job, else [`Conflict::LiveJob`].
    async fn insert_job(&mut self, job: &PublishJob) -> Result<(), CatalogError>;
    /// Stores `job` with its steps if its revision is still held, else [`Conflict::StaleRevision`].
    async fn update_job(&mut self, job: &PublishJob) -> Result<(), CatalogError>;
    /// A job that may be claimed now, the longest due first. Held by this transaction; those that
    /// other transactions hold are passed over.
    async fn lock_due_job(&mut self) -> Result<Option<PublishJob>, CatalogError>;
}

/// The audit trail.
#[async_trait]
pub trait AuditLog: Send {
    /// Appends a row; rows are never changed. When the transaction has committed, the row is also a log line.
    async fn append_audit(&mut self, entry: &AuditEntry) -> Result<(), CatalogError>;
}

/// One atomic unit. Dropping it rolls back; any `Err` dooms it, and [`CatalogTx::commit`] then fails.
#[async_trait]
pub trait CatalogTx:
    ImageRepo
    + VersionRepo
    + AliasRepo
    + UploadRepo
    + IntakeRepo
    + BlobLedger
    + JobRepo
    + FindingRepo
    + PrincipalRepo
    + RuleRepo
    + AuditLog
{
    /// Binds the catalog to a blob store, unless it is bound already; returns the one that it is bound to.
    async fn bind_store(&mut self, store: Uuid) -> Result<Uuid, CatalogError>;

    /// The time on the catalog's clock, the same throughout the transaction.
    fn now(&self) -> Timestamp;

    /// Makes everything durable, or nothing.
    async fn commit(self: Box<Self>) -> Result<(), CatalogError>;
}

/// A kind of work that is done under leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeasedWork {
    /// Ingesting completed uploads.
    Ingest,
    /// Running publish jobs.
    Publish,
}

/// A kind of work that was enqueued, for the workers that wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// A completed upload waits to be ingested.
    Ingest,
    /// A publish job waits to be run.
    Publish,
    /// Some may have been, of any kind: the catalog could not be listened to for a while.
    Anything,
}

/// The catalog. Reads go through [`CatalogQueries`], decisions through a transaction.
#[async_trait]
pub trait Catalog: CatalogQueries + ManifestQueries {
    /// Begins a transaction. Do not begin a second one inside it, and do no other I/O while it is open.
    async fn begin(&self) -> Result<Box<dyn CatalogTx>, CatalogError>;

    /// What any process enqueues in this catalog from now on. A wake-up, not a promise: one may be lost when the
    /// connection is, so workers look for themselves now and then. Ends when the catalog is closed, and is empty
    /// for a catalog that only one process can use.
    fn enqueued(&self) -> BoxStream<'static, Enqueued>;
}
