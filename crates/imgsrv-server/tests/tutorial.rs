//! The tutorial, run as it stands: every shell block of it, in order, by one shell, against the real binary.

use imgsrv_testkit::Process;
use std::{io::Write, process::Command};
use tempfile::TempDir;

const TUTORIAL: &str = include_str!("../../../docs/src/tutorial.md");

/// The `bash` blocks of a page; its `console` blocks are for people.
fn shell(page: &str) -> String {
    let blocks = page.split("```bash\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    blocks.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_command_of_the_tutorial_runs() {
    let (data, work) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let server = Process::start(env!("CARGO_BIN_EXE_imgsrv"), data.path(), &[]);
    let script = format!("set -euo pipefail\n{}\n", shell(TUTORIAL));
    assert!(script.matches("curl").count() > 15, "the tutorial has lost its commands");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(script.as_bytes()).expect("written");
    let output = Command::new("bash")
        .arg(file.path())
        .current_dir(work.path())
        .env("IMGSRV", &server.url)
        .env("BOOTSTRAP_TOKEN", server.bootstrap.as_deref().expect("a token"))
        .output()
        .expect("bash runs");
    let shown = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{shown}");
    for line in ["imgsrv is up", "the upload is ready", "publish job: succeeded", "the bytes match"] {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
}
