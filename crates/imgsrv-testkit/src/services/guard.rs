//! Cleaning up when this process ends, even by SIGKILL.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// A shell that runs a script once its standard input is closed: when this value is dropped, or the process ends.
pub(crate) struct Guard {
    shell: Child,
}

impl Guard {
    /// Runs `script` with `arguments` at the end.
    pub(crate) fn new(script: &str, arguments: &[&str]) -> Self {
        let script = format!("trap '' INT TERM; cat >/dev/null; {script}");
        let shell = Command::new("setsid")
            .args(["sh", "-c", &script, "guard"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell starts");
        Self { shell }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// A scratch folder that a guard's script has to remove.
pub(crate) fn scratch(what: &str) -> PathBuf {
    tempfile::Builder::new().prefix(&format!("imgsrv-{what}-")).tempdir().expect("a scratch folder").keep()
}
