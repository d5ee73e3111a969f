//! What the commands print to a terminal: colours, widths, and no binary data.

use crate::fixture::{BINARY, Fixture};
use imgsrv_testkit::token_with_roles;
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use std::{
    ffi::OsStr,
    fs::File,
    io::{BufRead, BufReader, Read},
    os::unix::ffi::OsStrExt,
    process::{Child, Command, ExitStatus, Stdio},
};

/// Starts a command with a terminal as its input and output; returns it and what it writes to.
fn start_on_terminal(command: &mut Command, columns: u16) -> (Child, File) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&terminal).expect("granted");
    unlockpt(&terminal).expect("unlocked");
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).expect("a size");
    let name = ptsname(&terminal, Vec::new()).expect("its name");
    let inner = File::options().read(true).write(true).open(OsStr::from_bytes(name.as_bytes())).expect("it opens");
    let handle = || inner.try_clone().expect("a handle");
    command.env("TERM", "xterm-256color").stdin(handle()).stdout(handle()).stderr(handle());
    let child = command.spawn().expect("it runs");
    // Reading ends when the last handle of this side is closed, and the command has three.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    drop(inner);
    (child, File::from(terminal))
}

/// Runs a command with a terminal as its input and output; returns its exit status and what the terminal got.
fn on_terminal(mut command: Command, columns: u16) -> (ExitStatus, String) {
    let (mut child, mut terminal) = start_on_terminal(&mut command, columns);
    let mut shown = Vec::new();
    // Linux reports the end as an error.
    let _ = terminal.read_to_end(&mut shown);
    (child.wait().expect("it ends"), String::from_utf8_lossy(&shown).into_owned())
}

#[test]
fn no_color_turns_colours_off() {
    let fixture = Fixture::start();
    let data = fixture.path("data").display().to_string();
    for arguments in [&["nonsense"][..], &["--help"], &["admin", "bootstrap", "--data-dir", &data]] {
        let run = |no_color: Option<&str>| {
            let mut command = Command::new(BINARY);
            command.args(arguments).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env_remove("RUST_LOG");
            if let Some(value) = no_color {
                command.env("NO_COLOR", value);
            }
            on_terminal(command, 80).1
        };
        let (coloured, plain) = (run(None), run(Some("1")));
        assert!(coloured.contains('\u{1b}'), "{arguments:?}: {coloured:?}");
        assert!(!plain.is_empty() && !plain.contains('\u{1b}'), "{arguments:?}: {plain:?}");
        assert!(run(Some("")).contains('\u{1b}'), "{arguments:?}: an empty value does not count");
    }
}

#[test]
fn a_terminal_gets_no_binary_data() {
    let fixture = Fixture::start();
    fixture.disk("disk.qcow2", 1);
    std::fs::write(fixture.path("sbom.json"), "{\"spdxVersion\": \"SPDX-2.3\"}").expect("a file");
    let publish = ["publish", "debian", "1", "disk.qcow2", "--attach", "sbom.json=sbom.json", "--alias", "latest"];
    assert_eq!(fixture.run(&publish).code, Some(0));
    let (status, shown) = on_terminal(fixture.command(&["download", "debian", "-o", "-"]), 120);
    assert_eq!(status.code(), Some(2), "{shown}");
    assert!(shown.contains("is not text, and standard output is a terminal"), "{shown}");
    assert!(shown.contains("Redirect it to a file or a program, or use -o FILE."), "{shown}");
    let attachment = ["download", "debian", "-o", "-", "--quiet", "--attachment", "sbom.json"];
    let (status, shown) = on_terminal(fixture.command(&attachment), 120);
    assert!(status.success() && shown.contains("spdxVersion"), "text is shown: {shown}");
}

#[test]
fn a_server_with_its_own_authority_says_how_to_log_in() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().canonicalize().expect("a path");
    let serve = |more: &[&str]| {
        let mut command = Command::new(BINARY);
        command.args(["serve", "--data-dir", "data", "--listen", "127.0.0.1:0", "--metrics-listen="]).args(more);
        let (mut child, terminal) = start_on_terminal(command.current_dir(&folder).env_remove("RUST_LOG"), 300);
        let lines = BufReader::new(terminal).lines().map_while(Result::ok);
        let mut said = String::new();
        for line in lines {
            said += &line;
            if line.contains("imgsrv init") || line.contains("/docs") {
                break;
            }
        }
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
        child.wait().expect("it ends");
        said
    };
    let authority = folder.join("data/tls/ca.crt").display().to_string();
    let first = serve(&["--tls-self-signed"]);
    assert!(first.contains("imgsrv init --server https://127.0.0.1:"), "{first}");
    assert!(first.contains(&format!(" --ca-file {authority}")), "{first}");
    // The same folder, where somebody can manage authentication.
    std::fs::remove_file(folder.join("data/bootstrap-token")).ok();
    let plain = serve(&[]);
    assert!(plain.contains("--server http://127.0.0.1:") && !plain.contains("--ca-file"), "{plain}");
}

