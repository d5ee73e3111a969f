//! Images, versions, manifests, aliases and publish jobs.

use crate::{Inspection, Lifecycle, Warning, present};
use serde::{Deserialize, Serialize};

/// Request to create an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateImage {
    /// Unique name.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z0-9][a-z0-9._-]{0,127}$"))]
    pub name: String,
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 256,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"
        )
    )]
    pub display_name: Option<String>,
    /// Description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 4096,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"
        )
    )]
    pub description: Option<String>,
    /// Who may read the published versions: `public` or `private`. The default is a setting of the server.
    #[serde(default, deserialize_with = "crate::not_null", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false, pattern = "^(public|private)$"))]
    pub visibility: Option<String>,
}

/// Request to change an image. An absent field is not changed; `null` removes the value.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UpdateImage {
    /// Display name.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, max_length = 256, pattern = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"))]
    pub display_name: Option<Option<String>>,
    /// Description.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, max_length = 4096, pattern = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"))]
    pub description: Option<Option<String>>,
    /// Who may read the published versions: `public` or `private`.
    #[serde(default, deserialize_with = "crate::not_null", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false, pattern = "^(public|private)$"))]
    pub visibility: Option<String>,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Image {
    /// Id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub id: String,
    /// Unique name.
    pub name: String,
    /// Display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who may read the published versions: `public` or `private`.
    #[serde(default = "public")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^(public|private)$"))]
    pub visibility: String,
    /// Time of creation.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub created_at: String,
    /// Time of the last change of the metadata.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub updated_at: String,
}

/// The visibility of images of servers that know no other.
fn public() -> String {
    "public".to_owned()
}

/// Request to create a version.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateVersion {
    /// Name of the version. It must differ from the other versions and the aliases of the image.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+:~^-]{0,127}$"))]
    pub version: String,
}

/// A version of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Version {
    /// Id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub id: String,
    /// Id of the image.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub image_id: String,
    /// Name.
    pub version: String,
    /// `draft`, `publishing` or `published`.
    pub state: String,
    /// Time of publication; absent if the version is not published.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub published_at: Option<String>,
    /// Lifecycle after publication; absent while the version is active and not held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// Day (UTC) on which bytes of a file of the version were last sent, if the version is published; a `HEAD` request or
    /// a 304 response does not count. A version that was not fetched since the server began to record fetches counts as
    /// fetched on that day, or on that of its publication. Only in lists, and only for callers with `content.retire` or
    /// `system.operate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = Date))]
    pub last_fetched_on: Option<String>,
    /// Time of creation.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub created_at: String,
    /// Time of the last change.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub updated_at: String,
}

/// A version and its publish job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PublishRequested {
    /// The version.
    #[serde(flatten)]
    pub version: Version,
    /// Id of the publish job.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub job_id: String,
}

/// Request to add an artifact to a draft.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateArtifact {
    /// Variant, such as `cloud`. Default: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"))]
    pub variant: Option<String>,
    /// Operating system, such as `debian`.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"))]
    pub operating_system: String,
    /// Architecture, such as `amd64`. Stored as it is sent; another spelling of it, such as `x86_64`, is the same one.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"))]
    pub architecture: String,
    /// `raw`, `qcow2`, `iso`, `vmdk`, `vhd`, `vhdx`, `vdi` or `tar`, each also compressed, with `.bz2`, `.gz`, `.xz` or
    /// `.zst`; or `root.tar.bz2`, `root.tar.gz`, `root.tar.xz`, `root.tar.zst`, `ova`, `squashfs`, `kernel`, `initrd` or
    /// `efi`.
    #[cfg_attr(
        feature = "openapi",
        schema(
            pattern = r"^((raw|qcow2|iso|vmdk|vhdx?|vdi|tar)(\.(bz2|gz|xz|zst))?|root\.tar\.(bz2|gz|xz|zst)|ova|squashfs|kernel|initrd|efi)$"
        )
    )]
    pub format: String,
    /// Digest of the content. The blob can be uploaded later.
    #[cfg_attr(feature = "openapi", schema(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub primary_blob_digest: String,
    /// Size in bytes.
    #[serde(deserialize_with = "crate::integer::deserialize")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub primary_blob_size_bytes: i64,
    /// Media type that the content is served with.
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 127,
            pattern = r##"^[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+([ \t]*;[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+=([!#$%&'*+.^_`|~0-9A-Za-z-]+|"([ !#-\[\]-~]|\\[ -~])*"))?)*$"##
        )
    )]
    pub primary_media_type: String,
}

