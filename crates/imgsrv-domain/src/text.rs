//! Free text without characters that mislead a reader, and media types; both of bounded length.

/// The text is too long or has a character that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// It has more characters than allowed.
    #[error("must be at most {0} characters")]
    TooLong(usize),
    /// It has a control or bidirectional formatting character.
    #[error("must not contain control or bidirectional formatting characters")]
    Character,
}

pub(crate) fn check(raw: &str, max: usize) -> Result<(), InvalidText> {
    if raw.chars().count() > max {
        return Err(InvalidText::TooLong(max));
    }
    if raw.chars().any(|c| c.is_control() || is_bidi(c)) {
        return Err(InvalidText::Character);
    }
    Ok(())
}

/// The text is empty, too long, or has a character that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExactText {
    /// It is empty.
    #[error("must not be empty")]
    Empty,
    /// It has more bytes than allowed.
    #[error("must be at most {0} bytes")]
    TooManyBytes(usize),
    /// It is too long or has a character that is not allowed.
    #[error(transparent)]
    Text(#[from] InvalidText),
}

/// Checks a text that is not empty and has at most `max` characters.
pub(crate) fn check_exact(raw: &str, max: usize) -> Result<(), InvalidExactText> {
    if raw.is_empty() {
        return Err(InvalidExactText::Empty);
    }
    Ok(check(raw, max)?)
}

/// Characters of Unicode's Bidi_Control property, and the line and paragraph separators.
const fn is_bidi(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Declares types of text that are valid by construction, each with the error and the check of its parser.
macro_rules! checked_texts {
    ($($(#[$doc:meta])* $name:ident: $error:ty = $check:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text, exactly as it was parsed.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $error;

            fn from_str(raw: &str) -> Result<Self, $error> {
                let check: fn(&str) -> Result<(), $error> = $check;
                check(raw).map(|()| Self(raw.to_owned()))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
pub(crate) use checked_texts;

checked_texts! {
    /// A short text for people: at most 256 characters, without control and bidirectional formatting characters.
    ShortText: InvalidText = |raw| check(raw, 256);
    /// A longer text for people: at most 4096 characters, without control and bidirectional formatting characters.
    LongText: InvalidText = |raw| check(raw, 4096);
    /// A media type in the grammar of RFC 9110, section 8.3.1, of at most 127 characters; with its parameters.
    MediaType: InvalidMediaType = |raw| media_type(raw.as_bytes()).filter(|()| raw.len() <= 127).ok_or(InvalidMediaType);
}

/// The text is not a media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a media type such as application/x-qemu-disk, at most 127 characters")]
pub struct InvalidMediaType;

/// `type "/" subtype *( OWS ";" OWS [ token "=" ( token / quoted-string ) ] )`
fn media_type(raw: &[u8]) -> Option<()> {
    let rest = token(raw)?.strip_prefix(b"/")?;
    let mut rest = token(rest)?;
    while !rest.is_empty() {
        rest = blanks(blanks(rest).strip_prefix(b";")?);
        if rest.is_empty() || rest.starts_with(b";") {
            continue;
        }
        let value = token(rest)?.strip_prefix(b"=")?;
        rest = match value.strip_prefix(b"\"") {
            Some(quoted) => quoted_rest(quoted)?,
            None => token(value)?,
        };
    }
    Some(())
}

fn blanks(raw: &[u8]) -> &[u8] {
    let end = raw.iter().position(|b| !matches!(b, b' ' | b'\t')).unwrap_or(raw.len());
    &raw[end..]
}

/// What comes after a token (RFC 9110, section 5.6.2) of at least one character.
fn token(raw: &[u8]) -> Option<&[u8]> {
    let is_tchar = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    let end = raw.iter().position(|b| !is_tchar(b)).unwrap_or(raw.len());
    (end > 0).then_some(&raw[end..])
}

/// What comes after the closing quote of a quoted-string (RFC 9110, section 5.6.4), in ASCII.
fn quoted_rest(raw: &[u8]) -> Option<&[u8]> {
    let mut bytes = raw.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some(&raw[at + 1..]),
            b'\\' => {
                let (_, escaped) = bytes.next()?;
                matches!(escaped, b' '..=b'~').then_some(())?;
            }
            b' '..=b'~' => {}
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_follow_the_grammar() {
        for valid in
            ["application/x-qemu-disk", "text/plain;charset=utf-8", "text/plain ; charset=\"a b\\\"c\"; q=1", "a/b;"]
        {
            assert!(valid.parse::<MediaType>().is_ok(), "{valid}");
        }
        for bad in ["", "text", "text/", "/plain", "a/b c", "a/b;x", "a/b;x=", "a/b;x=\"y", "a/b\r\nX: y", "é/b"] {
            assert!(bad.parse::<MediaType>().is_err(), "{bad}");
        }
        assert!(format!("a/{}", "b".repeat(125)).parse::<MediaType>().is_ok());
        assert!(format!("a/{}", "b".repeat(126)).parse::<MediaType>().is_err());
    }

    #[test]
    fn texts_reject_control_and_bidirectional_characters() {
        for bad in ["a\nb", "a\0b", "a\u{202e}b", "a\u{2066}b", "a\u{7f}", "a\u{85}"] {
            assert_eq!(bad.parse::<ShortText>(), Err(InvalidText::Character), "{bad:?}");
        }
        assert!("é".repeat(256).parse::<ShortText>().is_ok());
        assert_eq!("é".repeat(257).parse::<ShortText>(), Err(InvalidText::TooLong(256)));
    }
}
