//! The commands in the documentation: all shell blocks of a page run in order, in one shell, against the real binary.

use imgsrv_testkit::{
    Process,
    services::{Postgres, S3},
};
use std::{io::Write, path::Path, process::Command};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");

/// The `bash` blocks of a page; `console` blocks are not run.
fn shell(page: &str) -> String {
    let blocks = page.split("```bash\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    blocks.collect::<Vec<_>>().join("\n")
}

/// Runs a page with the server's URL in the variable `IMGSRV` and its bootstrap token in `token`; returns the output.
fn run(page: &str, token: &str, least_commands: usize, arguments: &[&str]) -> String {
    run_with(page, token, least_commands, arguments, &[])
}

/// The same, with more variables.
fn run_with(
    page: &str,
    token: &str,
    least_commands: usize,
    arguments: &[&str],
    variables: &[(&str, String)],
) -> String {
    let (data, work) = (TempDir::new().expect("a folder"), TempDir::new().expect("a folder"));
    let server = Process::start(BINARY, data.path(), arguments);
    let scheme = if arguments.is_empty() { "http" } else { "https" };
    let script = format!("set -euo pipefail\n{}\n", shell(page));
    let commands = ["curl", "api ", "imgsrv ", "incus "].iter().map(|word| script.matches(word).count()).sum::<usize>();
    assert!(commands > least_commands, "the page lacks commands");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(script.as_bytes()).expect("written");
    let programs = Path::new(BINARY).parent().expect("a folder").display();
    let output = Command::new("bash")
        .args(["-c", &format!("PATH={programs}:$PATH exec bash \"$1\""), "page"])
        .arg(file.path())
        .current_dir(work.path())
        .env("HOME", work.path())
        .env("IMGSRV", server.url.replace("http", scheme))
        .env("IMGSRV_DATA_DIR", data.path())
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .env(token, server.bootstrap.as_deref().expect("a token"))
        .output()
        .expect("bash runs");
    let shown = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{shown}");
    shown
}

#[test]
fn every_command_of_the_tutorial_runs() {
    let shown = run(include_str!("../../../docs/src/tutorial.md"), "BOOTSTRAP_TOKEN", 12, &[]);
    for line in [
        "imgsrv is up",
        "may: audit.read, auth.manage, content.read, content.retire, content.write, system.operate, system.read",
        "tutorial 0.1.0 is published",
        "sbom.json",
        "the bytes match",
        "tutorial-amd64.qcow2: OK",
    ] {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
}

#[test]
fn every_command_on_publishing_with_curl_runs() {
    let shown = run(include_str!("../../../docs/src/how-to/publish-with-curl.md"), "BOOTSTRAP_TOKEN", 15, &[]);
    for line in ["imgsrv is up", "the upload is ready", "publish job: succeeded", "the bytes match"] {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
}

#[test]
fn every_command_on_publishing_in_one_command_runs() {
    let pages = [
        include_str!("../../../docs/src/how-to/publish.md"),
        include_str!("../../../docs/src/how-to/upload-with-tus.md"),
    ];
    let shown = run(&pages.join("\n"), "MANAGER", 25, &[]);
    for line in [
        "may: content.read, content.write",
        "debian 12.5.0 is published",
        "debian 12.6.0 was published before, with the same content",
        "Published versions never change",
        "spdxVersion",
        "second 1 is published",
        "fedora 40 is published",
    ] {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
}

#[test]
fn every_command_on_retiring_versions_runs() {
    let shown = run(include_str!("../../../docs/src/how-to/retire.md"), "MANAGER", 14, &[]);
    for line in [
        "may: content.read, content.retire, content.write",
        "debian:12.4.0 is deprecated",
        "debian:12.6.0 is revoked",
        "exit code 3",
        "debian 12.5.0: published",
        "debian:12.6.0 is active",
        "removed, available until",
        "imgsrv: version debian/12.4.0: the version is held: Audit 2026",
        "held until",
    ] {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
}

#[test]
fn every_command_on_authentication_runs() {
    let shown = run(include_str!("../../../docs/src/how-to/manage-authentication.md"), "MANAGER", 20, &[]);
    for line in [
        "\"method\": \"api_token\"",
        "github-images",
        "\"applied\": true",
        "principal.activated",
        "\"image builder\": no roles",
        "./builder-token:imgsrv_at_",
        "builder-token has a real token",
        "this is an example",
        "revoked token",
        "imgsrv bootstrap token (one-time): ",
    ] {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
}

#[test]
fn every_command_on_images_of_repositories_runs() {
    let shown = run(include_str!("../../../docs/src/how-to/repository-images.md"), "MANAGER", 6, &[]);
    for line in [
        "saved the rule github-repositories",
        "saved the rule gitlab-projects",
        "content-writer on {claims.project_path} {claims.project_path}-*",
        "saved the rule acme-linux",
        "\"content-reader\"",
    ] {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
}

#[test]
fn every_command_on_sharing_with_a_team_runs() {
    let page = include_str!("../../../docs/src/how-to/share-with-a-team.md");
    let shown = run(page, "IMGSRV_BOOTSTRAP_TOKEN", 18, &[]);
    for line in ["may: content.read on team-a-*", "200\n404\n404", "the bytes match", "team a sees it no more"] {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
}

#[test]
fn every_command_on_read_only_hosts_runs() {
    let shown = run(include_str!("../../../docs/src/how-to/read-only-host.md"), "IMGSRV_BOOTSTRAP_TOKEN", 12, &[]);
    for line in ["may: content.read on debian-13", "the bytes match", "refused", "host-7 is out"] {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
}

#[test]
fn every_command_on_reclaiming_space_runs() {
    let shown = run(include_str!("../../../docs/src/how-to/reclaim-space.md"), "MANAGER", 5, &[]);
    for line in [
        "a collection would delete 0 blobs (0 B)",
        "collection started: deleting 0 blobs",
        "no version refers to it since",
        "may be deleted after",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
}

#[test]
fn every_command_of_the_operators_handbook_runs() {
    let pages = [
        (include_str!("../../../docs/src/handbook/health.md"), &["its schema is current", "live", "role.granted"][..]),
        (include_str!("../../../docs/src/handbook/triage.md"), &["live"][..]),
        (
            include_str!("../../../docs/src/handbook/capacity.md"),
            &["a collection would delete", "collection started"][..],
        ),
        (include_str!("../../../docs/src/handbook/upgrade.md"), &["its schema is current", "live", "ready"][..]),
        (
            include_str!("../../../docs/src/handbook/incidents.md"),
            &[
                "revoked token",
                "imgsrv bootstrap token",
                "deactivated leaky",
                "deleted and blocked sha256:",
                "exit code 5",
                "bytes free",
                "agrees with that of this machine",
            ][..],
        ),
        (
            include_str!("../../../docs/src/handbook/quarantine.md"),
            &["exit code 1", "damaged-example 1", "the bytes match", "damaged-example:1 is revoked"][..],
        ),
    ];
    for (page, lines) in pages {
        let shown = run(page, "MANAGER", 3, &[]);
        for line in lines {
            assert!(shown.contains(line), "no {line:?} in {shown}");
        }
    }
}

#[test]
fn every_command_on_retention_runs() {
    let shown = run(include_str!("../../../docs/src/how-to/retention.md"), "MANAGER", 10, &[]);
    for line in [
        "no rule keeps it",
        "alias stable",
        "newest 1, at least 1",
        "retired 2 versions of ci",
        "remove others after: 0s",
    ] {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
}

#[test]
fn every_command_on_incus_and_on_fetching_by_url_runs() {
    let pages =
        [include_str!("../../../docs/src/how-to/incus.md"), include_str!("../../../docs/src/how-to/fetch-by-url.md")];
    let shown = run(&pages.join("\n"), "IMGSRV_BOOTSTRAP_TOKEN", 11, &["--tls-self-signed"]);
    for line in [
        "auditor, auth-manager, content-admin, content-reader, content-writer, operator",
        "debian 12.5.0 is published",
        "no warnings",
        "VIRTUAL-MACHINE",
        "debian/latest/amd64",
        "debian-12.5.0-amd64.qcow2.incus.tar.xz",
        "debian-amd64.qcow2: OK",
        "the whole file is there",
    ] {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
}

#[test]
fn every_command_on_private_incus_remotes_runs() {
    let page = include_str!("../../../docs/src/how-to/private-incus.md");
    let shown = run(page, "IMGSRV_BOOTSTRAP_TOKEN", 12, &["--tls-self-signed"]);
    for line in [
        "written to host-7.token",
        "$(cat host-7.token)",
        "| team-base (",
        "team.crt: OK",
        "VIRTUAL-MACHINE",
        "team-base-1.0-amd64.qcow2",
        "is valid until",
        "revoked all links to the files of team-base",
        "replaced the key of links; the new one has number 2",
    ] {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
    assert!(!shown.contains("/t/imgsrv_at_"), "the token is shown: {shown}");
}

#[test]
fn every_command_on_backups_runs() {
    let shown = run(include_str!("../../../docs/src/how-to/back-up.md"), "MANAGER", 3, &[]);
    for line in
        ["exported revision", "files that the backup does not need", "the backup is complete", "imported revision"]
    {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
}

#[tokio::test]
async fn every_command_on_moving_runs() {
    let (postgres, s3) = (Postgres::shared().await, S3::shared().await);
    let variables = [
        ("NEW_POSTGRES_URL", postgres.database().await),
        ("NEW_S3_ENDPOINT", s3.endpoint.clone()),
        ("NEW_S3_BUCKET", s3.bucket().await),
        ("NEW_S3_KEY", s3.access_key_id.clone()),
        ("NEW_S3_SECRET", s3.secret_access_key.clone()),
        ("NEW_S3_REGION", s3.region.clone()),
    ];
    let page = include_str!("../../../docs/src/how-to/move.md");
    let shown =
        tokio::task::spawn_blocking(move || run_with(page, "MANAGER", 3, &[], &variables)).await.expect("it ends");
    for line in ["exported revision", "the backup is complete", "imported revision"] {
        assert!(shown.contains(line), "no {line:?} in {shown}");
    }
}
