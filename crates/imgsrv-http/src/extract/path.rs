//! Path segments, parsed into the domain's names and ids. One that does not match its pattern is 400.

use crate::{
    extract::quoted,
    response::problem::{Code, Problem},
};
use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::request::Parts,
};
use imgsrv_domain::{
    auth::Role,
    digest::Digest,
    ids::{ArtifactId, AttachmentId, JobId, PrincipalId, TokenId, UploadId},
    names::{AliasName, FileName, ImageName, PartNumber, RefName, RuleId, VersionName},
};
use std::{convert::Infallible, fmt::Display, str::FromStr};
use utoipa::{
    IntoParams,
    openapi::{
        ObjectBuilder, Required,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::{KnownFormat, SchemaFormat, Type},
    },
};

/// The description of a path segment in OpenAPI.
trait Segment {
    fn schema() -> ObjectBuilder;
}

macro_rules! segments {
    ($($($type:ty),+ => $schema:expr;)*) => {$($(
        impl Segment for $type {
            fn schema() -> ObjectBuilder {
                $schema
            }
        }
    )+)*};
}

fn pattern(pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern))
}

fn uuid() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom("uuid".to_owned())))
}

fn part_number() -> ObjectBuilder {
    let format = SchemaFormat::KnownFormat(KnownFormat::Int32);
    ObjectBuilder::new().schema_type(Type::Integer).format(Some(format)).minimum(Some(1)).maximum(Some(PartNumber::MAX))
}

segments! {
    ImageName => pattern(ImageName::PATTERN);
    VersionName => pattern(VersionName::PATTERN);
    AliasName => pattern(AliasName::PATTERN);
    RefName => pattern(RefName::PATTERN);
    FileName => pattern(FileName::PATTERN);
    Digest => pattern("^sha256:[0-9a-f]{64}$");
    Shard => pattern("^[0-9a-f]{2}$");
    Hex => pattern("^[0-9a-f]{64}$");
    PartNumber => part_number();
    SecretSegment => ObjectBuilder::new().schema_type(Type::String);
    RuleId => pattern(RuleId::PATTERN);
    Role => ObjectBuilder::new().schema_type(Type::String).enum_values(Some(Role::ALL.iter().map(|role| role.as_str())));
    ArtifactId, AttachmentId, JobId, PrincipalId, TokenId, UploadId => uuid();
}

/// The first two digits of a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard(pub(crate) String);

impl FromStr for Shard {
    type Err = &'static str;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        let fits = raw.len() == 2 && raw.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if fits { Ok(Self(raw.to_owned())) } else { Err("must be two lowercase hexadecimal digits") }
    }
}

/// A digest in hexadecimal, without its algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) Digest);

impl FromStr for Hex {
    type Err = &'static str;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        format!("sha256:{raw}").parse().map(Self).map_err(|_| "must be 64 lowercase hexadecimal digits")
    }
}

fn parameter<T: Segment>(name: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(T::schema()))
        .build()
}

/// The segments of a path by name, decoded.
struct Segments(Vec<(String, String)>);

impl Segments {
    async fn of(parts: &mut Parts) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, &()).await;
        let params = params.map_err(|_| Problem::new(Code::InvalidRequest).detail("the path is not valid UTF-8"))?;
        Ok(Self(params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
    }

    fn parse<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, Problem> {
        let value = self.0.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value.as_str());
        let invalid = |why| Problem::new(Code::InvalidRequest).field(name, format!("{} {why}", quoted(value)));
        value.parse().map_err(invalid)
    }
}

/// A segment that is a credential: it is not parsed here, because the problem of an invalid segment repeats it.
pub(crate) struct SecretSegment(pub(crate) String);

impl FromStr for SecretSegment {
    type Err = Infallible;

    fn from_str(raw: &str) -> Result<Self, Infallible> {
        Ok(Self(raw.to_owned()))
    }
}

macro_rules! paths {
    ($($(#[$doc:meta])* $path:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        pub(crate) struct $path {
            $(pub(crate) $field: $type),*
        }

        impl<S: Send + Sync> FromRequestParts<S> for $path {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
                let segments = Segments::of(parts).await?;
                Ok(Self { $($field: segments.parse(stringify!($field).trim_start_matches("r#"))?),* })
            }
        }

        impl IntoParams for $path {
            fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                vec![$(parameter::<$type>(stringify!($field).trim_start_matches("r#"))),*]
            }
        }
    )*};
}

paths! {
    /// An image.
    ImagePath { name: ImageName }
    /// A version of an image.
    VersionPath { name: ImageName, version: VersionName }
    /// An artifact of a version.
    ArtifactPath { name: ImageName, version: VersionName, artifact_id: ArtifactId }
    /// An attachment of an artifact.
    AttachmentPath { name: ImageName, version: VersionName, artifact_id: ArtifactId, attachment_id: AttachmentId }
    /// An alias of an image.
    AliasPath { name: ImageName, alias: AliasName }
    /// A version or an alias of an image.
    RefPath { name: ImageName, r#ref: RefName }
    /// A file of a version.
    FilePath { name: ImageName, r#ref: RefName, file: FileName }
    /// A blob.
    BlobPath { digest: Digest }
    /// A blob, by its digest in hexadecimal and the first two digits of that.
    CasPath { shard: Shard, hex: Hex }
    /// An upload session.
    UploadPath { upload_id: UploadId }
    /// An intake.
    IntakePath { upload_session_id: UploadId }
    /// A part of an upload session.
    PartPath { upload_id: UploadId, part_number: PartNumber }
    /// A publish job.
    JobPath { job_id: JobId }
    /// A principal.
    PrincipalPath { principal_id: PrincipalId }
    /// A role of a principal.
    RolePath { principal_id: PrincipalId, role_id: Role }
    /// A provisioning rule.
    RulePath { rule_id: RuleId }
    /// A file, by the capability of a link.
    LinkPath { capability: SecretSegment, file: SecretSegment }
    /// A private remote, by the token in its URL.
    RemotePath { token: SecretSegment }
    /// An API token.
    TokenPath { token_id: TokenId }
}
