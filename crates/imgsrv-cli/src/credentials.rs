//! The credentials that `imgsrv login` stores: servers and their tokens, in a file that only its owner can read.

use crate::failure::{Failure, plain};
use etcetera::BaseStrategy;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The stored credentials.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Credentials {
    /// The server of the last login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    /// Tokens by server; each is sent to its server only.
    #[serde(default)]
    tokens: BTreeMap<String, String>,
    /// Certificate authorities (PEM) by server, as given at its login.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    authorities: BTreeMap<String, String>,
}

/// `imgsrv/credentials.json` in the configuration folder (XDG Base Directory Specification).
pub(crate) fn path() -> Result<PathBuf, Failure> {
    let folders = etcetera::base_strategy::Xdg::new();
    let folders = folders.map_err(|error| Failure::other(format!("cannot find the home folder: {error}")))?;
    Ok(folders.config_dir().join("imgsrv").join("credentials.json"))
}

impl Credentials {
    pub(crate) fn load() -> Result<Self, Failure> {
        Self::load_from(&path()?)
    }

    fn load_from(path: &Path) -> Result<Self, Failure> {
        let wrong = |why: String| {
            Failure::other(format!("the stored logins in {} {why}", path.display()))
                .with_advice("Run imgsrv login again: it replaces the file.")
        };
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|_| wrong("are damaged".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(wrong(format!("cannot be read: {}", plain(&error)))),
        }
    }

    /// The token of a server.
    pub(crate) fn token(&self, server: &str) -> Option<SecretString> {
        self.tokens.get(server).map(|token| token.as_str().into())
    }

    /// The servers with a login, separated by commas.
    pub(crate) fn servers(&self) -> String {
        self.tokens.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// The certificate authority of a server (PEM).
    pub(crate) fn authority(&self, server: &str) -> Option<&str> {
        self.authorities.get(server).map(String::as_str)
    }

    /// Adds a login; `authority` replaces that of an earlier login if it is given.
    pub(crate) fn log_in(&mut self, server: &str, token: &SecretString, authority: Option<String>) {
        self.server = Some(server.to_owned());
        self.tokens.insert(server.to_owned(), token.expose_secret().to_owned());
        self.authorities.extend(authority.map(|authority| (server.to_owned(), authority)));
    }

    /// Removes a login; whether there was one.
    pub(crate) fn log_out(&mut self, server: &str) -> bool {
        if self.server.as_deref() == Some(server) {
            self.server = None;
        }
        self.authorities.remove(server);
        self.tokens.remove(server).is_some()
    }

    /// Replaces the file atomically.
    pub(crate) fn save(&self) -> Result<PathBuf, Failure> {
        let path = path()?;
        let saved = self.save_to(&path);
        saved.map_err(|error| Failure::other(format!("cannot write {}: {}", path.display(), plain(&error))))?;
        Ok(path)
    }

    fn save_to(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        let _ = fs::remove_file(&temporary);
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        // So that the name is durable as well.
        fs::File::open(folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_owner_can_read_the_file_and_each_server_has_its_own_token() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("imgsrv/credentials.json");
        let mut credentials = Credentials::load_from(&path).expect("no file yet");
        credentials.log_in("https://a", &"token-a".into(), Some("CA".to_owned()));
        credentials.log_in("https://b", &"token-b".into(), None);
        credentials.save_to(&path).expect("written");
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        let mut read = Credentials::load_from(&path).expect("the file");
        assert_eq!(read.server.as_deref(), Some("https://b"));
        assert_eq!(read.token("https://a").expect("a token").expose_secret(), "token-a");
        assert!(read.token("https://c").is_none());
        assert_eq!((read.authority("https://a"), read.authority("https://b")), (Some("CA"), None));
        assert!(read.log_out("https://b") && !read.log_out("https://b"));
        assert_eq!(read.server, None);
        fs::write(&path, "{").expect("damage");
        assert!(Credentials::load_from(&path).is_err());
    }
}
