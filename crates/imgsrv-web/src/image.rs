//! The page of an image: its aliases and versions.

use crate::{
    chrome::{Frame, Section, Viewer},
    links,
    notices::{LifecycleNotice, notice, tag},
    search::kind_label,
    text::{When, count, joined, size},
};
use askama::Template;
use imgsrv_domain::{
    access::Visibility,
    browse::{ImageOverview, VersionSummary},
    lifecycle::{LifecycleFilter, LifecycleState},
    names::VersionName,
    page::Cursor,
    text::{LongText, ShortText},
};

/// Which of the versions of an image are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionsShown {
    /// Those in these states; when absent, those that are neither revoked nor removed.
    pub lifecycle: Option<LifecycleFilter>,
    /// Whether this is a later page than the first.
    pub is_later_page: bool,
}

#[derive(Template)]
#[template(path = "image.html")]
struct Page<'a> {
    frame: Frame<'a>,
    name: &'a str,
    is_private: bool,
    title: Option<&'a str>,
    description: Option<&'a str>,
    home: String,
    feed: String,
    /// The page with commands for the current version, and the name of that version.
    current: Option<(String, &'a str)>,
    aliases: Vec<Alias<'a>>,
    filters: Vec<Filter>,
    versions: Vec<Row<'a>>,
    first: Option<String>,
    next: Option<String>,
}

struct Alias<'a> {
    link: String,
    name: &'a str,
    version: &'a str,
    version_link: String,
    since: When,
}

struct Filter {
    link: String,
    label: &'static str,
    is_current: bool,
}

struct Row<'a> {
    link: String,
    name: &'a str,
    aliases: Vec<&'a str>,
    tag: Option<(&'static str, &'static str)>,
    notice: Option<LifecycleNotice<'a>>,
    when: When,
    systems: String,
    architectures: String,
    kinds: String,
    files: String,
    size: String,
}

/// The page of an image.
pub fn image(viewer: &Viewer<'_>, overview: &ImageOverview, shown: VersionsShown) -> askama::Result<String> {
    let ImageOverview { image, aliases, current, versions } = overview;
    let path = links::image(&image.name);
    let page = |lifecycle: Option<LifecycleFilter>, after: Option<&Cursor>| {
        let lifecycle = lifecycle.map(LifecycleFilter::as_str);
        let cursor = after.map(|cursor| cursor.0.as_str());
        viewer.link(&links::with_query(&path, [("lifecycle", lifecycle), ("cursor", cursor)]))
    };
    let filter =
        |(lifecycle, label)| Filter { link: page(lifecycle, None), label, is_current: lifecycle == shown.lifecycle };
    let feed = viewer.link(&links::feed(&image.name));
    let pointing = |version: &VersionName| {
        aliases.iter().filter(|alias| alias.version == *version).map(|alias| alias.name.as_str()).collect()
    };
    let frame = viewer.frame(Section::Images, image.name.as_str()).at(viewer.url(&path));
    Page {
        frame: frame.with_feed(feed.clone(), format!("New versions of {}", image.name)),
        name: image.name.as_str(),
        is_private: image.visibility == Visibility::Private,
        title: image.display_name.as_ref().map(ShortText::as_str),
        description: image.description.as_ref().map(LongText::as_str),
        home: viewer.link(links::HOME),
        feed,
        current: current.as_ref().map(|current| {
            // The commands on the page of an alias follow it.
            let latest = aliases.iter().find(|alias| alias.name.as_str() == "latest");
            let path = latest.map_or_else(
                || links::version(&image.name, current),
                |latest| links::reference(&image.name, &latest.name),
            );
            (format!("{}#commands", viewer.link(&path)), current.as_str())
        }),
        aliases: aliases
            .iter()
            .map(|alias| Alias {
                link: viewer.link(&links::reference(&image.name, &alias.name)),
                name: alias.name.as_str(),
                version: alias.version.as_str(),
                version_link: viewer.link(&links::version(&image.name, &alias.version)),
                since: viewer.when(alias.updated_at),
            })
            .collect(),
        filters: FILTERS.map(filter).into(),
        versions: versions.items.iter().map(|summary| row(viewer, summary, pointing(&summary.version.name))).collect(),
        first: shown.is_later_page.then(|| page(shown.lifecycle, None)),
        next: versions.next.as_ref().map(|next| page(shown.lifecycle, Some(next))),
    }
    .render()
}

const FILTERS: [(Option<LifecycleFilter>, &str); 6] = [
    (None, "Offered"),
    (Some(LifecycleFilter::Active), "Active"),
    (Some(LifecycleFilter::Deprecated), "Deprecated"),
    (Some(LifecycleFilter::Revoked), "Revoked"),
    (Some(LifecycleFilter::Removed), "Removed"),
    (Some(LifecycleFilter::All), "All"),
];

fn row<'a>(viewer: &Viewer<'_>, summary: &'a VersionSummary, aliases: Vec<&'a str>) -> Row<'a> {
    let VersionSummary { version, content } = summary;
    let state = version.lifecycle.state(viewer.now);
    let published = version.state.published_at().unwrap_or(version.created_at);
    Row {
        link: viewer.link(&links::version(&version.image, &version.name)),
        name: version.name.as_str(),
        aliases,
        tag: tag(state),
        notice: notice(viewer, &version.image, &version.lifecycle).filter(|_| state != LifecycleState::Active),
        when: viewer.when(published),
        systems: joined(&content.operating_systems),
        architectures: joined(&content.architectures),
        kinds: joined(content.kinds().map(kind_label)),
        files: count(content.artifacts, "file"),
        size: size(content.total_size),
    }
}
