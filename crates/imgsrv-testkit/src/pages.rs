//! What people copy from pages.

/// The commands and configurations that a page shows, in their order, as a browser copies them.
pub fn commands_of(page: &str) -> Vec<String> {
    let blocks = page.split("<pre tabindex=\"0\"><code").skip(1);
    let shown = blocks.filter_map(|rest| rest.split_once("</code>")?.0.split_once('>'));
    shown.map(|(_, code)| unescaped(code)).collect()
}

/// A text of HTML without its character references.
fn unescaped(html: &str) -> String {
    let characters = [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&")];
    characters.iter().fold(html.to_owned(), |text, (reference, character)| text.replace(reference, character))
}
