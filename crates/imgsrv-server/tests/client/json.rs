//! The output with `--json`, against the published schema.

use crate::fixture::{BINARY, Fixture, run};
use imgsrv_testkit::{Process, token_with_roles};
use serde_json::{Value, json};

/// Where a document does not have the form of a schema, for the keywords that the published one uses. Patterns are not
/// checked.
fn errors(at: &str, document: &Value, schema: &Value, root: &Value, found: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let definition = reference.trim_start_matches("#/$defs/");
        let target = root["$defs"].get(definition).unwrap_or_else(|| panic!("the schema has no {definition}"));
        errors(at, document, target, root, found);
    }
    let kind = match document {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if schema["type"].as_str().is_some_and(|wanted| wanted != kind) {
        found.push(format!("{at} is {kind}"));
    }
    if schema["enum"].as_array().is_some_and(|values| !values.contains(document)) {
        found.push(format!("{at} is {document}"));
    }
    let list = |name: &str| schema[name].as_array().cloned().unwrap_or_default();
    let missing = list("required").into_iter().filter(|name| document.get(name.as_str().unwrap_or_default()).is_none());
    found.extend(missing.map(|name| format!("{at} has no {name}")));
    for part in list("allOf") {
        errors(at, document, &part, root, found);
    }
    for (name, member) in document.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(property) => errors(&format!("{at}.{name}"), member, property, root, found),
            None if schema["additionalProperties"] == false => found.push(format!("{at} has {name}")),
            None => {}
        }
    }
    for item in document.as_array().into_iter().flatten().filter(|_| schema["items"].is_object()) {
        errors(&format!("{at}[]"), item, &schema["items"], root, found);
    }
}

/// Checks that a text is a document of the published form of `definition`, without nulls.
fn check(definition: &str, text: &str) -> Value {
    let document: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{definition}: {error}: {text}"));
    let schema = include_str!("../../../../docs/src/reference/cli-output.schema.json");
    let root: Value = serde_json::from_str(schema).expect("JSON");
    let mut found = Vec::new();
    errors("$", &document, &json!({"$ref": format!("#/$defs/{definition}")}), &root, &mut found);
    assert!(found.is_empty(), "{definition}: {found:?} in {document}");
    assert!(!has_null(&document), "{definition} has a null: {document}");
    document
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(members) => members.values().any(has_null),
        _ => false,
    }
}

/// Creates the draft `debian` 2.
fn draft(fixture: &Fixture) {
    let posted = ureq::post(format!("{}/v1/images/debian/versions", fixture.server.url))
        .header("authorization", format!("Bearer {}", fixture.token))
        .send_json(json!({"version": "2"}));
    assert!(posted.is_ok(), "{posted:?}");
}

/// Runs a command that succeeds, and checks its output.
fn check_output(fixture: &Fixture, definition: &str, token: &str, arguments: &[&str]) -> Value {
    let words: Vec<&str> = definition.split(' ').chain(arguments.iter().copied()).chain(["--json"]).collect();
    let output = run(fixture.command(&words).env("IMGSRV_TOKEN", token));
    assert_eq!(output.code, Some(0), "{definition}: {output:?}");
    check(definition, &output.out)
}

#[test]
fn the_output_of_every_command_of_an_operator_has_the_published_form() {
    let fixture = Fixture::start();
    fixture.disk("disk.qcow2", 1);
    check_output(&fixture, "publish", &fixture.token, &["debian", "1", "disk.qcow2"]);
    let data = fixture.path("data");
    let data = ["--data-dir", data.to_str().expect("a path")];
    let checked = |definition: &str, arguments: &[&str]| check_output(&fixture, definition, &fixture.token, arguments);
    let listed = checked("admin tokens list", &data);
    let token = listed["principals"][0]["api_tokens"][0]["id"].as_str().expect("an id");
    checked("admin bootstrap", &data);
    checked("admin release-hold", &["debian:1", data[0], data[1]]);
    checked("admin rotate-link-key", &data);
    let exported = checked("admin export", &["backup", data[0], data[1], "--prune"]);
    assert_eq!(exported["pruned"], 0, "{exported}");
    checked("admin export --verify", &["backup"]);
    checked("admin import", &["backup", "--data-dir", "restored"]);
    checked("admin config check", &data);
    checked("admin config show", &data);
    checked("admin fsck", &data);
    checked("admin tokens revoke", &[token, data[0], data[1]]);
    let tls = Process::start(BINARY, &fixture.path("tls"), &["--tls-self-signed"]);
    let https = tls.url.replace("http:", "https:");
    checked("incus-remote", &["team", "--server", &https, "--ca-file", "tls/tls/ca.crt"]);
}

