//! Style sheet, icon and script. They are in the binary; the names of those that are served contain their digests.

use base64::{Engine, engine::general_purpose::STANDARD};
use imgsrv_domain::digest::BlobClaim;
use std::sync::LazyLock;

/// A file that pages refer to. A file of that name never has another content.
#[derive(Debug)]
pub struct Asset {
    /// Its path on this server.
    pub path: String,
    /// Its media type.
    pub media_type: &'static str,
    /// Its content.
    pub content: &'static str,
}

const STYLE: &str = include_str!("../assets/style.css");
const ICON: &str = include_str!("../assets/icon.svg");
/// The script of every page.
pub(crate) const SCRIPT: &str = include_str!("../assets/page.js");

/// The style sheet and the icon.
pub static ASSETS: LazyLock<[Asset; 2]> = LazyLock::new(|| {
    [asset("style", "css", "text/css; charset=utf-8", STYLE), asset("icon", "svg", "image/svg+xml", ICON)]
});

fn asset(name: &str, extension: &str, media_type: &'static str, content: &'static str) -> Asset {
    let digest = BlobClaim::of(content.as_bytes()).digest.hex();
    let path = format!("/assets/{name}-{}.{extension}", &digest[..16]);
    Asset { path, media_type, content }
}

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let digest = STANDARD.encode(BlobClaim::of(SCRIPT.as_bytes()).digest.bytes());
    format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'sha256-{digest}'; frame-ancestors 'none'; \
         base-uri 'none'; form-action 'self'"
    )
});

/// The `Content-Security-Policy` of pages. It admits the script of the pages by its digest: `'self'` would run JavaScript
/// that somebody published.
pub fn content_security_policy() -> &'static str {
    &POLICY
}
