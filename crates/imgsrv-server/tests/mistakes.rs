//! What people see when they make a mistake: each line of the table is run, and its error is in the snapshot.
//!
//! A line is assignments of variables, then arguments of `imgsrv`. `{url}` is a server with images and
//! `{tls}` one with a certificate of its own authority; `{other}` is a server that is none of imgsrv, with a status as its
//! path. To see a change of the snapshot: `cargo insta test --review -p imgsrv-server --test mistakes`.

use imgsrv_testkit::{Process, qcow2, token_with_roles, writer_token};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");

const MISTAKES: &[(&str, &str)] = &[
    // The command line.
    ("a misspelt command", "pubish debian 2 disk.qcow2"),
    ("a misspelt option", "publish debian 2 disk.qcow2 --alais latest"),
    ("missing arguments", "publish debian"),
    ("a misspelt verb", "images shwo debian"),
    ("missing arguments of an earlier form", "show"),
    ("a misspelt option of an earlier form", "versions debian --lifecycl all"),
    ("a wrong value of an earlier form", "--listen nowhere"),
    ("an option before the command", "--server {url} images list"),
    ("a group without a verb", "versions"),
    ("nothing to change", "images set debian"),
    ("a duration without a unit", "auth tokens create ci --expires-in 90"),
    ("an option for Incus alone", "publish debian 2 disk.qcow2 --release bookworm"),
    ("the same as JSON", "publish debian --json"),
    ("a number that is none", "retention set debian --newest many"),
    ("a number out of its range", "upload disk.qcow2 --parallel 100"),
    // The server.
    ("no server", "IMGSRV_URL= images list"),
    ("a URL without its scheme", "images list --server images.example.org"),
    ("a server that does not run", "images list --server http://127.0.0.1:1 --retry-for 0s"),
    ("the same as JSON", "images list --server http://127.0.0.1:1 --retry-for 0s --json"),
    ("a host that does not exist", "IMGSRV_TOKEN= images list --server http://images.invalid --retry-for 0s"),
    ("http on an HTTPS port", "IMGSRV_TOKEN= images list --server {tls-as-http}"),
    ("a token over http on an HTTPS port", "whoami --server {tls-as-http}"),
    ("https on an HTTP port", "images list --server {url-as-https}"),
    ("an authority that is not trusted", "images list --server {tls}"),
    ("another authority", "images list --server {tls} --ca-file other-ca.pem"),
    ("an authority that is no certificate", "images list --server {tls} --ca-file disk.qcow2"),
    ("an authority that does not exist", "images list --server {tls} --ca-file nothing.pem"),
    ("another web server", "images list --server {other}/404"),
    ("a web page", "images list --server {other}/200"),
    ("a redirect", "images list --server {other}/301"),
    ("a proxy without its server", "images list --server {other}/502 --retry-for 0s"),
    // Tokens.
    ("no token", "IMGSRV_TOKEN= publish debian 2 disk.qcow2"),
    ("a wrong token", "IMGSRV_TOKEN=wrong publish debian 2 disk.qcow2"),
    ("the same as JSON", "IMGSRV_TOKEN=wrong publish debian 2 disk.qcow2 --json"),
    ("a token file that does not exist", "IMGSRV_TOKEN= publish debian 2 disk.qcow2 --token-file nothing"),
    ("a token command that fails", "IMGSRV_TOKEN= publish debian 2 disk.qcow2 --token-command false"),
    ("GitHub's tokens elsewhere", "publish debian 2 disk.qcow2 --oidc-github"),
    ("a manager that publishes", "IMGSRV_TOKEN={manager} publish debian 2 disk.qcow2"),
    ("a publisher that manages", "auth principals list"),
    ("a login over plain HTTP", "login --server http://images.example.org"),
    ("a token over plain HTTP", "whoami --server http://images.example.org"),
    ("a login without a token", "IMGSRV_TOKEN= login"),
    ("a login with a wrong token", "IMGSRV_TOKEN=wrong login"),
    ("a wrong bootstrap token", "IMGSRV_BOOTSTRAP_TOKEN=wrong init"),
    ("a bootstrap token over http on an HTTPS port", "IMGSRV_BOOTSTRAP_TOKEN={manager} init --server {tls-as-http}"),
    // Files.
    ("a file that does not exist", "publish debian 2 nothing.qcow2"),
    ("a misspelt option of a file", "publish debian 2 disk.qcow2,arhc=amd64"),
    ("an option of a file without a value", "publish debian 2 disk.qcow2,arch"),
    ("a folder", "publish debian 2 data"),
    ("an empty file", "publish debian 2 empty.img"),
    ("an unknown architecture", "publish debian 2 disk.qcow2 --arch potato"),
    ("an unknown operating system", "publish debian 2 disk.qcow2 --os potato"),
    ("bytes in another format", "publish debian 2 notes.txt --format qcow2"),
    ("a disk that is declared as raw", "publish debian 2 disk.qcow2 --format raw"),
    ("an unknown format", "publish debian 2 notes.txt"),
    ("a disk with a backing file", "publish debian 2 overlay.qcow2"),
    ("a disk that was not copied completely", "publish debian 2 cut.qcow2"),
    ("an attachment that does not exist", "publish debian 2 disk.qcow2 --attach sbom.json=nothing"),
    ("an attachment of several files", "publish debian 2 disk.qcow2 other.qcow2 --attach sbom.json=notes.txt"),
    ("two files with one name", "publish debian 2 disk.qcow2 other.qcow2 --arch amd64"),
    ("a format that Incus does not boot", "publish debian 2 disk.img --arch amd64 --incus"),
    ("a private version of a public image", "IMGSRV_TOKEN={admin} publish debian 2 disk.qcow2 --arch amd64 --private"),
    // Names.
    ("an invalid image name", "publish Debian 2 disk.qcow2"),
    ("an invalid version name", "publish debian 2/1 disk.qcow2"),
    ("an alias like the version", "publish debian 2 disk.qcow2 --alias 2"),
    ("a version like an alias", "publish debian stable disk.qcow2"),
    ("an alias like a version", "publish debian 2 disk.qcow2 --alias 1"),
    ("other content of a published version", "publish debian 1 other.qcow2 --arch amd64"),
    // What does not exist, or cannot be.
    ("an image that does not exist", "download ubuntu"),
    ("an alias latest that does not exist", "download debian"),
    ("a version that does not exist", "versions show debian:7"),
    ("an architecture that does not exist", "download debian:1 --arch s390x"),
    ("several artifacts", "download debian/stable --arch x86_64"),
    ("an attachment that does not exist", "download debian:1 --variant default --attachment sbom.json"),
    ("a folder that cannot be written", "download debian:1 --variant default -o /proc/"),
    ("an alias of a missing version", "aliases set debian latest 7"),
    ("an alias that does not exist", "aliases delete debian latest"),
    ("a published version as a draft", "drafts delete debian 1"),
    ("an image with versions", "images delete debian"),
    ("a job that does not exist", "jobs show 0198c0de-0000-7000-8000-000000000000"),
    ("something else than a job", "jobs show debian"),
    // Retiring versions, and operating the server.
    ("a writer that retires", "versions deprecate debian:1 --reason old"),
    ("a version by its image alone", "IMGSRV_TOKEN={admin} versions remove debian --yes"),
    ("a version by an alias", "IMGSRV_TOKEN={admin} versions deprecate debian:stable --reason old"),
    ("no confirmation", "IMGSRV_TOKEN={admin} versions revoke debian:1 --reason broken"),
    ("aliases that would point to nothing", "IMGSRV_TOKEN={admin} versions revoke debian:1 --reason broken --yes"),
    ("a drain that is too short", "IMGSRV_TOKEN={admin} versions remove debian:1 --drain 1s --alias stable= --yes"),
    ("a date that is none", "IMGSRV_TOKEN={admin} versions deprecate debian:1 --reason old --end-of-life tomorrow"),
    ("a held version", "IMGSRV_TOKEN={admin} versions remove held:1 --yes"),
    ("a download of a revoked version", "download broken:1"),
    ("a download of an image whose versions are all revoked", "download broken"),
    ("a policy without a rule", "IMGSRV_TOKEN={admin} retention set debian"),
    ("a policy that keeps nothing", "IMGSRV_TOKEN={admin} retention set debian --remove-after 0d"),
    (
        "a policy that removes first",
        "IMGSRV_TOKEN={admin} retention set debian --newest 1 --deprecate-after 2d --remove-after 1d",
    ),
    ("a policy that does not exist", "IMGSRV_TOKEN={admin} retention show debian"),
    ("a digest that is not blocked", "IMGSRV_TOKEN={admin} blocked-digests delete {digest}"),
    ("a blob that does not exist", "IMGSRV_TOKEN={admin} gc --explain {digest}"),
    ("a writer that collects garbage", "gc"),
    ("a digest that is none", "IMGSRV_TOKEN={admin} gc --explain disk.qcow2"),
    // Management.
    ("a role that does not exist", "IMGSRV_TOKEN={manager} auth principals create ci --role root"),
    ("a principal that does not exist", "IMGSRV_TOKEN={manager} auth roles grant nobody content-writer"),
    ("a name that a principal has", "IMGSRV_TOKEN={manager} auth principals create twin"),
    ("a name of two principals", "IMGSRV_TOKEN={manager} auth tokens list twin"),
    ("the same role elsewhere", "IMGSRV_TOKEN={manager} auth roles grant twin root"),
    ("the same role of a token", "IMGSRV_TOKEN={manager} auth tokens create twin --role root"),
    ("images that are no pattern", "IMGSRV_TOKEN={manager} auth tokens create bootstrap --image DEBIAN"),
    ("a token that does not exist", "IMGSRV_TOKEN={manager} auth tokens revoke 0198c0de-0000-7000-8000-000000000000"),
    ("a rule that does not exist", "IMGSRV_TOKEN={manager} auth rules show github"),
    ("a rule with wrong fields", "IMGSRV_TOKEN={manager} auth rules set ci rule.json"),
    ("a rule that is no JSON", "IMGSRV_TOKEN={manager} auth rules set ci notes.txt"),
    ("the last manager", "IMGSRV_TOKEN={manager} auth principals deactivate bootstrap"),
    ("an action that does not exist", "IMGSRV_TOKEN={manager} auth audit list --action nope"),
    ("a token that is none", "admin tokens revoke nonsense"),
    ("an operator without a catalog", "admin tokens list --data-dir nothing"),
    ("the same as JSON", "admin tokens list --data-dir nothing --json"),
    ("a check without a catalog", "admin fsck --data-dir nothing"),
    ("a hold of a version that does not exist", "admin release-hold debian:7 --data-dir data"),
    ("a backup that does not exist", "admin export nothing --verify"),
    // The server's own settings.
    ("a bad setting", "serve --listen nowhere"),
    ("a data folder in use", "serve --data-dir data --listen 127.0.0.1:0 --metrics-listen="),
];

