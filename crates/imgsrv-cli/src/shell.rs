//! Commands for a shell.

pub use imgsrv_domain::shell::quoted;
use imgsrv_domain::shell::{fetch_authority, install_authority};

/// The beginning of a command that fetches the authority of the server at this HTTPS URL, verifies it, and makes the
/// `client` (`incus` or `lxc`) trust it for the remote. It ends with `&& `.
pub fn trust_authority(url: &str, sha256: &str, client: &str, remote: &str) -> String {
    let file = format!("{remote}.crt");
    format!("{} && {}", fetch_authority(url, sha256, &file), install(&file, client, remote))
}

/// The beginning of a command that makes the `client` trust the authority in a file, which is quoted, for the remote.
pub(crate) fn install(file: &str, client: &str, remote: &str) -> String {
    format!("{} && ", install_authority(file, client, remote))
}
