//! Tools of the checks, installed outside the clone on first use.

use crate::shell::{Result, cargo, has, run};
use imgsrv_testkit::services::cache_dir;
use std::{path::PathBuf, process::Command};

/// Installs a version of a program from crates.io into the cache, once, with these arguments; returns its path.
pub(crate) fn from_crates_io(name: &str, version: &str, arguments: &[&str]) -> Result<PathBuf> {
    let root = cache_dir().join("tools").join(format!("{name}-{version}"));
    let binary = root.join("bin").join(name);
    if !binary.exists() {
        // A separate target folder: building a tool must neither wait for nor invalidate the workspace's build.
        let target = cache_dir().join("tools").join("target");
        let package = format!("{name}@{version}");
        run(cargo()
            .args(["install", "--locked", "--quiet", "--root"])
            .arg(&root)
            .arg(&package)
            .args(arguments)
            .env("CARGO_TARGET_DIR", target)
            .env_remove("RUSTFLAGS"))?;
    }
    Ok(binary)
}

/// Installs a version of a program from PyPI, with its prebuilt binary, into the cache, once; returns its path.
pub(crate) fn from_pypi(name: &str, version: &str) -> Result<PathBuf> {
    let folder = cache_dir().join("tools").join(format!("{name}-{version}"));
    let binary = folder.join("bin").join(name);
    if !binary.exists() {
        run(Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target"])
            .arg(&folder)
            .arg(format!("{name}=={version}")))?;
    }
    Ok(binary)
}

/// Installs missing Debian packages; on other systems fails with their names.
pub(crate) fn from_debian(programs: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> =
        programs.iter().filter(|(program, _)| !has(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get install -y {}", missing.join(" "));
    if !has("apt-get") {
        return Err(format!("install these first: {}", missing.join(", ")).into());
    }
    let sudo = if has("sudo") { "sudo " } else { "" };
    // Debian 12 has Incus in its backports only.
    let backports = format!(
        ". /etc/os-release; apt-get install --simulate {packages} >/dev/null 2>&1 || {{ \
         echo \"deb http://deb.debian.org/debian $VERSION_CODENAME-backports main\" | \
         {sudo}tee /etc/apt/sources.list.d/imgsrv-backports.list && {sudo}apt-get update -q; }}",
        packages = missing.join(" ")
    );
    let script = format!("{sudo}apt-get update -q && {{ {backports}; }} && {sudo}{install}");
    run(Command::new("sh").args(["-c", &script]).env("DEBIAN_FRONTEND", "noninteractive"))
        .map_err(|error| format!("{error}\nrun this yourself: {install}").into())
}
