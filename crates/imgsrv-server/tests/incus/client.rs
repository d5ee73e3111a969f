//! Driving a client of Incus or LXD as a person would.

use crate::{daemon::Daemon, publisher::Publisher};
use serde_json::Value;
use std::{
    path::PathBuf,
    process::{Command, Output},
};
use tempfile::TempDir;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Incus,
    Lxd,
}

/// A client with a home of its own, to which the server was added as the remote `imgsrv`.
pub(crate) struct Client {
    program: Program,
    home: TempDir,
    daemon: Option<PathBuf>,
}

impl Client {
    /// Trusts the authority of the server and adds it, by the command that the server tells.
    pub(crate) fn new(program: Program, publisher: &Publisher) -> Self {
        let client = Self { program, home: TempDir::new().expect("a home"), daemon: None };
        let told = publisher.command_to_trust();
        let (place, add) = told.split_once(" && ").expect("two commands");
        let (place, add) = match program {
            Program::Incus => (place.to_owned(), add.to_owned()),
            Program::Lxd => (place.replace(".config/incus", ".config/lxc"), add.replace("incus ", "lxc ")),
        };
        let script = format!("{place} && {add}");
        let output = client.command("sh").args(["-c", &script]).output().expect("a shell");
        check(&script, &output);
        client
    }

    /// The same, of a daemon on this machine.
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

    /// What it prints; it must succeed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.start(arguments);
        check(&format!("{:?} {arguments:?}", self.program), &output);
        String::from_utf8(output.stdout).expect("text")
    }

    /// It must not succeed.
    pub(crate) fn refused(&self, arguments: &[&str]) {
        let output = self.start(arguments);
        assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    }

    /// Every image that it sees.
    pub(crate) fn list(&self) -> Vec<Value> {
        serde_json::from_str(&self.run(&["image", "list", "imgsrv:", "--format", "json"])).expect("JSON")
    }

    /// The image of that kind that it finds by name.
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
