//! The commands of version pages, taken from their HTML, and run as somebody who pastes them.

use crate::catalog::Catalog;
use imgsrv_testkit::{commands_of, qcow2};
use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Command};
use tempfile::TempDir;

/// Stands in for QEMU: it answers which version it is, writes down its arguments, and fails as a machine that cannot start.
const QEMU: &str = "#!/bin/sh\n[ \"$*\" = -version ] && exec echo 'QEMU emulator version 7.2.0'\n\
                    echo \"$@\" >qemu-arguments\nexit 1\n";
/// Stands in for `machinectl`, which lets a daemon start the program that downloads.
const MACHINECTL: &str = "#!/bin/sh\n[ \"$1\" = pull-raw ] || exit 2\nshift\n\
                          exec /usr/lib/systemd/systemd-pull --image-root \"$PWD\" raw \"$@\"\n";

/// A catalog with images of several formats.
struct Site {
    catalog: Catalog,
    /// The content of the disk, as it is published and as the compressed one contains it.
    qcow2: Vec<u8>,
    raw: Vec<u8>,
}

impl Site {
    fn start() -> Self {
        let site = Self { catalog: Catalog::empty(), qcow2: qcow2(1), raw: raw_disk() };
        fs::write(site.path("disk.qcow2"), &site.qcow2).expect("written");
        fs::write(site.path("disk.raw"), &site.raw).expect("written");
        let mut iso = vec![0; 1 << 16];
        iso[32769..32774].copy_from_slice(b"CD001");
        fs::write(site.path("disk.iso"), iso).expect("written");
        let compressed = Command::new("xz").args(["-k", "disk.raw"]).current_dir(&site.catalog.dir).status();
        assert!(compressed.expect("xz runs").success());
        for (image, file) in [("debian", "disk.qcow2"), ("appliance", "disk.raw.xz"), ("installer", "disk.iso")] {
            let publish = ["publish", image, "1", file, "--os", "debian", "--arch", "amd64", "--alias", "latest"];
            site.catalog.run(&publish);
        }
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.catalog.dir.path().join(name)
    }

    /// The commands for a program on the page of a version or alias.
    fn commands(&self, version: &str, program: &str) -> Vec<String> {
        let commands = commands_of(&self.catalog.page(&format!("/images/{version}/?for={program}")));
        assert!(!commands.is_empty(), "{version} {program}");
        commands
    }

    /// An empty folder, and the home of a person whose programs come from `stand_ins` first.
    fn person(&self, stand_ins: &[(&str, &str)]) -> Person {
        let folder = TempDir::new_in(&self.catalog.dir).expect("a folder");
        let person = Person { folder: folder.path().join("work"), _home: folder };
        for folder in [&person.folder, &person.programs()] {
            fs::create_dir(folder).expect("a folder");
        }
        for (name, script) in stand_ins {
            let program = person.programs().join(name);
            fs::write(&program, script).expect("written");
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
        }
        person
    }
}

struct Person {
    folder: PathBuf,
    _home: TempDir,
}

impl Person {
    fn programs(&self) -> PathBuf {
        self.folder.with_file_name("programs")
    }

    /// Pastes commands into a shell; returns whether all of them succeeded, and what they print.
    fn try_paste(&self, commands: &str) -> (bool, String) {
        let path = std::env::join_paths([self.programs(), "/usr/bin".into(), "/bin".into()]).expect("a path");
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", commands]).current_dir(&self.folder);
        shell.env("PATH", path).env("HOME", self.folder.with_file_name("home"));
        // The driver of libvirt for tests, which needs no daemon.
        shell.env("LIBVIRT_DEFAULT_URI", "test:///default").env("CHECKPOINT_DISABLE", "1");
        let output = shell.output().expect("bash runs");
        let shown = [&output.stdout[..], &output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&shown).into_owned())
    }

    fn paste(&self, commands: &str) -> String {
        let (succeeded, shown) = self.try_paste(commands);
        assert!(succeeded, "{commands}\n{shown}");
        shown
    }

    fn has(&self, name: &str, content: &[u8]) -> bool {
        fs::read(self.folder.join(name)).is_ok_and(|found| found == content)
    }
}

/// What a URL has.
fn bytes(url: &str) -> Vec<u8> {
    ureq::get(url).call().expect(url).body_mut().read_to_vec().expect("a body")
}

/// A raw disk with a partition table.
fn raw_disk() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect();
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    bytes
}

#[test]
fn curl_and_wget_download_and_verify() {
    let site = Site::start();
    for (version, name) in [("debian/1", "debian-1-amd64.qcow2"), ("debian/latest", "debian-amd64.qcow2")] {
        let [curl, wget, verify, verify_all] = &site.commands(version, "curl")[..] else { panic!("four commands") };
        for download in [curl, wget] {
            let person = site.person(&[]);
            person.paste(download);
            assert!(person.has(name, &site.qcow2), "{download}");
            for verify in [verify, verify_all] {
                let shown = person.paste(verify);
                assert!(shown.contains(&format!("{name}: OK")), "{verify}: {shown}");
            }
            fs::write(person.folder.join(name), "damaged").expect("written");
            for verify in [verify, verify_all] {
                assert!(!person.try_paste(verify).0, "{verify}");
            }
        }
    }
}

