//! Redaction of credentials in text from clients, before it is logged or repeated.

use imgsrv_domain::auth::TokenKey;
use std::borrow::Cow;

/// The prefix of a JWT: `{"` in base64url.
const JWT_PREFIX: &str = "eyJ";

/// The first segments of paths that are credentials: those of private Incus remotes and of links.
const SECRET_ROOTS: [&str; 2] = ["t", "f"];

/// Whether a canonical path is one that contains a credential.
pub(crate) fn is_secret_path(path: &str) -> bool {
    let root = path.strip_prefix('/').and_then(|rest| rest.split_once('/')).map(|(root, _)| root);
    root.is_some_and(|root| SECRET_ROOTS.contains(&root))
}

/// The path without credentials. Nothing is shown of what follows a segment that may be the root of secret paths, however
/// it is encoded and whatever precedes it: a reverse proxy may publish the server below any path.
pub(crate) fn redacted_path(path: &str) -> Cow<'_, str> {
    let mut shown = 0;
    for segment in path.split('/') {
        let lower = segment.to_ascii_lowercase();
        // A slash may be encoded as well.
        let first = lower.split("%2f").next().unwrap_or_default();
        let is_root = matches!(first, "t" | "f" | "%74" | "%66");
        shown += if is_root { first.len() } else { segment.len() };
        if is_root && shown < path.len() {
            return Cow::Owned(format!("{}/...", redacted(&path[..shown])));
        }
        shown += 1;
    }
    redacted(path)
}

/// The text with every token truncated to its identifying prefix.
pub(crate) fn redacted(text: &str) -> Cow<'_, str> {
    if !text.contains(TokenKey::PREFIX) && !text.contains(JWT_PREFIX) {
        return Cow::Borrowed(text);
    }
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(start) = [TokenKey::PREFIX, JWT_PREFIX].iter().filter_map(|prefix| rest.find(prefix)).min() {
        let (before, token) = rest.split_at(start);
        let end = token.find(|c: char| !(c.is_ascii_alphanumeric() || "_-.%".contains(c))).unwrap_or(token.len());
        // The key of an API token identifies it and is not secret.
        let is_api_token = token.starts_with(TokenKey::PREFIX);
        let public = if is_api_token { TokenKey::PREFIX.len() + TokenKey::LENGTH } else { JWT_PREFIX.len() };
        shown.push_str(before);
        shown.push_str(&token[..public.min(end)]);
        if end > public {
            shown.push_str("...");
        }
        rest = &token[end..];
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_shown_of_paths_with_credentials() {
        for (path, shown) in [
            ("/", "/"),
            ("/t", "/t"),
            ("/t/", "/t/..."),
            ("/t/imgsrv_at_abcdefghijk1_secret/streams/v1/index.json", "/t/..."),
            ("/f/AQAAAAEA/debian-12-x86_64.qcow2", "/f/..."),
            ("/%66/AQAAAAEA/debian-12-x86_64.qcow2", "/%66/..."),
            ("/srv/f/AQAAAAEA/disk.qcow2", "/srv/f/..."),
            ("/F/AQAAAAEA/disk.qcow2", "/F/..."),
            ("/f%2FAQAAAAEA/disk.qcow2", "/f/..."),
            ("/imgsrv_at_abcdefghijk1_x/f/AQ", "/imgsrv_at_abcdefghijk1.../f/..."),
            ("/feed.atom", "/feed.atom"),
            ("/v1/x/imgsrv_at_abcdefghijk1_s/y", "/v1/x/imgsrv_at_abcdefghijk1.../y"),
        ] {
            assert_eq!(redacted_path(path), shown);
        }
        for (path, expected) in [("/t/x", true), ("/f/x/y", true), ("/t", false), ("/x/t/y", false), ("/feed", false)] {
            assert_eq!(is_secret_path(path), expected, "{path}");
        }
    }

    #[test]
    fn tokens_are_truncated_anywhere_in_a_text() {
        for (text, shown) in [
            ("/v1/images/debian/versions/12.5.0", "/v1/images/debian/versions/12.5.0"),
            ("/v1/x/imgsrv_at_abcdefghijk1", "/v1/x/imgsrv_at_abcdefghijk1"),
            ("/v1/x/imgsrv_at_abcdefghijk1_se-cret/y", "/v1/x/imgsrv_at_abcdefghijk1.../y"),
            ("imgsrv_at_a", "imgsrv_at_a"),
            ("/eyJhbGciOiJSUzI1NiJ9.eyJhIjoxfQ.c2ln/imgsrv_at_abcdefghijk1_s", "/eyJ.../imgsrv_at_abcdefghijk1..."),
            ("/\u{e9}/imgsrv_at_\u{e9}", "/\u{e9}/imgsrv_at_\u{e9}"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }
}
