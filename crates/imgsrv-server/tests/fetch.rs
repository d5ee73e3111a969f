//! Programs that people download images with, against the real binary.

use imgsrv_testkit::{Process, qcow2, writer_token};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");
const SYSTEMD_PULL: &str = "/usr/lib/systemd/systemd-pull";
const MIB: usize = 1 << 20;

/// A server, and a folder to which programs download.
struct Site {
    server: Process,
    token: String,
    dir: TempDir,
}

impl Site {
    fn start() -> Self {
        let dir = TempDir::new().expect("a scratch folder");
        let server = Process::start(BINARY, &dir.path().join("data"), &[]);
        let token = writer_token(&server.url, server.bootstrap.as_deref().expect("a bootstrap token"));
        Self { server, token, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/images/{path}", self.server.url)
    }

    /// Runs a program in the folder.
    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.dir).stdin(Stdio::null());
        let credentials = [("IMGSRV_URL", &self.server.url), ("IMGSRV_TOKEN", &self.token)];
        if program == BINARY {
            command.envs(credentials);
        }
        command.output().unwrap_or_else(|error| panic!("{program} does not run: {error}"))
    }

    /// Runs a program that succeeds; returns its output.
    fn succeed(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.run(program, arguments);
        let shown = [&output.stdout[..], &output.stderr].concat();
        let shown = String::from_utf8_lossy(&shown).into_owned();
        assert!(output.status.success(), "{program} {arguments:?}: {shown}\n{}", self.server.log());
        shown
    }

    /// Publishes `bytes` as a version that `latest` points to. Files to attach are in the folder, under their names.
    fn publish(&self, version: &str, file: &str, bytes: &[u8], attachments: &[&str]) {
        std::fs::write(self.path(file), bytes).expect("a file");
        let mut arguments = vec!["publish", "os", version, file, "--arch", "amd64", "--alias", "latest"];
        let attached: Vec<_> = attachments.iter().map(|name| format!("{name}={name}")).collect();
        arguments.extend(attached.iter().flat_map(|attached| ["--attach", attached.as_str()]));
        self.succeed(BINARY, &arguments);
        std::fs::remove_file(self.path(file)).expect("removed");
    }

    /// Points `latest` to a version.
    fn point(&self, version: &str) {
        let set = ureq::put(format!("{}/v1/images/os/aliases/latest", self.server.url))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .send(json!({"version": version}).to_string());
        assert_eq!(set.expect("a response").status(), 200);
    }

    /// The number of responses with this status so far, to requests for files whose name ends so.
    fn responses(&self, status: u16, name: &str) -> usize {
        let (path, status) = (format!("{name}\" "), format!("http.status={status} "));
        self.server.log().lines().filter(|line| line.contains(&path) && line.contains(&status)).count()
    }

    fn has(&self, name: &str, bytes: &[u8]) -> bool {
        std::fs::read(self.path(name)).is_ok_and(|downloaded| downloaded == bytes)
    }

    /// Runs a program until the file has these bytes. A move within a second of the previous one is seen when that second
    /// is over, because HTTP has dates in seconds.
    fn download_until(&self, program: &str, arguments: &[&str], name: &str, bytes: &[u8]) {
        let until = Instant::now() + Duration::from_secs(30);
        while !self.has(name, bytes) {
            let shown = self.succeed(program, arguments);
            assert!(Instant::now() < until, "{program}: {shown}\n{}", self.server.log());
        }
    }

    /// A program downloads the file of `latest` again after every move, and only then.
    fn follows_moves(&self, program: &str, arguments: &[&str]) {
        let (first, second) = (qcow2(1), qcow2(2));
        self.publish("1", "first.qcow2", &first, &[]);
        self.publish("2", "second.qcow2", &second, &[]);
        let name = "os-amd64.qcow2";
        let url = self.url(&format!("os/latest/{name}"));
        let arguments = [arguments, &[url.as_str()]].concat();
        for (version, bytes) in [("2", &second), ("1", &first), ("2", &second)] {
            self.point(version);
            self.download_until(program, &arguments, name, bytes);
            // The date of the last download may be of the second of the move before.
            let before = self.responses(304, name);
            let until = Instant::now() + Duration::from_secs(30);
            while self.responses(304, name) <= before {
                self.succeed(program, &arguments);
                assert!(Instant::now() < until, "{}", self.server.log());
            }
            assert!(self.has(name, bytes), "{program} {version}");
        }
    }
}

