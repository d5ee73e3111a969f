//! Query parameters of lists.

use crate::{
    extract::{Fields, Rfc3339, quoted},
    response::problem::{Code, Problem},
};
use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};
use imgsrv_domain::{
    audit::{ActorKind, AuditAction, AuditFilter},
    digest::Digest,
    lifecycle::LifecycleFilter,
    names::ImageName,
    page::{Cursor, PageLimit, PageRequest},
    publish::JobFilter,
    version::VersionFilter,
};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::{
    IntoParams,
    openapi::{Object, ObjectBuilder, schema::Type},
};

async fn query<T: DeserializeOwned>(parts: &mut Parts) -> Result<T, Problem> {
    let parsed = Query::<T>::from_request_parts(parts, &()).await;
    parsed.map(|Query(query)| query).map_err(|why| Problem::new(Code::InvalidRequest).detail(why.body_text()))
}

fn page(limit: Option<&str>, cursor: Option<String>) -> Result<PageRequest, Problem> {
    let invalid =
        |raw| Problem::new(Code::InvalidRequest).field("limit", format!("{} must be from 1 to 1000", quoted(raw)));
    let limit = match limit {
        Some(raw) => raw.parse::<i64>().ok().and_then(|limit| limit.try_into().ok()).ok_or_else(|| invalid(raw))?,
        None => PageLimit::MAX,
    };
    Ok(PageRequest { limit, after: cursor.map(Cursor) })
}

fn audit_action() -> Object {
    one_of("What was done, such as `role.granted`.", AuditAction::ALL.iter().map(|action| action.as_str()))
}

fn actor_kind() -> Object {
    one_of("`principal`, `worker` or `operator`.", ActorKind::ALL.iter().map(|kind| kind.as_str()))
}

fn image_name() -> Object {
    let image = ObjectBuilder::new().schema_type(Type::String).description(Some("The name of an image."));
    image.pattern(Some(ImageName::PATTERN)).build()
}

fn one_of(description: &str, values: impl Iterator<Item = &'static str>) -> Object {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description)).enum_values(Some(values)).build()
}

macro_rules! queries {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Deserialize, IntoParams)]
        #[into_params(parameter_in = Query)]
        pub(crate) struct $name {
            /// Maximum number of items, 1 to 1000. Default: 1000.
            #[param(minimum = 1, maximum = 1000, value_type = Option<i32>)]
            limit: Option<String>,
            /// `next_cursor` of the previous page.
            cursor: Option<String>,
            $($(#[$fdoc])* $field: Option<String>,)*
        }

        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
                query(parts).await
            }
        }

        impl $name {
            /// The requested page.
            pub(crate) fn page(&self) -> Result<PageRequest, Problem> {
                page(self.limit.as_deref(), self.cursor.clone())
            }
        }
    )*};
}

queries! {
    /// The page of a list.
    PageQuery {}
    /// The page of the images, with or without those that have no published version.
    ImagesQuery {
        /// `true`: include images without a published version. Requires `content.write`.
        #[param(value_type = Option<bool>)]
        include_unpublished,
    }
    /// The page and the filters of the audit log.
    AuditQuery {
        /// Action, such as `role.granted`.
        #[param(schema_with = audit_action)]
        action,
        /// Kind of actor: `principal`, `worker` or `operator`.
        #[param(schema_with = actor_kind)]
        actor_kind,
        /// Actor: id of a principal, or name of a worker.
        #[param(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
        actor,
        /// Subject, exactly as in the audit log.
        #[param(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
        subject,
        /// Id of the request.
        #[param(pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
        request_id,
        /// Earliest time (RFC 3339).
        #[param(format = DateTime)]
        since,
        /// Time before which the entries are (RFC 3339).
        #[param(format = DateTime)]
        until,
    }
    /// The page of the publish jobs, filtered by state and image.
    JobsQuery {
        /// One state, or several separated by commas, such as `queued,running`.
        #[param(pattern = "^(queued|running|succeeded|failed|abandoned)(,(queued|running|succeeded|failed|abandoned))*$")]
        state,
        /// The name of an image.
        #[param(schema_with = image_name)]
        image,
    }
    /// The page of the stored blobs in one state.
    StoredBlobsQuery {
        /// `quarantined`; it is required.
        #[param(required = true, pattern = "^quarantined$", value_type = String)]
        state,
    }
    /// The page of the caller's open uploads, filtered by digest.
    UploadsQuery {
        /// Expected digest of the uploads.
        #[param(pattern = "^sha256:[0-9a-f]{64}$")]
        expected_digest,
        /// Also the uploads of other principals: `true` or `false`. Default: `false`.
        #[param(pattern = "^(true|false)$")]
        all,
    }
    /// The page of the versions, filtered by state.
    VersionsQuery {
        /// `draft`, `publishing`, `published` or `all`. Default: `published`; the others require `content.write`.
        #[param(pattern = "^(draft|publishing|published|all)$")]
        state,
        /// Published versions by lifecycle: `active`, `deprecated`, `revoked`, `removed` (also permanently) or `all`.
        /// Default: active and deprecated versions.
        #[param(pattern = "^(active|deprecated|revoked|removed|all)$")]
        lifecycle,
    }
}

