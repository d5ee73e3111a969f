//! Repeated slashes in paths, which firmware and templates produce when they join a folder and a file.

use axum::{extract::Request, http::Uri};

/// Replaces repeated slashes in the path by one, before the request is routed: firmware does not follow redirects.
/// Everything after this, including the checks of permissions and the log, sees only the folded path. Encoded slashes
/// are not folded.
pub(crate) async fn fold(mut request: Request) -> Request {
    if let Some(uri) = folded(request.uri()) {
        *request.uri_mut() = uri;
    }
    request
}

/// The URI with the folded path; `None` if it has no repeated slashes.
fn folded(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    if !path.contains("//") {
        return None;
    }
    let mut folded = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !folded.ends_with('/') {
            folded.push(character);
        }
    }
    if let Some(query) = uri.query() {
        folded.push('?');
        folded.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(folded.parse().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_slashes_are_folded_in_the_path_alone() {
        for (uri, expected) in [
            ("//", "/"),
            ("//images///debian/latest//", "/images/debian/latest/"),
            ("/images//debian?next=a//b", "/images/debian?next=a//b"),
            ("http://host//images//debian", "http://host/images/debian"),
            ("//host/images?", "/host/images?"),
            ("/a%2F%2Fb//c", "/a%2F%2Fb/c"),
        ] {
            let uri: Uri = uri.parse().expect("a URI");
            assert_eq!(folded(&uri).map(|uri| uri.to_string()).as_deref(), Some(expected), "{uri}");
        }
        assert_eq!(folded(&"/images/debian/?a=b//c".parse().expect("a URI")), None);
    }
}
