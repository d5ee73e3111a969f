//! Programs that tests and benchmarks need, installed where they are missing.

use crate::{
    shell::{Result, cargo, root, run as command},
    tools,
};
use imgsrv_testkit::services::{GARAGE_VERSION, OIDC_PROVIDER_VERSION, TUS_CLIENTS_VERSION, cache_dir};
use std::{fs, path::PathBuf, process::Command};

/// Installs PostgreSQL, nginx, promtool, clients of Incus and LXD, an OpenID provider, tus clients and Garage, unless they
/// are installed; returns the path of Garage.
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
    // One database engine suffices, and without link-time optimisation the build takes a third less time.
    tools::from_crates_io_with(
        "garage",
        GARAGE_VERSION,
        &["--no-default-features", "--features", "bundled-libs,sqlite"],
        &[("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "2")],
    )
}

/// Installs the OpenID provider into the cache.
fn oidc_provider() -> Result<()> {
    let npm = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
    let folder = format!("oidc-provider-{OIDC_PROVIDER_VERSION}");
    pinned("oidc-provider", &folder, &["package.json", "provider.mjs"], "package-lock.json", "npm", &npm)
}

/// Installs the tus clients into the cache.
fn tus_clients() -> Result<()> {
    let npm = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
    let folder = format!("tus-clients-{TUS_CLIENTS_VERSION}");
    let files = ["package.json", "upload.mjs", "upload.py"];
    pinned("tus-clients", &folder, &files, "package-lock.json", "npm", &npm)?;
    let pip =
        ["-m", "pip", "install", "--quiet", "--upgrade", "--target", "python", "--requirement", "requirements.txt"];
    pinned("tus-clients", &folder, &[], "requirements.txt", "python3", &pip)
}

/// Copies `files` from a folder of the test kit to a folder of the cache, and installs the packages that the file `lock`
/// pins. The lock is copied as well, and removed if the installation fails, so that the next run repeats it.
fn pinned(from: &str, folder: &str, files: &[&str], lock: &str, installer: &str, arguments: &[&str]) -> Result<()> {
    let source = root().join("crates/imgsrv-testkit").join(from);
    let folder = cache_dir().join("tools").join(folder);
    fs::create_dir_all(&folder)?;
    for name in files {
        fs::copy(source.join(name), folder.join(name))?;
    }
    let wanted = fs::read(source.join(lock))?;
    let lock = folder.join(lock);
    if fs::read(&lock).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    fs::write(&lock, wanted)?;
    let installed = command(Command::new(installer).current_dir(&folder).args(arguments));
    if installed.is_err() {
        fs::remove_file(lock)?;
    }
    installed
}

/// Tests the server with the real clients of Incus and LXD, over TLS.
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