/// A raw disk with a partition table, no two blocks of which are the same.
fn raw_disk(size: usize) -> Vec<u8> {
    let next = |state: &u64| {
        let mixed = (state ^ (state << 13)) ^ ((state ^ (state << 13)) >> 7);
        Some(mixed ^ (mixed << 17))
    };
    let words = std::iter::successors(Some(0x9e37_79b9_7f4a_7c15), next);
    let mut bytes: Vec<u8> = words.take(size / 8).flat_map(u64::to_le_bytes).collect();
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    bytes
}

#[test]
fn wget_downloads_again_only_after_a_move() {
    Site::start().follows_moves("wget", &["--no-verbose", "--timestamping"]);
}

#[test]
fn curl_downloads_again_only_after_a_move() {
    let name = "os-amd64.qcow2";
    Site::start().follows_moves("curl", &["-sSf", "-R", "-o", name, "-z", name]);
}

#[test]
fn aria2_downloads_again_only_after_a_move() {
    Site::start().follows_moves("aria2c", &["--quiet", "--conditional-get=true", "--allow-overwrite=true"]);
}

#[test]
fn downloads_are_resumed_and_complete_files_are_left_alone() {
    let site = Site::start();
    let bytes = qcow2(1);
    site.publish("1", "disk.qcow2", &bytes, &[]);
    let (name, url) = ("os-1-amd64.qcow2", site.url("os/1/os-1-amd64.qcow2"));
    let curl = ["-sS", "-C", "-", "-o", name, "-w", "%{http_code}", &url];
    let wget = ["--no-verbose", "--continue", &url];
    for (program, arguments, complete) in [("curl", &curl[..], "416"), ("wget", &wget, "")] {
        std::fs::write(site.path(name), &bytes[..1000]).expect("a part of the file");
        site.succeed(program, arguments);
        assert!(site.has(name, &bytes), "{program}");
        let (partial, refused) = (site.responses(206, name), site.responses(416, name));
        assert_eq!(site.succeed(program, arguments), complete, "{program}");
        assert!(site.has(name, &bytes), "{program}");
        assert_eq!((site.responses(206, name), site.responses(416, name)), (partial, refused + 1), "{program}");
    }
    // Not every version of curl exits with 0, but none adds the problem to the file.
    let failing = site.run("curl", &[&["-f"], &curl[..]].concat());
    assert!(matches!(failing.status.code(), Some(0 | 22)), "{failing:?}");
    assert!(site.has(name, &bytes));
}

#[test]
fn aria2_downloads_over_several_connections() {
    let site = Site::start();
    let bytes = raw_disk(16 * MIB);
    site.publish("1", "disk.raw", &bytes, &[]);
    let (name, url) = ("os-1-amd64.raw", site.url("os/1/os-1-amd64.raw"));
    site.succeed("aria2c", &["--quiet", "-x4", "-s4", "--min-split-size=1M", &url]);
    assert!(site.has(name, &bytes));
    assert!(site.responses(206, name) >= 3, "{}", site.server.log());
}

#[test]
fn zsync_downloads_only_the_blocks_that_differ() {
    let site = Site::start();
    let bytes = raw_disk(8 * MIB);
    let mut old = bytes.clone();
    // More ranges than one request of zsync has.
    for at in 0..60 {
        let at = at * 128 * 1024;
        old[at..at + 5000].fill(0);
    }
    std::fs::write(site.path("os-1-amd64.raw"), &bytes).expect("a file");
    site.succeed("zsyncmake", &["-u", "os-1-amd64.raw", "-o", "zsync", "os-1-amd64.raw"]);
    std::fs::remove_file(site.path("os-1-amd64.raw")).expect("removed");
    site.publish("1", "disk.raw", &bytes, &["zsync"]);
    std::fs::write(site.path("old.raw"), &old).expect("a file");
    let control = site.url("os/1/os-1-amd64.raw.zsync");
    let shown = site.succeed("zsync", &["-q", "-i", "old.raw", "-o", "new.raw", &control]);
    assert!(site.has("new.raw", &bytes), "{shown}\n{}", site.server.log());
    let name = "os-1-amd64.raw";
    assert_eq!(site.responses(200, name), 0, "{shown}\n{}", site.server.log());
    // Up to 20 ranges at once.
    assert!((3..20).contains(&site.responses(206, name)), "{shown}\n{}", site.server.log());
}