/// A folder with files, and what the placeholders stand for.
struct Scene {
    dir: TempDir,
    placeholders: Vec<(&'static str, String)>,
    token: String,
    _servers: [Process; 2],
}

impl Scene {
    fn new() -> Self {
        let dir = TempDir::new().expect("a scratch folder");
        let path = |name: &str| dir.path().join(name);
        let write = |name: &str, bytes: &[u8]| std::fs::write(path(name), bytes).expect("a file");
        write("disk.qcow2", &qcow2(1));
        write("other.qcow2", &qcow2(2));
        write("empty.img", b"");
        write("disk.img", b"a disk without a partition table");
        write("notes.txt", b"not a disk");
        let mut overlay = qcow2(3);
        // The name of a backing file, after the header.
        overlay[8..16].copy_from_slice(&512_u64.to_be_bytes());
        overlay[16..20].copy_from_slice(&4_u32.to_be_bytes());
        overlay[512..516].copy_from_slice(b"base");
        write("overlay.qcow2", &overlay);
        write("cut.qcow2", &qcow2(4)[..70_000]);
        write(
            "rule.json",
            br#"{"display_name": "CI", "issuer_url": "x", "audience": "a", "forwarded_claims": [], "condition": "true"}"#,
        );
        let server = Process::start(BINARY, &path("data"), &[]);
        let tls = Process::start(BINARY, &path("tls"), &["--tls-self-signed"]);
        let other = Process::start(BINARY, &path("other"), &["--tls-self-signed"]);
        std::fs::copy(path("other/tls/ca.crt"), path("other-ca.pem")).expect("an authority");
        drop(other);
        let manager = server.bootstrap.clone().expect("a bootstrap token");
        let token = writer_token(&server.url, &manager);
        let placeholders = vec![
            ("{tls-as-http}", tls.url.clone()),
            ("{url-as-https}", server.url.replace("http:", "https:")),
            ("{tls}", tls.url.replace("http:", "https:")),
            ("{url}", server.url.clone()),
            ("{other}", other_server()),
            ("{digest}", format!("sha256:{}", "0".repeat(64))),
            ("{admin}", token_with_roles(&server.url, &manager, &["content-writer", "content-admin", "operator"])),
            ("{manager}", manager),
        ];
        let scene = Self { dir, placeholders, token, _servers: [server, tls] };
        for line in [
            "publish debian 1 disk.qcow2,arch=amd64 other.qcow2,arch=amd64,variant=cloud --alias stable",
            "publish held 1 disk.qcow2 --arch amd64",
            "IMGSRV_TOKEN={admin} versions hold held:1 --reason audit",
            "publish broken 1 disk.qcow2 --arch amd64",
            "IMGSRV_TOKEN={admin} versions revoke broken:1 --reason defective --yes",
            "IMGSRV_TOKEN={manager} auth principals create twin",
            "IMGSRV_TOKEN={manager} auth principals create twin --force",
        ] {
            let output = scene.run(line);
            assert!(output.ends_with("exit code 0\n"), "{line}: {output}");
        }
        scene
    }

