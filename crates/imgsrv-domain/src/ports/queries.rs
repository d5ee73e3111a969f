//! The catalog's reading side: answers that need no transaction of their own.

use super::{BlobName, CatalogError, LeasedWork, StreamChanges, TrustedBlob};
use crate::{
    audit::{AuditFilter, AuditRecord},
    auth::{ApiToken, Credential, Principal, TokenKey},
    digest::{BlobClaim, Digest},
    ids::{ArtifactId, AttachmentId, JobId, PrincipalId, UploadId, VersionId},
    image::{Alias, Image},
    inspection::Warning,
    intake::Intake,
    manifest::{Artifact, Manifest, ManifestEntry},
    names::{AliasName, AttachmentName, FileName, ImageName, PartNumber, RefName, RuleId, VersionName},
    oidc::{IssuerUrl, OidcIdentity, ProvisioningRule},
    page::{Page, PageRequest},
    parts::Part,
    publish::PublishJob,
    text::MediaType,
    time::Timestamp,
    transition::Revision,
    upload::UploadSession,
    version::Version,
};
use async_trait::async_trait;
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

/// How much of the catalog a caller sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// What is published, and nothing that tells of anything else.
    Published,
    /// Everything.
    All,
}

/// Which versions a list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionFilter {
    /// Drafts.
    Draft,
    /// Frozen ones that are not yet published.
    Publishing,
    /// Published ones.
    Published,
    /// All of them.
    All,
}

/// Bytes of a published version, ready to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedFile {
    /// What the bytes are.
    pub claim: BlobClaim,
    /// Where they are stored.
    pub name: BlobName,
    /// What they are served as.
    pub media_type: MediaType,
    /// When the version was published.
    pub published_at: Timestamp,
    /// The artifact it is or belongs to.
    pub artifact: Artifact,
    /// The attachment's name, if it is one.
    pub attachment: Option<AttachmentName>,
}

/// A file of a published version, found by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasedFile {
    /// Its bytes.
    pub file: PublishedFile,
    /// Its version.
    pub version: VersionName,
    /// The name that was found; that of its checksums leads to a file as well.
    pub name: String,
}

/// A publish job, and what its steps found wrong without failing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobReport {
    /// The job.
    pub job: PublishJob,
    /// The warnings, by step.
    pub warnings: Vec<Warning>,
}

/// What tells a catalog from every other one, and where its blobs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogIdentity {
    /// Made with the catalog; it never changes.
    pub catalog: Uuid,
    /// The blob store that it is bound to, once it is to one.
    pub store: Option<Uuid>,
}

/// How long work of one kind has been waiting or running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Oldest {
    /// Since when the longest waiting piece is wanted; absent when none waits.
    pub queued: Option<Timestamp>,
    /// Since when the longest running piece is held; absent when none is.
    pub running: Option<Timestamp>,
}

/// What the catalog holds, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statistics {
    /// Upload sessions by state.
    pub uploads: BTreeMap<String, u64>,
    /// Publish jobs by state.
    pub jobs: BTreeMap<String, u64>,
    /// Publish steps by name and state.
    pub steps: BTreeMap<(String, String), u64>,
    /// Versions by state.
    pub versions: BTreeMap<String, u64>,
    /// Trusted blobs.
    pub blobs: u64,
    /// The bytes in them.
    pub blob_bytes: u64,
    /// Artifacts that streams list.
    pub incus_rows: u64,
    /// Ingests.
    pub ingest: Oldest,
    /// Publish steps of live jobs, by name.
    pub oldest_steps: BTreeMap<String, Oldest>,
    /// The time on the catalog's clock.
    pub now: Timestamp,
}

/// A principal that an identity is, and what a rule did for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The principal, with the roles of this moment.
    pub principal: Principal,
    /// What became of the rule's grant; absent when the rule has not matched the principal before.
    pub grant: Option<Grant>,
}

/// What became of a rule's grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// It supports the role.
    Live,
    /// It was taken back, and is not given again.
    Ended,
}

