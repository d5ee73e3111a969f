//! The real clients of Incus and LXD against the real binary over TLS: they list, show and export what was published.
//! `cargo xtask incus` installs them and runs these tests alone.

mod client;
mod daemon;
mod metadata;
mod pages;
mod private;
mod publisher;
mod retired;

use client::{Client, Program};
use daemon::Daemon;
use imgsrv_testkit::services::{TlsFront, free_port};
use publisher::{Artifact, Publisher, Release};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};
use tempfile::TempDir;

fn run(program: &str, arguments: &[&str], folder: &Path) {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; run cargo xtask incus"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A qcow2 made by `qemu-img`, with data that depends on `salt`.
fn disk(folder: &Path, salt: u8) -> Vec<u8> {
    let data: Vec<u8> = (0..2_u32 << 20).map(|i| i.to_le_bytes()[0].wrapping_mul(salt) ^ i.to_le_bytes()[1]).collect();
    fs::write(folder.join("data.raw"), data).expect("written");
    run("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", "data.raw", "disk.qcow2"], folder);
    fs::read(folder.join("disk.qcow2")).expect("the image")
}

/// A root file system as a squashfs and as a tarball.
fn root_file_systems(folder: &Path) -> (Vec<u8>, Vec<u8>) {
    fs::create_dir_all(folder.join("root/etc")).expect("a folder");
    fs::write(folder.join("root/etc/hostname"), "container\n").expect("written");
    run("mksquashfs", &["root", "root.squashfs", "-quiet", "-noappend"], folder);
    run("tar", &["cJf", "root.tar.xz", "-C", "root", "."], folder);
    let read = |name: &str| fs::read(folder.join(name)).expect("the image");
    (read("root.squashfs"), read("root.tar.xz"))
}

/// Metadata made by Incus's own tool.
fn metadata_of_incus(folder: &Path) -> Vec<u8> {
    let answers = "Debian\\n12\\ndefault\\namd64\\nDebian 12 by hand\\n";
    let script = format!("printf '{answers}' | incus-simplestreams generate-metadata meta.tar.xz");
    run("sh", &["-c", &script], folder);
    fs::read(folder.join("meta.tar.xz")).expect("the metadata")
}

