//! The description of the server for programs that read text (<https://llmstxt.org>).

use crate::chrome::Viewer;
use askama::Template;

#[derive(Template)]
#[template(path = "llms.txt")]
struct Text<'a> {
    title: &'a str,
    program: &'static str,
    base: &'a str,
}

/// A description of the server and its URLs, in Markdown.
pub fn llms(viewer: &Viewer<'_>) -> askama::Result<String> {
    Text { title: viewer.site.title(), program: env!("CARGO_PKG_VERSION"), base: viewer.base }.render()
}
