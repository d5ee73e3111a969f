//! What tests and benchmarks need beside cargo, installed where it is missing.

use crate::{
    shell::{Result, cargo, root, run as command},
    tools,
};
use imgsrv_testkit::services::{GARAGE_VERSION, OIDC_PROVIDER_VERSION, cache_dir};
use std::{fs, path::PathBuf, process::Command};

/// Installs PostgreSQL, nginx, promtool, clients of Incus and LXD, an OpenID provider and Garage, unless they are there.
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
        ("promtool", "prometheus"),
        ("qemu-img", "qemu-utils"),
        ("xz", "xz-utils"),
    ])?;
    oidc_provider()?;
    // One database engine is enough, and a third of the time is spent on optimisations that tests do not need.
    tools::from_crates_io_with(
        "garage",
        GARAGE_VERSION,
        &["--no-default-features", "--features", "bundled-libs,sqlite"],
        &[("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "2")],
    )
}

/// Installs the OpenID provider that tokens are tested with, into the cache: what it needs is pinned in the clone.
fn oidc_provider() -> Result<()> {
    let source = root().join("crates/imgsrv-testkit/oidc-provider");
    let folder = cache_dir().join("tools").join(format!("oidc-provider-{OIDC_PROVIDER_VERSION}"));
    fs::create_dir_all(&folder)?;
    let is_same =
        |name: &str| matches!((fs::read(source.join(name)), fs::read(folder.join(name))), (Ok(a), Ok(b)) if a == b);
    let is_installed = is_same("package-lock.json") && folder.join("node_modules").is_dir();
    for name in ["package.json", "provider.mjs"] {
        fs::copy(source.join(name), folder.join(name))?;
    }
    if !is_installed {
        let _ = fs::remove_file(folder.join("package-lock.json"));
        let lock = folder.join("package-lock.json");
        fs::copy(source.join("package-lock.json"), &lock)?;
        let installed = command(Command::new("npm").current_dir(&folder).args([
            "ci",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
        ]));
        if installed.is_err() {
            fs::remove_file(lock)?;
        }
        installed?;
    }
    Ok(())
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
    let packages = ["imgsrv-blobs", "imgsrv-catalog-postgres", "imgsrv-server", "imgsrv-testkit"];
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    command(cargo().args(["test", "--locked"]).args(packages).env("IMGSRV_TEST_GARAGE", garage))
}
