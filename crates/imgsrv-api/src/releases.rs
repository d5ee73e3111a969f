//! Inspection results, Incus metadata, and the files of published versions.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the bytes of an artifact say of themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Inspection {
    /// What they were recognised as: `qcow2`, `qcow`, `qed`, `vmdk`, `vhdx`, `vhd`, `vdi`, `parallels`, `bochs`,
    /// `cloop`, `dmg`, `squashfs`, `iso`, `raw`, `root.tar`, `ova`, `tar`, `kernel`, `initrd` or `efi`; compressed, with
    /// `.gz`, `.xz` or `.zst` added. `gzip`, `xz` or `zstd` if what is compressed was not recognised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detected_format: Option<String>,
    /// Of a qcow2: how many bytes the disk has for its guest.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub virtual_size_bytes: Option<i64>,
    /// Of a qcow2: how many bytes are allocated at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub cluster_size_bytes: Option<i64>,
    /// Of a qcow2: how clusters are compressed, where they are: `zlib` or `zstd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<String>,
}

/// Something that a publish step found wrong without failing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Warning {
    /// The step.
    pub step: String,
    /// The artifact it is about.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub artifact_id: String,
    /// What is wrong.
    pub reason: String,
}

// The escape keeps the published text of the contract as it is; its rewording comes with the next revision of the document.
#[doc = "Metadata of an Incus image to be made. What is not t\u{6f}ld is taken from the artifact."]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateIncusMetadata {
    /// What people see in lists; operating system, release and architecture when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 256))]
    pub description: Option<String>,
    /// The operating system's name for people; the artifact's when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 256))]
    pub os: Option<String>,
    /// Which release of it; the version when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 256))]
    pub release: Option<String>,
    /// When the image should no longer be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub expires_at: Option<String>,
    /// Further properties of the image, at most 32.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
}

/// A file of a published version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReleaseFile {
    /// Its name.
    pub name: String,
    /// Its size.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub size_bytes: i64,
    /// The digest of its bytes.
    pub digest: String,
    /// What they are served as.
    pub media_type: String,
    /// Where it is, also relative to a base that the server is published under.
    pub url: String,
}

/// The files of a published version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReleaseListing {
    /// The image.
    pub image: String,
    /// The version.
    pub version: String,
    /// The files, by name.
    pub files: Vec<ReleaseFile>,
}
