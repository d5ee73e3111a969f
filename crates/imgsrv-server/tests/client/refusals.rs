//! Changes of retired versions that are refused: what people see, and that nothing changes.

use crate::fixture::{CommandOutput, Fixture, run};
use imgsrv_testkit::{Rows, rows, services::LocalPostgres};

/// The tables that a refused change must leave as they are.
const TABLES: [&str; 7] =
    ["aliases", "audit_log", "catalog_revision", "image_changes", "images", "retention_policies", "version_lifecycles"];

/// What is wrong, the arguments, the exit code, and a part of the message.
const REFUSALS: &[(&str, &str, i32, &str)] = &[
    (
        "an unknown replacement",
        "versions deprecate debian:target --reason x --replacement none",
        3,
        "the replacement none does not exist",
    ),
    (
        "a revoked replacement",
        "versions deprecate debian:target --reason x --replacement revoked",
        3,
        "the replacement revoked is revoked",
    ),
    (
        "a tombstone as the replacement",
        "versions revoke debian:target --reason x --replacement gone --yes",
        3,
        "the replacement gone is removed",
    ),
    (
        "a cycle of replacements",
        "versions deprecate debian:active --reason x --replacement deprecated",
        3,
        "the replacement deprecated is itself replaced by this version",
    ),
    ("a drain under 2 h", "versions remove debian:target --drain 1h --yes", 2, "--drain: must be"),
    ("a drain that is too long", "versions remove debian:target --drain 90000000h --yes", 2, "--drain: must be"),
    ("removing what is held", "versions remove debian:held --yes", 3, "held"),
    ("revoking what is held", "versions revoke debian:held --reason x --yes", 3, "held"),
    ("restoring a tombstone", "versions restore debian:gone", 3, "debian/gone"),
    ("restoring what never was", "versions restore debian:none", 4, "none"),
    ("an alias in use", "versions revoke debian:active --reason x --yes", 3, "the alias latest points to this version"),
    ("no confirmation", "versions revoke debian:target --reason x", 2, "needs confirmation"),
    ("the name of a tombstone for a version", "publish debian gone disk.qcow2 --arch amd64", 3, "gone"),
    ("the name of a tombstone for an alias", "aliases set debian gone active", 3, "gone"),
    ("an alias to a tombstone", "aliases set debian latest gone", 3, "gone"),
    ("a policy without rules", "retention set debian --remove-after 0d", 2, "no rule that keeps versions"),
    ("a policy that keeps nothing", "retention set debian --newest 0 --remove-after 0d", 2, "--newest: must be from 1"),
    (
        "a policy that keeps no newest",
        "retention set debian --newest 1 --min-keep 0 --remove-after 0d",
        2,
        "--min-keep: must be from 1",
    ),
    ("a policy that does nothing", "retention set debian --newest 1", 2, "not kept"),
    ("applying without a policy", "retention apply debian --yes", 4, "debian has no retention policy"),
];

/// A server with a version in each state.
struct Scene {
    fixture: Fixture,
    postgres: LocalPostgres,
}

impl Scene {
    fn start() -> Self {
        let postgres = LocalPostgres::start();
        let mut fixture = Fixture::start_with(&["--postgres-url", &postgres.url()]);
        let manager = fixture.server.bootstrap.clone().expect("a bootstrap token");
        let manage = |arguments: &str| {
            let arguments: Vec<&str> = arguments.split(' ').collect();
            let managed = run(fixture.command(&arguments).env("IMGSRV_TOKEN", &manager));
            assert_eq!(managed.code, Some(0), "{managed:?}");
            managed.out.trim().to_owned()
        };
        let admin = manage("auth principals create admin --role content-writer --role content-admin");
        fixture.token = manage(&format!("auth tokens create {admin} --expires-in 30d"));
        let scene = Self { fixture, postgres };
        scene.fixture.disk("disk.qcow2", 1);
        for version in ["deprecated", "revoked", "held", "gone", "target", "active"] {
            scene.succeed(&format!("publish debian {version} disk.qcow2 --arch amd64 --alias latest"));
        }
        scene.succeed("versions deprecate debian:deprecated --reason old --replacement active");
        scene.succeed("versions revoke debian:revoked --reason bad --yes");
        scene.succeed("versions hold debian:held --reason evidence");
        scene.succeed("versions remove debian:gone --drain 2h --yes");
        let clock = "CREATE OR REPLACE FUNCTION catalog_now() RETURNS timestamptz LANGUAGE sql STABLE AS
            $$ SELECT now() + interval '3 hours' $$";
        scene.postgres.sql(clock);
        // As the worker does within a minute.
        scene.postgres.sql(
            "UPDATE version_lifecycles SET state = 'tombstone', tombstone_at = catalog_now(), changed_at = catalog_now(),
                revision = revision + 1 WHERE state = 'removed'",
        );
        scene
    }

    fn run(&self, line: &str) -> CommandOutput {
        self.fixture.run(&line.split(' ').collect::<Vec<_>>())
    }

    fn succeed(&self, line: &str) {
        let done = self.run(line);
        assert_eq!(done.code, Some(0), "{line}: {done:?}");
    }

    /// The rows of the tables that must not change.
    async fn rows(&self) -> Rows {
        let mut rows = rows(&self.postgres.url()).await;
        rows.retain(|table, _| TABLES.contains(&table.as_str()));
        rows
    }
}

#[tokio::test]
async fn refused_changes_say_why_and_change_nothing() {
    let scene = tokio::task::spawn_blocking(Scene::start).await.expect("a scene");
    let before = scene.rows().await;
    assert_eq!(before.len(), TABLES.len(), "{:?}", before.keys());
    let mut unclear = Vec::new();
    for (what, line, code, says) in REFUSALS {
        let refused = scene.run(line);
        let message = refused.err.lines().find(|line| line.starts_with("imgsrv: ")).unwrap_or_default();
        if refused.code != Some(*code) || !message.contains(says) {
            unclear.push(format!("{what}: {refused:?} is not {code} or does not say {says:?}"));
        }
        assert_eq!(refused.out, "", "{what}");
        assert_eq!(scene.rows().await, before, "{what}");
    }
    assert!(unclear.is_empty(), "{unclear:#?}");
}
