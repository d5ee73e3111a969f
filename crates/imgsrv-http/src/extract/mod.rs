//! Extractors: each rejects an invalid request with a problem. Handlers declare them in the order caller, path, query,
//! body.

mod body;
mod caller;
mod checksum;
mod fields;
mod idempotency_key;
mod path;
mod query;
mod time;
mod visitor;

pub(crate) use body::{JsonBody, OptionalJsonBody, part_body};
pub(crate) use caller::accepted;
pub(crate) use checksum::tus_body;
pub(crate) use fields::{Fields, images, patterns_of, quoted};
pub(crate) use idempotency_key::IdempotencyKey;
pub(crate) use path::{
    AliasPath, ArtifactPath, AttachmentPath, BlobPath, CasPath, FilePath, ImagePath, IntakePath, JobPath, LinkPath,
    PartPath, PrincipalPath, RefPath, RemotePath, RolePath, RulePath, TokenPath, UploadPath, VersionPath,
};
pub(crate) use query::{AuditQuery, ImagesQuery, JobsQuery, PageQuery, StoredBlobsQuery, UploadsQuery, VersionsQuery};
pub(crate) use time::Rfc3339;
pub(crate) use visitor::{HomeParams, ImageParams, PageParams, VersionParams, Visitor, wants_page};
