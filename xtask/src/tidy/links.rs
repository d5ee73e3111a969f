//! Links in Markdown files: the file and the heading that a relative link names exist, and every page is in the summary.

use super::Source;
use crate::shell::root;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

/// The folder that mdbook publishes; a link out of it would be dead on the site.
const BOOK: &str = "docs/src";

pub(super) fn check(pages: &[Source]) -> Vec<String> {
    let anchors: BTreeMap<&Path, BTreeSet<String>> =
        pages.iter().map(|page| (page.path.as_path(), anchors(&page.text))).collect();
    let mut breaches = Vec::new();
    let mut linked = BTreeSet::new();
    for Source { path, text } in pages {
        for (number, link) in links(text) {
            let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let folder = path.parent().unwrap_or(Path::new(""));
            let target = if file.is_empty() { path.clone() } else { normal(&folder.join(file)) };
            let is_known = anchors.contains_key(target.as_path()) || root().join(&target).exists();
            let has_anchor =
                anchor.is_none_or(|anchor| anchors.get(target.as_path()).is_some_and(|all| all.contains(anchor)));
            if !is_known || !has_anchor || (path.starts_with(BOOK) && !target.starts_with(BOOK)) {
                breaches.push(format!("{}:{number} has the dead link {link}", path.display()));
            }
            if path.ends_with("SUMMARY.md") {
                linked.insert(target);
            }
        }
    }
    let pages = pages.iter().filter(|page| page.path.starts_with(BOOK) && !page.path.ends_with("SUMMARY.md"));
    let unlisted = pages.filter(|page| !linked.contains(&page.path));
    breaches.extend(unlisted.map(|page| format!("{} is not in {BOOK}/SUMMARY.md", page.path.display())));
    breaches
}

/// The lines outside code blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The targets of inline links to files and headings, with the numbers of their lines.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let links = prose(text).flat_map(|(number, line)| {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        targets.map(move |target| (number, target))
    });
    links.filter(|(_, target)| !target.contains("://") && !target.starts_with("mailto:"))
}

/// The anchors of the headings, as GitHub and mdbook name them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for heading in prose(text).filter_map(|(_, line)| line.strip_prefix('#')) {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
        let anchor = kept.collect::<String>().replace(' ', "-");
        let again = (1..).map(|number| format!("{anchor}-{number}"));
        let free = std::iter::once(anchor.clone()).chain(again).find(|anchor| !anchors.contains(anchor));
        anchors.extend(free);
    }
    anchors
}

/// A path without `.` and `..`, which need not exist.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => _ = normal.pop(),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => normal.push(component),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(path: &str, text: &str) -> Vec<String> {
        let summary = Source::new("docs/src/SUMMARY.md", "[C](b/c.md)");
        let page =
            Source::new("docs/src/b/c.md", "# C: a `page`\n\n## Twice\n\n## Twice\n\n```bash\n# no heading\n```\n");
        check(&[summary, page, Source::new(path, text)])
    }

    #[test]
    fn links_to_missing_files_and_headings_are_breaches() {
        let fine = "# A\n[C](docs/src/b/c.md#c-a-page), [D](./docs/src/b/c.md#twice-1), [A](#a), [docs](docs/)\n\
                    [licence](LICENSE-MIT) [elsewhere](https://example.org/y)\n";
        assert_eq!(breaches("README.md", fine), [""; 0]);
        for dead in ["docs/src/b/d.md", "docs/src/b/c.md#twice-2", "docs/src/b/c.md#no-heading", "#b"] {
            let found = breaches("README.md", &format!("A\n[link]({dead})"));
            assert_eq!(found, [format!("README.md:2 has the dead link {dead}")]);
        }
    }

    #[test]
    fn pages_of_the_book_link_within_it_and_are_in_its_summary() {
        let found = breaches("docs/src/b/d.md", "[C](c.md)\n[README](../../../README.md)");
        let expected =
            ["docs/src/b/d.md:2 has the dead link ../../../README.md", "docs/src/b/d.md is not in docs/src/SUMMARY.md"];
        assert_eq!(found, expected);
    }
}
