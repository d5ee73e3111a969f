//! Programs that run in the background, with their files in a scratch folder.

use super::guard::{Guard, scratch};
use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A program that ends, and whose folder is removed, when this is dropped or the process ends.
pub(super) struct Daemon {
    folder: PathBuf,
    _guard: Guard,
}

impl Daemon {
    /// Creates the folder; starts nothing yet.
    pub(super) fn new(what: &str) -> Self {
        let folder = scratch(what);
        let path = folder.to_str().expect("a path in UTF-8");
        let guard = Guard::new("kill -KILL $(cat \"$1/pid\"); rm -rf \"$1\"", &[path]);
        Self { folder, _guard: guard }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of its log.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Starts the program, with its standard error appended to the log.
    pub(super) fn spawn(&self, command: &mut Command) {
        let log = fs::File::options().create(true).append(true).open(self.log()).expect("a log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        fs::write(self.folder.join("pid"), child.id().to_string()).expect("written");
        // Reaps the process when it ends.
        std::thread::spawn(move || child.wait());
    }

    /// Kills the program, and waits until nothing listens on `port`.
    pub(super) fn kill(&self, port: u16) {
        let pid = fs::read_to_string(self.folder.join("pid")).expect("its process id");
        let killed = Command::new("kill").args(["-KILL", pid.trim()]).status().expect("kill runs");
        assert!(killed.success());
        while TcpStream::connect(("127.0.0.1", port)).is_ok() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}
