//! The description of the server for programs that read text (<https://llmstxt.org>).

use crate::{chrome::Viewer, commands::PROGRAMS};
use askama::Template;

#[derive(Template)]
#[template(path = "llms.txt")]
struct Text<'a> {
    title: &'a str,
    program: &'static str,
    base: &'a str,
    is_https: bool,
    authority: Option<&'a str>,
    /// The labels of programs, and their names in the query.
    programs: Vec<(&'static str, &'static str)>,
}

/// A description of the server and its URLs, in Markdown.
pub fn llms(viewer: &Viewer<'_>) -> askama::Result<String> {
    Text {
        title: viewer.site.title(),
        program: env!("CARGO_PKG_VERSION"),
        base: viewer.base,
        is_https: viewer.is_https(),
        authority: viewer.untrusted_authority(),
        programs: PROGRAMS.iter().map(|program| (program.label, program.id)).collect(),
    }
    .render()
}