impl StoredBlobsQuery {
    /// Refuses a list of all blobs, which would be a list of the whole store.
    pub(crate) fn require_quarantined(&self) -> Result<(), Problem> {
        match self.state.as_deref() {
            Some("quarantined") => Ok(()),
            _ => Err(Problem::new(Code::InvalidRequest).field("state", "must be quarantined")),
        }
    }
}

impl AuditQuery {
    pub(crate) fn filter(&self) -> Result<AuditFilter, Problem> {
        let mut fields = Fields::default();
        let action = fields.optional("action", self.action.as_deref());
        let actor_kind = fields.optional("actor_kind", self.actor_kind.as_deref());
        let since = fields.optional::<Rfc3339>("since", self.since.as_deref());
        let until = fields.optional::<Rfc3339>("until", self.until.as_deref());
        for (name, text) in [("actor", &self.actor), ("subject", &self.subject), ("request_id", &self.request_id)] {
            if text.as_ref().is_some_and(|text| text.contains(char::is_control)) {
                fields.reject(name, "must not contain control characters");
            }
        }
        fields.finish(|| {
            Some(AuditFilter {
                action: action?,
                actor_kind: actor_kind?,
                actor: self.actor.clone(),
                subject: self.subject.clone(),
                request_id: self.request_id.clone(),
                since: since?.map(|time| time.0),
                until: until?.map(|time| time.0),
            })
        })
    }
}

impl ImagesQuery {
    /// Whether images without a published version are requested.
    pub(crate) fn includes_unpublished(&self) -> Result<bool, Problem> {
        flag("include_unpublished", self.include_unpublished.as_deref())
    }
}

/// A parameter that is `true` or `false`, or absent, which is `false`.
fn flag(name: &str, raw: Option<&str>) -> Result<bool, Problem> {
    match raw {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(raw) => {
            Err(Problem::new(Code::InvalidRequest).field(name, format!("{} must be true or false", quoted(raw))))
        }
    }
}

impl JobsQuery {
    pub(crate) fn filter(&self) -> Result<JobFilter, Problem> {
        let mut fields = Fields::default();
        let names = self.state.iter().flat_map(|names| names.split(','));
        let states: Option<_> = names.map(|name| fields.parse("state", name)).collect();
        let image = fields.optional("image", self.image.as_deref());
        fields.finish(|| Some(JobFilter { states: states?, image: image? }))
    }
}

impl UploadsQuery {
    /// Whether the uploads of every principal are requested.
    pub(crate) fn all(&self) -> Result<bool, Problem> {
        flag("all", self.all.as_deref())
    }

    /// The digest to filter by, if any.
    pub(crate) fn digest(&self) -> Result<Option<Digest>, Problem> {
        let mut fields = Fields::default();
        let digest = fields.optional("expected_digest", self.expected_digest.as_deref());
        fields.finish(|| digest)
    }
}

impl VersionsQuery {
    pub(crate) fn filter(&self) -> Result<VersionFilter, Problem> {
        let mut fields = Fields::default();
        let state = fields.optional("state", self.state.as_deref());
        fields.finish(|| Some(state?.unwrap_or(VersionFilter::Published)))
    }

    pub(crate) fn lifecycle(&self) -> Result<Option<LifecycleFilter>, Problem> {
        let mut fields = Fields::default();
        let lifecycle = fields.optional("lifecycle", self.lifecycle.as_deref());
        fields.finish(|| lifecycle)
    }
}
