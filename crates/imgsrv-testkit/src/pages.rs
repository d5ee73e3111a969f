//! What people copy from pages.

/// The commands and configurations that a page shows, in their order, as a browser copies them.
pub fn commands_of(page: &str) -> Vec<String> {
    let shown = page.split("<pre tabindex=\"0\"><code>").skip(1).filter_map(|rest| rest.split("</code>").next());
    shown.map(unescaped).collect()
}

/// A text of HTML without its character references.
fn unescaped(html: &str) -> String {
    let characters = [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&")];
    characters.iter().fold(html.to_owned(), |text, (reference, character)| text.replace(reference, character))
}
