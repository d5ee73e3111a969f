//! The form of source files: their purpose at the top, their size, and no marks of unfinished work.

use super::Source;

/// Most lines of a file, tests included.
const MAX_LINES: usize = 500;
/// Marks of unfinished work. The halves keep this file from being reported.
const MARKS: [&str; 2] = [concat!("#[", "ignore"), concat!("FIX", "ME")];

pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let mut breaches = Vec::new();
    for Source { path, text } in sources {
        let path = path.display();
        if !text.starts_with("//!") {
            breaches.push(format!("{path} does not open with its purpose (//!)"));
        }
        if text.lines().count() > MAX_LINES {
            breaches.push(format!("{path} has more than {MAX_LINES} lines"));
        }
        breaches.extend(MARKS.iter().filter(|mark| text.contains(**mark)).map(|mark| format!("{path} has {mark}")));
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purpose_size_and_marks_are_checked() {
        let long = "//! Long.\n".to_owned() + &"\n".repeat(MAX_LINES);
        let marked = format!("//! Marked.\n// {}", MARKS[1]);
        for (text, breaches) in [("//! Fine.\n", 0), ("use std::fs;\n", 1), (&long, 1), (&marked, 1)] {
            assert_eq!(check(&[Source::new("crates/a/src/lib.rs", text)]).len(), breaches, "{text:.40}");
        }
    }
}
