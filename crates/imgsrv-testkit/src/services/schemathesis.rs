//! schemathesis, which tests a server against its OpenAPI document.

use super::installed;
use std::{path::PathBuf, process::Command};

/// The suffix of its folder in the cache; changed when its content changes.
pub const SCHEMATHESIS_VERSION: &str = "4.32.5";

fn packages() -> PathBuf {
    installed("schemathesis", SCHEMATHESIS_VERSION, "IMGSRV_TEST_SCHEMATHESIS", "python").join("python")
}

fn python() -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", packages()).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// The command line of schemathesis.
pub fn schemathesis() -> Command {
    let mut command = python();
    command.arg(packages().join("bin/schemathesis"));
    command
}

/// Checks that the document that is its argument is valid OpenAPI.
pub fn openapi_validator() -> Command {
    let mut command = python();
    command.args(["-m", "openapi_spec_validator"]);
    command
}