    /// What a line prints to standard error, and its exit code.
    fn run(&self, line: &str) -> String {
        let fill = |word: &str| {
            self.placeholders.iter().fold(word.to_owned(), |word, (name, value)| word.replace(name, value))
        };
        let mut words = line.split_whitespace().map(fill).peekable();
        let mut command = Command::new(BINARY);
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("XDG_CONFIG_HOME", self.dir.path().join("config"))
            .env("PATH", "/usr/bin:/bin")
            .env("IMGSRV_TOKEN", &self.token)
            .env("IMGSRV_URL", fill("{url}"))
            .stdin(Stdio::null());
        while let Some(assignment) = words.next_if(|word| word.starts_with("IMGSRV_")) {
            let (name, value) = assignment.split_once('=').expect("an assignment");
            command.env(name, value);
        }
        let output = command.args(words).output().expect("it runs");
        let shown =
            format!("{}exit code {}\n", String::from_utf8_lossy(&output.stderr), output.status.code().unwrap_or(-1));
        assert!(!shown.contains('\u{1b}'), "no colours without a terminal: {shown}");
        self.normalised(shown)
    }

    /// The output with what differs between runs replaced by names.
    fn normalised(&self, output: String) -> String {
        // The order of members depends on the features of other tests.
        let sorted = |line: &str| match serde_json::from_str::<BTreeMap<String, serde_json::Value>>(line) {
            Ok(object) => serde_json::to_string(&object).expect("JSON"),
            Err(_) => line.to_owned(),
        };
        let mut output = output.split('\n').map(sorted).collect::<Vec<_>>().join("\n");
        for (name, value) in &self.placeholders {
            output = output.replace(value, name.trim_matches(['{', '}']));
        }
        output = output.replace(&self.dir.path().display().to_string(), "DIR");
        output = output.replace("the certificate of tls", "the certificate of https://tls");
        for (prefix, length, shown) in [("sha256:", 64, "DIGEST"), ("\"instance\":\"", 36, "ID"), ("\n  0", 35, "ID")] {
            let mut from = 0;
            while let Some(at) = output[from..].find(prefix).map(|at| from + at) {
                let (start, end) = (at + prefix.len(), at + prefix.len() + length);
                let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
                if output.get(start..end).is_some_and(is_hex) {
                    output.replace_range(start..end, shown);
                }
                from = start;
            }
        }
        output
    }
}

/// A server that is none of imgsrv: it answers with the status that its path begins with.
fn other_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let reader = BufReader::new(stream.try_clone().expect("a handle"));
            let head: Vec<String> = reader.lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let status = head.first().and_then(|line| line.split(['/', ' ']).nth(2)).unwrap_or("404").to_owned();
            let response = format!(
                "HTTP/1.1 {status} x\r\nlocation: https://elsewhere.example\r\ncontent-type: text/html\r\n\
                 content-length: 6\r\nconnection: close\r\n\r\n<html>"
            );
            let _ = stream.write_all(response.as_bytes());
        }
    });
    url
}

#[test]
fn every_mistake_has_a_clear_error() {
    let scene = Scene::new();
    let mut shown = String::new();
    for (what, line) in MISTAKES {
        let (settings, arguments): (Vec<&str>, Vec<&str>) =
            line.split_whitespace().partition(|word| word.starts_with("IMGSRV_") && word.contains('='));
        let typed = [settings, vec!["imgsrv"], arguments].concat().join(" ");
        shown += &format!("# {what}\n$ {typed}\n{}\n", scene.run(line));
    }
    insta::with_settings!({ snapshot_path => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots"), prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("mistakes", shown);
    });
    let failures = shown.lines().filter(|line| line.starts_with("exit code ")).count();
    let successes = shown.lines().filter(|line| *line == "exit code 0").count();
    assert_eq!((failures, successes), (MISTAKES.len(), 0));
}
