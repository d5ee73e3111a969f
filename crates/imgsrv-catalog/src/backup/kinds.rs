//! The kinds of records in a backup, with the type of each field in the domain.

use crate::{
    backup::{
        json::{self, Fields},
        statements::Statements,
    },
    core::{Connection, Corrupt, Record, Row, Value, values},
};
use imgsrv_domain::{
    access::{ImageScope, Visibility},
    audit::{ActorKind, AuditAction},
    auth::{Attributes, PrincipalKind, Role, TokenKey},
    claims::{ClaimValues, RuleImages},
    digest::{ByteSize, Digest, HashState},
    ids::{AliasId, ArtifactId, AttachmentId, ImageId, JobId, PrincipalId, TokenId, UploadId, VersionId},
    inspection::{ClusterCompression, DetectedFormat, ImageKind, IncusProperties},
    names::{
        AliasName, Architecture, AttachmentName, Format, ImageName, OperatingSystem, RefName, RuleId, Variant,
        VersionName,
    },
    oidc::{Audience, Condition, ForwardedClaims, IssuerUrl, Subject},
    packages::PackageList,
    ports::{BlobName, CatalogError},
    publish::{JobState, StepName},
    text::{LongText, MediaType, ShortText},
    time::{Day, Timestamp},
    transition::Revision,
    upload::IdempotencyKey,
};
use std::{collections::BTreeSet, marker::PhantomData, sync::LazyLock, time::Duration};

/// Records of one statement.
const BATCH: i64 = 500;

/// A kind of records, each of which is a row of one table.
trait Kind: Send + 'static {
    const NAME: &'static str;
    /// How many of its first columns are its key.
    const KEYS: usize;

    fn statements() -> &'static Statements;
    fn read(row: &Row<'_>) -> Result<Fields, Corrupt>;
    fn bind(fields: &Fields) -> Result<Vec<Value>, String>;
}

struct Line<K>(Fields, PhantomData<K>);

impl<K: Kind> Record for Line<K> {
    const WHAT: &'static str = K::NAME;

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        K::read(row).map(|fields| Self(fields, PhantomData))
    }
}

/// The next records of `K` after a key, which then is that of the last one.
async fn next<K: Kind>(
    connection: &mut impl Connection,
    after: &mut Option<Vec<Value>>,
) -> Result<Vec<Fields>, CatalogError> {
    let statements = K::statements();
    let lines: Vec<Line<K>> = match after.as_ref() {
        None => connection.list(statements.first.as_str(), values![BATCH]).await?,
        Some(key) => connection.list(statements.next.as_str(), [key.clone(), values![BATCH]].concat()).await?,
    };
    if let Some(Line(fields, _)) = lines.last() {
        let mut key = K::bind(fields).map_err(CatalogError::backend)?;
        key.truncate(K::KEYS);
        *after = Some(key);
    }
    Ok(lines.into_iter().map(|Line(fields, _)| fields).collect())
}

macro_rules! kinds {
    ($($kind:ident: $name:literal in $table:literal by $keys:literal { $($column:ident: $type:ty),+ $(,)? })*) => {
        $(
            struct $kind;

            impl Kind for $kind {
                const NAME: &'static str = $name;
                const KEYS: usize = $keys;

                fn statements() -> &'static Statements {
                    static STATEMENTS: LazyLock<Statements> =
                        LazyLock::new(|| Statements::new($table, &[$(stringify!($column)),+], $keys));
                    &STATEMENTS
                }

                fn read(row: &Row<'_>) -> Result<Fields, Corrupt> {
                    let mut fields = Fields::new();
                    $(fields.insert(stringify!($column).to_owned(), json::read::<$type>(row, stringify!($column))?);)+
                    Ok(fields)
                }

                fn bind(fields: &Fields) -> Result<Vec<Value>, String> {
                    const KNOWN: &[&str] = &[$(stringify!($column)),+];
                    if let Some(unknown) = fields.keys().find(|name| !KNOWN.contains(&name.as_str())) {
                        return Err(format!("it has the unknown field {unknown:?}"));
                    }
                    Ok(vec![$(json::bind::<$type>(fields, stringify!($column))?),+])
                }
            }
        )*

        /// The names of all kinds, in the order in which a backup has them.
        pub(crate) const NAMES: &[&str] = &[$($name),*];

        /// The table and the columns of every kind.
        pub(crate) const TABLES: &[(&str, &[&str])] = &[$(($table, &[$(stringify!($column)),+])),*];

        /// The next records of a kind after a key, which then is that of the last one.
        pub(crate) async fn read(
            connection: &mut impl Connection,
            kind: &str,
            after: &mut Option<Vec<Value>>,
        ) -> Result<Vec<Fields>, CatalogError> {
            match kind {
                $($name => next::<$kind>(connection, after).await,)*
                _ => Err(CatalogError::backend(format!("there are no records of kind {kind}"))),
            }
        }

        /// The statements of a kind, and the values of all columns of a record.
        pub(crate) fn bind(kind: &str, fields: &Fields) -> Result<(&'static Statements, Vec<Value>), String> {
            match kind {
                $($name => Ok(($kind::statements(), $kind::bind(fields)?)),)*
                _ => Err(format!("there are no records of kind {kind}")),
            }
        }
    };
}

