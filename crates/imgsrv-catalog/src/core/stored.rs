//! The values of the domain that have a column of their own, and how they are stored.

use crate::core::{
    time::SqlTime,
    value::{ColumnType, Value},
};
use imgsrv_domain::{
    access::{ImagePattern, ImageScope, Visibility},
    audit::{ActorKind, AuditAction},
    auth::{Attributes, PrincipalKind, Role, TokenKey},
    blocks::BlockChecksums,
    digest::{ByteSize, Digest},
    ids::{AliasId, ArtifactId, AttachmentId, AttemptId, ImageId, JobId, PrincipalId, TokenId, UploadId, VersionId},
    inspection::{ClusterCompression, DetectedFormat, ImageKind, IncusProperties},
    lifecycle::LifecycleState,
    names::{
        AliasName, Architecture, AttachmentName, Format, ImageName, OperatingSystem, PartNumber, RefName, RuleId,
        Variant, VersionName,
    },
    oidc::{Audience, Condition, ForwardedClaims, IssuerUrl, Subject},
    parts::PartLocation,
    ports::{BlobName, Source},
    publish::{JobState, StepName},
    text::{LongText, MediaType, ShortText},
    time::{Day, Timestamp},
    transition::Revision,
    upload::IdempotencyKey,
    work::{WorkKind, WorkerId},
};
use sqlx::types::Json;
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    time::Duration,
};

/// A value with a column of its own.
pub(crate) trait Stored: Sized {
    /// The type of the column.
    type Raw: ColumnType;
    /// The value as it is stored.
    fn encode(&self) -> Self::Raw;
    /// The value of a column, unless that breaks a rule of the domain.
    fn decode(raw: Self::Raw) -> Result<Self, Source>;
}

/// What a placeholder can stand for.
pub(crate) trait Bind {
    /// The value of the placeholder.
    fn bind(&self) -> Value;
}

/// The values of a statement, in the order of its placeholders.
macro_rules! values {
    () => { Vec::new() };
    ($($value:expr),+ $(,)?) => {{
        use $crate::core::Bind as _;
        vec![$($value.bind()),+]
    }};
}
pub(crate) use values;

impl<T: Stored> Bind for T {
    fn bind(&self) -> Value {
        T::Raw::value(Some(self.encode()))
    }
}

impl<T: Stored> Bind for Option<T> {
    fn bind(&self) -> Value {
        T::Raw::value(self.as_ref().map(T::encode))
    }
}

impl Bind for str {
    fn bind(&self) -> Value {
        Value::Text(Some(self.to_owned()))
    }
}

impl Bind for Option<&str> {
    fn bind(&self) -> Value {
        Value::Text(self.map(str::to_owned))
    }
}

impl<T: ColumnType> Stored for T {
    type Raw = T;

    fn encode(&self) -> T {
        self.clone()
    }

    fn decode(raw: T) -> Result<Self, Source> {
        Ok(raw)
    }
}

macro_rules! stored {
    ($($value:ty),* as $raw:ty: |$own:ident| $encode:expr, |$stored:ident| $decode:expr) => {$(
        impl Stored for $value {
            type Raw = $raw;

            fn encode(&self) -> $raw {
                let $own = self;
                $encode
            }

            fn decode($stored: $raw) -> Result<Self, Source> {
                $decode
            }
        }
    )*};
}

