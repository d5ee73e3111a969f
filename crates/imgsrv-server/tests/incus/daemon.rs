//! The daemon of Incus, where the machine can run it.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Its path on Debian.
const INCUSD: &str = "/usr/libexec/incus/incusd";
/// Timeout of its start.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// A running daemon without images.
pub(crate) struct Daemon {
    child: Child,
    folder: TempDir,
}

impl Daemon {
    /// Starts a daemon; the error says why this machine cannot run one.
    pub(crate) fn start() -> Result<Self, String> {
        assert!(Path::new(INCUSD).exists(), "no {INCUSD}; run cargo xtask incus");
        let id = Command::new("id").arg("-u").output().expect("id runs");
        if id.stdout.trim_ascii() != b"0" {
            return Err("it needs root".to_owned());
        }
        let folder = TempDir::new().expect("a scratch folder");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let dir = folder.path().join("incus");
        std::fs::create_dir(&dir).expect("a folder");
        let child = Command::new(INCUSD)
            .args(["--group", "root"])
            .env("INCUS_DIR", &dir)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("it starts");
        let mut daemon = Self { child, folder };
        let began = Instant::now();
        while !daemon.responds() {
            let ended = daemon.child.try_wait().expect("its status");
            if ended.is_some() || began.elapsed() > START_TIMEOUT {
                let log = std::fs::read_to_string(daemon.folder.path().join("log")).unwrap_or_default();
                return Err(log.lines().last().unwrap_or("it does not respond").to_owned());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(daemon)
    }

    /// The folder that clients need as `INCUS_DIR`.
    pub(crate) fn dir(&self) -> PathBuf {
        self.folder.path().join("incus")
    }

    /// Makes the lists that the daemon has cached older than it caches them: an hour.
    pub(crate) fn expire_lists(&self) {
        let mut expired = Command::new("find");
        expired.arg(self.dir().join("cache")).args(["-type", "f", "-exec", "touch", "-d", "2 hours ago", "{}", "+"]);
        assert!(expired.status().expect("find runs").success());
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("incus");
        command.args(arguments).env("INCUS_DIR", self.dir()).env("HOME", self.folder.path());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn responds(&self) -> bool {
        self.command(&["query", "/1.0"]).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.command(&["admin", "shutdown"]).status();
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}
