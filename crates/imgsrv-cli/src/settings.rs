//! What `imgsrv login` remembers: the server and its token, in a file that only its owner reads.

use crate::failure::Failure;
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

/// What is remembered.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The server of the last login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    /// Tokens by server: none is ever sent to another.
    #[serde(default)]
    tokens: BTreeMap<String, String>,
}

/// `imgsrv/credentials.json` in the folder of settings (XDG Base Directory Specification).
pub(crate) fn path() -> Result<PathBuf, Failure> {
    let folders = etcetera::base_strategy::Xdg::new();
    let folders = folders.map_err(|error| Failure::other(format!("there is no home folder: {error}")))?;
    Ok(folders.config_dir().join("imgsrv").join("credentials.json"))
}

impl Settings {
    pub(crate) fn load() -> Result<Self, Failure> {
        Self::load_from(&path()?)
    }

    /// The same, to be written anew: what is damaged is forgotten.
    pub(crate) fn load_to_change() -> Self {
        Self::load().unwrap_or_default()
    }

    fn load_from(path: &Path) -> Result<Self, Failure> {
        let wrong = |why: String| Failure::other(format!("{} {why}; run imgsrv login again", path.display()));
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|_| wrong("is damaged".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(wrong(format!("could not be read: {error}"))),
        }
    }

    /// The token of a server.
    pub(crate) fn token(&self, server: &str) -> Option<SecretString> {
        self.tokens.get(server).map(|token| token.as_str().into())
    }

    /// Remembers a login.
    pub(crate) fn log_in(&mut self, server: &str, token: &SecretString) {
        self.server = Some(server.to_owned());
        self.tokens.insert(server.to_owned(), token.expose_secret().to_owned());
    }

    /// Forgets a login; says whether there was one.
    pub(crate) fn log_out(&mut self, server: &str) -> bool {
        if self.server.as_deref() == Some(server) {
            self.server = None;
        }
        self.tokens.remove(server).is_some()
    }

    /// Writes it, whole or not at all.
    pub(crate) fn save(&self) -> Result<PathBuf, Failure> {
        let path = path()?;
        let saved = self.save_to(&path);
        saved.map_err(|error| Failure::other(format!("{} could not be written: {error}", path.display())))?;
        Ok(path)
    }

    fn save_to(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let draft = path.with_extension(format!("{}.tmp", std::process::id()));
        let _ = fs::remove_file(&draft);
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_owner_reads_what_is_remembered_and_each_server_has_its_own_token() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("imgsrv/credentials.json");
        let mut settings = Settings::load_from(&path).expect("nothing yet");
        settings.log_in("https://a", &"token-a".into());
        settings.log_in("https://b", &"token-b".into());
        settings.save_to(&path).expect("written");
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        let mut read = Settings::load_from(&path).expect("what was written");
        assert_eq!(read.server.as_deref(), Some("https://b"));
        assert_eq!(read.token("https://a").expect("a token").expose_secret(), "token-a");
        assert!(read.token("https://c").is_none());
        assert!(read.log_out("https://b") && !read.log_out("https://b"));
        assert_eq!(read.server, None);
        fs::write(&path, "{").expect("damage");
        assert!(Settings::load_from(&path).is_err());
    }
}
