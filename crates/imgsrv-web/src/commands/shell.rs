//! Words of shell commands.

use std::borrow::Cow;

/// A word that a shell takes as it is: between single quotes if it has characters that mean something to a shell.
pub(super) fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+:/%@,=".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', "'\\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_words_with_special_characters_are_quoted() {
        for (word, expected) in [
            ("https://images.example.org/images/debian/1%5E2/x.qcow2", None),
            ("1^2~rc", Some("'1^2~rc'")),
            ("a b", Some("'a b'")),
            ("$(id)", Some("'$(id)'")),
            ("it's", Some("'it'\\''s'")),
            ("", Some("''")),
        ] {
            assert_eq!(quoted(word), expected.unwrap_or(word));
        }
    }
}
