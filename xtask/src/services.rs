//! Programs that tests and benchmarks need, installed where they are missing.

use crate::{
    shell::{Result, cargo, root, run as command},
    tools,
};
use imgsrv_testkit::services::{
    OIDC_PROVIDER_VERSION, SCHEMATHESIS_VERSION, SEAWEEDFS_VERSION, TUS_CLIENTS_VERSION, WEB_CHECKS_VERSION, cache_dir,
};
use std::{fs, path::PathBuf, process::Command};

/// Installs what `install_packages` does, and Garage; returns the path of Garage.
pub(crate) fn install() -> Result<PathBuf> {
    install_packages()?;
    tools::GARAGE.install()
}

/// Installs a C compiler, make, PostgreSQL, nginx, Packer, promtool, virt-install, clients of Incus and LXD, programs that
/// download, an OpenID provider, schemathesis, SeaweedFS, tus clients, Chromium, and checks of pages, unless they are
/// installed.
pub(crate) fn install_packages() -> Result<()> {
    // A hypervisor is recommended with it, and not needed to print what it would create.
    tools::from_debian_alone(&[("virt-install", "virtinst")])?;
    tools::from_debian(&[
        ("/usr/lib/systemd/systemd-pull", "systemd-container"),
        ("aria2c", "aria2"),
        ("bzip2", "bzip2"),
        ("cc", "gcc"),
        ("chromedriver", "chromium-driver"),
        ("chromium", "chromium"),
        ("curl", "curl"),
        ("incus", "incus-client"),
        ("incus-simplestreams", "incus-extra"),
        ("/usr/libexec/incus/incusd", "incus-base"),
        ("initdb", "postgresql"),
        ("jq", "jq"),
        ("lxc", "lxd-client"),
        ("lz4", "lz4"),
        ("make", "make"),
        ("mksquashfs", "squashfs-tools"),
        ("nginx", "nginx-light"),
        ("node", "nodejs"),
        ("npm", "npm"),
        ("openssl", "openssl"),
        ("packer", "packer"),
        ("pip3", "python3-pip"),
        ("python3", "python3"),
        ("promtool", "prometheus"),
        ("qemu-img", "qemu-utils"),
        ("/usr/lib/*/qemu/block-curl.so", "qemu-block-extra"),
        ("systemd-analyze", "systemd"),
        ("wget", "wget"),
        ("xz", "xz-utils"),
        ("zstd", "zstd"),
        ("zsync", "zsync"),
    ])?;
    pinned("oidc-provider", OIDC_PROVIDER_VERSION, NPM)?;
    pinned("schemathesis", SCHEMATHESIS_VERSION, PIP)?;
    pinned("seaweedfs", SEAWEEDFS_VERSION, PIP)?;
    pinned("tus-clients", TUS_CLIENTS_VERSION, &format!("{NPM} && {PIP}"))?;
    pinned("web-checks", WEB_CHECKS_VERSION, NPM)
}

const NPM: &str = "npm ci --no-audit --no-fund --ignore-scripts";
const PIP: &str = "python3 -m pip install --quiet --upgrade --target python --requirement requirements.txt";

/// Copies a folder of the test kit to the cache and runs `install` there, unless that was done with the same files.
fn pinned(name: &str, version: &str, install: &str) -> Result<()> {
    let folder = cache_dir().join("tools").join(format!("{name}-{version}"));
    fs::create_dir_all(&folder)?;
    let mut is_current = true;
    for entry in fs::read_dir(root().join("crates/imgsrv-testkit").join(name))? {
        let entry = entry?;
        let (wanted, path) = (fs::read(entry.path())?, folder.join(entry.file_name()));
        is_current &= fs::read(&path).is_ok_and(|installed| installed == wanted);
        fs::write(path, wanted)?;
    }
    if is_current {
        return Ok(());
    }
    // After a failure nothing is current, so that the next run repeats it.
    let installed = command(Command::new("sh").args(["-c", install]).current_dir(&folder));
    installed.or_else(|error| fs::remove_dir_all(folder).map_err(Into::into).and(Err(error)))
}

/// Tests the server with the real clients of Incus and LXD, over TLS.
pub(crate) fn incus() -> Result<()> {
    install()?;
    let test = ["test", "--locked", "--package", "imgsrv-server", "--test", "incus", "--", "--nocapture"];
    command(cargo().args(test))
}

/// Takes the screenshots of the documentation in Chromium.
pub(crate) fn screenshots() -> Result<()> {
    install_packages()?;
    let test = ["test", "--locked", "--package", "imgsrv-server", "--test", "browser", "--", "screenshots"];
    command(cargo().args(test).env("IMGSRV_UPDATE_DOCS", "1"))
}

/// Runs the tests that need PostgreSQL, an S3-compatible store or several processes.
pub(crate) fn integration() -> Result<()> {
    let garage = install()?;
    let packages = ["imgsrv-blobs", "imgsrv-catalog", "imgsrv-server", "imgsrv-testkit"];
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    command(cargo().args(["test", "--locked"]).args(packages).env("IMGSRV_TEST_GARAGE", garage))
}
