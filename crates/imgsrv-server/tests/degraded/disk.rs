//! A small file system, in namespaces of the test's own, so that mounting needs no root.

use std::{fs::File, io::Write, path::Path, process::Command};
use tempfile::TempDir;

const INSIDE: &str = "IMGSRV_TEST_INSIDE_NAMESPACES";

/// Runs the test `name` again in a process that may mount file systems, with `argument` in its environment, and returns
/// `None`. In that process, returns the argument.
///
/// Without a user namespace the test must run as root. It fails where neither is permitted.
pub(crate) fn inside_namespaces(name: &str, argument: &str) -> Option<String> {
    if let Some(argument) = argument_inside() {
        return Some(argument);
    }
    let user = ["--user", "--map-root-user", "--mount"];
    let permitted = Command::new("unshare").args(user).arg("true").status().expect("unshare, of util-linux, runs");
    let flags = if permitted.success() { &user[..] } else { &user[2..] };
    let test = std::env::current_exe().expect("this program");
    let again = Command::new("unshare")
        .args(flags)
        .arg(test)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, argument)
        .status()
        .expect("it runs");
    assert!(again.success(), "{name} failed in its namespaces");
    None
}

/// The argument of [`inside_namespaces`], in the process that it starts.
pub(crate) fn argument_inside() -> Option<String> {
    std::env::var_os(INSIDE).map(|argument| argument.to_string_lossy().into_owned())
}

/// A file system of 24 MiB.
pub(crate) struct Disk(TempDir);

impl Disk {
    pub(crate) fn mount() -> Self {
        let disk = Self(TempDir::new().expect("a scratch folder"));
        run("mount", &["-t", "tmpfs", "-o", "size=24m", "tmpfs"], disk.path());
        disk
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn refuse_writes(&self, reason: &str) {
        if reason == "storage-full" { self.fill() } else { self.make_read_only() }
    }

    pub(crate) fn accept_writes(&self, reason: &str) {
        if reason == "storage-full" { self.free() } else { self.make_writable() }
    }

    /// Leaves no space.
    pub(crate) fn fill(&self) {
        let mut ballast = File::create(self.path().join("ballast")).expect("a file");
        let full = std::iter::repeat_with(|| ballast.write_all(&[1; 4096])).find_map(Result::err);
        assert_eq!(full.expect("an error").kind(), std::io::ErrorKind::StorageFull);
    }

    pub(crate) fn free(&self) {
        std::fs::remove_file(self.path().join("ballast")).expect("removed");
    }

    pub(crate) fn make_read_only(&self) {
        run("mount", &["-o", "remount,ro"], self.path());
    }

    pub(crate) fn make_writable(&self) {
        run("mount", &["-o", "remount,rw"], self.path());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["--lazy"], self.path());
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) {
    let done = Command::new(program).args(arguments).arg(path).output().expect("it runs");
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
}
