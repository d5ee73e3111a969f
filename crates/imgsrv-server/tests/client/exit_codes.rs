//! The exit codes: each kind of mistake has one, whatever the command.

use crate::fixture::{BINARY, CommandOutput, Fixture, run};
use imgsrv_testkit::token_with_roles;
use std::{collections::BTreeSet, process::Command};

const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const ID: &str = "0198c0de-0000-7000-8000-000000000000";
const USAGE: i32 = 2;
const REFUSED: i32 = 3;
const NOT_FOUND: i32 = 4;
const UNREACHABLE: i32 = 5;

/// Arguments that are not valid: wrong in themselves, whatever the server has. `{data}` is the server's data folder.
const INVALID: &[&str] = &[
    "serve --listen nowhere",
    "init --server images.example.org",
    "login --server images.example.org",
    "logout extra",
    "whoami --server images.example.org",
    "publish Debian 2 disk.qcow2",
    "publish debian 2 nothing.qcow2",
    "publish debian 2 disk.qcow2,arhc=amd64",
    "upload nothing.qcow2",
    "download debian:",
    "download Debian",
    "images list extra",
    "images show Debian",
    "images set Debian --description x",
    "images delete Debian",
    "versions list Debian",
    "versions list debian --lifecycle none",
    "versions show Debian",
    "versions deprecate debian:1 --reason x --end-of-life tomorrow",
    "versions revoke debian:1 --reason x",
    "versions revoke Debian:1 --reason x --yes",
    "versions remove debian:1 --drain 1s --yes",
    "versions restore debian",
    "versions hold debian:1 --reason x --until tomorrow",
    "versions release Debian:1",
    "retention set debian --newest 1",
    "retention set debian --remove-after 0d",
    "retention set debian --newest 0 --remove-after 0d",
    "retention set debian --newest 1 --deprecate-after 2d --remove-after 1d",
    "retention show Debian",
    "retention delete Debian",
    "retention preview Debian",
    "retention apply Debian --yes",
    "aliases list Debian",
    "aliases set debian la/test 1",
    "aliases delete debian la/test",
    "drafts list Debian",
    "drafts delete debian 1/1",
    "jobs list Debian",
    "jobs show debian",
    "jobs retry debian",
    "jobs abandon debian",
    "gc --explain debian",
    "link Debian:1",
    "links revoke Debian",
    "incus-remote team remote",
    "blocked-digests list extra",
    "blocked-digests delete debian",
    "nodes list extra",
    "doctor images.example.org",
    "storage show extra",
    "quarantined-blobs list extra",
    "storage verify debian",
    "auth principals list extra",
    "auth principals show",
    "auth principals create ci --kind robot",
    "auth principals create new --role root",
    "auth principals deactivate",
    "auth principals activate",
    "auth roles list extra",
    "auth roles grant ci root",
    "auth roles grant ci content-writer --image DEBIAN",
    "auth roles revoke ci root",
    "auth tokens list",
    "auth tokens create ci --role root",
    "auth tokens create ci --expires-in 90",
    "auth tokens create ci --image DEBIAN",
    "auth tokens revoke nonsense",
    "auth tokens set nonsense --expires-in 90d",
    "auth tokens set {id} --expires-in 90",
    "auth rules list extra",
    "auth rules show GitHub!",
    "auth rules set github notes.txt",
    "auth rules set github rule.json",
    "auth rules delete GitHub!",
    "auth rules reconcile GitHub!",
    "auth audit list --since yesterday",
    "admin bootstrap extra",
    "admin tokens list extra",
    "admin tokens revoke nonsense",
    "admin release-hold debian",
    "admin rotate-link-key extra",
    "images create Debian",
    "admin export",
    "admin import",
    "admin config check --listen nowhere",
    "admin config show --listen nowhere",
    "admin fsck --after debian",
    "completions nonsense",
    "man pages extra",
];

/// Objects that do not exist.
const UNKNOWN: &[&str] = &[
    "download ubuntu",
    "download debian:7",
    "images show ubuntu",
    "images set ubuntu --description x",
    "images delete ubuntu",
    "versions list ubuntu",
    "versions show debian:7",
    "versions deprecate debian:7 --reason x",
    "versions revoke debian:7 --reason x --yes",
    "versions revoke --digest {digest} --reason x --yes",
    "versions remove debian:7 --yes",
    "versions restore debian:7",
    "versions hold debian:7 --reason x",
    "versions release debian:7",
    "retention set ubuntu --newest 1 --remove-after 0d",
    "retention show debian",
    "retention delete debian",
    "retention preview ubuntu",
    "retention apply ubuntu --yes",
    "aliases list ubuntu",
    "aliases set debian latest 7",
    "aliases delete debian none",
    "drafts list ubuntu",
    "drafts delete debian 7",
    "link debian:7",
    "links revoke ubuntu",
    "jobs list ubuntu",
    "jobs show {id}",
    "jobs retry {id}",
    "jobs abandon {id}",
    "gc --explain {digest}",
    "blocked-digests delete {digest}",
    "storage verify {digest}",
    "auth principals show nobody",
    "auth principals show {id}",
    "auth principals deactivate nobody",
    "auth principals activate nobody",
    "auth roles grant nobody content-writer",
    "auth roles revoke nobody content-writer",
    "auth tokens list nobody",
    "auth tokens create nobody",
    "auth tokens revoke {id}",
    "auth tokens set {id} --expires-in 90d",
    "link nothing",
    "links revoke nothing",
    "auth rules show none",
    "auth rules delete none",
    "auth rules reconcile none",
    "admin release-hold debian:7 --data-dir {data}",
    "admin tokens revoke imgsrv_at_aaaaaaaaaaaa --data-dir {data}",
    "admin tokens revoke --principal {id} --data-dir {data}",
];

