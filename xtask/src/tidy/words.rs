//! Words and phrases that texts and names must not use, because readers know the field's standard terms instead.

use super::Source;

/// The lists, in two sections: what holds everywhere, and what holds for documentation.
const LISTS: &str = include_str!("words.txt");
/// Whether the second list also holds for Rust, SQL and the pages that are generated from the command line.
const SOURCES_ARE_PLAIN: bool = true;
/// Pages that a test generates from help texts in Rust.
const GENERATED: [&str; 2] = ["docs/src/reference/command-line.md", "docs/src/reference/configuration.md"];

/// A phrase in the form that [`Text`] gives to a file, and what to write instead.
struct Phrase {
    shown: &'static str,
    words: String,
    instead: &'static str,
    is_for_documentation: bool,
}

fn phrases() -> Vec<Phrase> {
    let mut is_for_documentation = false;
    let mut phrases = Vec::new();
    for line in LISTS.lines().filter(|line| !line.starts_with('#')) {
        is_for_documentation |= line == "[documentation]";
        if let Some((phrase, instead)) = line.split_once(" = ") {
            let stem = phrase.trim_end_matches('*');
            let words = format!(" {}{}", Text::of(stem).words.trim(), if stem == phrase { " " } else { "" });
            phrases.push(Phrase { shown: stem, words, instead, is_for_documentation });
        }
    }
    phrases
}

/// A text as lower-case words, each between blanks, without the marks of comments and Markdown.
struct Text {
    words: String,
    /// Where each line begins in `words`.
    lines: Vec<usize>,
}

impl Text {
    fn of(text: &str) -> Self {
        let (mut words, mut lines) = (String::from(" "), Vec::new());
        for line in text.lines() {
            lines.push(words.len());
            let mut is_lower = false;
            for character in line.chars().filter(|character| *character != '\'') {
                let is_new_word = character.is_uppercase() && is_lower;
                is_lower = character.is_lowercase();
                if (is_new_word || !character.is_alphanumeric()) && !words.ends_with(' ') {
                    words.push(' ');
                }
                if character.is_alphanumeric() {
                    words.extend(character.to_lowercase());
                }
            }
            if !words.ends_with(' ') {
                words.push(' ');
            }
        }
        Self { words, lines }
    }

    /// The numbers of the lines in which a phrase begins.
    fn lines_with(&self, phrase: &Phrase) -> impl Iterator<Item = usize> {
        let found = self.words.match_indices(&phrase.words);
        // The blank before a phrase may end the line before.
        found.map(|(offset, _)| self.lines.partition_point(|start| *start <= offset + 1))
    }
}

pub(super) fn check<'a>(sources: impl IntoIterator<Item = &'a Source>) -> Vec<String> {
    let phrases = phrases();
    let mut breaches = Vec::new();
    for Source { path, text } in sources {
        let is_documentation =
            path.extension().is_some_and(|found| found == "md") && !GENERATED.iter().any(|page| path.ends_with(page));
        let path = path.display().to_string();
        let (name, text) = (Text::of(&path), Text::of(text));
        for phrase in &phrases {
            if phrase.is_for_documentation && !is_documentation && !SOURCES_ARE_PLAIN {
                continue;
            }
            let advice = format!("{:?}; better: {}", phrase.shown, phrase.instead);
            breaches.extend(name.lines_with(phrase).map(|_| format!("{path} is named {advice}")));
            breaches.extend(text.lines_with(phrase).map(|line| format!("{path}:{line} says {advice}")));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first word of the list that holds everywhere, and the first phrase of the other one.
    fn examples() -> [String; 2] {
        let phrases = phrases();
        [false, true].map(|is_for_documentation| {
            let of_list = |phrase: &&Phrase| phrase.is_for_documentation == is_for_documentation;
            phrases.iter().find(of_list).expect("a phrase").shown.to_owned()
        })
    }

    fn found(path: &str, text: &str) -> Vec<String> {
        let cut = |breach: String| breach.split_once(';').expect("a replacement").0.to_owned();
        check(&[Source::new(path, text)]).into_iter().map(cut).collect()
    }

    #[test]
    fn words_of_the_first_list_are_found_in_names_and_lines_of_every_file() {
        let word = &examples()[0];
        assert_eq!(found("crates/a/src/lib.rs", "//! Plain words."), [""; 0]);
        for path in ["crates/a/src/lib.rs", "migrations/sqlite/0001_a.sql", "README.md"] {
            let lines = found(path, &format!("//! Plain.\n// Is {}.", word.to_uppercase()));
            assert_eq!(lines, [format!("{path}:2 says {word:?}")]);
        }
        assert_eq!(found(&format!("crates/a/src/{word}.rs"), "").len(), 1);
        assert_eq!(found("crates/a/src/lib.rs", &format!("fn is_{word}() {{}} struct Is{word};")).len(), 1);
        assert_eq!(found("crates/a/src/lib.rs", &format!("// S{word}, {word}er")), [""; 0]);
    }

    #[test]
    fn phrases_of_the_second_list_are_found_in_documentation_across_lines() {
        let phrase = &examples()[1];
        let text = format!("# A page\n\nIt is so, {}.", phrase.replace(' ', "\n"));
        assert_eq!(found("docs/src/a.md", &text).first(), Some(&format!("docs/src/a.md:3 says {phrase:?}")));
        let in_sources = usize::from(SOURCES_ARE_PLAIN);
        assert_eq!(found("crates/a/src/lib.rs", &format!("//! {phrase}.")).len(), in_sources);
        assert_eq!(found(GENERATED[0], phrase).len(), in_sources);
    }
}