/// An artifact of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Artifact {
    /// Id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub id: String,
    /// Id of the version.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub version_id: String,
    /// Variant, such as `cloud`.
    pub variant: String,
    /// Operating system, such as `debian`.
    pub operating_system: String,
    /// Architecture, such as `amd64`.
    pub architecture: String,
    /// Format of the content.
    pub format: String,
    /// Digest of the content.
    pub primary_blob_digest: String,
    /// Size in bytes.
    pub primary_blob_size_bytes: i64,
    /// Media type that the content is served with.
    pub primary_media_type: String,
    /// Time at which it was added.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub created_at: String,
    /// Same as `created_at`: artifacts are replaced, not changed.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub updated_at: String,
    /// Result of the inspection by the publish job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inspection: Option<Inspection>,
    /// `true` if the stored content is missing or damaged, and is not served.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quarantined: bool,
}

/// Request to attach a file to an artifact of a draft.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateAttachment {
    /// Name, unique within the artifact.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"))]
    pub name: String,
    /// Media type that the content is served with.
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 127,
            pattern = r##"^[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+([ \t]*;[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+=([!#$%&'*+.^_`|~0-9A-Za-z-]+|"([ !#-\[\]-~]|\\[ -~])*"))?)*$"##
        )
    )]
    pub media_type: String,
    /// Digest of the content. The blob can be uploaded later.
    #[cfg_attr(feature = "openapi", schema(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub blob_digest: String,
    /// Size in bytes.
    #[serde(deserialize_with = "crate::integer::deserialize")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub blob_size_bytes: i64,
}

/// An attachment of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Attachment {
    /// Id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub id: String,
    /// Id of the artifact.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub artifact_id: String,
    /// Name.
    pub name: String,
    /// Media type that the content is served with.
    pub media_type: String,
    /// Digest of the content.
    pub blob_digest: String,
    /// Size in bytes.
    pub blob_size_bytes: i64,
    /// Time at which it was added.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub created_at: String,
    /// Same as `created_at`: attachments are replaced, not changed.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub updated_at: String,
    /// `true` if the stored content is missing or damaged, and is not served.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quarantined: bool,
}

/// A version with its artifacts and attachments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Manifest {
    /// The image.
    pub image: Image,
    /// The version.
    pub version: Version,
    /// Artifacts.
    pub artifacts: Vec<ManifestEntry>,
    /// Problems that publishing found, but that did not make it fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// An artifact with its attachments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ManifestEntry {
    /// The artifact's id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub artifact_id: String,
    /// The artifact.
    pub artifact: Artifact,
    /// Attachments, sorted by name.
    pub attachments: Vec<Attachment>,
}

/// Request to create or move an alias.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SetAlias {
    /// A published version of the image.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+:~^-]{0,127}$"))]
    pub version: String,
}

/// A name that points to a published version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Alias {
    /// Id; it does not change when the alias moves.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub id: String,
    /// Id of the image.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub image_id: String,
    /// Name.
    pub alias: String,
    /// Id of the version that the alias points to.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub version_id: String,
    /// Name of that version.
    pub version: String,
    /// Time of creation.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub created_at: String,
    /// Time of the last move.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub updated_at: String,
}

/// A publish job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PublishJob {
    /// Id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub id: String,
    /// Id of the version that the job publishes.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub version_id: String,
    /// The name of the image.
    pub image_name: String,
    /// The name of the version.
    pub version: String,
    /// `queued`, `running`, `succeeded`, `failed` or `abandoned`.
    pub state: String,
    /// Step that failed; absent if none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_step: Option<String>,
    /// Reason why it failed, is parked, or must be attempted again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Number of attempts at the current step: the one that runs, runs next or failed, or the last one.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required = true))]
    pub attempt_count: i64,
    /// Time of the next attempt, if the job waits for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub next_attempt_at: Option<String>,
    /// `true` if the job is parked: its attempts crashed the server or its record is damaged, and nothing is attempted
    /// until it is retried.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parked: bool,
    /// Time at which a worker first started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub started_at: Option<String>,
    /// Time at which it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub finished_at: Option<String>,
    /// Time of creation.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub created_at: String,
    /// Time of the last change.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub updated_at: String,
    /// Steps, in order.
    pub steps: Vec<PublishStep>,
    /// Problems that the steps found, but that did not make the job fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// A step of a publish job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PublishStep {
    /// Name.
    pub name: String,
    /// `queued`, `running`, `succeeded`, `failed` or `skipped`.
    pub state: String,
    /// Position in the order of steps, starting at 1.
    pub sequence: u16,
    /// Whether a failure of this step makes the job fail.
    pub blocking: bool,
    /// Number of attempts.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub attempt_count: i64,
    /// Time of the last start.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub started_at: Option<String>,
    /// Time at which it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub finished_at: Option<String>,
    /// Reason for which it failed or was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
