//! URLs. No other module builds one.

use imgsrv_domain::names::{ImageName, RefName, UrlSegment, VersionName};
use std::fmt::{Display, Write as _};

/// The path of the list of images.
pub(crate) const HOME: &str = "/";

/// The path of an image.
pub(crate) fn image(image: &ImageName) -> String {
    format!("/images/{image}/")
}

/// The path of a version or alias of an image.
pub(crate) fn reference(image: &ImageName, reference: impl Display) -> String {
    format!("/images/{image}/{}/", UrlSegment(&reference.to_string()))
}

/// The path of a version.
pub(crate) fn version(image: &ImageName, version: &VersionName) -> String {
    reference(image, version)
}

/// The path of a file of a version or alias.
pub(crate) fn file(image: &ImageName, reference: &RefName, file: &str) -> String {
    format!("/images/{image}/{}/{}", reference.in_url(), UrlSegment(file))
}

/// The path of the feed of an image.
pub(crate) fn feed(image: &ImageName) -> String {
    format!("/images/{image}/feed.atom")
}

/// `path` with a query of those of `pairs` that have a value.
pub(crate) fn with_query<'v>(path: &str, pairs: impl IntoIterator<Item = (&'static str, Option<&'v str>)>) -> String {
    let mut url = path.to_owned();
    let pairs = pairs.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
    for (number, (name, value)) in pairs.enumerate() {
        let separator = if number == 0 { '?' } else { '&' };
        // Writing to a string does not fail.
        let _ = write!(url, "{separator}{name}={}", encoded(value));
    }
    url
}

/// A value of a query (RFC 3986, section 2.3): everything but unreserved characters is percent-encoded.
fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded_and_leave_out_what_is_empty() {
        let url =
            with_query("/", [("q", Some("a b&c=\"<é")), ("os", None), ("kind", Some("")), ("sort", Some("newest"))]);
        assert_eq!(url, "/?q=a%20b%26c%3D%22%3C%C3%A9&sort=newest");
        assert_eq!(with_query("/x", []), "/x");
    }

    #[test]
    fn the_only_character_of_names_that_paths_encode_is_the_caret() {
        let (image, version) = ("debian".parse().expect("a name"), "1.0^2~rc+1:2".parse().expect("a name"));
        assert_eq!(file(&image, &version, "debian-1.0^2.raw"), "/images/debian/1.0%5E2~rc+1:2/debian-1.0%5E2.raw");
    }
}
