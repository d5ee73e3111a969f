//! The page of a problem.

use crate::{
    chrome::{Frame, Section, Viewer},
    links,
    notices::Link,
};
use askama::Template;

/// What a problem says.
#[derive(Debug, Clone, Copy)]
pub struct ProblemView<'a> {
    /// Its status.
    pub status: u16,
    /// Its title.
    pub title: &'a str,
    /// The explanation.
    pub detail: &'a str,
    /// Why a version is gone.
    pub reason: Option<&'a str>,
    /// The path and name of what to use instead.
    pub replacement: Option<(&'a str, &'a str)>,
    /// The id of the request.
    pub request: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "problem.html")]
struct Page<'a> {
    frame: Frame<'a>,
    problem: &'a ProblemView<'a>,
    reason: Option<&'a str>,
    replacement: Option<Link>,
    home: String,
}

/// The page of a problem.
pub fn problem(viewer: &Viewer<'_>, problem: &ProblemView<'_>) -> askama::Result<String> {
    Page {
        frame: viewer.frame(Section::Other, problem.title),
        problem,
        // The explanation usually contains the reason.
        reason: problem.reason.filter(|reason| !problem.detail.contains(*reason)),
        replacement: problem.replacement.map(|(path, text)| Link { url: viewer.link(path), text: text.to_owned() }),
        home: viewer.link(links::HOME),
    }
    .render()
}
