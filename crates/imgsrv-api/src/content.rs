//! Images, versions, manifests, aliases and publish jobs.

use crate::{Inspection, Warning, present};
use serde::{Deserialize, Serialize};

/// An image to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateImage {
    /// Its unique name.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z0-9][a-z0-9._-]{0,127}$"))]
    pub name: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 256,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"
        )
    )]
    pub display_name: Option<String>,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 4096,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"
        )
    )]
    pub description: Option<String>,
}

/// Texts of an image to change: one that is absent stays, `null` removes it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UpdateImage {
    /// A name for people.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, max_length = 256, pattern = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"))]
    pub display_name: Option<Option<String>>,
    /// What it is.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, max_length = 4096, pattern = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"))]
    pub description: Option<Option<String>>,
}

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Image {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub id: String,
    /// Its unique name.
    pub name: String,
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it was made.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub created_at: String,
    /// When its texts last changed.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub updated_at: String,
}

/// A version to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateVersion {
    /// Its name, unique in the image together with the aliases.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+:-]{0,127}$"))]
    pub version: String,
}

/// A version of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Version {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub id: String,
    /// Its image.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub image_id: String,
    /// Its name.
    pub version: String,
    /// `draft`, `publishing` or `published`.
    pub state: String,
    /// When it was published, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub published_at: Option<String>,
    /// When it was made.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub created_at: String,
    /// When it last changed.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub updated_at: String,
}

/// A version and the job that publishes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PublishRequested {
    /// The version.
    #[serde(flatten)]
    pub version: Version,
    /// Its job.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub job_id: String,
}

/// An artifact to be added to a draft.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateArtifact {
    /// Which of several alike; `default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"))]
    pub variant: Option<String>,
    /// What boots.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"))]
    pub operating_system: String,
    /// On what.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"))]
    pub architecture: String,
    /// `raw`, `raw.gz`, `raw.xz`, `raw.zst`, `qcow2`, `qcow2.gz`, `qcow2.xz`, `qcow2.zst`, `iso`, `iso.gz`, `iso.xz`,
    /// `iso.zst`, `vmdk`, `vmdk.gz`, `vmdk.xz`, `vmdk.zst`, `vhd`, `vhdx`, `vdi`, `ova`, `squashfs`, `root.tar.gz`,
    /// `root.tar.xz`, `root.tar.zst`, `tar`, `tar.gz`, `tar.xz`, `tar.zst`, `kernel`, `initrd` or `efi`.
    pub format: String,
    /// The digest of its bytes; they need not be uploaded yet.
    #[cfg_attr(feature = "openapi", schema(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub primary_blob_digest: String,
    /// Their size.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub primary_blob_size_bytes: i64,
    /// What they are served as.
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
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub id: String,
    /// Its version.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub version_id: String,
    /// Which of several alike.
    pub variant: String,
    /// What boots.
    pub operating_system: String,
    /// On what.
    pub architecture: String,
    /// The format of its bytes.
    pub format: String,
    /// Their digest.
    pub primary_blob_digest: String,
    /// Their size.
    pub primary_blob_size_bytes: i64,
    /// What they are served as.
    pub primary_media_type: String,
    /// When it was added.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub created_at: String,
    /// The same; artifacts are replaced, never changed.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub updated_at: String,
    /// What its bytes are, once publishing has looked at them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inspection: Option<Inspection>,
}

/// An attachment to be added to an artifact of a draft.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateAttachment {
    /// Its name, unique in the artifact.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"))]
    pub name: String,
    /// What its bytes are served as.
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 127,
            pattern = r##"^[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+([ \t]*;[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+=([!#$%&'*+.^_`|~0-9A-Za-z-]+|"([ !#-\[\]-~]|\\[ -~])*"))?)*$"##
        )
    )]
    pub media_type: String,
    /// The digest of its bytes; they need not be uploaded yet.
    #[cfg_attr(feature = "openapi", schema(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub blob_digest: String,
    /// Their size.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub blob_size_bytes: i64,
}

/// An attachment of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Attachment {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub id: String,
    /// Its artifact.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub artifact_id: String,
    /// Its name.
    pub name: String,
    /// What its bytes are served as.
    pub media_type: String,
    /// Their digest.
    pub blob_digest: String,
    /// Their size.
    pub blob_size_bytes: i64,
    /// When it was added.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub created_at: String,
    /// The same; attachments are replaced, never changed.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub updated_at: String,
}

/// A version with everything it is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Manifest {
    /// The image.
    pub image: Image,
    /// The version.
    pub version: Version,
    /// Its artifacts.
    pub artifacts: Vec<ManifestEntry>,
    /// What publishing found wrong without failing.
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
    /// Its attachments, by name.
    pub attachments: Vec<Attachment>,
}

/// Where an alias is to point.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SetAlias {
    /// A published version of the image.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+:-]{0,127}$"))]
    pub version: String,
}

/// A name that points to a published version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Alias {
    /// Its id, kept when it moves.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub id: String,
    /// Its image.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub image_id: String,
    /// Its name.
    pub alias: String,
    /// The version that it points to.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub version_id: String,
    /// The name of that version.
    pub version: String,
    /// When it was made.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub created_at: String,
    /// When it last moved.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub updated_at: String,
}

/// A publish job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PublishJob {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub id: String,
    /// The version that it publishes.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub version_id: String,
    /// The name of the image.
    pub image_name: String,
    /// The name of the version.
    pub version: String,
    /// `queued`, `running`, `succeeded`, `failed` or `abandoned`.
    pub state: String,
    /// The step that failed, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_step: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When a worker first took it up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub started_at: Option<String>,
    /// When it came to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub finished_at: Option<String>,
    /// When it was made.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub created_at: String,
    /// When it last changed.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub updated_at: String,
    /// Its steps, in order.
    pub steps: Vec<PublishStep>,
    /// What they found wrong without failing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// A step of a publish job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PublishStep {
    /// Its name.
    pub name: String,
    /// `queued`, `running`, `succeeded`, `failed` or `skipped`.
    pub state: String,
    /// Its place in the order, from 1.
    pub sequence: u16,
    /// Whether the job fails when it does.
    pub blocking: bool,
    /// How often it was started.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub attempt_count: i64,
    /// When it was last started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub started_at: Option<String>,
    /// When it came to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub finished_at: Option<String>,
    /// Why it failed or was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
