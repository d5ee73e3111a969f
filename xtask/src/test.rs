//! The checks that CI runs.

use crate::{
    openapi, services,
    shell::{Result, cargo, root, run as command},
    tidy, tools,
};
use std::{path::Path, process::Command};

/// Runs all checks in order of cost, and stops at the first failure.
pub(crate) fn run() -> Result<()> {
    let garage = services::install()?;
    command(cargo().args(["fmt", "--all", "--check"]))?;
    tidy::run()?;
    let typos = tools::from_pypi("typos", "1.52.0")?;
    command(Command::new(typos).current_dir(root()))?;
    command(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    let tests = ["test", "--workspace", "--locked"];
    command(cargo().args(tests).env("INSTA_UPDATE", "no").env("IMGSRV_TEST_GARAGE", garage))?;
    command(cargo().args(["run", "--quiet", "--locked", "--package", "imgsrv-domain", "--example", "embed"]))?;
    openapi::run(true)?;
    command(cargo().args(["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    let deny = tools::from_crates_io("cargo-deny", "0.20.2", &[])?;
    command(Command::new(&deny).current_dir(root()).args(["--locked", "check", "licenses", "bans", "sources"]))?;
    let advised = advisories(&deny)?;
    let machete = tools::from_crates_io("cargo-machete", "0.9.2", &[])?;
    command(Command::new(machete).current_dir(root()))?;
    let mdbook = tools::from_crates_io("mdbook", "0.5.4", &[])?;
    command(Command::new(mdbook).current_dir(root()).args(["build", "docs"]))?;
    println!("\nall checks passed{}", if advised { "" } else { ", but advisories were NOT checked" });
    Ok(())
}

/// Checks advisories, if their database on GitHub can be reached; otherwise only warns.
fn advisories(deny: &Path) -> Result<bool> {
    let reachable = Command::new("curl")
        .args(["-sfm", "10", "-o", "/dev/null", "https://github.com/RustSec/advisory-db"])
        .status()
        .is_ok_and(|status| status.success());
    if reachable {
        command(Command::new(deny).current_dir(root()).args(["--locked", "check", "advisories"]))?;
        return Ok(true);
    }
    println!("\nthe advisory database cannot be reached; advisories were not checked");
    Ok(false)
}