#[test]
fn tables_fit_a_terminal_of_80_columns() {
    let fixture = Fixture::start();
    let (image, version) = ("debian-with-a-long-name", "2026.11.28-nightly-build.1234567890");
    let names = ["disk-1.qcow2", "disk-2.qcow2"];
    for (name, salt) in names.into_iter().zip(1..) {
        fixture.disk(name, salt);
    }
    let files = names.map(|name| format!("{name},arch=amd64,variant=rather-long-variant-{}", &name[5..6]));
    let long = "A display name that takes more than half of the columns of a terminal";
    let publish = ["publish", image, version, &files[0], &files[1], "--alias", "latest-nightly-build"];
    assert_eq!(fixture.run(&[&publish[..], &["--display-name", long]].concat()).code, Some(0));
    let reference = format!("{image}:{version}");
    for arguments in [
        &["images", "list"][..],
        &["versions", "list", image],
        &["aliases", "list", image],
        &["drafts", "list"],
        &["jobs", "list"],
    ] {
        let (_, shown) = on_terminal(fixture.command(arguments), 80);
        let widest = shown.lines().map(|line| line.trim_end().chars().count()).max();
        assert!(widest.is_some_and(|widest| widest <= 80), "{arguments:?}:\n{shown}");
        let (_, wide) = on_terminal(fixture.command(arguments), 200);
        assert!(wide.len() >= shown.len(), "{arguments:?}:\n{wide}");
    }
    // Sentences are broken between words, for people only.
    let unknown = ["publish", image, "2", "disk-1.qcow2", "--os", "potato"];
    let (_, shown) = on_terminal(fixture.command(&unknown), 80);
    let widest = shown.lines().map(|line| line.trim_end().chars().count()).max();
    assert!(widest.is_some_and(|widest| widest <= 80), "{shown}");
    let piped = fixture.run(&unknown).err;
    assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), piped.split_whitespace().collect::<Vec<_>>());
    assert!(piped.lines().any(|line| line.chars().count() > 80), "{piped}");
    // Options to copy are not cut.
    let (_, shown) = on_terminal(fixture.command(&["download", &reference]), 80);
    let choices = shown.lines().map(str::trim_end).filter(|line| line.trim_start().starts_with("--"));
    let widths: Vec<usize> = choices.map(|line| line.chars().count()).collect();
    assert!(widths.len() == 2 && widths.iter().all(|width| *width <= 80), "{shown}");
}

#[test]
fn narrow_tables_keep_what_people_look_for() {
    let mut fixture = Fixture::start();
    let manager = fixture.server.bootstrap.clone().expect("a bootstrap token");
    let roles = ["auditor", "auth-manager", "content-admin", "content-reader", "content-writer", "operator"];
    fixture.token = token_with_roles(&fixture.server.url, &manager, &roles);
    fixture.disk("disk.qcow2", 1);
    let run = |line: &[&str]| {
        let done = fixture.run(line);
        assert_eq!(done.code, Some(0), "{line:?}: {done:?}");
        done.out.trim().to_owned()
    };
    let builder = run(&["auth", "principals", "create", "image builder", "--role", "content-writer"]);
    run(&["auth", "tokens", "create", "image builder", "--name", "nightly pipeline", "--role", "content-writer"]);
    let listed = fixture.run(&["auth", "tokens", "list", "image builder", "--json"]).json();
    let token = listed["api_tokens"][0]["id"].as_str().expect("an id").to_owned();
    run(&["publish", "debian", "1", "disk.qcow2", "--arch", "amd64"]);
    run(&["versions", "remove", "debian:1", "--purge", "--reason", "it has a private key of the build host", "--yes"]);
    let digest = fixture.disk("disk.qcow2", 1);
    let tables: &[(&[&str], &[&str])] = &[
        (&["auth", "principals", "list"], &["image builder", "service", "content-writer", "active"]),
        (&["auth", "tokens", "list", "image builder"], &[&token, "nightly pipeline (content-writer)", "20"]),
        (&["auth", "roles", "list"], &["content-admin", "content.retire"]),
        (&["auth", "audit"], &["principal.created", &builder, "image builder", "20"]),
        (&["blocked-digests", "list"], &[&digest, "debian:1", "it has a private key of the build host"]),
        (&["nodes", "list"], &["live", "ingest"]),
    ];
    for (arguments, parts) in tables {
        let (_, shown) = on_terminal(fixture.command(arguments), 80);
        let widest = shown.lines().map(|line| line.trim_end().chars().count()).max();
        assert!(widest.is_some_and(|widest| widest <= 80), "{arguments:?}:\n{shown}");
        assert!(!shown.contains('…'), "{arguments:?}:\n{shown}");
        let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in *parts {
            assert!(words.contains(part), "no {part:?} for {arguments:?}:\n{shown}");
        }
    }
}
