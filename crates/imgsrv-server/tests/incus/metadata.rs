//! What is accepted as metadata, compared with `incus-simplestreams add`, and what reaches the clients of it.

use crate::{
    aliases,
    client::{Client, Program},
    disk, file_names,
    publisher::{self, Artifact, Publisher, Release},
    root_file_systems, run,
};
use imgsrv_domain::architecture::IncusArchitecture;
use imgsrv_inspect::IncusMetadata;
use serde_json::json;
use std::{fs, path::Path, process::Command};
use tempfile::TempDir;

const HEAD: &str = "architecture: x86_64\ncreation_date: 1700000000\n";
const PROPERTIES: &str =
    "properties: {os: Debian, release: '12', variant: default, architecture: amd64, description: x}\n";

/// Packs the text as metadata, as `tar` and `compressor` do.
fn packed(folder: &Path, text: &[u8], compressor: &str) -> Vec<u8> {
    fs::write(folder.join("metadata.yaml"), text).expect("written");
    run("sh", &["-ec", &format!("tar c metadata.yaml | {compressor} >m")], folder);
    fs::read(folder.join("m")).expect("the tarball")
}

/// The error of `incus-simplestreams add` for the tarball in the folder.
fn refusal(folder: &Path) -> Option<String> {
    let streams = folder.join("streams");
    if streams.exists() {
        fs::remove_dir_all(streams).expect("removed");
    }
    let output = Command::new("incus-simplestreams").args(["add", "m", "disk.qcow2"]).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("incus-simplestreams: {error}; run cargo xtask incus"));
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Why metadata is not accepted, or what is remarked.
fn our_refusal(tarball: &[u8]) -> Option<String> {
    let found = match IncusMetadata::read(tarball) {
        Ok(found) => found,
        Err(problem) => return Some(problem.to_string()),
    };
    if let Err(unknown) = found.architecture.parse::<IncusArchitecture>() {
        return Some(unknown.to_string());
    }
    found.remarks.first().map(ToString::to_string)
}

/// Contents of `metadata.yaml`, of every kind that Incus parses.
fn contents() -> Vec<String> {
    let mut all: Vec<String> =
        ["", "just text", "- a\n- b", "{", "a: [", "\u{feff}", "key: 'x\n"].map(str::to_owned).to_vec();
    let dates = "1700000000.5 1700000000.0 1.7e9 '\"1700000000\"' -1 0x65530e00 014524607000 1_700_000_000 2023-11-14 true \
        ~ 0.5 0 99999999999999999999 1e30 .nan [1] {a: 1}";
    for date in dates.split(' ') {
        all.push(format!("architecture: x86_64\ncreation_date: {date}\n{PROPERTIES}"));
        all.push(format!("{HEAD}expiry_date: {date}\n{PROPERTIES}"));
    }
    for architecture in ["amd64", "aarch64", "5", "[x86_64]", "vax", "X86_64", "", "'x86_64'", "!!binary eDg2XzY0"] {
        all.push(format!("architecture: {architecture}\ncreation_date: 1\n{PROPERTIES}"));
    }
    for value in
        ["12", "1.50", "false", "yes", "~", "2024-01-02", "[a]", "{a: b}", "!!binary aGVsbG8=", "!!str 12", "|\n  x"]
    {
        all.push(format!("{HEAD}{}", PROPERTIES.replace("variant: default", &format!("variant: {value}"))));
    }
    for properties in ["[os]", "Debian", "{}", "~", "{os: Debian}", "{5: x}", "{[a]: x}", "{os: Debian, os: Other}"] {
        all.push(format!("{HEAD}properties: {properties}\n"));
    }
    for name in ["os", "release", "variant", "architecture", "description"] {
        all.push(format!("{HEAD}{}", PROPERTIES.replace(name, "other")));
    }
    for templates in [
        "~",
        "{}",
        "[]",
        "[a]",
        "x",
        "{/a: ~}",
        "{/a: b}",
        "{/a: []}",
        "{/a: {when: [create, copy], template: x}}",
        "{/a: {when: create}}",
        "{/a: {when: [1, ~]}}",
        "{/a: {when: [[a]]}}",
        "{/a: {when: {a: b}}}",
        "{/a: {create_only: yes}}",
        "{/a: {create_only: true}}",
        "{/a: {create_only: 'true'}}",
        "{/a: {create_only: 1}}",
        "{/a: {create_only: ~}}",
        "{/a: {template: 5}}",
        "{/a: {template: []}}",
        "{/a: {properties: {a: b, c: 5}}}",
        "{/a: {properties: {a: [b]}}}",
        "{/a: {properties: []}}",
        "{/a: {unknown: {a: [b]}}}",
    ] {
        all.push(format!("{HEAD}{PROPERTIES}templates: {templates}\n"));
    }
    for rest in [
        "other: {x: [1]}\n",
        "architecture: x86_64\n",
        "creation_date: 5\n",
        "x: .nan\n",
        "---\nfoo: bar\n",
        "---\n{ : [\n",
        "...\n",
        "x: &a [1]\ny: *a\n",
        "y: *unknown\n",
        "x: \u{7f}\n",
        "x: \0\n",
        "# é\n",
        "x:\ty\n",
        "\tx: y\n",
    ] {
        all.push(format!("{HEAD}{PROPERTIES}{rest}"));
    }
    all.push(format!(
        "{HEAD}x: &a {{os: a, release: b, variant: c, architecture: d}}\nproperties: {{<<: *a, description: y}}\n"
    ));
    all.push(format!("%YAML 1.1\n---\n{HEAD}{PROPERTIES}"));
    all.push(format!("{HEAD}{PROPERTIES}").replace('\n', "\r\n"));
    all.push(
        json!({"architecture": "x86_64", "creation_date": 1, "properties": {"os": "a", "release": "b", "variant": "c",
        "architecture": "amd64", "description": "d"}})
        .to_string(),
    );
    all
}

