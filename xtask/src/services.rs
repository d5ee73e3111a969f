//! What tests and benchmarks need beside cargo, installed where it is missing.

use crate::{
    shell::{Result, cargo, run as command},
    tools,
};
use imgsrv_testkit::services::GARAGE_VERSION;
use std::path::PathBuf;

/// Installs PostgreSQL, nginx, promtool and Garage, unless they are there.
pub(crate) fn install() -> Result<PathBuf> {
    tools::from_debian(&[
        ("cc", "gcc"),
        ("curl", "curl"),
        ("initdb", "postgresql"),
        ("jq", "jq"),
        ("nginx", "nginx-light"),
        ("openssl", "openssl"),
        ("promtool", "prometheus"),
    ])?;
    // One database engine is enough, and a third of the time is spent on optimisations that tests do not need.
    tools::from_crates_io_with(
        "garage",
        GARAGE_VERSION,
        &["--no-default-features", "--features", "bundled-libs,sqlite"],
        &[("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "2")],
    )
}

/// Runs the tests that need PostgreSQL, an S3-compatible store or several processes.
pub(crate) fn integration() -> Result<()> {
    let garage = install()?;
    let packages = ["imgsrv-blobs", "imgsrv-catalog-postgres", "imgsrv-server", "imgsrv-testkit"];
    let packages = packages.iter().flat_map(|package| ["--package", package]);
    command(cargo().args(["test", "--locked"]).args(packages).env("IMGSRV_TEST_GARAGE", garage))
}
