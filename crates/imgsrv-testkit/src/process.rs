//! The real binary, in a process that a test may kill.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A running server. It is killed when dropped.
pub struct Process {
    child: Child,
    /// Its base URL.
    pub url: String,
    /// The bootstrap token, if it printed one.
    pub bootstrap: Option<String>,
}

impl Process {
    /// Starts `binary` on `data_dir` at a free port, and waits until it listens.
    pub fn start(binary: &str, data_dir: &Path, arguments: &[&str]) -> Self {
        let token_file: PathBuf = data_dir.join("bootstrap-token");
        let _ = std::fs::remove_file(&token_file);
        let mut child = Command::new(binary)
            .arg("serve")
            .arg("--data-dir")
            .arg(data_dir)
            .args(["--listen", "127.0.0.1:0", "--bootstrap-token-file"])
            .arg(&token_file)
            .args(arguments)
            .env_remove("RUST_LOG")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = child.stderr.take().expect("its standard error");
        let (lines, listening) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("address=") {
                    let _ = lines.send(rest.split(' ').next().unwrap_or_default().to_owned());
                } else if line.contains("ERROR") || line.starts_with("imgsrv:") {
                    #[expect(clippy::print_stderr, reason = "shown when the test fails")]
                    {
                        eprintln!("{line}");
                    }
                }
            }
        });
        let address = listening.recv_timeout(PATIENCE).expect("the server listens");
        let bootstrap = std::fs::read_to_string(&token_file).ok().map(|token| token.trim().to_owned());
        Self { child, url: format!("http://{address}"), bootstrap }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop with SIGTERM and returns its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
