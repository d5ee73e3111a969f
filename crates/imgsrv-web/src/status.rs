//! The status page.

use crate::chrome::{Frame, Section, Viewer};
use askama::Template;

/// What works.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// Why images cannot be read; empty if they can.
    pub unreadable: Vec<String>,
    /// Why nothing can be published although images can be read; empty if it can.
    pub unwritable: Vec<String>,
}

#[derive(Template)]
#[template(path = "status.html")]
struct Page<'a> {
    frame: Frame<'a>,
    summary: &'static str,
    rows: [Row<'a>; 2],
}

struct Row<'a> {
    what: &'static str,
    works: bool,
    details: &'a [String],
}

/// The page that shows what works.
pub fn status(viewer: &Viewer<'_>, health: &Health) -> askama::Result<String> {
    let Health { unreadable, unwritable } = health;
    let (reads, writes) = (unreadable.is_empty(), unreadable.is_empty() && unwritable.is_empty());
    Page {
        frame: viewer.frame(Section::Status, "Status"),
        summary: match (reads, writes) {
            (true, true) => "Everything works.",
            (true, false) => "Images can be downloaded, but nothing can be published at present.",
            (false, _) => "Images cannot be downloaded at present.",
        },
        rows: [
            Row { what: "Downloads", works: reads, details: unreadable },
            Row { what: "Publishing", works: writes, details: if reads { unwritable } else { unreadable } },
        ],
    }
    .render()
}
