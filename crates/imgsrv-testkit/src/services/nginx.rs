//! nginx, which serves what a test configures.

use super::{
    guard::{Guard, scratch},
    wait_until_ready,
};
use std::{
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// An nginx on the loopback interface. It ends when this is dropped or the process ends.
pub struct Nginx {
    pub(super) folder: PathBuf,
    _guard: Guard,
}

impl Nginx {
    /// Starts it with the directives that `http` gives for its scratch folder, and waits until it listens on `port`.
    pub fn start(port: u16, http: impl FnOnce(&Path) -> String) -> Self {
        let folder = scratch("nginx");
        let root = folder.to_str().expect("a path in UTF-8");
        let guard = Guard::new("kill $(cat \"$1/nginx.pid\"); rm -rf \"$1\"", &[root]);
        let config = format!(
            "worker_processes auto; pid {root}/nginx.pid; error_log {root}/nginx.log; events {{}}
            http {{ access_log off; {} }}",
            http(&folder)
        );
        std::fs::write(folder.join("nginx.conf"), config).expect("written");
        let nginx = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
        let log = folder.join("nginx.log");
        let started = Command::new(nginx)
            .args(["-e".as_ref(), log.as_os_str(), "-c".as_ref(), folder.join("nginx.conf").as_os_str()])
            .stderr(Stdio::null())
            .status();
        assert!(started.expect("nginx starts").success(), "{}", std::fs::read_to_string(&log).unwrap_or_default());
        wait_until_ready("nginx", &log, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { folder, _guard: guard }
    }

    /// The id of its main process.
    pub fn id(&self) -> u32 {
        let id = std::fs::read_to_string(self.folder.join("nginx.pid")).expect("nginx runs");
        id.trim().parse().expect("a process id")
    }
}