#[test]
fn metadata_is_accepted_exactly_if_the_tool_of_incus_accepts_it() {
    let scratch = TempDir::new().expect("a scratch folder");
    disk(scratch.path(), 3);
    let mut differences = Vec::new();
    let (mut accepted, mut refused) = (0, 0);
    let mut compare = |what: &str, tarball: &[u8]| {
        let (ours, theirs) = (our_refusal(tarball), refusal(scratch.path()));
        *if ours.is_none() { &mut accepted } else { &mut refused } += 1;
        if ours.is_some() != theirs.is_some() {
            differences.push(format!("{what:?}: {ours:?}, but {theirs:?}"));
        }
    };
    for text in contents() {
        compare(&text, &packed(scratch.path(), text.as_bytes(), "xz -0"));
    }
    let good = format!("{HEAD}{PROPERTIES}");
    let utf16: Vec<u8> = [0xfeff].into_iter().chain(good.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    compare("UTF-16", &packed(scratch.path(), &utf16, "xz"));
    compare("Latin-1", &packed(scratch.path(), &[good.as_bytes(), b"# \xe9\n"].concat(), "xz"));
    for compressor in ["cat", "gzip", "zstd", "bzip2", "xz --format=lzma", "xz -9", "rev"] {
        compare(compressor, &packed(scratch.path(), good.as_bytes(), compressor));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(accepted > 50 && refused > 50, "{accepted} accepted, {refused} refused");
}

#[test]
fn what_the_metadata_says_reaches_the_client() {
    let scratch = TempDir::new().expect("a scratch folder");
    let publisher = Publisher::start();
    let text = "architecture: x86_64\ncreation_date: 1700000000.5\nexpiry_date: 1846886399\nproperties:\n  os: Alpine\n  \
        release: edge\n  variant: tinycloud\n  architecture: amd64\n  description: Alpine edge for tests\n  \
        requirements.secureboot: \"false\"\n  requirements.cdrom_agent: true\n";
    let metadata = packed(scratch.path(), text.as_bytes(), "gzip");
    let bytes = disk(scratch.path(), 3);
    let attached = Artifact::qcow2(&bytes).with("incus.tar.xz", &metadata);
    publisher.publish(&Release { image: "alpine", version: "20261128", artifacts: &[attached] });
    let other = disk(scratch.path(), 5);
    let properties = json!({"description": "for tests", "expires_at": "2028-06-30T12:00:00Z", "os": "Windows",
        "release": "11", "properties": {"requirements.secureboot": "false"}});
    let generated = Artifact::qcow2(&other).with_properties(&properties);
    publisher.publish(&Release { image: "windows", version: "1", artifacts: &[generated] });
    publisher.alias("alpine", "edge", "20261128");
    for program in [Program::Incus, Program::Lxd] {
        let client = Client::new(program, &publisher);
        let listed = client.run(&["image", "list", "imgsrv:", "--format", "csv", "--columns", "d"]);
        for start in ["Alpine edge (tinycloud) amd64 (for tests) (", "Windows 11 amd64 (for tests) ("] {
            assert!(listed.lines().any(|line| line.starts_with(start)), "{start}: {listed}");
        }
        let filtered =
            client.run(&["image", "list", "imgsrv:", "variant=tinycloud", "--format", "csv", "--columns", "d"]);
        assert_eq!(filtered.lines().count(), 1, "{filtered}");
        // The name of official servers, with the default variant.
        for (name, expires, lines) in [
            ("imgsrv:alpine/edge/default", "2028/07/10", ["os: Alpine", "variant: tinycloud"]),
            ("imgsrv:windows/1", "2028/06/30", ["os: Windows", "variant: default"]),
        ] {
            let shown = client.run(&["image", "show", name, "--vm"]);
            // LXD does not read requirements.
            let required = ["requirements.secureboot: \"false\""];
            let required = if program == Program::Incus { required.as_slice() } else { &[] };
            for line in required.iter().chain(&lines) {
                assert!(shown.lines().any(|shown| shown.trim() == *line), "{line}: {shown}");
            }
            let info = client.run(&["image", "info", name, "--vm"]);
            assert!(info.contains(&format!("Expires: {expires} 00:00 UTC")), "{info}");
        }
    }
}

#[test]
fn unified_images_are_listed_and_exported() {
    let scratch = TempDir::new().expect("a scratch folder");
    let publisher = Publisher::start();
    let path = scratch.path();
    root_file_systems(path);
    disk(path, 3);
    fs::write(path.join("metadata.yaml"), format!("{HEAD}{PROPERTIES}")).expect("written");
    run("sh", &["-ec", "mv root rootfs; tar czf c.tar.gz metadata.yaml rootfs"], path);
    run("sh", &["-ec", "mv disk.qcow2 rootfs.img; tar cJf vm.tar.xz metadata.yaml rootfs.img"], path);
    let read = |name: &str| fs::read(path.join(name)).expect("the tarball");
    let (container, machine) = (read("c.tar.gz"), read("vm.tar.xz"));
    let artifacts = [Artifact::new("tar.gz", &container)];
    publisher.publish(&Release { image: "debian", version: "12", artifacts: &artifacts });
    publisher.publish(&Release { image: "machine", version: "12", artifacts: &[Artifact::new("tar.xz", &machine)] });
    for program in [Program::Incus, Program::Lxd] {
        let client = Client::new(program, &publisher);
        let images = client.list();
        assert_eq!(images.len(), 2, "{images:?}");
        let fingerprint = publisher::digest(&container);
        let found = images.iter().find(|image| image["fingerprint"] == fingerprint).expect("the image");
        assert_eq!((&found["type"], &found["size"]), (&"container".into(), &container.len().into()));
        assert_eq!(aliases(found), ["debian/12", "debian/12/amd64", "debian/12/default", "debian/12/default/amd64"]);
        assert_eq!(client.fingerprint("debian/12", "container"), Some(fingerprint));
        let folder = TempDir::new().expect("a folder");
        client.run(&["image", "export", "imgsrv:debian/12", folder.path().to_str().expect("UTF-8")]);
        assert_eq!(file_names(folder.path()), ["debian-12-x86_64.tar.gz"]);
        assert_eq!(fs::read(folder.path().join("debian-12-x86_64.tar.gz")).expect("the image"), container);
        // Clients of Incus before 7.1 and of LXD take every unified image for a container.
        client.run(&[
            "image",
            "export",
            &format!("imgsrv:{}", publisher::digest(&machine)),
            folder.path().to_str().expect("UTF-8"),
        ]);
        assert_eq!(fs::read(folder.path().join("machine-12-x86_64.tar.xz")).expect("the image"), machine);
    }
}
