//! What all pages have in common.

use crate::{
    assets::{ASSETS, SCRIPT},
    text::When,
};
use imgsrv_domain::{
    text::{LongText, ShortText},
    time::Timestamp,
};

/// The branding that an operator sets.
#[derive(Debug, Clone, Default)]
pub struct Site {
    /// The name of the site; `Images` when absent.
    pub title: Option<ShortText>,
    /// A text that every page shows.
    pub notice: Option<LongText>,
}

impl Site {
    pub(crate) fn title(&self) -> &str {
        self.title.as_ref().map_or("Images", ShortText::as_str)
    }
}

/// Where and when a page is read.
#[derive(Debug, Clone, Copy)]
pub struct Viewer<'a> {
    /// The branding.
    pub site: &'a Site,
    /// The path below which the server is published; empty for the root.
    pub prefix: &'a str,
    /// The URL of the server, without a slash at its end.
    pub base: &'a str,
    /// The SHA-256 of the certificate of the server's own authority, in hexadecimal; absent when it has none.
    pub authority: Option<&'a str>,
    /// The time that ages are relative to.
    pub now: Timestamp,
}

impl<'a> Viewer<'a> {
    /// The path of a resource as browsers must request it.
    pub(crate) fn link(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// The URL of a resource for other programs.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// The SHA-256 of the authority that clients must trust before they can use the URL of the server.
    pub(crate) fn untrusted_authority(&self) -> Option<&'a str> {
        self.authority.filter(|_| self.is_https())
    }

    /// Whether the URL of the server is one of HTTPS.
    pub(crate) fn is_https(&self) -> bool {
        self.base.starts_with("https://")
    }

    pub(crate) fn when(&self, time: Timestamp) -> When {
        When::new(time, self.now)
    }

    /// The parts of a page around its content.
    pub(crate) fn frame(&self, section: Section, title: &str) -> Frame<'a> {
        let site = self.site.title();
        let [style, icon] = &*ASSETS;
        Frame {
            title: if title.is_empty() { site.to_owned() } else { format!("{title} · {site}") },
            section,
            site,
            notice: self.site.notice.as_ref().map(LongText::as_str),
            stylesheet: self.link(&style.path),
            icon: self.link(&icon.path),
            has_search: true,
            feed: None,
            feed_title: String::new(),
            canonical: None,
            program: env!("CARGO_PKG_VERSION"),
            script: SCRIPT,
            prefix: self.prefix,
        }
    }
}

/// The part of the site that a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Images,
    Status,
    Other,
}

/// The parts of a page around its content.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) title: String,
    pub(crate) section: Section,
    pub(crate) site: &'a str,
    pub(crate) notice: Option<&'a str>,
    pub(crate) stylesheet: String,
    pub(crate) icon: String,
    /// Whether its header has the search for images.
    pub(crate) has_search: bool,
    pub(crate) feed: Option<String>,
    pub(crate) feed_title: String,
    pub(crate) canonical: Option<String>,
    pub(crate) program: &'static str,
    pub(crate) script: &'static str,
    prefix: &'a str,
}

impl Frame<'_> {
    pub(crate) fn link(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// The same, without the search of the header: the page has its own.
    pub(crate) fn without_search(self) -> Self {
        Self { has_search: false, ..self }
    }

    /// The same, with a feed.
    pub(crate) fn with_feed(self, url: String, title: String) -> Self {
        Self { feed: Some(url), feed_title: title, ..self }
    }

    /// The same, with the one URL of the page for search engines.
    pub(crate) fn at(self, url: String) -> Self {
        Self { canonical: Some(url), ..self }
    }
}
