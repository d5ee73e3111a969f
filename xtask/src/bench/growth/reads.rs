//! Requests that change nothing. Each touches another image or version than the one before.

use super::{
    catalogs::Filled,
    client::Client,
    rows::{Growth, timed},
};
use crate::{fill::LARGE, shell::Result};
use serde_json::json;

const PAGE: (&str, &str) = ("accept", "text/html");
/// Items of a page of a list.
const ITEMS: u32 = 50;

/// A server, and which of its images and versions requests are about.
pub(super) struct Target<'a> {
    pub(super) filled: &'a Filled,
    pub(super) client: Client,
}

impl<'a> Target<'a> {
    pub(super) fn of(filled: &'a Filled) -> Result<Self> {
        Ok(Self { filled, client: Client::new(&filled.server()?.url) })
    }

    /// The name of image number `at`, one after another.
    pub(super) fn image(&self, at: usize) -> String {
        format!("image-{:05}", at % usize::try_from(self.filled.shape.images).unwrap_or(usize::MAX))
    }

    /// An image that has an alias, of those with few versions: its first version is an even one, which is active.
    fn aliased(&self, at: usize) -> String {
        let shape = self.filled.shape;
        let others = usize::try_from(shape.images - shape.large).unwrap_or(usize::MAX);
        self.image(usize::try_from(shape.large).unwrap_or(usize::MAX) + 2 * at % others)
    }

    /// An image with 5,000 versions.
    fn large(&self, at: usize) -> String {
        self.image(at % usize::try_from(self.filled.shape.large).unwrap_or(usize::MAX))
    }

    /// The image and the name of an active version, all over the catalog.
    fn version(&self, at: usize) -> (String, String) {
        // A prime that divides no number of versions. Of ten versions, the first is active.
        let tenths = usize::try_from(self.filled.shape.versions / 10).unwrap_or(usize::MAX);
        let number = at * 104_729 % tenths * 10;
        let image = self.filled.shape.image_of(u32::try_from(number).unwrap_or(u32::MAX));
        (format!("image-{image:05}"), format!("v{number}"))
    }

    /// The next page after `cursor`, or the first one after the last.
    fn next_page(&self, list: &str, cursor: &mut Option<String>) -> Result<()> {
        let after = cursor.as_ref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = self.client.json("GET", &format!("{list}{after}"), &self.filled.admin, None)?;
        *cursor = page["next_cursor"].as_str().map(str::to_owned);
        Ok(())
    }
}

/// Measures each of them.
pub(super) fn all(filled: &[Filled], requests: usize) -> Result<Vec<Growth>> {
    let targets: Vec<Target<'_>> = filled.iter().map(Target::of).collect::<Result<_>>()?;
    let get = |at: usize, path: &str| targets[at].client.get(path, &[]).map(drop);
    let page = |at: usize, path: &str| targets[at].client.get(path, &[PAGE]).map(drop);
    let few = requests.min(40);
    let mut rows = vec![
        Growth::measure("manifest by version", filled, requests, |at, number| {
            let (image, version) = targets[at].version(number);
            get(at, &format!("/v1/images/{image}/versions/{version}"))
        })?,
        Growth::measure("manifest by alias", filled, requests.min(95), |at, number| {
            get(at, &format!("/v1/images/{}/refs/latest", targets[at].aliased(number)))
        })?,
        Growth::measure("versions of an image, first page", filled, requests, |at, number| {
            get(at, &format!("/v1/images/{}/versions?limit={ITEMS}", targets[at].large(number)))
        })?,
    ];
    let mut cursors = Vec::new();
    for target in &targets {
        let (list, mut cursor) = (format!("/v1/images/{}/versions?limit=1000", target.large(0)), None);
        for _ in 0..2 {
            target.next_page(&list, &mut cursor)?;
        }
        cursors.push(cursor);
    }
    rows.push(Growth::measure("versions of an image, page after 2,000", filled, few, |at, _| {
        let list = format!("/v1/images/{}/versions?limit={ITEMS}", targets[at].large(0));
        targets[at].next_page(&list, &mut cursors[at])
    })?);
    let mut cursors = vec![None; targets.len()];
    rows.push(Growth::measure("list of images", filled, requests, |at, _| {
        targets[at].next_page(&format!("/v1/images?limit={}", ITEMS / 2), &mut cursors[at])
    })?);
    rows.extend([
        Growth::measure("page: home", filled, requests, |at, _| page(at, "/"))?,
        Growth::measure("page: newest images", filled, requests, |at, _| page(at, "/?sort=newest"))?,
        Growth::measure("page: search for a name", filled, requests.min(90), |at, number| {
            page(at, &format!("/?q=e-000{number:02}"))
        })?,
        Growth::measure("page: search for what no image has", filled, requests, |at, number| {
            page(at, &format!("/?q=absent{number}"))
        })?,
        Growth::measure("page: search for an architecture", filled, requests, |at, _| page(at, "/?arch=amd64"))?,
        Growth::measure("page: image", filled, requests, |at, number| {
            page(at, &format!("/images/{}", targets[at].large(number)))
        })?,
        Growth::measure("page: version", filled, requests, |at, number| {
            let (image, version) = targets[at].version(number);
            page(at, &format!("/images/{image}/{version}"))
        })?,
        Growth::measure("page: status", filled, few, |at, _| page(at, "/status"))?,
        Growth::measure("feed of all images", filled, few, |at, _| page(at, "/feed.atom"))?,
    ]);
    let policy = json!({"keep": {"newest": LARGE / 2, "daily": 7}, "action": "remove", "enabled": false});
    rows.push(Growth::measure("retention preview of 5,000 versions", filled, few, |at, number| {
        let path = format!("/v1/images/{}/retention/preview", targets[at].large(number));
        targets[at].client.json("POST", &path, &targets[at].filled.admin, Some(&policy)).map(drop)
    })?);
    rows.push(Growth::measure("dry run of garbage collection", filled, few, |at, _| {
        let client = &targets[at].client;
        client.json("POST", "/v1/system/gc", &targets[at].filled.admin, Some(&json!({"dry_run": true}))).map(drop)
    })?);
    let first = targets.iter().map(|target| {
        timed(|| target.client.get("/streams/v1/images.json", &[("accept-encoding", "gzip")]).map(drop))
            .map(|took| vec![took])
    });
    rows.push(Growth::new("images.json, first of a process", first.collect::<Result<_>>()?).whole());
    let tags: Result<Vec<String>> =
        targets.iter().map(|target| target.client.header("/streams/v1/images.json", &[], "etag")).collect();
    let tags = tags?;
    rows.push(Growth::measure("images.json, 304", filled, requests, |at, _| {
        targets[at].client.get("/streams/v1/images.json", &[("if-none-match", &tags[at])]).map(drop)
    })?);
    Ok(rows)
}
