//! The real binary in a process that tests can stop, kill and restart.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    time::{Duration, Instant},
};

/// Timeout of starting, and of log lines to appear.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Most lines of the log that are retained.
const MAX_LINES: usize = 200;

/// A running server. It is killed when dropped.
pub struct Process {
    child: Child,
    /// Its base URL.
    pub url: String,
    /// The URL of its metrics.
    pub metrics: String,
    /// The bootstrap token, if it printed one.
    pub bootstrap: Option<String>,
    log: Log,
    launch: Launch,
}

/// The command line of a process.
#[derive(Clone)]
struct Launch {
    binary: String,
    data_dir: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Process {
    /// Starts `binary` on `data_dir` at a free port, and waits until it listens.
    pub fn start(binary: &str, data_dir: &Path, arguments: &[&str]) -> Self {
        Self::start_with(binary, data_dir, arguments, &[])
    }

    /// The same, with variables in its environment.
    pub fn start_with(binary: &str, data_dir: &Path, arguments: &[&str], environment: &[(String, String)]) -> Self {
        let started = Self::try_start(binary, data_dir, arguments, environment);
        started.unwrap_or_else(|log| panic!("the server does not start:\n{log}"))
    }

    /// The same; the error is its log.
    pub fn try_start(
        binary: &str,
        data_dir: &Path,
        arguments: &[&str],
        environment: &[(String, String)],
    ) -> Result<Self, String> {
        let launch = Launch {
            binary: binary.to_owned(),
            data_dir: data_dir.to_owned(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            environment: environment.to_vec(),
        };
        Self::launch(launch, "127.0.0.1:0")
    }

    fn launch(launch: Launch, listen: &str) -> Result<Self, String> {
        let Launch { binary, data_dir, arguments, environment } = &launch;
        std::fs::create_dir_all(data_dir).expect("a data folder");
        let token_file: PathBuf = data_dir.join("bootstrap-token");
        let _ = std::fs::remove_file(&token_file);
        let mut command = Command::new(binary);
        command
            .arg("serve")
            .arg("--data-dir")
            .arg(data_dir)
            .args(["--listen", listen, "--metrics-listen", "127.0.0.1:0", "--bootstrap-token-file"])
            .arg(&token_file)
            .args(arguments)
            // Tests count requests.
            .env("RUST_LOG", "imgsrv::request=debug")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let log = Log::default();
        let (listening, addresses) = mpsc::channel();
        record(child.stdout.take().expect("its standard output"), &log, |_| {});
        record(child.stderr.take().expect("its standard error"), &log, announce(listening));
        let Ok((address, metrics)) = addresses.recv_timeout(TIMEOUT) else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(log.text());
        };
        let bootstrap = std::fs::read_to_string(&token_file).ok().map(|token| token.trim().to_owned());
        let (url, metrics) = (format!("http://{address}"), format!("http://{metrics}/metrics"));
        Ok(Self { child, url, metrics, bootstrap, log, launch })
    }

    /// Kills it with SIGKILL, and starts it again at the same address.
    pub fn restart(&mut self) {
        self.kill();
        let listen = self.url.trim_start_matches("http://").to_owned();
        let started = Self::launch(self.launch.clone(), &listen);
        *self = started.unwrap_or_else(|log| panic!("the server does not start again:\n{log}"));
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The end of its log and standard output.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Its log, once it contains `text`. Lines may be written, and are read, after the response that they belong to.
    pub fn log_with(&self, text: &str) -> String {
        let until = Instant::now() + TIMEOUT;
        loop {
            let log = self.log();
            if log.contains(text) {
                return log;
            }
            assert!(Instant::now() < until, "the log lacks {text:?}:\n{log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends it a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Kills it with SIGKILL and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops it with SIGTERM and returns its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last lines that a process wrote.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        self.lines().join("\n")
    }
}

/// Records lines until `stream` ends, each after `seen` was called with it.
fn record(stream: impl Read + Send + 'static, log: &Log, mut seen: impl FnMut(&str) + Send + 'static) {
    let log = log.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            seen(&line);
            let mut lines = log.lines();
            if lines.len() == MAX_LINES {
                lines.remove(0);
            }
            lines.push(line);
        }
    });
}

/// Sends the addresses of the API and of the metrics once lines have named both.
fn announce(listening: mpsc::Sender<(String, String)>) -> impl FnMut(&str) {
    let mut api = None;
    move |line| {
        let word =
            |name: &str| line.split_once(name).map(|(_, rest)| rest.split(' ').next().unwrap_or_default().to_owned());
        if line.contains("server started") {
            api = word(" address=");
        } else if line.contains("metrics listener started")
            && let (Some(api), Some(metrics)) = (api.take(), word("metrics.address="))
        {
            let _ = listening.send((api, metrics));
        }
    }
}
