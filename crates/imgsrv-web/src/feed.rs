//! Atom feeds (RFC 4287).

use crate::{
    chrome::Viewer,
    links,
    text::{When, count, joined, size},
};
use askama::Template;
use imgsrv_domain::{browse::FeedEntry, names::ImageName};

#[derive(Template)]
#[template(path = "feed.xml")]
struct Feed<'a> {
    id: String,
    title: String,
    page: String,
    updated: String,
    author: &'a str,
    program: &'static str,
    entries: Vec<Entry>,
}

struct Entry {
    id: String,
    title: String,
    link: String,
    published: String,
    updated: String,
    summary: String,
}

/// The feed of the newest versions, of all images or of one.
pub fn feed(viewer: &Viewer<'_>, image: Option<&ImageName>, found: &[FeedEntry]) -> askama::Result<String> {
    let site = viewer.site.title();
    let (id, page, title) = match image {
        None => ("/feed.atom".to_owned(), links::HOME.to_owned(), format!("New versions · {site}")),
        Some(image) => (links::feed(image), links::image(image), format!("New versions of {image} · {site}")),
    };
    let entries: Vec<_> = found.iter().map(|found| entry(viewer, found)).collect();
    Feed {
        id: viewer.url(&id),
        title,
        page: viewer.url(&page),
        // A feed without entries never changed.
        updated: entries.iter().map(|entry| entry.updated.clone()).max().unwrap_or_else(|| EPOCH.to_owned()),
        author: site,
        program: env!("CARGO_PKG_VERSION"),
        entries,
    }
    .render()
}

const EPOCH: &str = "1970-01-01T00:00:00Z";

fn entry(viewer: &Viewer<'_>, FeedEntry { image, version: summary }: &FeedEntry) -> Entry {
    let (version, content) = (&summary.version, &summary.content);
    let link = viewer.url(&links::version(&image.name, &version.name));
    let published = version.state.published_at().unwrap_or(version.created_at);
    let iso = |time| When::new(time, viewer.now).iso;
    let deprecated = if version.lifecycle.deprecation.is_some() { " Deprecated." } else { "" };
    Entry {
        id: link.clone(),
        title: format!("{} {}", image.name, version.name),
        link,
        published: iso(published),
        updated: iso(published.max(version.lifecycle.changed_at)),
        summary: format!(
            "{} for {}: {}, {}.{deprecated}",
            joined(&content.operating_systems),
            joined(&content.architectures),
            count(content.artifacts, "file"),
            size(content.total_size)
        ),
    }
}
