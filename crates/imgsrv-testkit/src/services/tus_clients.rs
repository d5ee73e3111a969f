//! Third-party tus clients: `tuspy` and `tus-js-client`.

use super::installed;
use std::{path::PathBuf, process::Command};

/// The suffix of the clients' folder in the cache; changed when its content changes.
pub const TUS_CLIENTS_VERSION: &str = "1.1.0-4.3.1";

fn folder() -> PathBuf {
    installed("tus-clients", TUS_CLIENTS_VERSION, "IMGSRV_TEST_TUS_CLIENTS", "node_modules")
}

/// `tuspy`, the reference client in Python. Its argument is a job as JSON.
pub fn tuspy() -> Command {
    let mut command = Command::new("python3");
    command.arg(folder().join("upload.py")).env("PYTHONPATH", folder().join("python"));
    command
}

/// `tus-js-client`, the reference client in JavaScript. Its argument is a job as JSON.
pub fn tus_js_client() -> Command {
    let mut command = Command::new("node");
    command.arg(folder().join("upload.mjs"));
    command
}
