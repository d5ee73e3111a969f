//! What a log may show of a text that a client chose: no token, wherever one was put by mistake.

use std::borrow::Cow;

/// How the text of an API token starts, and how many characters of what follows name it.
pub(crate) const API_TOKEN: &str = "imgsrv_at_";
const KEY: usize = 12;
/// How a signed token starts: `{"` in base64url.
const SIGNED: &str = "eyJ";

/// The text with every token cut down to what names it.
pub(crate) fn redacted(text: &str) -> Cow<'_, str> {
    if !text.contains(API_TOKEN) && !text.contains(SIGNED) {
        return Cow::Borrowed(text);
    }
    let (mut shown, mut rest) = (String::new(), text);
    while let Some(at) = [API_TOKEN, SIGNED].iter().filter_map(|start| rest.find(start)).min() {
        let (before, token) = rest.split_at(at);
        let end = token.find(|c: char| !(c.is_ascii_alphanumeric() || "_-.%".contains(c))).unwrap_or(token.len());
        let named = if token.starts_with(API_TOKEN) { API_TOKEN.len() + KEY } else { SIGNED.len() };
        shown.push_str(before);
        shown.push_str(&token[..named.min(end)]);
        if end > named {
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
    fn tokens_are_cut_down_wherever_they_stand() {
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
