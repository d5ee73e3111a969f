//! The parts of the description that clients show: `{os} {release_title} {arch} ({label}) ({serial})`.

use crate::listed::Listed;
use std::collections::HashSet;

/// What publishers declare when they do not know or care.
const UNSPECIFIC: [&str; 4] = ["generic", "linux", "other", "unknown"];

/// The operating system: that of the metadata, else that of the artifact, else the image's name.
pub(crate) fn os(listed: &Listed) -> String {
    let candidates = [listed.properties.os(), Some(listed.operating_system.as_str())];
    let is_specific = |os: &&str| !UNSPECIFIC.iter().any(|unspecific| os.eq_ignore_ascii_case(unspecific));
    let specific = candidates.into_iter().flatten().find(is_specific);
    capitalised(specific.or(listed.title.as_deref()).unwrap_or(listed.image.as_str()))
}

/// The release with the variant, because clients up to Incus 7.3 do not show the variant in the description.
pub(crate) fn release_title(listed: &Listed, os: &str) -> String {
    let (title, variant) = (release(listed, os), variant(listed));
    let is_special = |variant: &str| variant != "default";
    let is_named = is_special(variant) && listed.properties.variant().is_some_and(is_special);
    if is_named && !title.split_whitespace().any(|word| bare(word) == bare(variant)) {
        format!("{title} ({variant})")
    } else {
        title
    }
}

/// The release: that of the metadata if it says more than the version, else the image's display name, else the version.
/// The operating system is not repeated.
fn release(listed: &Listed, os: &str) -> String {
    let version = listed.version.as_str();
    let release = listed.properties.release().filter(|release| *release != version);
    let candidates = [release, listed.title.as_deref()].into_iter().flatten();
    let mut titles = candidates.map(|title| without_os(title, os)).filter(|title| !title.is_empty());
    titles.next().unwrap_or(version).to_owned()
}

/// The variant: that of the artifact, unless only the metadata names one.
pub(crate) fn variant(listed: &Listed) -> &str {
    let own = listed.variant.as_str();
    if listed.variant.is_default() { listed.properties.variant().unwrap_or(own) } else { own }
}

/// What the description in the metadata says in addition to the words that clients show anyway, if anything.
pub(crate) fn label(listed: &Listed, os: &str, release_title: &str) -> Option<String> {
    let (properties, architecture) = (&listed.properties, listed.architecture);
    let shown = [properties.os(), properties.release(), properties.variant()].into_iter().flatten();
    let shown = shown.chain([os, release_title, listed.operating_system.as_str(), listed.version.as_str()]);
    let shown = shown.chain([listed.variant.as_str(), architecture.stream_name(), architecture.kernel_name()]);
    let shown: HashSet<String> = shown.flat_map(str::split_whitespace).map(bare).collect();
    let is_shown = |word: &str| {
        let word = bare(word);
        word.is_empty() || is_serial(&word) || shown.contains(&word)
    };
    let mut rest = properties.description()?;
    while let Some(word) = rest.split_whitespace().next().filter(|word| is_shown(word)) {
        rest = rest.trim_start().strip_prefix(word)?.trim_start();
    }
    let is_new = rest.split_whitespace().any(|word| !is_shown(word));
    let inner = rest.strip_prefix('(').and_then(|inner| inner.strip_suffix(')'));
    let inner = inner.filter(|inner| !inner.contains(['(', ')'])).unwrap_or(rest);
    is_new.then(|| inner.trim().to_owned())
}

/// A word in lowercase, without the punctuation around it.
fn bare(word: &str) -> String {
    word.trim_matches(|letter: char| !letter.is_alphanumeric()).to_lowercase()
}

/// Whether a word is a date, which clients show as well.
fn is_serial(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    digits >= 8 && word.bytes().all(|byte| byte.is_ascii_digit() || b"-_:.tz".contains(&byte))
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