/// Reads of the catalog. Each sees one consistent state; lists are in a stable order.
#[async_trait]
pub trait CatalogQueries: Send + Sync {
    /// Checks that the catalog answers and has the schema that this program needs.
    async fn check(&self) -> Result<(), CatalogError>;

    /// What tells this catalog from every other one, and where its blobs are.
    async fn identity(&self) -> Result<CatalogIdentity, CatalogError>;

    /// The image of that name, if visible.
    async fn get_image(&self, name: &ImageName, see: Visibility) -> Result<Option<Image>, CatalogError>;
    /// Visible images by name.
    async fn list_images(&self, see: Visibility, page: &PageRequest) -> Result<Page<Image>, CatalogError>;
    /// Versions of an image, newest first: published ones by their publication, the others by their making,
    /// then by id. `None` when the image is not visible.
    async fn list_versions(
        &self,
        image: &ImageName,
        see: Visibility,
        filter: VersionFilter,
        page: &PageRequest,
    ) -> Result<Option<Page<Version>>, CatalogError>;
    /// The manifest of a visible version.
    async fn get_manifest(
        &self,
        image: &ImageName,
        version: &VersionName,
        see: Visibility,
    ) -> Result<Option<Manifest>, CatalogError>;
    /// The manifest of the published version that is named or aliased so.
    async fn get_ref(&self, image: &ImageName, name: &RefName) -> Result<Option<Manifest>, CatalogError>;
    /// Aliases of a visible image by name. `None` when the image is not visible.
    async fn list_aliases(
        &self,
        image: &ImageName,
        see: Visibility,
        page: &PageRequest,
    ) -> Result<Option<Page<Alias>>, CatalogError>;
    /// The alias of that name.
    async fn get_alias(&self, image: &ImageName, name: &AliasName) -> Result<Option<Alias>, CatalogError>;

    /// The trusted blob with that digest; to [`Visibility::Published`] only when a published version refers to it.
    async fn get_blob(&self, digest: &Digest, see: Visibility) -> Result<Option<TrustedBlob>, CatalogError>;
    /// The bytes of an artifact of a published version, or of one of its attachments.
    async fn get_published_file(
        &self,
        image: &ImageName,
        version: &VersionName,
        artifact: ArtifactId,
        attachment: Option<AttachmentId>,
    ) -> Result<Option<PublishedFile>, CatalogError>;

    /// The file of that name of the published version that is named or aliased so. Under an alias, its name without
    /// the version will do.
    async fn get_released_file(
        &self,
        image: &ImageName,
        reference: &RefName,
        name: &FileName,
    ) -> Result<Option<ReleasedFile>, CatalogError>;

    /// The revision of the catalog: it changes whenever what consumers see does.
    async fn catalog_revision(&self) -> Result<Revision, CatalogError>;
    /// What changed of the streams after `since`; everything when absent.
    async fn get_stream_changes(&self, since: Option<Revision>) -> Result<StreamChanges, CatalogError>;

    /// The session with that id.
    async fn get_upload(&self, id: UploadId) -> Result<Option<UploadSession>, CatalogError>;
    /// Sessions that `by` opened and that wait for parts, newest first; those for `digest` alone if one is given.
    async fn list_open_uploads(
        &self,
        by: PrincipalId,
        digest: Option<&Digest>,
        page: &PageRequest,
    ) -> Result<Page<UploadSession>, CatalogError>;
    /// The recorded parts of a session after `after`, ascending, at most `limit`, without their hashes.
    async fn get_parts(&self, id: UploadId, after: Option<PartNumber>, limit: u16) -> Result<Vec<Part>, CatalogError>;
    /// The intake of that upload.
    async fn get_intake(&self, id: UploadId) -> Result<Option<Intake>, CatalogError>;
    /// The job with that id, and what its steps found wrong without failing.
    async fn get_job(&self, id: JobId) -> Result<Option<JobReport>, CatalogError>;