#[test]
fn systemd_pull_verifies_a_disk_and_the_files_next_to_it() {
    let site = Site::start();
    let bytes = raw_disk(MIB);
    std::fs::write(site.path("disk.raw"), &bytes).expect("a file");
    site.succeed("xz", &["-k", "disk.raw"]);
    let compressed = std::fs::read(site.path("disk.raw.xz")).expect("a file");
    let hash = "0f".repeat(32);
    let attachments = [("nspawn", "[Exec]\nBoot=yes\n"), ("roothash", &hash), ("verity", "a hash tree")];
    for (name, content) in attachments {
        std::fs::write(site.path(name), content).expect("a file");
    }
    site.publish("1", "disk.raw.xz", &compressed, &attachments.map(|(name, _)| name));
    for (folder, file) in [("1", "os-1-amd64.raw.xz"), ("latest", "os-amd64.raw.xz"), ("latest", "os-x86_64.raw.xz")] {
        let root = site.path(&format!("machines-{file}"));
        std::fs::create_dir(&root).expect("a folder");
        let (url, shown) = (site.url(&format!("os/{folder}/{file}")), root.display().to_string());
        let arguments = ["raw", "--verify=checksum", "--image-root", &shown, &url, "machine"];
        let log = site.succeed(SYSTEMD_PULL, &arguments);
        let read = |suffix: &str| std::fs::read(Path::new(&root).join(format!("machine.{suffix}"))).unwrap_or_default();
        assert!(read("raw") == bytes, "{file}: {log}");
        for (name, content) in attachments {
            assert_eq!(String::from_utf8_lossy(&read(name)), content, "{file}: {log}");
        }
    }
}

#[test]
fn qemu_reads_a_disk_over_http() {
    let site = Site::start();
    std::fs::write(site.path("content.raw"), raw_disk(4 * MIB)).expect("a file");
    site.succeed("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", "content.raw", "content.qcow2"]);
    let bytes = std::fs::read(site.path("content.qcow2")).expect("a file");
    site.publish("1", "disk.qcow2", &bytes, &[]);
    let url = site.url("os/latest/os-amd64.qcow2");
    let info = site.succeed("qemu-img", &["info", "--output=json", &url]);
    assert!(info.contains("\"format\": \"qcow2\"") && info.contains("\"virtual-size\": 4194304"), "{info}");
    let compared = site.succeed("qemu-img", &["compare", "-f", "raw", "-F", "qcow2", "content.raw", &url]);
    assert!(compared.contains("Images are identical"), "{compared}");
}

#[test]
fn a_request_needs_a_host_and_its_repeated_slashes_are_folded() {
    let site = Site::start();
    let bytes = qcow2(1);
    site.publish("1", "disk.qcow2", &bytes, &[]);
    let url = site.url("os//1///os-1-amd64.qcow2");
    let status = |arguments: &[&str]| {
        let arguments = [&["-sS", "--path-as-is", "-o", "response", "-w", "%{http_code}"], arguments, &[url.as_str()]];
        site.succeed("curl", &arguments.concat())
    };
    assert_eq!(status(&["-H", "Host:"]), "400");
    let problem = std::fs::read_to_string(site.path("response")).expect("a problem");
    assert!(
        problem.contains("urn:imgsrv:problem:invalid-request") && problem.contains("Host: is required"),
        "{problem}"
    );
    assert_eq!(status(&["--http1.0", "-H", "Host:"]), "200");
    assert_eq!(status(&["--http2-prior-knowledge"]), "200");
    assert_eq!(status(&[]), "200");
    assert!(site.has("response", &bytes));
    assert_eq!(site.responses(200, "/images/os/1/os-1-amd64.qcow2"), 3, "{}", site.server.log());
    let metrics = ureq::get(&site.server.metrics).call().expect("metrics").into_body().read_to_string().expect("text");
    assert!(metrics.contains("http_route=\"/images/{name}/{ref}/{file}\""), "{metrics}");
}