#[test]
fn the_output_of_every_command_has_the_published_form() {
    let fixture = Fixture::start();
    fixture.disk("disk.qcow2", 1);
    std::fs::write(fixture.path("note.txt"), "a note").expect("a file");
    let manager = fixture.server.bootstrap.clone().expect("a bootstrap token");
    let check_output =
        |definition: &str, token: &str, arguments: &[&str]| check_output(&fixture, definition, token, arguments);
    let publisher = |definition: &str, arguments: &[&str]| check_output(definition, &fixture.token, arguments);
    let publish = ["debian", "1", "disk.qcow2", "--alias", "latest", "--attach", "note.txt=note.txt"];
    let published = publisher("publish", &publish);
    publisher("publish", &publish);
    let job = published["job"]["id"].as_str().expect("a job").to_owned();
    draft(&fixture);
    for (definition, arguments) in [
        ("whoami", &[][..]),
        ("login", &[]),
        ("upload", &["disk.qcow2", "note.txt"]),
        ("download", &["debian"]),
        ("images list", &["--all"]),
        ("images show", &["debian"]),
        ("images create", &["fedora"]),
        ("images set", &["debian", "--display-name", "Debian"]),
        ("link", &["debian:1"]),
        ("versions list", &["debian", "--all"]),
        ("versions show", &["debian:1"]),
        ("aliases set", &["debian", "stable", "1"]),
        ("aliases list", &["debian"]),
        ("aliases delete", &["debian", "stable"]),
        ("drafts list", &[]),
        ("drafts delete", &["debian", "2"]),
        ("jobs list", &["--all"]),
        ("jobs show", &[&job, "--wait"]),
        ("logout", &[]),
    ] {
        publisher(definition, arguments);
    }
    let rule = json!({
        "display_name": "CI", "issuer_url": "https://issuer.example", "audience": "imgsrv",
        "forwarded_claims": ["repository"], "condition": "claims.repository == 'acme/images'",
    });
    std::fs::write(fixture.path("rule.json"), rule.to_string()).expect("a file");
    let managed = |definition: &str, arguments: &[&str]| check_output(definition, &manager, arguments);
    for (definition, arguments) in [
        ("auth principals create", &["ci", "--role", "content-writer"][..]),
        ("auth principals list", &[]),
        ("auth principals show", &["ci"]),
        ("auth principals deactivate", &["ci"]),
        ("auth principals activate", &["ci"]),
        ("auth roles list", &[]),
        ("auth roles grant", &["ci", "content-writer"]),
        ("auth roles revoke", &["ci", "content-writer"]),
        ("auth rules set", &["ci", "rule.json"]),
        ("auth rules list", &[]),
        ("auth rules show", &["ci"]),
        ("auth rules delete", &["ci"]),
        ("auth audit list", &[]),
        ("doctor", &[]),
    ] {
        managed(definition, arguments);
    }
    let token = managed("auth tokens create", &["ci"]);
    managed("auth tokens set", &[token["id"].as_str().expect("an id"), "--expires-in", "30d"]);
    managed("auth tokens revoke", &[token["id"].as_str().expect("an id")]);
    managed("auth tokens list", &["ci"]);
    managed("auth principals create", &["operator", "--role", "operator"]);
    let operator = managed("auth tokens create", &["operator"]);
    let operator = operator["plaintext"].as_str().expect("a token");
    check_output("gc", operator, &["--dry-run"]);
    let nodes = check_output("nodes list", operator, &[]);
    assert_eq!(nodes["nodes"][0]["state"], "live", "{nodes}");
    check_output("gc", operator, &["--explain", published["digests"][0].as_str().expect("a digest")]);
    let admin = token_with_roles(&fixture.server.url, &manager, &["content-writer", "content-admin"]);
    fixture.disk("other.qcow2", 2);
    for (definition, arguments) in [
        ("versions deprecate", &["debian:1", "--reason", "old"][..]),
        ("versions restore", &["debian:1"]),
        ("versions hold", &["debian:1", "--reason", "audit"]),
        ("versions release", &["debian:1"]),
        ("publish", &["debian", "3", "other.qcow2"]),
        ("retention set", &["debian", "--newest", "1", "--remove-after", "90d"]),
        ("retention show", &["debian"]),
        ("retention preview", &["debian"]),
        ("retention apply", &["debian", "--yes"]),
        ("retention delete", &["debian"]),
        ("links revoke", &["debian"]),
        ("versions revoke", &["debian:3", "--reason", "broken", "--replacement", "1", "--yes"]),
        ("versions restore", &["debian:3"]),
        ("versions remove", &["debian:3", "--yes"]),
    ] {
        check_output(definition, &admin, arguments);
    }
    let init = run(fixture.command(&["init", "--json"]).env("IMGSRV_BOOTSTRAP_TOKEN", &manager));
    check("init", &init.out);
}