#[test]
fn virt_install_accepts_a_downloaded_disk() {
    let site = Site::start();
    for (image, name, content) in [
        ("debian/1", "debian-1-amd64.qcow2", Some(&site.qcow2)),
        ("debian/latest", "debian-amd64.qcow2", Some(&site.qcow2)),
        ("appliance/1", "appliance-1-amd64.raw", Some(&site.raw)),
        ("installer/1", "installer-1-amd64.iso", None),
    ] {
        let [download, create] = &site.commands(image, "virt-install")[..] else { panic!("two commands") };
        let person = site.person(&[]);
        person.paste(download);
        assert!(content.is_none_or(|content| person.has(name, content)), "{download}");
        let xml = person.paste(&format!("{create} --dry-run --print-xml"));
        assert!(xml.contains(&format!("<source file=\"{}\"/>", person.folder.join(name).display())), "{xml}");
    }
    let [data, download, create] = &site.commands("debian/1", "cloud-init")[..] else { panic!("three commands") };
    let person = site.person(&[]);
    fs::write(person.folder.join("user-data"), data).expect("written");
    person.paste(download);
    let xml = person.paste(&format!("{create} --dry-run --print-xml"));
    assert!(xml.contains("debian-1-amd64.qcow2\"/>"), "{xml}");
}

#[test]
fn qemu_boots_a_layer_above_the_downloaded_disk() {
    let site = Site::start();
    for (image, name, content) in
        [("debian/latest", "debian-amd64.qcow2", &site.qcow2), ("appliance/1", "appliance-1-amd64.raw", &site.raw)]
    {
        let [download, boot] = &site.commands(image, "qemu")[..] else { panic!("two commands") };
        let person = site.person(&[("qemu-system-x86_64", QEMU)]);
        person.paste(download);
        let (succeeded, shown) = person.try_paste(boot);
        let arguments = fs::read_to_string(person.folder.join("qemu-arguments")).unwrap_or(shown);
        assert!(!succeeded && arguments.contains("-drive file=overlay.qcow2,if=virtio"), "{arguments}");
        let compared = person.paste(&format!("qemu-img compare {name} overlay.qcow2"));
        assert!(compared.contains("Images are identical") && person.has(name, content), "{compared}");
    }
}

#[test]
fn packer_downloads_and_verifies_the_disk_before_it_boots_it() {
    let site = Site::start();
    for image in ["debian/1", "debian/latest"] {
        let [template, plugin] = &site.commands(image, "packer")[..] else { panic!("two files") };
        assert!(plugin.contains("required_plugins"), "{plugin}");
        let person = site.person(&[("qemu-system-x86_64", QEMU)]);
        fs::write(person.folder.join("image.pkr.hcl"), template).expect("written");
        person.paste("packer validate image.pkr.hcl");
        let (_, shown) = person.try_paste("PACKER_CACHE_DIR=cache packer build -color=false image.pkr.hcl");
        assert!(shown.contains("Starting VM") && shown.contains("Qemu failed to start"), "{shown}");
        let cached =
            fs::read_dir(person.folder.join("cache")).expect("a folder").map(|entry| entry.expect("a file").path());
        let cached = cached.filter(|file| file.extension().is_some_and(|extension| extension == "iso"));
        let cached: Vec<_> = cached.map(|file| fs::read(file).expect("a file")).collect();
        assert!(cached == [site.qcow2.as_slice()], "{shown}");
        // A disk with another digest does not boot.
        if image == "debian/1" {
            let digest = template.split("sha256:").nth(1).and_then(|rest| rest.get(..64)).expect("a digest");
            let wrong = template.replace(digest, &"0".repeat(64));
            fs::write(person.folder.join("image.pkr.hcl"), wrong).expect("written");
            let (_, shown) = person.try_paste("PACKER_CACHE_DIR=other packer build -color=false image.pkr.hcl");
            assert!(!shown.contains("Starting VM"), "{shown}");
        }
    }
}

#[test]
fn systemd_downloads_and_verifies_a_disk() {
    let site = Site::start();
    for (version, url) in [("appliance/1", "appliance-1-amd64.raw.xz"), ("appliance/latest", "appliance-amd64.raw.xz")]
    {
        let [transfer, pull] = &site.commands(version, "sysupdate")[..] else { panic!("a file and a command") };
        assert!(pull.contains(url), "{pull}");
        let person = site.person(&[("machinectl", MACHINECTL)]);
        let shown = person.paste(pull);
        assert!(person.has("appliance.raw", &site.raw), "{shown}");
        // No Debian package contains systemd-sysupdate: it finds versions by the names in this list.
        let value = |key: &str| transfer.lines().find_map(|line| line.strip_prefix(key)).expect(key);
        let sums = String::from_utf8(bytes(&format!("{}SHA256SUMS", value("Path=")))).expect("text");
        let (before, after) = value("MatchPattern=").split_once("@v").expect("a pattern");
        assert!(sums.lines().any(|line| line.ends_with(&format!("  {before}1{after}"))), "{transfer}\n{sums}");
    }
}

#[test]
fn configurations_name_the_file_and_its_digest() {
    let site = Site::start();
    let digest = imgsrv_testkit::digest(&site.qcow2).trim_start_matches("sha256:").to_owned();
    for (version, is_pinned) in [("debian/1", true), ("debian/latest", false)] {
        for (program, has_digest) in [("terraform", true), ("proxmox", true), ("kubevirt", false)] {
            let configuration = site.commands(version, program).join("\n");
            let urls = configuration.split(['"', ' ']).filter(|word| word.starts_with("http://"));
            let mut files = 0;
            for url in urls {
                assert!(bytes(url) == site.qcow2, "{url}");
                files += 1;
            }
            assert!(files > 0, "{configuration}");
            assert_eq!(configuration.contains(&digest), is_pinned && has_digest, "{configuration}");
        }
    }
}