/// Commands that a caller without roles may not run.
const FORBIDDEN: &[&str] = &[
    "publish debian 2 disk.qcow2 --arch amd64",
    "upload disk.qcow2",
    "images set debian --description x",
    "images delete debian",
    "versions deprecate debian:1 --reason x",
    "versions revoke debian:1 --reason x --yes",
    "versions remove debian:1 --yes",
    "versions restore debian:1",
    "versions hold debian:1 --reason x",
    "versions release debian:1",
    "retention set debian --newest 1 --remove-after 0d",
    "retention show debian",
    "retention delete debian",
    "retention preview debian",
    "retention apply debian --yes",
    "aliases set debian latest 1",
    "aliases delete debian stable",
    "drafts list debian",
    "drafts list",
    "drafts delete debian 1",
    "link debian:1",
    "links revoke debian",
    "jobs list",
    "jobs show {id}",
    "jobs retry {id}",
    "jobs abandon {id}",
    "gc",
    "gc --explain {digest}",
    "blocked-digests list",
    "blocked-digests delete {digest}",
    "nodes list",
    "storage show",
    "quarantined-blobs list",
    "storage verify {digest}",
    "auth principals list",
    "auth principals show ci",
    "auth principals create new",
    "auth principals deactivate ci",
    "auth principals activate ci",
    "auth roles grant ci content-writer",
    "auth roles revoke ci content-writer",
    "auth tokens list ci",
    "auth tokens create ci",
    "auth tokens revoke {id}",
    "auth tokens set {id} --expires-in 90d",
    "auth rules list",
    "auth rules show github",
    "auth rules delete github",
    "auth rules reconcile github",
    "auth audit list",
];

/// Commands whose server or catalog cannot be reached.
const LOST: &[&str] = &[
    "images list --server http://127.0.0.1:1 --retry-for 0s",
    "publish debian 2 disk.qcow2 --server http://127.0.0.1:1 --retry-for 0s",
    "download debian --server http://127.0.0.1:1 --retry-for 0s",
    "init --server http://127.0.0.1:1 --retry-for 0s --bootstrap-token-file token",
    "admin bootstrap --data-dir nothing",
    "admin tokens list --data-dir nothing",
    "admin release-hold debian:1 --data-dir nothing",
    "admin export backup --data-dir nothing",
    "admin fsck --data-dir nothing",
];

struct Scene {
    fixture: Fixture,
    everything: String,
    nothing: String,
}

impl Scene {
    fn start() -> Self {
        let fixture = Fixture::start();
        let manager = fixture.server.bootstrap.clone().expect("a bootstrap token");
        let roles = ["auditor", "auth-manager", "content-admin", "content-reader", "content-writer", "operator"];
        let everything = token_with_roles(&fixture.server.url, &manager, &roles);
        let nothing = token_with_roles(&fixture.server.url, &manager, &[]);
        fixture.disk("disk.qcow2", 1);
        std::fs::write(fixture.path("notes.txt"), "not JSON").expect("a file");
        std::fs::write(fixture.path("token"), "imgsrv_at_x").expect("a file");
        let rule =
            r#"{"display_name": "", "issuer_url": "x", "audience": "", "forwarded_claims": [], "condition": ""}"#;
        std::fs::write(fixture.path("rule.json"), rule).expect("a file");
        let scene = Self { fixture, everything, nothing };
        for line in
            ["publish debian 1 disk.qcow2 --arch amd64 --alias stable", "auth principals create ci", "auth rules list"]
        {
            let done = scene.run(line, &scene.everything);
            assert_eq!(done.code, Some(0), "{line}: {done:?}");
        }
        scene
    }

    fn run(&self, line: &str, token: &str) -> CommandOutput {
        let data = self.fixture.path("data").display().to_string();
        let fill = |word: &str| word.replace("{id}", ID).replace("{digest}", DIGEST).replace("{data}", &data);
        let words: Vec<String> = line.split(' ').map(fill).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        run(self.fixture.command(&words).env("IMGSRV_TOKEN", token))
    }
}

#[test]
fn each_kind_of_mistake_has_one_exit_code() {
    let scene = Scene::start();
    let (everything, nothing) = (&scene.everything, &scene.nothing);
    let mut wrong = Vec::new();
    for (lines, token, code) in [
        (INVALID, everything, USAGE),
        (UNKNOWN, everything, NOT_FOUND),
        (FORBIDDEN, nothing, REFUSED),
        (LOST, everything, UNREACHABLE),
    ] {
        for line in lines {
            let done = scene.run(line, token);
            if done.code != Some(code) {
                wrong.push(format!("{code} expected: {line}\n{:?} {}{}", done.code, done.out, done.err));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Commands with verbs of their own are not run.
#[test]
fn the_exit_code_of_every_command_is_tested() {
    let dir = tempfile::tempdir().expect("a folder");
    let pages = Command::new(BINARY).arg("man").arg(dir.path()).status().expect("it runs");
    assert!(pages.success());
    let names = std::fs::read_dir(dir.path()).expect("a folder").map(|entry| {
        let name = entry.expect("a page").file_name().into_string().expect("UTF-8");
        name.trim_end_matches(".1").trim_start_matches("imgsrv").trim_start_matches('-').to_owned()
    });
    let names: BTreeSet<String> = names.filter(|name| !name.is_empty()).collect();
    let is_group = |name: &str| names.iter().any(|other| other.starts_with(&format!("{name}-")));
    for name in names.iter().filter(|name| !is_group(name)) {
        let is_tested = INVALID.iter().any(|line| line.replace(' ', "-").starts_with(name.as_str()));
        assert!(is_tested, "{name} is not in the table");
    }
}
