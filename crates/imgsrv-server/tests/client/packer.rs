//! Packer: it publishes the disk that it has built, and builds from a published disk that it verifies with `SHA256SUMS`,
//! both below a path of a proxy.

use crate::fixture::{BINARY, Fixture};
use std::{fs, os::unix::fs::PermissionsExt, process::Command};

/// Stands in for QEMU, which Packer asks for its version and starts: a machine that shuts down after three seconds. Packer
/// watches a new machine for two seconds, and may miss a shutdown in them, for which it then waits five minutes.
const QEMU: &str = "#!/bin/sh\n[ \"$*\" = -version ] && echo 'QEMU emulator version 7.2.0' && exit\nexec sleep 3\n";

fn build(fixture: &Fixture, authority: &str, template: &str, variables: &[String]) -> String {
    let variables = variables.iter().flat_map(|variable| ["-var", variable]);
    let output = Command::new("packer")
        .args(["build", "-color=false"])
        .args(variables)
        .arg(template)
        .current_dir(fixture.dir.path())
        .env("HOME", fixture.dir.path())
        .env("CHECKPOINT_DISABLE", "1")
        .env("PACKER_CACHE_DIR", fixture.path("cache"))
        .env("SSL_CERT_FILE", authority)
        .env("IMGSRV_CA_FILE", authority)
        .env("IMGSRV_URL", &fixture.url)
        .env("IMGSRV_TOKEN", &fixture.token)
        .output()
        .expect("packer runs");
    let shown = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{shown}");
    shown
}

#[test]
fn packer_publishes_a_disk_and_builds_from_a_published_one() {
    let (fixture, front) = Fixture::start_below_a_path(false);
    let authority = front.authority();
    let disk = fixture.path("disk.qcow2");
    let made = Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(&disk).arg("16M").status();
    assert!(made.expect("qemu-img runs").success());
    let template = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/packer/publish.pkr.hcl");
    let variables = ["image=debian", "version=12.5.0", "disk=disk.qcow2"].map(str::to_owned);
    let variables = [variables.as_slice(), &[format!("imgsrv={BINARY}")]].concat();
    let shown = build(&fixture, &authority, template, &variables);
    assert!(shown.contains("debian 12.5.0 is published"), "{shown}");

    fs::write(fixture.path("qemu"), QEMU).expect("written");
    fs::set_permissions(fixture.path("qemu"), fs::Permissions::from_mode(0o755)).expect("executable");
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let folder = format!("{}/images/debian/latest", fixture.url);
    let source = format!(
        r#"source "qemu" "derived" {{
          iso_url = "{folder}/debian-{architecture}.qcow2"
          iso_checksum = "file:{folder}/SHA256SUMS"
          disk_image = true
          skip_resize_disk = true
          qemu_binary = "{qemu}"
          accelerator = "none"
          communicator = "none"
          headless = true
          disable_vnc = true
          boot_wait = "0s"
          output_directory = "derived"
        }}
        build {{ sources = ["source.qemu.derived"] }}"#,
        qemu = fixture.path("qemu").display()
    );
    fs::write(fixture.path("derive.pkr.hcl"), source).expect("written");
    build(&fixture, &authority, "derive.pkr.hcl", &[]);
    let cached = fs::read_dir(fixture.path("cache")).expect("a folder").map(|entry| entry.expect("an entry").path());
    let cached = cached.filter(|path| path.extension().is_some_and(|extension| extension == "iso"));
    let cached: Vec<_> = cached.map(|path| fs::read(path).expect("a file")).collect();
    assert_eq!(cached, [fs::read(disk).expect("the disk")]);
}