#[test]
fn every_kind_of_failure_is_a_problem_object() {
    let fixture = Fixture::start();
    fixture.disk("disk.qcow2", 1);
    std::fs::write(fixture.path("bad.qcow2"), "bad").expect("a file");
    for (arguments, code, kind) in [
        (&["publish", "debian"][..], 2, "urn:imgsrv:cli:usage"),
        (&["no-such-command"], 2, "urn:imgsrv:cli:usage"),
        (&["publish", "debian", "1", "nothing.qcow2"], 2, "urn:imgsrv:cli:usage"),
        (&["publish", "debian", "1", "bad.qcow2", "--format", "qcow2"], 3, "urn:imgsrv:cli:refused"),
        (&["images", "list", "--server", "http://127.0.0.1:1", "--retry-for", "0s"], 5, "urn:imgsrv:cli:unreachable"),
        (&["versions", "show", "debian"], 4, "urn:imgsrv:problem:not-found"),
        (&["auth", "principals", "list"], 3, "urn:imgsrv:problem:forbidden"),
    ] {
        let failed = fixture.run(&[arguments, &["--json"]].concat());
        assert_eq!((failed.code, &*failed.out), (Some(code), ""), "{arguments:?}: {failed:?}");
        let problem = check("problem", failed.err.trim());
        assert_eq!((&problem["type"], &problem["exit_code"]), (&json!(kind), &json!(code)), "{problem}");
    }
}

#[test]
fn the_refusal_of_a_revoked_version_has_its_reason_and_replacement() {
    let fixture = Fixture::start();
    let manager = fixture.server.bootstrap.clone().expect("a bootstrap token");
    let admin = token_with_roles(&fixture.server.url, &manager, &["content-writer", "content-admin"]);
    for version in ["1", "2"] {
        fixture.disk("disk.qcow2", 1);
        assert_eq!(fixture.run(&["publish", "debian", version, "disk.qcow2", "--arch", "amd64"]).code, Some(0));
    }
    let revoke = ["debian:1", "--reason", "broken", "--replacement", "2", "--yes"];
    check_output(&fixture, "versions revoke", &admin, &revoke);
    // A revoked version alone is refused by the command; the refusal of this one is the server's.
    check_output(&fixture, "versions remove", &admin, &["debian:1", "--replacement", "2", "--yes"]);
    let refused = fixture.run(&["download", "debian:1", "--json"]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    let problem = check("problem", refused.err.trim());
    assert_eq!(problem["type"], "urn:imgsrv:problem:version-revoked", "{problem}");
    assert_eq!((&problem["reason"], &problem["replacement"]["name"]), (&json!("broken"), &json!("2")), "{problem}");
}

#[test]
fn every_failure_of_an_operator_is_a_problem_object() {
    let fixture = Fixture::start();
    assert_eq!(fixture.run(&["admin", "export", "backup", "--data-dir", "data"]).code, Some(0));
    for (line, code, kind) in [
        ("admin release-hold debian:12.9 --data-dir data", 4, "not-found"),
        ("admin tokens revoke imgsrv_at_aaaaaaaaaaaa --data-dir data", 4, "not-found"),
        ("admin export nothing --verify", 1, "failed"),
        ("admin tokens list --data-dir none", 5, "unreachable"),
        ("admin fsck --data-dir none", 5, "unreachable"),
        ("admin import backup --data-dir data", 1, "failed"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let failed = fixture.run(&[&words[..], &["--json"]].concat());
        assert_eq!((failed.code, &*failed.out), (Some(code), ""), "{line}: {failed:?}");
        let problem = check("problem", failed.err.trim());
        let kind = json!(format!("urn:imgsrv:cli:{kind}"));
        assert_eq!((&problem["type"], &problem["exit_code"]), (&kind, &json!(code)), "{line}: {problem}");
        let text = fixture.run(&words).err;
        assert_eq!(text.trim(), format!("imgsrv: {}", problem["detail"].as_str().expect("a text")), "{line}");
    }
}

#[test]
fn what_was_revoked_before_a_failure_is_reported() {
    let fixture = Fixture::start();
    let manager = fixture.server.bootstrap.clone().expect("a bootstrap token");
    let unknown = "0198c0de-0000-7000-8000-000000000000";
    check_output(&fixture, "auth principals create", &manager, &["ci"]);
    for (command, code) in [("auth tokens revoke", 4), ("admin tokens revoke --data-dir data", 4)] {
        let token = check_output(&fixture, "auth tokens create", &manager, &["ci"]);
        let id = token["id"].as_str().expect("an id");
        let words: Vec<&str> = command.split(' ').chain([id, unknown, "--json"]).collect();
        let failed = run(fixture.command(&words).env("IMGSRV_TOKEN", &manager));
        assert_eq!(failed.code, Some(code), "{failed:?}");
        let done: Value = serde_json::from_str(&failed.out).unwrap_or_else(|error| panic!("{error}: {failed:?}"));
        assert_eq!(done["revoked"], json!([id]), "{failed:?}");
        check("problem", failed.err.lines().last().unwrap_or_default());
    }
}
