//! Request paths before routing: the public path is removed, and tus URLs get the one form that routes have.

use crate::state::AppState;
use axum::{
    Router,
    extract::{Request, State},
    http::Uri,
    middleware,
};
use std::{collections::BTreeSet, sync::Arc};

/// The path at which tus uploads are created; that of an upload is this one and its id.
pub(crate) const TUS_CREATION_PATH: &str = "/api/uploads/tus/";

/// How paths are made canonical.
struct Paths {
    /// The path of the public URL; empty for the root.
    prefix: String,
    /// The first segments of all routes.
    roots: BTreeSet<String>,
}

impl Paths {
    /// The path of the route that a request for `path` is for, if it differs.
    ///
    /// A reverse proxy may remove the public path or keep it. It is removed only if a path of the server follows, so a
    /// public path may equal the beginning of a route, such as `/images`.
    fn canonical(&self, path: &str) -> Option<String> {
        let below = path.strip_prefix(self.prefix.as_str()).filter(|_| !self.prefix.is_empty());
        let below = below.filter(|below| {
            let root = below.strip_prefix('/').and_then(|below| below.split('/').next());
            root.is_some_and(|root| self.roots.contains(root))
        });
        canonical_tus_path(below.unwrap_or(path)).or_else(|| below.map(str::to_owned))
    }
}

/// The path of the tus route that a request for `path` is for, if it differs: clients add a slash to the URL of an upload,
/// or omit the one of [`TUS_CREATION_PATH`].
fn canonical_tus_path(path: &str) -> Option<String> {
    let below = path.strip_prefix(TUS_CREATION_PATH.trim_end_matches('/'))?;
    match below.strip_prefix('/') {
        None if below.is_empty() => Some(TUS_CREATION_PATH.to_owned()),
        Some(upload) => upload.strip_suffix('/').map(|upload| format!("{TUS_CREATION_PATH}{upload}")),
        None => None,
    }
}

/// Routes requests to `routes`, whose first segments are `roots`, by their canonical paths.
pub(crate) fn routed_by_canonical_path(routes: Router, roots: BTreeSet<String>, state: &AppState) -> Router {
    let paths = Arc::new(Paths { prefix: state.urls.prefix().to_owned(), roots });
    // A layer of `routes` itself would run after routing.
    Router::new().fallback_service(routes).layer(middleware::map_request_with_state(paths, rewrite))
}

async fn rewrite(State(paths): State<Arc<Paths>>, mut request: Request) -> Request {
    if let Some(path) = paths.canonical(request.uri().path()) {
        let path_and_query = match request.uri().query() {
            Some(query) => format!("{path}?{query}").parse(),
            None => path.parse(),
        };
        let mut parts = request.uri().clone().into_parts();
        if let Ok(path_and_query) = path_and_query {
            parts.path_and_query = Some(path_and_query);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_path_is_removed_only_before_a_path_of_the_server() {
        let roots = || ["v1", "images", "api", "healthz"].map(str::to_owned).into();
        for (prefix, path, expected) in [
            ("/srv", "/srv/v1/images", Some("/v1/images")),
            ("/srv", "/v1/images", None),
            ("/srv", "/srv/healthz", Some("/healthz")),
            ("/srv", "/srv2/v1/images", None),
            ("/srv", "/srv", None),
            ("/srv", "/srv/", None),
            ("/srv", "/srv/other", None),
            ("/a/b", "/a/b/v1/images", Some("/v1/images")),
            ("/images", "/images/v1/images", Some("/v1/images")),
            ("/images", "/images/images/debian/12/", Some("/images/debian/12/")),
            ("/images", "/images/debian/12/", None),
            ("", "/v1/images", None),
            ("/srv", "/srv/api/uploads/tus", Some("/api/uploads/tus/")),
        ] {
            let paths = Paths { prefix: prefix.to_owned(), roots: roots() };
            assert_eq!(paths.canonical(path).as_deref(), expected, "{prefix} {path}");
        }
    }
}