kinds! {
    Principals: "principals" in "principals" by 1 {
        id: PrincipalId, kind: PrincipalKind, display_name: ShortText, attributes: Attributes,
        deactivated_at: Timestamp, created_at: Timestamp, updated_at: Timestamp, revision: Revision,
    }
    Roles: "roles" in "principal_roles" by 2 {
        principal_id: PrincipalId, role: Role, by_hand: bool, images: ImageScope,
    }
    Tokens: "tokens" in "api_tokens" by 1 {
        id: TokenId, principal_id: PrincipalId, lookup_key: TokenKey, secret_hash: [u8; 32], name: ShortText,
        roles: BTreeSet<Role>, images: ImageScope, created_at: Timestamp, expires_at: Timestamp, last_used_at: Timestamp, revoked_at: Timestamp,
    }
    Identities: "identities" in "oidc_identities" by 2 {
        issuer: IssuerUrl, subject: Subject, principal_id: PrincipalId, created_at: Timestamp, seen_at: Timestamp,
    }
    LinkKey: "link-key" in "link_key" by 1 { only: i64, id: u32, secret: [u8; 32], created_at: Timestamp }
    Rules: "rules" in "provisioning_rules" by 1 {
        id: RuleId, display_name: ShortText, issuer: IssuerUrl, audience: Audience, forwarded_claims: ForwardedClaims,
        condition: Condition, role: Role, images: RuleImages, enabled: bool, created_at: Timestamp, updated_at: Timestamp, revision: Revision,
    }
    Grants: "grants" in "provisioning_grants" by 3 {
        rule_id: RuleId, principal_id: PrincipalId, role: Role, granted_at: Timestamp, ended_at: Timestamp,
    }
    Images: "images" in "images" by 1 {
        id: ImageId, name: ImageName, display_name: ShortText, description: LongText, visibility: Visibility,
        created_at: Timestamp, updated_at: Timestamp, revision: Revision,
    }
    ImageBindings: "image-bindings" in "image_bindings" by 1 { image_id: ImageId, rule_id: RuleId, claims: ClaimValues }
    LinkGenerations: "link-generations" in "link_generations" by 1 { image_id: ImageId, generation: u32 }
    Versions: "versions" in "versions" by 1 {
        id: VersionId, image_id: ImageId, name: VersionName, state: String, published_at: Timestamp,
        created_at: Timestamp, updated_at: Timestamp, revision: Revision,
    }
    Artifacts: "artifacts" in "artifacts" by 1 {
        id: ArtifactId, version_id: VersionId, operating_system: OperatingSystem, architecture: Architecture,
        variant: Variant, format: Format, primary_blob_digest: Digest, primary_blob_size_bytes: ByteSize,
        primary_media_type: MediaType, created_at: Timestamp,
    }
    Attachments: "attachments" in "attachments" by 1 {
        id: AttachmentId, version_id: VersionId, artifact_id: ArtifactId, name: AttachmentName, media_type: MediaType,
        blob_digest: Digest, blob_size_bytes: ByteSize, created_at: Timestamp,
    }
    Citations: "citations" in "citations" by 4 {
        version_id: VersionId, digest: Digest, principal_id: PrincipalId, image_scope: ImageScope,
    }
    Files: "files" in "version_files" by 2 {
        version_id: VersionId, name: String, artifact_id: ArtifactId, attachment_id: AttachmentId,
    }
    Products: "products" in "version_products" by 2 {
        version_id: VersionId, product: String, artifact_id: ArtifactId,
    }
    Inspections: "inspections" in "inspections" by 1 {
        artifact_id: ArtifactId, version_id: VersionId, detected_format: DetectedFormat, virtual_size_bytes: u64,
        cluster_size_bytes: u64, compression: ClusterCompression,
    }
    PackageLists: "package-lists" in "package_lists" by 1 { digest: Digest, packages: PackageList }
    Warnings: "warnings" in "publish_warnings" by 3 {
        version_id: VersionId, step: StepName, sequence: i64, artifact_id: ArtifactId, reason: String,
    }
    StreamRows: "stream-rows" in "incus_rows" by 1 {
        artifact_id: ArtifactId, version_id: VersionId, attachment_id: AttachmentId, unified_kind: ImageKind,
        fingerprint: Digest, properties: IncusProperties, expires_at: Timestamp, catalog_revision: Revision,
    }
    Fingerprints: "fingerprints" in "incus_fingerprints" by 2 {
        metadata_digest: Digest, root_digest: Digest, combined_bytes: u64, combined_state: [u8; HashState::LENGTH],
        root_bytes: u64, root_state: [u8; HashState::LENGTH], fingerprint: Digest, updated_at: Timestamp,
    }
    Lifecycles: "lifecycles" in "version_lifecycles" by 1 {
        version_id: VersionId, state: String, deprecated_at: Timestamp, deprecation_reason: LongText,
        deprecation_image: ImageName, deprecation_ref: RefName, end_of_life: Day, revoked_at: Timestamp,
        revocation_reason: LongText, revocation_image: ImageName, revocation_ref: RefName, removed_at: Timestamp,
        removal_reason: LongText, removal_image: ImageName, removal_ref: RefName, available_until: Timestamp,
        tombstone_at: Timestamp, hold_reason: LongText, hold_until: Timestamp, hold_lifts_at: Timestamp,
        changed_at: Timestamp, revision: Revision, catalog_revision: Revision,
    }
    Aliases: "aliases" in "aliases" by 1 {
        id: AliasId, image_id: ImageId, name: AliasName, version_id: VersionId, created_at: Timestamp,
        updated_at: Timestamp, revision: Revision,
    }
    DeletedAliases: "deleted-aliases" in "deleted_aliases" by 2 {
        image_id: ImageId, name: AliasName, moved_at: Timestamp,
    }
    ImageChanges: "image-changes" in "image_changes" by 1 { image_id: ImageId, catalog_revision: Revision }
    Retention: "retention" in "retention_policies" by 1 {
        image_id: ImageId, newest: u32, daily: u32, weekly: u32, monthly: u32, younger_than: Duration,
        fetched_within: Duration, min_keep: u32, deprecate_after: Duration, remove_after: Duration, enabled: bool,
    }
    Fetches: "fetches" in "version_fetches" by 1 { version_id: VersionId, fetched_on: Day }
    FetchRecording: "fetch-recording" in "fetch_recording" by 1 { id: i64, since: Day }
    BlockedDigests: "blocked-digests" in "blocked_digests" by 2 {
        digest: Digest, image_name: ImageName, version_name: VersionName, reason: LongText, everywhere: bool,
        blocked_at: Timestamp,
    }
    Blobs: "blobs" in "blobs" by 1 {
        digest: Digest, size_bytes: ByteSize, storage_name: BlobName, created_at: Timestamp,
    }
    BlobSenders: "blob-senders" in "blob_senders" by 3 {
        digest: Digest, principal_id: PrincipalId, image_scope: ImageScope, sent_at: Timestamp,
    }
    Uploads: "uploads" in "upload_sessions" by 1 {
        id: UploadId, created_by: PrincipalId, image_scope: ImageScope, kind: String, expected_digest: String, digest_computed: bool,
        expected_size_bytes: ByteSize, media_type_hint: MediaType, filename_hint: ShortText,
        idempotency_key: IdempotencyKey, state: String, failure_reason: String, expires_at: Timestamp,
        received_bytes: ByteSize, attempts: i64, created_at: Timestamp, updated_at: Timestamp, revision: Revision,
    }
    Jobs: "jobs" in "publish_jobs" by 1 {
        id: JobId, version_id: VersionId, image_name: ImageName, version_name: VersionName, state: JobState,
        created_at: Timestamp, updated_at: Timestamp, started_at: Timestamp, finished_at: Timestamp, revision: Revision,
    }
    Steps: "steps" in "publish_steps" by 2 {
        job_id: JobId, sequence: i64, name: StepName, state: String, reason: String, attempts: u32,
        started_at: Timestamp, finished_at: Timestamp,
    }
    Intakes: "intakes" in "intakes" by 1 {
        id: UploadId, created_by: PrincipalId, rule_id: RuleId, rule_claims: ClaimValues, image_name: ImageName,
        version_name: VersionName, operating_system: OperatingSystem, architecture: Architecture, variant: Variant, format: Format,
        media_type: MediaType, aliases: String, state: String, reason: String, job_id: JobId, created_at: Timestamp,
        updated_at: Timestamp, revision: Revision,
    }
    AuditHorizon: "audit-horizon" in "audit_horizon" by 1 { only: i64, retained_since: Timestamp }
    Audit: "audit" in "audit_log" by 1 {
        id: i64, at: Timestamp, actor_kind: ActorKind, actor: String, actor_name: String, request_id: String, address: String,
        action: AuditAction, subject: String, detail: String,
    }
}
