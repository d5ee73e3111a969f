//! Words that code, comments and SQL must not use, because readers know the field's standard terms instead.

use super::Source;

/// The words, in lower case. The bars, which are no part of them, keep this file from being reported.
const WORDS: &str = "to|ld,as|tray,man|ieth,who|ever,spo|ilt,stands |behind,stran|ger,left|over,append|er,taken |over,\
    hand |back,hand_|back,hands |back,handed |back,pati|ence,one's |own";

fn words() -> Vec<String> {
    WORDS.replace('|', "").split(',').map(str::to_owned).collect()
}

pub(super) fn check<'a>(sources: impl IntoIterator<Item = &'a Source>) -> Vec<String> {
    let words = words();
    let mut breaches = Vec::new();
    for Source { path, text } in sources {
        let path = path.display().to_string();
        let (name, text) = (path.to_lowercase(), text.to_lowercase());
        for word in &words {
            if name.contains(word) {
                breaches.push(format!("{path} is named by the old word {word:?}"));
            }
            let lines = (1..).zip(text.lines()).filter(|(_, line)| line.contains(word));
            breaches.extend(lines.map(|(number, _)| format!("{path}:{number} has the old word {word:?}")));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_words_are_found_in_names_and_lines() {
        let word = &words()[0];
        let source = |path: &str, text: &str| Source::new(path, text);
        assert_eq!(check(&[source("crates/a/src/lib.rs", "//! Plain words.")]), [""; 0]);
        let found = check(&[source("crates/a/src/lib.rs", &format!("//! Plain.\n// Is {}.", word.to_uppercase()))]);
        assert_eq!(found, [format!("crates/a/src/lib.rs:2 has the old word {word:?}")]);
        assert_eq!(check(&[source(&format!("crates/a/src/{word}.rs"), "")]).len(), 1);
    }
}
