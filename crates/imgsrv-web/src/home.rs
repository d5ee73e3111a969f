//! The home page: images, and the search for them.

use crate::{
    chrome::{Frame, Section, Viewer},
    links,
    search::{SearchForm, kind_label},
    text::{When, count, joined, size, usual},
};
use askama::Template;
use imgsrv_domain::{
    access::Visibility,
    browse::ImageSummary,
    lifecycle::LifecycleState,
    names::OperatingSystem,
    page::Page,
    text::{LongText, ShortText},
};
use std::collections::BTreeSet;

#[derive(Template)]
#[template(path = "home.html")]
struct Home<'a> {
    frame: Frame<'a>,
    base: &'a str,
    form: &'a SearchForm,
    systems: BTreeSet<&'a str>,
    architectures: BTreeSet<&'a str>,
    rows: Vec<Row<'a>>,
    count: String,
    first: Option<String>,
    next: Option<String>,
    everything: String,
}

/// An image.
struct Row<'a> {
    link: String,
    name: &'a str,
    is_private: bool,
    title: Option<&'a str>,
    description: Option<&'a str>,
    current: Option<Current<'a>>,
}

/// Its current version.
struct Current<'a> {
    link: String,
    name: &'a str,
    is_deprecated: bool,
    when: When,
    systems: String,
    architectures: String,
    kinds: String,
    size: String,
}

/// The page with a list of images that `form` finds.
pub fn home(viewer: &Viewer<'_>, form: &SearchForm, page: &Page<ImageSummary>) -> askama::Result<String> {
    let contents = || page.items.iter().filter_map(|row| row.current.as_ref()).map(|current| &current.content);
    let found = count(page.items.len() as u64, "image");
    let title = if form.is_empty() { "" } else { "Search" };
    let frame = viewer.frame(Section::Images, title).without_search().at(viewer.url(&form.page(None)));
    Home {
        frame: frame.with_feed(viewer.link("/feed.atom"), "New versions of all images".to_owned()),
        base: viewer.base,
        form,
        systems: contents().flat_map(|content| &content.operating_systems).map(OperatingSystem::as_str).collect(),
        architectures: contents().flat_map(|content| &content.architectures).map(usual).collect(),
        rows: page.items.iter().map(|summary| row(viewer, summary)).collect(),
        count: if page.next.is_some() || form.is_later_page { format!("{found} on this page") } else { found },
        first: form.is_later_page.then(|| viewer.link(&form.page(None))),
        next: page.next.as_ref().map(|next| viewer.link(&form.page(Some(next)))),
        everything: viewer.link(links::HOME),
    }
    .render()
}

fn row<'a>(viewer: &Viewer<'_>, ImageSummary { image, current }: &'a ImageSummary) -> Row<'a> {
    let current = current.as_ref().map(|current| Current {
        link: viewer.link(&links::version(&image.name, &current.name)),
        name: current.name.as_str(),
        is_deprecated: current.state == LifecycleState::Deprecated,
        when: viewer.when(current.published_at),
        systems: joined(&current.content.operating_systems),
        architectures: joined(&current.content.architectures),
        kinds: joined(current.content.kinds().map(kind_label)),
        size: format!("{} in {}", size(current.content.total_size), count(current.content.artifacts, "file")),
    });
    Row {
        link: viewer.link(&links::image(&image.name)),
        name: image.name.as_str(),
        is_private: image.visibility == Visibility::Private,
        title: image.display_name.as_ref().map(ShortText::as_str),
        description: image.description.as_ref().map(LongText::as_str),
        current,
    }
}
