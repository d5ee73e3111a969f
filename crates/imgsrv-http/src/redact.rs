//! Redaction of tokens in text from clients, before it is logged.

use imgsrv_domain::auth::TokenKey;
use std::borrow::Cow;

/// The prefix of a JWT: `{"` in base64url.
const JWT_PREFIX: &str = "eyJ";

/// The text with every token truncated to its identifying prefix.
pub(crate) fn redacted(text: &str) -> Cow<'_, str> {
    if !text.contains(TokenKey::PREFIX) && !text.contains(JWT_PREFIX) {
        return Cow::Borrowed(text);
    }
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(start) = [TokenKey::PREFIX, JWT_PREFIX].iter().filter_map(|prefix| rest.find(prefix)).min() {
        let (before, token) = rest.split_at(start);
        let end = token.find(|c: char| !(c.is_ascii_alphanumeric() || "_-.%".contains(c))).unwrap_or(token.len());
        // The key of an API token identifies it and is not secret.
        let is_api_token = token.starts_with(TokenKey::PREFIX);
        let public = if is_api_token { TokenKey::PREFIX.len() + TokenKey::LENGTH } else { JWT_PREFIX.len() };
        shown.push_str(before);
        shown.push_str(&token[..public.min(end)]);
        if end > public {
            shown.push_str("...");
        }
        rest = &token[end..];
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_truncated_anywhere_in_a_text() {
        for (text, shown) in [
            ("/v1/images/debian/versions/12.5.0", "/v1/images/debian/versions/12.5.0"),
            ("/v1/x/imgsrv_at_abcdefghijk1", "/v1/x/imgsrv_at_abcdefghijk1"),
            ("/v1/x/imgsrv_at_abcdefghijk1_se-cret/y", "/v1/x/imgsrv_at_abcdefghijk1.../y"),
            ("imgsrv_at_a", "imgsrv_at_a"),
            ("/eyJhbGciOiJSUzI1NiJ9.eyJhIjoxfQ.c2ln/imgsrv_at_abcdefghijk1_s", "/eyJ.../imgsrv_at_abcdefghijk1..."),
            ("/\u{e9}/imgsrv_at_\u{e9}", "/\u{e9}/imgsrv_at_\u{e9}"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }
}