    /// The token with that key, what it is checked against and whom it authenticates.
    async fn get_credential(&self, key: &TokenKey) -> Result<Option<Credential>, CatalogError>;
    /// Principals by id, which is the order of their making.
    async fn list_principals(&self, page: &PageRequest) -> Result<Page<Principal>, CatalogError>;
    /// The principal with that id.
    async fn get_principal(&self, id: PrincipalId) -> Result<Option<Principal>, CatalogError>;
    /// The tokens of a principal by id, which is the order of their making.
    async fn list_tokens(&self, principal: PrincipalId, page: &PageRequest) -> Result<Page<ApiToken>, CatalogError>;
    /// Provisioning rules by id.
    async fn list_rules(&self, page: &PageRequest) -> Result<Page<ProvisioningRule>, CatalogError>;
    /// The rule with that id.
    async fn get_rule(&self, id: &RuleId) -> Result<Option<ProvisioningRule>, CatalogError>;
    /// Every rule that names `issuer`, enabled or not, by id.
    async fn get_rules_of(&self, issuer: &IssuerUrl) -> Result<Vec<ProvisioningRule>, CatalogError>;
    /// The principal that is `identity`, and what became of `rule`'s grant to it.
    async fn get_admission(&self, identity: &OidcIdentity, rule: &RuleId) -> Result<Option<Admission>, CatalogError>;
    /// The principals from whom [`RuleRepo::reconcile_grant`](super::RuleRepo::reconcile_grant) would take `rule`'s
    /// role, by id. `None` when the rule does not exist and never granted anything.
    async fn list_reconcilable(
        &self,
        rule: &RuleId,
        page: &PageRequest,
    ) -> Result<Option<Page<Principal>>, CatalogError>;
    /// Rows of the audit trail, newest first.
    async fn list_audit(&self, filter: &AuditFilter, page: &PageRequest) -> Result<Page<AuditRecord>, CatalogError>;
    /// How long until the next piece of work of that kind is due, or its lease runs out; absent when there is none.
    async fn next_due(&self, work: LeasedWork) -> Result<Option<Duration>, CatalogError>;
    /// What the catalog holds, at a cost that does not grow with it.
    async fn statistics(&self) -> Result<Statistics, CatalogError>;
    /// How many more bytes there is room for on the catalog's disk; `None` where nobody can tell.
    async fn free_bytes(&self) -> Result<Option<u64>, CatalogError>;
    /// The time on the catalog's clock.
    async fn catalog_time(&self) -> Result<Timestamp, CatalogError>;
}

/// A version and its image, as of one revision of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedVersion {
    /// The revision.
    pub revision: Revision,
    /// The image.
    pub image: Image,
    /// The version.
    pub version: Version,
}

/// The artifacts of a version, and the warnings that publishing recorded for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntries {
    /// The artifacts with their attachments and inspection results, in the manifest's order.
    pub entries: Vec<ManifestEntry>,
    /// The warnings, by step.
    pub warnings: Vec<Warning>,
}

/// Versions and their manifests, each read with one statement.
///
/// Entries, warnings and blobs of a published version never change, but for blobs that are quarantined or replaced,
/// which changes [`catalog_revision`](CatalogQueries::catalog_revision).
#[async_trait]
pub trait ManifestQueries: Send + Sync {
    /// The version of that name and its image, if visible.
    async fn resolve_version(
        &self,
        image: &ImageName,
        name: &VersionName,
        see: Visibility,
    ) -> Result<Option<ResolvedVersion>, CatalogError>;
    /// The published version with that name or alias, and its image.
    async fn resolve_ref(&self, image: &ImageName, name: &RefName) -> Result<Option<ResolvedVersion>, CatalogError>;
    /// The manifest entries of a version and its warnings; empty when there is no such version.
    async fn get_manifest_entries(&self, version: VersionId) -> Result<ManifestEntries, CatalogError>;
    /// The trusted blobs of a version's artifacts and attachments, by digest. A quarantined blob is not trusted.
    async fn get_manifest_blobs(&self, version: VersionId) -> Result<Vec<TrustedBlob>, CatalogError>;
}
