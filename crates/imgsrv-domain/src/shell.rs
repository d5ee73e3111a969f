//! Commands for a shell, which both pages and programs print.

/// The word, quoted for a shell if necessary.
pub fn quoted(word: &str) -> String {
    let is_plain = word.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+:@%".contains(&b));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// A command that downloads the authority of the server at this HTTPS URL to `file`, and verifies it.
///
/// The authority is fetched over plain HTTP on the TLS port, since it is not trusted yet; the checksum protects it.
pub fn fetch_authority(url: &str, sha256: &str, file: &str) -> String {
    let host = url.trim_start_matches("https://");
    let (host, path) = host.find('/').map_or((host, ""), |at| host.split_at(at));
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let port = if has_port { "" } else { ":443" };
    let authority = quoted(&format!("http://{host}{port}{path}/ca.pem"));
    format!("curl -sSfo {file} {authority} && echo '{sha256}  {file}' | sha256sum -c")
}

/// A command that makes the `client` (`incus` or `lxc`) trust the authority in a file, which is quoted, for the remote.
pub fn install_authority(file: &str, client: &str, remote: &str) -> String {
    format!("install -D -m 644 {file} ~/.config/{client}/servercerts/{remote}.crt")
}
