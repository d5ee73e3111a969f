//! Words that code, comments and SQL must not use, because readers know the field's standard terms instead.

use super::Source;

/// The words, in lower case. The halves keep this file from being reported.
const WORDS: &[&str] = &[
    concat!("to", "ld"),
    concat!("as", "tray"),
    concat!("man", "ieth"),
    concat!("who", "ever"),
    concat!("spo", "ilt"),
    concat!("stands ", "behind"),
    concat!("stran", "ger"),
    concat!("left", "over"),
    concat!("append", "er"),
    concat!("taken ", "over"),
    concat!("hand ", "back"),
    concat!("hand_", "back"),
    concat!("hands ", "back"),
    concat!("handed ", "back"),
    concat!("pati", "ence"),
    concat!("one's ", "own"),
];

pub(super) fn check<'a>(sources: impl IntoIterator<Item = &'a Source>) -> Vec<String> {
    let mut breaches = Vec::new();
    for Source { path, text } in sources {
        let path = path.display().to_string();
        let name = path.to_lowercase();
        breaches.extend(words_in(&name).map(|word| format!("{path} is named by the old word {word:?}")));
        for (number, line) in (1..).zip(text.to_lowercase().lines()) {
            breaches.extend(words_in(line).map(|word| format!("{path}:{number} has the old word {word:?}")));
        }
    }
    breaches
}

fn words_in(text: &str) -> impl Iterator<Item = &'static str> {
    WORDS.iter().copied().filter(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_words_are_found_in_names_and_lines() {
        let word = WORDS[0];
        let source = |path: &str, text: &str| Source::new(path, text);
        assert_eq!(check(&[source("crates/a/src/lib.rs", "//! Plain words.")]), [""; 0]);
        let found = check(&[source("crates/a/src/lib.rs", &format!("//! Plain.\n// Is {}.", word.to_uppercase()))]);
        assert_eq!(found, [format!("crates/a/src/lib.rs:2 has the old word {word:?}")]);
        assert_eq!(check(&[source(&format!("crates/a/src/{word}.rs"), "")]).len(), 1);
    }
}
