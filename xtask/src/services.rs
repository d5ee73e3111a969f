//! What tests and benchmarks need beside cargo, installed where it is missing.

use crate::{
    shell::{Result, cargo, root, run as command},
    tools,
};
use imgsrv_testkit::services::{GARAGE_VERSION, OIDC_PROVIDER_VERSION, TUS_CLIENTS_VERSION, cache_dir};
use std::{fs, path::PathBuf, process::Command};

/// Installs PostgreSQL, nginx, promtool, clients of Incus and LXD, an OpenID provider, clients of tus and Garage, unless they are there.
pub(crate) fn install() -> Result<PathBuf> {
    tools::from_debian(&[
        ("cc", "gcc"),
        ("curl", "curl"),
        ("incus", "incus-client"),
        ("incus-simplestreams", "incus-extra"),
        ("/usr/libexec/incus/incusd", "incus-base"),
        ("initdb", "postgresql"),
        ("jq", "jq"),
        ("lxc", "lxd-client"),
        ("mksquashfs", "squashfs-tools"),
        ("nginx", "nginx-light"),
        ("node", "nodejs"),
        ("npm", "npm"),
        ("openssl", "openssl"),
        ("pip3", "python3-pip"),
        ("python3", "python3"),
        ("promtool", "prometheus"),
        ("qemu-img", "qemu-utils"),
        ("xz", "xz-utils"),
    ])?;
    oidc_provider()?;
    tus_clients()?;
    // One database engine is enough, and a third of the time is spent on optimisations that tests do not need.
    tools::from_crates_io_with(
        "garage",
        GARAGE_VERSION,
        &["--no-default-features", "--features", "bundled-libs,sqlite"],
        &[("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "2")],
    )
}

/// Installs the OpenID provider that tokens are tested with, into the cache.
fn oidc_provider() -> Result<()> {
    let npm = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
    let folder = format!("oidc-provider-{OIDC_PROVIDER_VERSION}");
    pinned("oidc-provider", &folder, &["package.json", "provider.mjs"], "package-lock.json", "npm", &npm)
}

/// Installs the clients of tus that the intake is tested with, into the cache.
fn tus_clients() -> Result<()> {
    let npm = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
    let folder = format!("tus-clients-{TUS_CLIENTS_VERSION}");
    let files = ["package.json", "upload.mjs", "upload.py"];
    pinned("tus-clients", &folder, &files, "package-lock.json", "npm", &npm)?;
    let pip =
        ["-m", "pip", "install", "--quiet", "--upgrade", "--target", "python", "--requirement", "requirements.txt"];
    pinned("tus-clients", &folder, &[], "requirements.txt", "python3", &pip)
}

/// Installs, into a folder of the cache, what the file `lock` of a folder of the test kit pins, and copies `files` there.
/// The lock is copied for the installation, and is there afterwards only if that has succeeded.
fn pinned(from: &str, folder: &str, files: &[&str], lock: &str, installer: &str, arguments: &[&str]) -> Result<()> {
    let source = root().join("crates/imgsrv-testkit").join(from);
    let folder = cache_dir().join("tools").join(folder);
    fs::create_dir_all(&folder)?;
    for name in files {
        fs::copy(source.join(name), folder.join(name))?;
    }
    let wanted = fs::read(source.join(lock))?;
    let lock = folder.join(lock);
    if fs::read(&lock).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    fs::write(&lock, wanted)?;
    let installed = command(Command::new(installer).current_dir(&folder).args(arguments));
    if installed.is_err() {
        fs::remove_file(lock)?;
    }
    installed
}

/// Drives the real clients of Incus and LXD against the server, over TLS.
pub(crate) fn incus() -> Result<()> {
    install()?;
    let test = ["test", "--locked", "--package", "imgsrv-server", "--test", "incus", "--", "--nocapture"];
    command(cargo().args(test))
}

/// Runs the tests that need PostgreSQL, an S3-compatible store or several processes.
pub(crate) fn integration() -> Result<()> {
    let garage = install()?;
    let packages = ["imgsrv-blobs", "imgsrv-catalog", "imgsrv-server", "imgsrv-testkit"];
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    command(cargo().args(["test", "--locked"]).args(packages).env("IMGSRV_TEST_GARAGE", garage))
}
