//! Intakes: a version in one request, followed by one upload of its bytes.

use serde::{Deserialize, Serialize};

/// Request to publish a version as soon as its content is uploaded.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateIntake {
    /// Name of the image. It is created if it does not exist.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z0-9][a-z0-9._-]{0,127}$"))]
    pub image: String,
    /// Name of the version. It must not exist yet.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+:~^-]{0,127}$"))]
    pub version: String,
    /// Operating system, such as `debian`.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"))]
    pub operating_system: String,
    /// Architecture, such as `amd64`.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"))]
    pub architecture: String,
    /// Variant, such as `cloud`. Default: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"))]
    pub variant: Option<String>,
    /// Format of the content, as for artifacts. Default: `qcow2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            pattern = r"^((raw|qcow2|iso|vmdk|vhdx?|vdi|tar)(\.(bz2|gz|xz|zst))?|root\.tar\.(bz2|gz|xz|zst)|ova|squashfs|kernel|initrd|efi)$"
        )
    )]
    pub format: Option<String>,
    /// Media type that the content is served with. Default: the usual media type of the format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 127,
            pattern = r##"^[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+([ \t]*;[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+=([!#$%&'*+.^_`|~0-9A-Za-z-]+|"([ !#-\[\]-~]|\\[ -~])*"))?)*$"##
        )
    )]
    pub media_type: Option<String>,
    /// Size in bytes.
    #[serde(deserialize_with = "crate::integer::deserialize")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub size_bytes: i64,
    /// Expected digest. If absent, any content is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub expected_digest: Option<String>,
    /// Aliases to point to the version once it is published, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::schemas::aliases))]
    pub aliases: Vec<String>,
}

/// A new intake, ready for the upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IntakeCreated {
    /// Id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub upload_session_id: String,
    /// How to upload the content.
    pub tus: TusUpload,
}

/// How to upload the content of an intake with tus 1.0.0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TusUpload {
    /// URL at which a tus client creates its upload: absolute if the server knows its public URL, otherwise a path on the
    /// server.
    pub creation_url: String,
    /// Value of the header `Upload-Metadata` of that request; it identifies the intake.
    pub upload_metadata: String,
}

/// Progress of an intake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IntakeStatus {
    /// Id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub id: String,
    /// `created`, `uploading`, `ingesting`, `publishing`, `published` (once the aliases have moved), `failed` or
    /// `aborted`.
    pub state: String,
    /// Number of bytes received.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub offset: i64,
    /// Total number of bytes.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub size_bytes: i64,
    /// URL of the publish job, once it exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_url: Option<String>,
    /// URL of the version, once it exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_url: Option<String>,
    /// Reason of the failure; absent if it did not fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
}

/// The usual media type of a format.
pub fn usual_media_type(format: &str) -> &'static str {
    match format {
        "qcow2" => "application/x-qemu-disk",
        "iso" => "application/x-iso9660-image",
        "vmdk" => "application/x-vmdk",
        "squashfs" => "application/vnd.squashfs",
        "ova" => "application/ovf",
        "tar" => "application/x-tar",
        "efi" => "application/vnd.microsoft.portable-executable",
        _ => match format.rsplit_once('.') {
            Some((_, "bz2")) => "application/x-bzip2",
            Some((_, "gz")) => "application/gzip",
            Some((_, "xz")) => "application/x-xz",
            Some((_, "zst")) => "application/zstd",
            _ => "application/octet-stream",
        },
    }
}
