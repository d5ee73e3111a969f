//! Commands for a shell, which both pages and programs print.

use std::borrow::Cow;

/// A word that a shell takes as it is: between single quotes if it has characters that mean something to a shell.
pub fn quoted(word: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+:/%@,=".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', "'\\''")))
    }
}

/// A command that downloads the authority of the server at this HTTPS URL to `file`, and verifies it.
///
/// The authority is fetched over plain HTTP on the TLS port, since it is not trusted yet; the checksum protects it.
pub fn fetch_authority(url: &str, sha256: &str, file: &str) -> String {
    let host = url.trim_start_matches("https://");
    let (host, path) = host.find('/').map_or((host, ""), |at| host.split_at(at));
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let port = if has_port { "" } else { ":443" };
    let authority = format!("http://{host}{port}{path}/ca.pem");
    format!("curl -sSfo {file} {} && echo '{sha256}  {file}' | sha256sum -c", quoted(&authority))
}

/// A command that makes the `client` (`incus` or `lxc`) trust the authority in a file, which is quoted, for the remote.
pub fn install_authority(file: &str, client: &str, remote: &str) -> String {
    format!("install -D -m 644 {file} ~/.config/{client}/servercerts/{remote}.crt")
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
