//! The checks that CI runs.

use crate::{
    openapi, package, services,
    shell::{Result, cargo, root, run as command},
    tidy,
    tools::{self, Background, CARGO_DEB, CARGO_DENY, CARGO_MACHETE, GARAGE, MDBOOK},
};
use std::{path::Path, process::Command, time::Instant};

/// Runs all checks in order of cost, and stops at the first failure.
///
/// Tools without a prebuilt binary are built while the first checks run.
pub(crate) fn run() -> Result<()> {
    let started = Instant::now();
    // A C compiler and the other packages come first: the tools need them.
    services::install_packages()?;
    let tools = Background::start(&[&GARAGE, &CARGO_DENY, &CARGO_DEB, &CARGO_MACHETE, &MDBOOK]);
    command(cargo().args(["fmt", "--all", "--check"]))?;
    tidy::run()?;
    let typos = tools::from_pypi("typos", "1.52.0")?;
    command(Command::new(typos).current_dir(root()))?;
    command(cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    let garage = tools.wait_for(&GARAGE)?;
    let tests = ["test", "--workspace", "--locked"];
    command(cargo().args(tests).env("INSTA_UPDATE", "no").env("IMGSRV_TEST_GARAGE", garage))?;
    package::check(&tools.wait_for(&CARGO_DEB)?)?;
    command(cargo().args(["run", "--quiet", "--locked", "--package", "imgsrv-domain", "--example", "embed"]))?;
    openapi::run(true)?;
    command(cargo().args(["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    let deny = tools.wait_for(&CARGO_DENY)?;
    command(Command::new(&deny).current_dir(root()).args(["--locked", "check", "licenses", "bans", "sources"]))?;
    let advised = advisories(&deny)?;
    let machete = tools.wait_for(&CARGO_MACHETE)?;
    command(Command::new(machete).current_dir(root()))?;
    let mdbook = tools.wait_for(&MDBOOK)?;
    command(Command::new(mdbook).current_dir(root()).args(["build", "docs"]))?;
    let unchecked = if advised { "" } else { ", but advisories were NOT checked" };
    println!("\nall checks passed in {:.0} s{unchecked}", started.elapsed().as_secs_f64());
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
