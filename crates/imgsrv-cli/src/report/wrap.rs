//! Sentences on a terminal: broken between words where the terminal would break them anywhere.

use std::io::{self, IsTerminal};
use textwrap::{Options, WordSeparator, WordSplitter};

/// What errors begin with; the following lines of their first sentence are aligned with its text.
pub(crate) const PREFIX: &str = "imgsrv: ";

/// The columns of the terminal that a stream is; `None` if it is none: then nothing is cut or wrapped.
pub(crate) fn width(stream: &(impl IsTerminal + std::os::fd::AsFd)) -> Option<usize> {
    let size = stream.is_terminal().then(|| rustix::termios::tcgetwinsize(stream).ok()).flatten();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// The text as a person sees it on standard error: wrapped if that is a terminal, else unchanged.
pub(crate) fn for_stderr(text: &str) -> String {
    width(&io::stderr()).map_or_else(|| text.to_owned(), |columns| wrapped(text, columns))
}

/// The text as a person sees it on standard output: lines are broken between words if that is a terminal, else the text is
/// unchanged.
pub fn for_stdout(text: &str) -> String {
    width(&io::stdout()).map_or_else(|| text.to_owned(), |columns| hanging(text, columns))
}

/// Breaks lines that are longer than `columns` at spaces. Further lines are indented: to the text after a label that is
/// followed by several spaces, or else by two spaces more than the first.
fn hanging(text: &str, columns: usize) -> String {
    let lines = text.split('\n').map(|line| {
        let words = line.trim_start();
        let label = words.split_once("  ").map(|(_, rest)| words.len() - rest.trim_start().len());
        let label = label.filter(|label| *label < columns / 2).unwrap_or(2);
        let indent = " ".repeat(line.len() - words.len() + label);
        textwrap::fill(line, whole_words(columns).subsequent_indent(&indent))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Breaks lines that are longer than `columns` at spaces. A word stays whole, however long it is, so that URLs, paths and
/// digests can be copied; so do lines that begin with an option.
fn wrapped(text: &str, columns: usize) -> String {
    let lines = text.split('\n').map(|line| {
        let words = line.trim_start();
        if words.starts_with("--") {
            return line.to_owned();
        }
        let prefix = if line.starts_with(PREFIX) { PREFIX.len() } else { 2 };
        let indent = " ".repeat(prefix.max(line.len() - words.len()));
        textwrap::fill(line, whole_words(columns).subsequent_indent(&indent))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Lines of whole words.
fn whole_words<'a>(columns: usize) -> Options<'a> {
    Options::new(columns)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
}

/// The lines of a cell of `width` columns; only a longer word is broken.
pub(super) fn broken(text: &str, width: usize) -> Vec<String> {
    let lines = textwrap::wrap(text, whole_words(width).break_words(true));
    lines.into_iter().map(std::borrow::Cow::into_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_broken_between_words() {
        let error = "imgsrv: the certificate of https://images is not valid\n  Ask the operator to renew it, please.";
        let wrapped = wrapped(error, 30);
        assert_eq!(
            wrapped,
            "imgsrv: the certificate of\n        https://images is not\n        valid\n  Ask the operator to renew\n  it, please."
        );
    }

    #[test]
    fn further_lines_of_a_result_are_indented() {
        let whoami = "roles: auth-manager, operator\n  in more detail than fits";
        assert_eq!(hanging(whoami, 20), "roles: auth-manager,\n  operator\n  in more detail\n    than fits");
        let storage = "gc       last run of this node: none";
        assert_eq!(hanging(storage, 24), "gc       last run of\n         this node: none");
    }

    #[test]
    fn what_is_copied_stays_whole() {
        for text in [
            "see https://images.example.org/images/debian/12.5.0/debian-12.5.0-amd64.qcow2",
            "  sha256:3b107e52f63fab104395d42dbb0d08b9ef9cb3f10b1e32fe083674dba258e7f8",
        ] {
            let longest = text.split(' ').max_by_key(|word| word.len()).unwrap_or_default();
            assert!(wrapped(text, 40).lines().any(|line| line.trim() == longest), "{}", wrapped(text, 40));
        }
        let options = "  --os linux --arch amd64 --variant default --format qcow2";
        assert_eq!(wrapped(options, 40), options);
        let fitting = "imgsrv: short\n\n  Usage: imgsrv";
        assert_eq!(wrapped(fitting, 40), fitting);
    }
}
