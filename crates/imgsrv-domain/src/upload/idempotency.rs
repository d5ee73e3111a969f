//! Idempotency keys: how a client that lost a response finds the session that its request opened.

use crate::text::checked_texts;

/// The key is empty, too long or has a character that is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 255 visible ASCII characters, such as a UUID")]
pub struct InvalidIdempotencyKey;

checked_texts! {
    /// A key that a client chose for one request and repeats with each retry of it: 1 to 255 visible ASCII characters.
    /// It lives as long as the session that the request opened.
    IdempotencyKey: InvalidIdempotencyKey = |raw| {
        let is_valid = (1..=255).contains(&raw.len()) && raw.bytes().all(|byte| byte.is_ascii_graphic());
        is_valid.then_some(()).ok_or(InvalidIdempotencyKey)
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_1_to_255_visible_characters() {
        for valid in ["!", "0190163d-8694-739b-aea5-966c26f8ad91", "a\"b", &"~".repeat(255)] {
            assert!(valid.parse::<IdempotencyKey>().is_ok(), "{valid}");
        }
        for bad in ["", "a b", "a\tb", "\u{7f}", "é", &"~".repeat(256)] {
            assert!(bad.parse::<IdempotencyKey>().is_err(), "{bad}");
        }
    }
}
