//! Examples of every command, for its help and its manual page.

use clap::Command;

/// Commands, as paths of names below `imgsrv`, and their examples.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "imgsrv serve --data-dir /var/lib/imgsrv",
            "imgsrv init",
            "imgsrv publish debian 12.5.0 disk.qcow2 --alias latest",
            "imgsrv download debian",
        ],
    ),
    ("serve", &["imgsrv serve", "imgsrv serve --data-dir /var/lib/imgsrv --listen :8443 --tls-self-signed"]),
    (
        "init",
        &[
            "imgsrv init",
            "imgsrv init --server https://images.example.org --ca-file ca.pem",
            "imgsrv init --bootstrap-token-file /var/lib/imgsrv/bootstrap-token",
        ],
    ),
    (
        "login",
        &[
            "imgsrv login --server https://images.example.org",
            "imgsrv login --server https://images.example.org < token",
            "imgsrv login --server https://127.0.0.1:8443 --ca-file .imgsrv/tls/ca.crt --token-of http://127.0.0.1:8080",
        ],
    ),
    ("logout", &["imgsrv logout"]),
    ("whoami", &["imgsrv whoami"]),
    (
        "publish",
        &[
            "imgsrv publish debian 12.5.0 debian-12-amd64.qcow2 --alias latest",
            "imgsrv publish debian 12.5.0 disk.qcow2 --os debian --release bookworm --incus --alias latest",
            "imgsrv publish debian 12.5.0 a.qcow2,arch=amd64 b.qcow2,arch=arm64,attach=sbom.spdx.json=sbom.json",
        ],
    ),
    ("upload", &["imgsrv upload disk.qcow2"]),
    (
        "download",
        &[
            "imgsrv download debian",
            "imgsrv download debian:12.5.0 --arch arm64 -o images/",
            "imgsrv download debian --attachment sbom.spdx.json -o - | jq .",
        ],
    ),
    ("link", &["imgsrv link debian:12.5.0", "imgsrv link debian:12.5.0 debian-12.5.0-x86_64.qcow2 --ttl 7d"]),
    ("links", &["imgsrv links revoke debian"]),
    ("links revoke", &["imgsrv links revoke debian"]),
    (
        "incus-remote",
        &[
            "imgsrv incus-remote",
            "imgsrv incus-remote team --create-for host-7 --image 'team-*' --remote-token-file host-7.token",
        ],
    ),
    ("images", &["imgsrv images list"]),
    ("images list", &["imgsrv images list", "imgsrv images list --json | jq -r '.images[].name'"]),
    ("images show", &["imgsrv images show debian"]),
    ("images create", &["imgsrv images create debian", "imgsrv images create tools-internal --private"]),
    (
        "images set",
        &[
            "imgsrv images set debian --display-name Debian --description 'Base images'",
            "imgsrv images set tools-internal --public",
        ],
    ),
    ("images delete", &["imgsrv images delete scratch"]),
    ("versions", &["imgsrv versions list debian"]),
    ("versions list", &["imgsrv versions list debian", "imgsrv versions list debian --all"]),
    ("versions show", &["imgsrv versions show debian:latest", "imgsrv versions show debian:12.5.0 --json"]),
    (
        "versions deprecate",
        &["imgsrv versions deprecate debian:12.4.0 --reason superseded --replacement 12.5.0 --end-of-life 2027-06-30"],
    ),
    (
        "versions revoke",
        &[
            "imgsrv versions revoke debian:12.5.0 --reason broken --alias latest=12.4.0",
            "imgsrv versions revoke debian:12.5.0 --reason broken --replacement latest --yes",
            "imgsrv versions revoke --digest sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --dry-run",
        ],
    ),
    (
        "versions remove",
        &[
            "imgsrv versions remove debian:12.3.0",
            "imgsrv versions remove debian:ci-17 --drain 2h --yes",
            "imgsrv versions remove debian:12.5.0 --purge --reason leaked --alias latest=12.4.0",
        ],
    ),
    ("versions restore", &["imgsrv versions restore debian:12.3.0"]),
    ("versions hold", &["imgsrv versions hold debian:12.4.0 --reason audit"]),
    ("versions release", &["imgsrv versions release debian:12.4.0"]),
    ("retention", &["imgsrv retention preview debian"]),
    (
        "retention set",
        &[
            "imgsrv retention set debian --newest 5 --weekly 4 --monthly 12 --remove-after 0d",
            "imgsrv retention set ci --younger-than 14d --fetched-within 30d --deprecate-after 7d --remove-after 30d",
        ],
    ),
    ("retention show", &["imgsrv retention show debian"]),
    ("retention delete", &["imgsrv retention delete debian"]),
    ("retention preview", &["imgsrv retention preview debian"]),
    ("retention apply", &["imgsrv retention apply debian", "imgsrv retention apply debian --yes"]),
    ("aliases", &["imgsrv aliases list debian"]),
    ("aliases list", &["imgsrv aliases list debian"]),
    ("aliases set", &["imgsrv aliases set debian stable 12.5.0"]),
    ("aliases delete", &["imgsrv aliases delete debian stable"]),
    ("drafts", &["imgsrv drafts list"]),
    ("drafts list", &["imgsrv drafts list", "imgsrv drafts list debian"]),
    ("drafts delete", &["imgsrv drafts delete debian 12.6.0"]),
    ("jobs", &["imgsrv jobs list"]),
    ("jobs list", &["imgsrv jobs list", "imgsrv jobs list debian --state failed"]),
    ("jobs show", &["imgsrv jobs show 0198c0de-0000-7000-8000-000000000000 --wait"]),
    ("jobs retry", &["imgsrv jobs retry 0198c0de-0000-7000-8000-000000000000"]),
    ("jobs abandon", &["imgsrv jobs abandon 0198c0de-0000-7000-8000-000000000000"]),
    ("storage", &["imgsrv storage show"]),
    ("storage show", &["imgsrv storage show"]),
    ("quarantined-blobs", &["imgsrv quarantined-blobs list"]),
    ("quarantined-blobs list", &["imgsrv quarantined-blobs list"]),
    (
        "storage verify",
        &["imgsrv storage verify sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    ),
    ("gc", &["imgsrv gc --dry-run", "imgsrv gc"]),
    ("blocked-digests", &["imgsrv blocked-digests list"]),
    ("blocked-digests list", &["imgsrv blocked-digests list"]),
    (
        "blocked-digests delete",
        &["imgsrv blocked-digests delete sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
    ),
    (
        "doctor",
        &[
            "imgsrv doctor https://images.example.org",
            "imgsrv doctor http://127.0.0.1:8080 --json | jq '.checks[].detail'",
        ],
    ),
    ("nodes", &["imgsrv nodes list"]),
    (
        "nodes list",
        &["imgsrv nodes list", "imgsrv nodes list --json | jq -r '.nodes[] | select(.state == \"gone\").name'"],
    ),
    (
        "auth",
        &["imgsrv auth principals create ci --role content-writer", "imgsrv auth tokens create ci --expires-in 30d"],
    ),
    ("auth principals", &["imgsrv auth principals list"]),
    ("auth principals list", &["imgsrv auth principals list"]),
    ("auth principals show", &["imgsrv auth principals show ci"]),
    (
        "auth principals create",
        &[
            "imgsrv auth principals create ci --role content-writer",
            "imgsrv auth principals create alice --kind user --role auth-manager",
        ],
    ),
    ("auth principals deactivate", &["imgsrv auth principals deactivate ci"]),
    ("auth principals activate", &["imgsrv auth principals activate ci"]),
    ("auth roles", &["imgsrv auth roles list"]),
    ("auth roles list", &["imgsrv auth roles list"]),
    ("auth roles grant", &["imgsrv auth roles grant ci content-writer"]),
    ("auth roles revoke", &["imgsrv auth roles revoke ci content-writer"]),
    ("auth tokens", &["imgsrv auth tokens list ci"]),
    ("auth tokens list", &["imgsrv auth tokens list ci"]),
    ("auth tokens create", &["imgsrv auth tokens create ci --name pipeline --expires-in 30d > token"]),
    ("auth tokens set", &["imgsrv auth tokens set 0198c0de-0000-7000-8000-000000000000 --expires-in 90d"]),
    ("auth tokens revoke", &["imgsrv auth tokens revoke 0198c0de-0000-7000-8000-000000000000"]),
    ("auth rules", &["imgsrv auth rules list"]),
    ("auth rules list", &["imgsrv auth rules list"]),
    ("auth rules show", &["imgsrv auth rules show github"]),
    ("auth rules set", &["imgsrv auth rules set github rule.json"]),
    ("auth rules delete", &["imgsrv auth rules delete github"]),
    ("auth rules reconcile", &["imgsrv auth rules reconcile github", "imgsrv auth rules reconcile github --apply"]),
    ("auth audit", &["imgsrv auth audit list --limit 20"]),
    (
        "auth audit list",
        &[
            "imgsrv auth audit list --limit 20",
            "imgsrv auth audit list --action role.granted --since 2026-11-01T00:00:00Z",
        ],
    ),
    ("admin", &["imgsrv admin bootstrap --data-dir /var/lib/imgsrv"]),
    ("admin bootstrap", &["imgsrv admin bootstrap --data-dir /var/lib/imgsrv"]),
    ("admin fsck", &["imgsrv admin fsck --bytes --data-dir /var/lib/imgsrv"]),
    ("admin tokens", &["imgsrv admin tokens list --data-dir /var/lib/imgsrv"]),
    ("admin tokens list", &["imgsrv admin tokens list --data-dir /var/lib/imgsrv"]),
    ("admin tokens revoke", &["imgsrv admin tokens revoke imgsrv_at_abcdefghijk1 --data-dir /var/lib/imgsrv"]),
    ("admin config", &["imgsrv admin config check"]),
    ("admin config check", &["imgsrv admin config check --data-dir /var/lib/imgsrv"]),
    ("admin config show", &["imgsrv admin config show", "imgsrv admin config show --json | jq '.settings[].flag'"]),
    ("admin rotate-link-key", &["imgsrv admin rotate-link-key --data-dir /var/lib/imgsrv"]),
    ("admin release-hold", &["imgsrv admin release-hold debian:12.4.0 --data-dir /var/lib/imgsrv"]),
    (
        "admin export",
        &[
            "imgsrv admin export /var/backups/imgsrv --data-dir /var/lib/imgsrv",
            "imgsrv admin export /var/backups/imgsrv --data-dir /var/lib/imgsrv --rate 50MiB --prune",
            "imgsrv admin export --verify /var/backups/imgsrv",
        ],
    ),
    ("admin import", &["imgsrv admin import /var/backups/imgsrv --data-dir /var/lib/imgsrv-restored"]),
    ("completions", &["imgsrv completions bash > /etc/bash_completion.d/imgsrv"]),
    ("man", &["imgsrv man | man -l -", "imgsrv man /usr/local/share/man/man1"]),
];

/// The command line of `imgsrv` with examples in every help text.
pub fn with_examples(cli: Command) -> Command {
    add("", cli)
}

/// Adds the examples. The usage line is fixed, because that of an error would show options that variables set as if they
/// were required.
fn add(path: &str, command: Command) -> Command {
    let examples = EXAMPLES.iter().find(|(of, _)| *of == path).map(|(_, examples)| examples.join("\n  "));
    let command = command.mut_subcommands(|below| {
        let name = below.get_name().to_owned();
        add(format!("{path} {name}").trim_start(), below)
    });
    // Of a copy, because rendering finishes a command, and more is added below.
    let usage = command.clone().bin_name(format!("imgsrv {path}").trim_end()).render_usage().to_string();
    let command = command.override_usage(usage.trim_start_matches("Usage: ").to_owned());
    let Some(examples) = examples else { return command };
    let further = command.get_after_long_help().map(|text| format!("\n\n{text}")).unwrap_or_default();
    let text = format!("Examples:\n  {examples}");
    command.after_long_help(format!("{text}{further}")).after_help(text)
}
