//! The operating system and release that clients show: `{os} {release_title} {arch} ({serial})`.

use crate::listed::Listed;

/// What publishers declare when they do not know or care.
const UNSPECIFIC: [&str; 4] = ["generic", "linux", "other", "unknown"];

/// The operating system: that of the metadata, else that of the artifact, else the image's name.
pub(crate) fn os(listed: &Listed) -> String {
    let candidates = [listed.properties.os(), Some(listed.operating_system.as_str())];
    let is_specific = |os: &&str| !UNSPECIFIC.iter().any(|unspecific| os.eq_ignore_ascii_case(unspecific));
    let specific = candidates.into_iter().flatten().find(is_specific);
    capitalised(specific.or(listed.title.as_deref()).unwrap_or(listed.image.as_str()))
}

/// The release: that of the metadata if it says more than the version, else the image's display name, else the version.
/// The operating system is not repeated.
pub(crate) fn release_title(listed: &Listed, os: &str) -> String {
    let version = listed.version.as_str();
    let release = listed.properties.release().filter(|release| *release != version);
    let candidates = [release, listed.title.as_deref()].into_iter().flatten();
    let mut titles = candidates.map(|title| without_os(title, os)).filter(|title| !title.is_empty());
    titles.next().unwrap_or(version).to_owned()
}

/// As the official server writes it, `Debian`. A text that has capitals, such as `openSUSE`, is kept.
fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) if !text.chars().any(char::is_uppercase) => first.to_uppercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}

/// `title` without the words that it has in common with the beginning of `os`.
fn without_os<'t>(title: &'t str, os: &str) -> &'t str {
    let mut rest = title.trim_start();
    for word in os.split_whitespace() {
        let (first, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        if first.trim_end_matches([':', ',']).to_lowercase() != word.to_lowercase() {
            break;
        }
        rest = after.trim_start();
    }
    rest.trim_start_matches(['-', '\u{2013}', '\u{2014}', ':', ',', ' ']).trim_end()
}