fn file_names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn aliases(image: &Value) -> Vec<String> {
    let listed = image["aliases"].as_array().expect("aliases").iter();
    let mut names: Vec<_> = listed.map(|alias| alias["name"].as_str().unwrap_or_default().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn published_images_are_listed_shown_and_exported_completely() {
    let scratch = TempDir::new().expect("a scratch folder");
    let publisher = Publisher::start();
    let bytes = disk(scratch.path(), 3);
    let metadata = metadata_of_incus(scratch.path());
    for program in [Program::Incus, Program::Lxd] {
        assert_eq!(Client::new(program, &publisher).list(), [Value::Null; 0], "images before the first publish");
    }
    let theirs = Artifact::qcow2(&bytes).with("incus.tar.xz", &metadata);
    publisher.publish(&Release { image: "debian", version: "12.5.0", artifacts: &[theirs] });
    publisher.alias("debian", "latest", "12.5.0");
    let other = disk(scratch.path(), 5);
    publisher.publish(&Release {
        image: "ubuntu",
        version: "24.04",
        artifacts: &[Artifact::qcow2(&other).described()],
    });
    publisher.draft(&Release { image: "debian", version: "13.0.0", artifacts: &[Artifact::qcow2(&other).described()] });

    for program in [Program::Incus, Program::Lxd] {
        let client = Client::new(program, &publisher);
        let images = client.list();
        let fingerprint = publisher::digest(&[metadata.as_slice(), &bytes].concat());
        let found = images.iter().find(|image| image["fingerprint"] == fingerprint).expect("the image");
        assert_eq!(images.len(), 2, "a draft is not listed");
        assert_eq!((&found["type"], &found["architecture"]), (&"virtual-machine".into(), &"x86_64".into()));
        let names = ["debian", "debian/12.5.0", "debian/12.5.0/default", "debian/latest", "debian/latest/default"];
        let mut names: Vec<_> = names.into_iter().flat_map(|name| [name.to_owned(), format!("{name}/amd64")]).collect();
        names.sort();
        assert_eq!(aliases(found), names);
        let shown = client.run(&["image", "info", "imgsrv:debian/latest", "--vm"]);
        assert!(shown.contains(&fingerprint), "{shown}");

        let folder = scratch.path().join(format!("{program:?}"));
        fs::create_dir(&folder).expect("a folder");
        let path = folder.to_str().expect("UTF-8");
        client.run(&["image", "export", "imgsrv:debian/latest", path, "--vm"]);
        let disk = "debian-12.5.0-x86_64.qcow2";
        assert_eq!(file_names(&folder), [disk.to_owned(), format!("{disk}.incus.tar.xz")]);
        assert_eq!(fs::read(folder.join(disk)).expect("the disk"), bytes);
        assert_eq!(fs::read(folder.join(format!("{disk}.incus.tar.xz"))).expect("the metadata"), metadata);

        let file = format!("{path}/one");
        client.run(&["image", "export", &format!("imgsrv:{fingerprint}"), &file]);
        assert_eq!(fs::read(&file).expect("the metadata"), metadata);
        assert_eq!(fs::read(format!("{file}.root")).expect("the disk"), bytes);
        client.run_failing(&["image", "info", "imgsrv:debian/13.0.0", "--vm"]);
    }
    // Only the authority and files were requested over plain HTTP on the TLS port, which clients try first.
    let plaintext = publisher.plaintext_routes();
    assert_eq!(plaintext, ["/ca.pem", "/images/{name}/{ref}/{file}"]);
}

#[test]
fn a_list_reads_like_that_of_the_official_server() {
    let scratch = TempDir::new().expect("a scratch folder");
    let publisher = Publisher::start();
    let official = json!({"os": "Debian", "release": "bookworm", "properties": {"requirements.secureboot": "false"}});
    for (image, version, system, salt, properties) in [
        ("bookworm", "20261128", "debian", 3, &official),
        ("debian", "12.5.0", "debian", 5, &json!({})),
        ("web", "7", "linux", 7, &json!({})),
    ] {
        let bytes = disk(scratch.path(), salt);
        let artifact =
            Artifact { operating_system: Some(system), ..Artifact::qcow2(&bytes).with_properties(properties) };
        publisher.publish(&Release { image, version, artifacts: &[artifact] });
    }
    let client = Client::new(Program::Incus, &publisher);
    let described = |filter: &[&str]| -> Vec<String> {
        let list = [["image", "list", "imgsrv:"].as_slice(), filter, &["--format", "csv", "--columns", "d"]].concat();
        let output = client.run(&list);
        let mut lines: Vec<_> =
            output.lines().map(|line| line.split(" (").next().unwrap_or_default().to_owned()).collect();
        lines.sort();
        lines
    };
    assert_eq!(described(&[]), ["Debian 12.5.0 amd64", "Debian bookworm amd64", "Web 7 amd64"]);
    // Filters take the version as the release, since an image has several versions of one release.
    assert_eq!(described(&["os=Debian"]), ["Debian 12.5.0 amd64", "Debian bookworm amd64"]);
    assert_eq!(described(&["release=20261128"]), ["Debian bookworm amd64"]);
    assert_eq!(described(&["bookworm"]), ["Debian bookworm amd64"]);
    let images = client.list();
    let secure_boot = |image: &Value| image["properties"]["requirements.secureboot"].clone();
    assert_eq!(images.iter().filter(|image| secure_boot(image) == "false").count(), 1, "{images:?}");
}

#[test]
fn a_remote_can_be_below_a_path() {
    let scratch = TempDir::new().expect("a scratch folder");
    let port = free_port();
    let public_url = format!("https://localhost:{port}/images-server");
    let publisher = Publisher::start_with(&["--public-url", &public_url]);
    let bytes = disk(scratch.path(), 3);
    publisher.publish(&Release { image: "debian", version: "12", artifacts: &[Artifact::qcow2(&bytes).described()] });
    let kept = format!("{}/images-server", publisher.url);
    let front = TlsFront::below(port, "/images-server/", &format!("{}/", publisher.url));
    for (name, url, authority) in [("kept", &kept, publisher.authority()), ("removed", &public_url, front.authority())]
    {
        for program in [Program::Incus, Program::Lxd] {
            let client = Client::of_url(program, url, &authority);
            assert!(client.fingerprint("debian/12", "virtual-machine").is_some(), "{name}");
            let folder = scratch.path().join(format!("{program:?}-{name}"));
            fs::create_dir(&folder).expect("a folder");
            client.run(&["image", "export", "imgsrv:debian/12", folder.to_str().expect("UTF-8"), "--vm"]);
            assert_eq!(fs::read(folder.join("debian-12-x86_64.qcow2")).expect("the disk"), bytes, "{name}");
        }
    }
    // Clients that talk to the server itself request files over plain HTTP first.
    assert_eq!(publisher.plaintext_routes(), ["/images/{name}/{ref}/{file}"]);
    let command = publisher.command_to_trust();
    assert!(command.contains(&format!("http://localhost:{port}/images-server/ca.pem")), "{command}");
    assert!(command.ends_with(&format!("incus remote add imgsrv {public_url} --protocol simplestreams")), "{command}");
}

#[test]
fn a_moved_alias_is_followed_and_the_previous_image_stays_available() {
    let scratch = TempDir::new().expect("a scratch folder");
    let publisher = Publisher::start();
    let mut fingerprints = Vec::new();
    for (version, salt) in [("1", 3), ("2", 5)] {
        let bytes = disk(scratch.path(), salt);
        publisher.publish(&Release { image: "debian", version, artifacts: &[Artifact::qcow2(&bytes).described()] });
        publisher.alias("debian", "latest", version);
        // Clients cache the documents for five minutes, so each one is new.
        let client = Client::new(Program::Incus, &publisher);
        fingerprints.push(client.fingerprint("debian/latest", "virtual-machine"));
        assert_eq!(&client.fingerprint("debian", "virtual-machine"), fingerprints.last().expect("one"));
    }
    assert_ne!(fingerprints[0], fingerprints[1]);
    let client = Client::new(Program::Incus, &publisher);
    assert_eq!(client.fingerprint("debian/1", "virtual-machine"), fingerprints[0]);
    assert_eq!(client.fingerprint("debian/2/amd64", "virtual-machine"), fingerprints[1]);
    // A client with the previous document can still export the image.
    let folder = scratch.path().join("old");
    fs::create_dir(&folder).expect("a folder");
    client.run(&[
        "image",
        "export",
        &format!("imgsrv:{}", fingerprints[0].as_deref().expect("one")),
        folder.to_str().expect("UTF-8"),
    ]);
    assert_eq!(file_names(&folder).len(), 2);
}

#[test]
fn a_machine_and_a_container_share_a_name_over_architectures_and_variants() {
    let scratch = TempDir::new().expect("a scratch folder");
    let publisher = Publisher::start();
    let bytes = disk(scratch.path(), 3);
    let (squashfs, tarball) = root_file_systems(scratch.path());
    let metadata = metadata_of_incus(scratch.path());
    publisher.publish(&Release {
        image: "debian",
        version: "12",
        artifacts: &[
            Artifact::qcow2(&bytes).with("incus.tar.xz", &metadata),
            Artifact::new("squashfs", &squashfs).with("incus.tar.xz", &metadata),
            Artifact { architecture: "aarch64", ..Artifact::qcow2(&bytes) }.described(),
            Artifact { variant: "cloud", ..Artifact::qcow2(&bytes) }.described(),
        ],
    });
    publisher.publish(&Release {
        image: "alpine",
        version: "3.20",
        artifacts: &[Artifact::qcow2(&bytes).described(), Artifact::new("root.tar.xz", &tarball).described()],
    });
    for program in [Program::Incus, Program::Lxd] {
        let client = Client::new(program, &publisher);
        let images = client.list();
        assert_eq!(images.len(), 6, "{images:?}");
        let fingerprint = |name: &str, kind: &str| client.fingerprint(name, kind);
        let machine = publisher::digest(&[metadata.as_slice(), &bytes].concat());
        let container = publisher::digest(&[metadata.as_slice(), &squashfs].concat());
        assert_eq!(fingerprint("debian/12", "virtual-machine"), Some(machine));
        assert_eq!(fingerprint("debian/12", "container"), Some(container));
        assert!(fingerprint("alpine/3.20", "virtual-machine").is_some());
        assert!(fingerprint("alpine/3.20", "container").is_some());
        assert!(fingerprint("debian/12/cloud", "virtual-machine").is_some());
        assert!(fingerprint("debian/12/arm64", "virtual-machine").is_some());
        assert_eq!(fingerprint("debian/12/arm64", "container"), None);
        for (name, kind, file) in [
            ("debian/12", None, "debian-12-x86_64.squashfs"),
            ("debian/12", Some("--vm"), "debian-12-x86_64.qcow2"),
            ("alpine/3.20", None, "alpine-3.20-x86_64.root.tar.xz"),
            ("debian/12/arm64", Some("--vm"), "debian-12-aarch64.qcow2"),
            ("debian/12/cloud", Some("--vm"), "debian-12-x86_64-cloud.qcow2"),
        ] {
            let folder = TempDir::new().expect("a folder");
            let (name, path) = (format!("imgsrv:{name}"), folder.path().to_str().expect("UTF-8"));
            let arguments: Vec<&str> = ["image", "export", &name, path].into_iter().chain(kind).collect();
            client.run(&arguments);
            assert!(file_names(folder.path()).contains(&file.to_owned()), "{name}: {:?}", file_names(folder.path()));
        }
    }
}

#[test]
fn the_same_image_under_two_names_is_listed_once_with_both() {
    let scratch = TempDir::new().expect("a scratch folder");
    let publisher = Publisher::start();
    let (bytes, metadata) = (disk(scratch.path(), 3), metadata_of_incus(scratch.path()));
    for (image, version) in [("debian", "12"), ("base", "2026.11")] {
        let artifact = Artifact::qcow2(&bytes).with("incus.tar.xz", &metadata);
        publisher.publish(&Release { image, version, artifacts: &[artifact] });
    }
    let client = Client::new(Program::Incus, &publisher);
    let images = client.list();
    assert_eq!(images.len(), 1, "{images:?}");
    let names = aliases(&images[0]);
    for name in ["base/2026.11", "base/2026.11/amd64", "debian/12", "debian/12/amd64", "debian/12/default"] {
        assert!(names.iter().any(|one| one == name), "{name}: {names:?}");
    }
    for name in ["debian/12", "base/2026.11"] {
        let folder = TempDir::new().expect("a folder");
        let arguments = ["image", "export", &format!("imgsrv:{name}"), folder.path().to_str().expect("UTF-8"), "--vm"];
        client.run(&arguments);
        assert_eq!(file_names(folder.path()).len(), 2, "{name}");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped check is reported")]
fn a_daemon_copies_machines_and_containers() {
    let daemon = match Daemon::start() {
        Ok(daemon) => daemon,
        Err(why) => {
            println!("image copy was NOT run: incusd cannot run here: {why}");
            return;
        }
    };
    let scratch = TempDir::new().expect("a scratch folder");
    let publisher = Publisher::start();
    let (bytes, (squashfs, tarball)) = (disk(scratch.path(), 3), root_file_systems(scratch.path()));
    let artifacts = [Artifact::qcow2(&bytes).described(), Artifact::new("squashfs", &squashfs).described()];
    publisher.publish(&Release { image: "debian", version: "12", artifacts: &artifacts });
    publisher.alias("debian", "latest", "12");
    let other = [Artifact::new("root.tar.xz", &tarball).described()];
    publisher.publish(&Release { image: "alpine", version: "3.20", artifacts: &other });
    let unified = "mv root rootfs; tar czf unified.tar.gz metadata.yaml rootfs";
    let yaml = "architecture: x86_64\ncreation_date: 1\nproperties: {os: Void, release: 1, variant: default, \
                architecture: amd64, description: Void}\n";
    fs::write(scratch.path().join("metadata.yaml"), yaml).expect("written");
    run("sh", &["-ec", unified], scratch.path());
    let unified = fs::read(scratch.path().join("unified.tar.gz")).expect("the image");
    let unified = [Artifact::new("tar.gz", &unified)];
    publisher.publish(&Release { image: "void", version: "1", artifacts: &unified });
    let client = Client::new(Program::Incus, &publisher).of(&daemon);
    client.run(&["image", "copy", "imgsrv:void/1", "local:", "--alias", "unified"]);
    client.run(&["image", "copy", "imgsrv:debian/latest", "local:", "--vm", "--alias", "machine"]);
    client.run(&["image", "copy", "imgsrv:debian/latest", "local:", "--alias", "container"]);
    client.run(&["image", "copy", "imgsrv:alpine/3.20", "local:", "--alias", "tarball"]);
    let below = Publisher::start_with(&["--public-url", "https://localhost/images-server"]);
    below.publish(&Release {
        image: "ubuntu",
        version: "24.04",
        artifacts: &[Artifact::qcow2(&disk(scratch.path(), 5)).described()],
    });
    let url = format!("{}/images-server", below.url);
    let client = Client::of_url(Program::Incus, &url, &below.authority()).of(&daemon);
    client.run(&["image", "copy", "imgsrv:ubuntu/24.04", "local:", "--vm", "--alias", "below-a-path"]);
    let images: Vec<Value> =
        serde_json::from_str(&client.run(&["image", "list", "local:", "--format", "json"])).expect("JSON");
    let mut kinds: Vec<_> = images.iter().map(|image| (aliases(image).join(","), image["type"].clone())).collect();
    kinds.sort_by(|one, other| one.0.cmp(&other.0));
    let expected = [
        ("below-a-path", "virtual-machine"),
        ("container", "container"),
        ("machine", "virtual-machine"),
        ("tarball", "container"),
        ("unified", "container"),
    ];
    assert_eq!(kinds, expected.map(|(alias, kind)| (alias.to_owned(), Value::from(kind))));
}
