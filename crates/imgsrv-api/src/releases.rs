//! Inspection results, Incus metadata, and the files of published versions.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Properties that the server found in the content of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Inspection {
    /// Format detected by content: `qcow2`, `qcow`, `qed`, `vmdk`, `vhdx`, `vhd`, `vdi`, `parallels`, `bochs`, `cloop`,
    /// `dmg`, `squashfs`, `iso`, `raw`, `root.tar`, `ova`, `tar`, `kernel`, `initrd` or `efi`, with `.gz`, `.xz` or `.zst`
    /// appended if it is compressed; `gzip`, `xz` or `zstd` if the compressed content was not recognized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detected_format: Option<String>,
    /// Virtual size of a qcow2 image in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub virtual_size_bytes: Option<i64>,
    /// Cluster size of a qcow2 image in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub cluster_size_bytes: Option<i64>,
    /// Compression method of a qcow2 image: `zlib` or `zstd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<String>,
}

/// A problem that a publish step found, but that did not make the job fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Warning {
    /// Name of the step.
    pub step: String,
    /// Id of the artifact.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub artifact_id: String,
    /// Description of the problem.
    pub reason: String,
}

/// Request to generate the metadata of an Incus image. Absent fields are taken from the artifact.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateIncusMetadata {
    /// Description shown in lists of images. Default: operating system, release and architecture.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 256,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"
        )
    )]
    pub description: Option<String>,
    /// Display name of the operating system. Default: that of the artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 256,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"
        )
    )]
    pub os: Option<String>,
    /// Release of the operating system. Default: the version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 256,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"
        )
    )]
    pub release: Option<String>,
    /// Time after which the image should no longer be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub expires_at: Option<String>,
    /// Additional properties of the image, at most 32.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::schemas::properties))]
    pub properties: BTreeMap<String, String>,
}

/// A file of a published version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReleaseFile {
    /// Name.
    pub name: String,
    /// Size in bytes.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub size_bytes: i64,
    /// Digest of the content.
    pub digest: String,
    /// Media type that the file is served with.
    pub media_type: String,
    /// URL of the file: a path on the host of the server.
    pub url: String,
    /// `true` if the stored content is missing or damaged, and is not served.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quarantined: bool,
}

/// The files of a published version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReleaseListing {
    /// Name of the image.
    pub image: String,
    /// Name of the version.
    pub version: String,
    /// Files, sorted by name.
    pub files: Vec<ReleaseFile>,
}