stored!(
    ActorKind, AliasName, Architecture, AttachmentName, Audience, AuditAction, ClusterCompression, Condition,
    Format, IdempotencyKey, ImageKind, ImageName, IssuerUrl, JobState, LifecycleState, LongText, MediaType, OperatingSystem, PrincipalKind,
    RefName, Role, RuleId, ShortText, StepName, Subject, TokenKey, Variant, VersionName, Visibility, WorkKind
    as String: |own| own.as_str().to_owned(), |text| Ok(text.parse()?)
);
stored!(Day, DetectedFormat, Digest as String: |own| own.to_string(), |text| Ok(text.parse()?));
stored!(BlobName as String: |own| own.to_string(), |text| Ok(Self::restore(text)));
stored!(PartLocation as String: |own| own.0.clone(), |text| Ok(Self(text)));
stored!(WorkerId as String: |own| own.to_string(), |text| Ok(Self::new(text)));
stored!(
    AliasId, ArtifactId, AttachmentId, AttemptId, ImageId, JobId, PrincipalId, TokenId, UploadId, VersionId
    as uuid::Uuid: |own| own.uuid(), |uuid| Ok(Self::new(uuid))
);
stored!(u16, u32 as i64: |own| (*own).into(), |number| Ok(number.try_into()?));
stored!(NonZeroU32 as i64: |own| own.get().into(), |number| Ok(u32::try_from(number)?.try_into()?));
stored!(
    Duration as i64:
    |own| i64::try_from(own.as_micros()).unwrap_or(i64::MAX),
    |micros| Ok(Self::from_micros(micros.try_into()?))
);
stored!(u64 as i64: |own| i64::try_from(*own).unwrap_or(i64::MAX), |number| Ok(number.try_into()?));
stored!(ByteSize as i64: |own| own.signed(), |number| Ok(number.try_into()?));
stored!(PartNumber as i64: |own| own.get().into(), |number| Ok(number.try_into()?));
stored!(Revision as i64: |own| own.get(), |number| Ok(Self::new(number)));
stored!(Timestamp as SqlTime: |own| (*own).into(), |time| Ok(time.into()));
// Patterns, separated by spaces; none is no image. Every image is NULL in columns, so that it is `*` only within texts.
stored!(
    ImageScope as String:
    |own| own.patterns().map_or_else(|| "*".to_owned(), |patterns| joined(patterns.iter().map(ImagePattern::as_str))),
    |text| match text.split_ascii_whitespace().map(str::parse).collect::<Result<BTreeSet<_>, _>>()? {
        patterns if patterns.is_empty() => Ok(Self::none()),
        patterns => Ok(Self::matching(patterns)?),
    }
);
stored!(
    BTreeSet<Role> as String:
    |own| joined(own.iter().map(|role| role.as_str())),
    |text| Ok(text.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>()?)
);
stored!(
    Attributes as Json<serde_json::Value>:
    |own| Json(own.entries().iter().map(|(key, text)| (key.clone(), serde_json::Value::from(text.as_str()))).collect()),
    |json| {
        let entries: BTreeMap<String, String> = serde_json::from_value(json.0)?;
        let entries = entries.into_iter().map(|(key, text)| Ok((key, text.parse()?)));
        Ok(Self::new(entries.collect::<Result<_, Source>>()?)?)
    }
);
stored!(
    IncusProperties as Json<serde_json::Value>:
    |own| Json(own.iter().map(|(name, value)| (name.to_owned(), serde_json::Value::from(value))).collect()),
    |json| Ok(Self::of(&serde_json::from_value(json.0)?))
);
stored!(
    ForwardedClaims as Json<serde_json::Value>:
    |own| Json(own.names().map(|name| serde_json::Value::from(name.as_str())).collect()),
    |json| {
        let names: Vec<String> = serde_json::from_value(json.0)?;
        Ok(Self::new(names.iter().map(|name| name.parse()).collect::<Result<Vec<_>, _>>()?)?)
    }
);

stored!(
    BlockChecksums as Vec<u8>:
    |own| own.encode(),
    |raw| Self::decode(&raw).ok_or_else(|| "not a list of block checksums".into())
);

/// The scope as a column: NULL when it is every image.
pub(crate) fn limited(images: &ImageScope) -> Option<ImageScope> {
    (*images != ImageScope::Every).then(|| images.clone())
}

fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

/// A hash of `N` bytes, or a saved computation of one.
impl<const N: usize> Stored for [u8; N] {
    type Raw = Vec<u8>;

    fn encode(&self) -> Vec<u8> {
        self.to_vec()
    }

    fn decode(raw: Vec<u8>) -> Result<Self, Source> {
        Ok(raw.as_slice().try_into()?)
    }
}
