//! Intakes: a version in one request, followed by one upload of its bytes.

use serde::{Deserialize, Serialize};

/// What is to be published once its bytes have come.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateIntake {
    /// The image; it is made if it is not there.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z0-9][a-z0-9._-]{0,127}$"))]
    pub image: String,
    /// The version; it must not be there.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+:-]{0,127}$"))]
    pub version: String,
    /// What boots.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"))]
    pub operating_system: String,
    /// On what.
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"))]
    pub architecture: String,
    /// Which of several alike; `default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$"))]
    pub variant: Option<String>,
    /// The format of the bytes, as of artifacts; `qcow2` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// What they are served as; what is usual for the format when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 127,
            pattern = r##"^[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+([ \t]*;[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+=([!#$%&'*+.^_`|~0-9A-Za-z-]+|"([ !#-\[\]-~]|\\[ -~])*"))?)*$"##
        )
    )]
    pub media_type: Option<String>,
    /// How many bytes they are.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub size_bytes: i64,
    /// The digest that they must have; whatever they have is good when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub expected_digest: Option<String>,
    /// Aliases that are to point to the version once it is published, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(max_items = 16))]
    pub aliases: Vec<String>,
}

/// An intake that waits for its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IntakeCreated {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub upload_session_id: String,
    /// How its bytes are sent.
    pub tus: TusUpload,
}

/// How the bytes of an intake are sent by tus (tus 1.0.0).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TusUpload {
    /// Where a tus client makes its upload, relative to the server.
    pub creation_url: String,
    /// The `Upload-Metadata` that it must send there: it names the intake.
    pub upload_metadata: String,
}

/// How far an intake has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IntakeStatus {
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub id: String,
    /// `created`, `uploading`, `ingesting`, `publishing`, `published` (once the aliases have moved), `failed` or
    /// `aborted`.
    pub state: String,
    /// How many bytes have come.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub offset: i64,
    /// How many there are.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub size_bytes: i64,
    /// The job that publishes the version, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_url: Option<String>,
    /// The version, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_url: Option<String>,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
}

/// What files of a format are usually served as.
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
            Some((_, "gz")) => "application/gzip",
            Some((_, "xz")) => "application/x-xz",
            Some((_, "zst")) => "application/zstd",
            _ => "application/octet-stream",
        },
    }
}
