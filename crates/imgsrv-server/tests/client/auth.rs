//! Logins, management commands, and documents of the command line.

use crate::fixture::{Fixture, finish, run};
use std::{io::Write, os::unix::fs::PermissionsExt, process::Stdio};

#[test]
fn a_login_is_stored_for_its_owner_and_its_server_only() {
    let fixture = Fixture::start();
    let mut login = fixture.command(&["login"]);
    login.env_remove("IMGSRV_TOKEN").stdin(Stdio::piped());
    let mut child = login.spawn().expect("it runs");
    child.stdin.take().expect("its input").write_all(format!("{}\n", fixture.token).as_bytes()).expect("written");
    let logged_in = finish(child);
    assert_eq!(logged_in.code, Some(0), "{logged_in:?}");
    assert!(!logged_in.out.contains(&fixture.token) && !logged_in.err.contains(&fixture.token));
    let file = fixture.path("config/imgsrv/credentials.json");
    assert_eq!(std::fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    let bare = |arguments: &[&str]| {
        let mut command = fixture.command(arguments);
        command.env_remove("IMGSRV_TOKEN").env_remove("IMGSRV_URL");
        run(&mut command)
    };
    assert!(bare(&["whoami"]).out.contains("may: content.write"), "{:?}", bare(&["whoami"]));
    // The token is not sent to another server.
    let other = Fixture::start();
    let elsewhere = bare(&["whoami", "--server", &other.server.url]);
    assert_eq!(elsewhere.code, Some(3));
    assert!(elsewhere.err.contains("run imgsrv login"), "{}", elsewhere.err);
    assert_eq!(bare(&["logout"]).code, Some(0));
    assert_eq!(bare(&["images"]).code, Some(2), "no server is stored any more");

    let mut wrong = fixture.command(&["login"]);
    wrong.env_remove("IMGSRV_TOKEN").stdin(Stdio::piped());
    let mut child = wrong.spawn().expect("it runs");
    child.stdin.take().expect("its input").write_all(b"imgsrv_at_wrong").expect("written");
    assert_eq!(finish(child).code, Some(3), "a refused token is not stored");
}

#[test]
fn managers_create_publishers_and_revoke_their_tokens() {
    let fixture = Fixture::start();
    let manage = |arguments: &[&str]| {
        let mut command = fixture.command(arguments);
        command.env("IMGSRV_TOKEN", fixture.server.bootstrap.as_deref().expect("a bootstrap token"));
        run(&mut command)
    };
    let principal = manage(&["auth", "principals", "create", "ci", "--role", "content-writer"]);
    let principal = principal.out.trim();
    let token = manage(&["auth", "tokens", "create", principal, "--name", "laptop", "--expires-in", "8h"]);
    let whoami = |token: &str| {
        let mut command = fixture.command(&["whoami", "--json"]);
        command.env("IMGSRV_TOKEN", token);
        run(&mut command)
    };
    assert_eq!(whoami(token.out.trim()).json()["authentication"]["api_token_name"], "laptop");
    let listed = manage(&["auth", "tokens", "list", principal, "--json"]).json();
    assert_eq!(manage(&["auth", "tokens", "revoke", listed["id"].as_str().expect("an id")]).code, Some(0));
    assert_eq!(whoami(token.out.trim()).code, Some(3));
    assert!(manage(&["auth", "principals", "list"]).out.contains("content-writer"));
    assert!(manage(&["auth", "audit", "--action", "token.revoked"]).out.contains("token.revoked"));

    let rule = r#"{"display_name": "CI", "issuer_url": "https://issuer.example", "audience": "imgsrv",
        "forwarded_claims": ["repository"], "condition": "'repository' in claims && claims.repository == 'acme/images'"}"#;
    std::fs::write(fixture.path("rule.json"), rule).expect("a file");
    for _ in 0..2 {
        assert_eq!(manage(&["auth", "rules", "save", "ci", "rule.json"]).out, "ci is saved\n");
    }
    assert!(manage(&["auth", "rules", "list"]).out.contains("https://issuer.example"));
    assert_eq!(manage(&["auth", "rules", "delete", "ci"]).code, Some(0));
    assert_eq!(manage(&["auth", "rules", "reconcile", "ci"]).code, Some(4), "it never granted anything");
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let fixture = Fixture::start();
    for shell in ["bash", "zsh", "fish"] {
        let completions = fixture.run(&["completions", shell]);
        assert!(completions.out.contains("publish") && completions.out.contains("replace"), "{shell}");
    }
    assert!(fixture.run(&["man"]).out.contains(".SH"));
    assert_eq!(fixture.run(&["man", "pages"]).code, Some(0));
    for page in ["imgsrv.1", "imgsrv-publish.1", "imgsrv-auth-tokens-create.1"] {
        assert!(fixture.path("pages").join(page).exists(), "{page}");
    }
}
