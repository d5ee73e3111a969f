//! The command-line clients of Incus and LXD.

use crate::{daemon::Daemon, publisher::Publisher};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Incus,
    Lxd,
}

/// A client with its own home folder, in which the server is the remote `imgsrv`.
pub(crate) struct Client {
    program: Program,
    home: TempDir,
    daemon: Option<PathBuf>,
}

impl Client {
    /// Trusts the server's authority and adds the remote, with the command that the server prints.
    pub(crate) fn new(program: Program, publisher: &Publisher) -> Self {
        Self::with_remote(program, publisher.command_to_trust())
    }

    /// Adds the remote at `url`, whose certificate the authority in the file `authority` issued.
    pub(crate) fn of_url(program: Program, url: &str, authority: &str) -> Self {
        let trust = format!("install -D -m 644 {authority} ~/.config/incus/servercerts/imgsrv.crt");
        Self::with_remote(program, format!("{trust} && incus remote add imgsrv {url} --protocol simplestreams"))
    }

    /// A client that knows no server.
    pub(crate) fn without_remote(program: Program) -> Self {
        Self { program, home: TempDir::new().expect("a home"), daemon: None }
    }

    /// Adds the remote with a command for Incus.
    fn with_remote(program: Program, script: String) -> Self {
        let client = Self::without_remote(program);
        let script = match program {
            Program::Incus => script,
            Program::Lxd => script.replace(".config/incus", ".config/lxc").replace("incus remote", "lxc remote"),
        };
        let output =
            client.command("sh").args(["-c", &script]).current_dir(client.home.path()).output().expect("a shell");
        check(&script, &output);
        client
    }

    /// The same, with a daemon on this machine.
    pub(crate) fn of(mut self, daemon: &Daemon) -> Self {
        self.daemon = Some(daemon.dir());
        self
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for variable in ["INCUS_CONF", "LXD_CONF", "LXD_DIR", "INCUS_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
            command.env_remove(variable);
        }
        command.env("HOME", self.home.path());
        if let Some(daemon) = &self.daemon {
            command.env("INCUS_DIR", daemon);
        }
        command
    }

    fn start(&self, arguments: &[&str]) -> Output {
        let program = match self.program {
            Program::Incus => "incus",
            Program::Lxd => "lxc",
        };
        let output = self.command(program).args(arguments).output();
        output.unwrap_or_else(|error| panic!("{program}: {error}; run cargo xtask incus"))
    }

    /// Pastes commands into a shell in a folder.
    pub(crate) fn paste(&self, commands: &str, folder: &Path) {
        let output = self.command("sh").args(["-euc", commands]).current_dir(folder).output().expect("a shell");
        check(commands, &output);
    }

    /// Runs a command, which must succeed, and returns its output.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.start(arguments);
        check(&format!("{:?} {arguments:?}", self.program), &output);
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs a command, which must fail, and returns its error.
    pub(crate) fn run_failing(&self, arguments: &[&str]) -> String {
        let output = self.start(arguments);
        assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// All images that it lists.
    pub(crate) fn list(&self) -> Vec<Value> {
        serde_json::from_str(&self.run(&["image", "list", "imgsrv:", "--format", "json"])).expect("JSON")
    }

    /// The fingerprint of the image with that name and type.
    pub(crate) fn fingerprint(&self, name: &str, kind: &str) -> Option<String> {
        let images = self.list();
        let named = |image: &&Value| {
            let aliases = image["aliases"].as_array().into_iter().flatten();
            image["type"] == kind && aliases.into_iter().any(|alias| alias["name"] == name)
        };
        let found = images.iter().find(named)?["fingerprint"].as_str()?.to_owned();
        let name = format!("imgsrv:{name}");
        let machine = (kind == "virtual-machine").then_some("--vm");
        let arguments: Vec<&str> = ["image", "info", &name].into_iter().chain(machine).collect();
        let shown = self.run(&arguments);
        assert!(shown.contains(&found), "{name} is listed as {found}, but shown as {shown}");
        Some(found)
    }
}

fn check(what: &str, output: &Output) {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {}\n{stdout}{stderr}", output.status);
}
