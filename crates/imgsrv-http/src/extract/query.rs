//! Query strings of lists.

use crate::problem::{Code, Problem};
use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};
use imgsrv_domain::{
    page::{Cursor, PageLimit, PageRequest},
    ports::VersionFilter,
};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;

async fn query<T: DeserializeOwned>(parts: &mut Parts) -> Result<T, Problem> {
    let parsed = Query::<T>::from_request_parts(parts, &()).await;
    parsed.map(|Query(query)| query).map_err(|why| Problem::new(Code::InvalidRequest).detail(why.body_text()))
}

fn page(limit: Option<&str>, cursor: Option<String>) -> Result<PageRequest, Problem> {
    let invalid = || Problem::new(Code::InvalidRequest).field("limit", "must be from 1 to 1000");
    let limit = match limit {
        Some(raw) => raw.parse::<i64>().ok().and_then(|limit| limit.try_into().ok()).ok_or_else(invalid)?,
        None => PageLimit::MAX,
    };
    Ok(PageRequest { limit, after: cursor.map(Cursor) })
}

macro_rules! queries {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Deserialize, IntoParams)]
        #[into_params(parameter_in = Query)]
        pub(crate) struct $name {
            /// At most so many rows, 1 to 1000; 1000 when absent.
            #[param(minimum = 1, maximum = 1000, value_type = Option<i32>)]
            limit: Option<String>,
            /// `next_cursor` of the page before.
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
            /// Which page is wanted.
            pub(crate) fn page(&self) -> Result<PageRequest, Problem> {
                page(self.limit.as_deref(), self.cursor.clone())
            }
        }
    )*};
}

queries! {
    /// Which page of a list.
    PageQuery {}
    /// Which page of the images, and whether those with nothing published are in it.
    ImagesQuery {
        /// `true`: also images with nothing published. Needs `content.write`.
        include_unpublished,
    }
    /// Which page of the versions, and in which state.
    VersionsQuery {
        /// `draft`, `publishing`, `published` or `all`. Anything but `published`, the default, needs `content.write`.
        state,
    }
}

impl ImagesQuery {
    /// Whether more is asked for than everybody may see.
    pub(crate) fn wants_unpublished(&self) -> bool {
        self.include_unpublished.as_deref() == Some("true")
    }

    pub(crate) fn check(&self) -> Result<(), Problem> {
        match self.include_unpublished.as_deref() {
            None | Some("false" | "true") => Ok(()),
            Some(_) => Err(Problem::new(Code::InvalidRequest).field("include_unpublished", "must be true or false")),
        }
    }
}

impl VersionsQuery {
    pub(crate) fn filter(&self) -> Result<VersionFilter, Problem> {
        match self.state.as_deref() {
            None | Some("published") => Ok(VersionFilter::Published),
            Some("draft") => Ok(VersionFilter::Draft),
            Some("publishing") => Ok(VersionFilter::Publishing),
            Some("all") => Ok(VersionFilter::All),
            Some(_) => {
                let reason = "must be draft, publishing, published or all";
                Err(Problem::new(Code::InvalidRequest).field("state", reason))
            }
        }
    }
}
