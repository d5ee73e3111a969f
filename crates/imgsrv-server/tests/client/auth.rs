//! Logins, management commands, and documents of the command line.

use crate::fixture::{BINARY, Fixture, finish, run};
use imgsrv_testkit::Process;
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
    assert!(bare(&["whoami"]).out.contains("may: content.read, content.write"), "{:?}", bare(&["whoami"]));
    // The token is not sent to another server.
    let other = Fixture::start();
    let elsewhere = bare(&["whoami", "--server", &other.server.url]);
    assert_eq!(elsewhere.code, Some(3));
    assert!(elsewhere.err.contains("Run imgsrv login"), "{}", elsewhere.err);
    let logged_out = bare(&["logout"]);
    assert_eq!(logged_out.code, Some(0));
    assert!(logged_out.out.contains("It stays valid until it expires") && !logged_out.out.contains("still set"));
    assert_eq!(bare(&["images", "list"]).code, Some(2), "no server is stored any more");

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
    assert_eq!(principal.out.trim().len(), 36, "the id alone");
    let principal = "ci";
    let token = manage(&["auth", "tokens", "create", principal, "--name", "laptop", "--expires-in", "8h"]);
    let whoami = |token: &str| {
        let mut command = fixture.command(&["whoami", "--json"]);
        command.env("IMGSRV_TOKEN", token);
        run(&mut command)
    };
    assert_eq!(whoami(token.out.trim()).json()["authentication"]["api_token_name"], "laptop");
    let listed = manage(&["auth", "tokens", "list", principal, "--json"]).json();
    assert_eq!(
        manage(&["auth", "tokens", "revoke", listed["api_tokens"][0]["id"].as_str().expect("an id")]).code,
        Some(0)
    );
    assert_eq!(whoami(token.out.trim()).code, Some(3));
    assert!(manage(&["auth", "principals", "list"]).out.contains("content-writer"));
    assert!(manage(&["auth", "audit", "--action", "token.revoked"]).out.contains("token.revoked"));
    let by_name = manage(&["auth", "audit", "list", "--actor", "bootstrap"]);
    assert!(by_name.out.contains("token.revoked"), "{by_name:?}");
    let by_worker = manage(&["auth", "audit", "list", "--actor", "no-such-worker"]);
    assert_eq!((by_worker.code, &*by_worker.out), (Some(0), ""), "{by_worker:?}");

    let rule = r#"{"display_name": "CI", "issuer_url": "https://issuer.example", "audience": "imgsrv",
        "forwarded_claims": ["repository"], "condition": "'repository' in claims && claims.repository == 'acme/images'"}"#;
    std::fs::write(fixture.path("rule.json"), rule).expect("a file");
    for _ in 0..2 {
        assert_eq!(manage(&["auth", "rules", "set", "ci", "rule.json"]).out, "saved the rule ci\n");
    }
    assert!(manage(&["auth", "rules", "list"]).out.contains("https://issuer.example"));
    assert_eq!(manage(&["auth", "rules", "delete", "ci"]).code, Some(0));
    assert_eq!(manage(&["auth", "rules", "reconcile", "ci"]).code, Some(4), "it never granted anything");
}

#[test]
fn principals_are_given_by_name_or_id() {
    let fixture = Fixture::start();
    let manage = |arguments: &[&str]| {
        let mut command = fixture.command(&[&["auth"], arguments].concat());
        command.env("IMGSRV_TOKEN", fixture.server.bootstrap.as_deref().expect("a bootstrap token"));
        run(&mut command)
    };
    let first = manage(&["principals", "create", "ci"]).out.trim().to_owned();
    assert_eq!(manage(&["roles", "grant", "ci", "content-writer"]).out, "ci has content-writer\n");
    assert_eq!(manage(&["principals", "deactivate", "ci"]).out, "deactivated ci\n");
    let refused = manage(&["principals", "create", "ci"]);
    assert_eq!((refused.code, refused.out.as_str()), (Some(3), ""));
    for part in ["there is a service named ci already", &first, "imgsrv auth principals activate", "--force"] {
        assert!(refused.err.contains(part), "no {part:?} in {}", refused.err);
    }
    let second = manage(&["principals", "create", "ci", "--force"]).out.trim().to_owned();
    let ambiguous = manage(&["tokens", "list", "ci"]);
    assert_eq!(ambiguous.code, Some(2));
    for part in ["2 principals are called ci", &first, &second, "deactivated 20", "active"] {
        assert!(ambiguous.err.contains(part), "no {part:?} in {}", ambiguous.err);
    }
    assert_eq!(manage(&["tokens", "list", &first]).code, Some(0));
    let unknown = manage(&["principals", "show", "nobody"]);
    assert_eq!(unknown.code, Some(4));
    assert!(unknown.err.contains("there is no principal nobody"), "{}", unknown.err);
}

#[test]
fn init_makes_a_login_of_the_bootstrap_token() {
    let fixture = Fixture::start();
    let bootstrap = fixture.server.bootstrap.clone().expect("a bootstrap token");
    let init = |arguments: &[&str]| {
        let mut command = fixture.command(&[&["init", "--name", "alice"], arguments].concat());
        run(command.env_remove("IMGSRV_TOKEN").env("IMGSRV_BOOTSTRAP_TOKEN", &bootstrap))
    };
    let created = init(&[]);
    assert_eq!(created.code, Some(0), "{created:?}");
    let expected = "Created the user alice, with these roles:\n  auditor, auth-manager, content-admin, content-reader, \
                    content-writer, operator\nLogged in to http://";
    assert!(created.out.starts_with(expected), "{}", created.out);
    for part in ["imgsrv publish debian", "imgsrv download debian", "Incus needs HTTPS"] {
        assert!(created.out.contains(part), "no {part:?} in {}", created.out);
    }
    assert!(!created.out.contains("imgsrv_at_") && !created.err.contains("imgsrv_at_"), "{created:?}");
    let again = init(&["--json"]).json();
    assert_eq!((&again["created"], &again["principal"]["display_name"]), (&false.into(), &"alice".into()));
    // The login publishes, retires, operates the server, and lets others publish.
    fixture.disk("disk.qcow2", 1);
    let bare = |arguments: &[&str]| run(fixture.command(arguments).env_remove("IMGSRV_TOKEN"));
    assert_eq!(bare(&["publish", "debian", "1", "disk.qcow2"]).code, Some(0));
    assert_eq!(bare(&["versions", "deprecate", "debian:1", "--reason", "old"]).code, Some(0));
    assert_eq!(bare(&["gc", "--dry-run"]).code, Some(0));
    assert_eq!(bare(&["auth", "principals", "create", "ci", "--role", "content-writer"]).code, Some(0));
    // Without the login, the same user gets another token.
    assert_eq!(bare(&["logout"]).code, Some(0));
    assert!(init(&[]).out.starts_with("Found the user alice"));
    assert_eq!(bare(&["logout"]).code, Some(0));
    let mut writer = fixture.command(&["init"]);
    let refused = run(writer.env_remove("IMGSRV_TOKEN").env("IMGSRV_BOOTSTRAP_TOKEN", &fixture.token));
    assert_eq!(refused.code, Some(3));
    assert!(refused.err.contains("may not manage authentication"), "{}", refused.err);
}

#[test]
fn init_prints_a_command_with_which_incus_on_any_machine_trusts_the_server() {
    let fixture = Fixture::start();
    let server = Process::start(BINARY, &fixture.path("tls"), &["--tls-self-signed"]);
    let url = server.url.replace("http:", "https:");
    let bootstrap = server.bootstrap.clone().expect("a bootstrap token");
    let authority = fixture.path("tls/tls/ca.crt");
    let init = |more: &[&str]| {
        let mut command = fixture.command(&[&["init", "--server", &url, "--name", "alice"], more].concat());
        run(command.env_remove("IMGSRV_TOKEN").env("IMGSRV_BOOTSTRAP_TOKEN", &bootstrap))
    };
    let pem = std::fs::read(&authority).expect("the authority");
    let sha256 = imgsrv_testkit::digest(&pem).trim_start_matches("sha256:").to_owned();
    let expected = format!(
        "curl -sSfo imgsrv.crt {}/ca.pem && echo '{sha256}  imgsrv.crt' | sha256sum -c && install -D -m 644 imgsrv.crt \
         ~/.config/incus/servercerts/imgsrv.crt && incus remote add imgsrv {url} --protocol simplestreams",
        server.url
    );
    // The second time, the login knows the authority.
    for (out, more) in
        [("Created", &["--ca-file", authority.to_str().expect("a path")][..]), ("You are logged in", &[])]
    {
        let done = init(more);
        assert!(done.out.starts_with(out), "{done:?}");
        let line = done.out.lines().find(|line| line.contains("incus remote add")).expect("the command");
        assert_eq!(line.trim(), expected);
    }
    let (trust, _) = expected.split_once(" && install").expect("two parts");
    let fetched = std::process::Command::new("sh").args(["-c", trust]).current_dir(fixture.path("tls")).status();
    assert!(fetched.expect("a shell").success(), "{trust}");
}

#[test]
fn a_login_remembers_its_certificate_authority() {
    let fixture = Fixture::start();
    let server = Process::start(BINARY, &fixture.path("tls"), &["--tls-self-signed"]);
    let url = server.url.replace("http:", "https:");
    let bootstrap = server.bootstrap.clone().expect("a bootstrap token");
    let login = |more: &[&str]| {
        let mut command = fixture.command(&[&["login", "--server", &url], more].concat());
        run(command.env("IMGSRV_TOKEN", &bootstrap))
    };
    let untrusted = login(&[]);
    assert_eq!(untrusted.code, Some(5));
    assert!(untrusted.err.contains("--ca-file FILE"), "{}", untrusted.err);
    let authority = fixture.path("tls/tls/ca.crt");
    let trusted = login(&["--ca-file", authority.to_str().expect("a path")]);
    assert_eq!(trusted.code, Some(0), "{trusted:?}");
    // The same server before it used HTTPS.
    let credentials = fixture.path("config/imgsrv/credentials.json");
    let stored = std::fs::read_to_string(&credentials).expect("the logins");
    std::fs::write(&credentials, stored.replace(&url, "http://127.0.0.1:1")).expect("written");
    let moved = |other: &str| {
        let arguments =
            ["login", "--server", &url, "--ca-file", authority.to_str().expect("a path"), "--token-of", other];
        run(fixture.command(&arguments).env_remove("IMGSRV_TOKEN"))
    };
    let unknown = moved("http://127.0.0.1:2");
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.err.contains("There are logins at http://127.0.0.1:1."), "{}", unknown.err);
    assert_eq!(moved("http://127.0.0.1:1/").code, Some(0));
    std::fs::remove_file(&authority).expect("removed");
    let mut whoami = fixture.command(&["whoami"]);
    let whoami = run(whoami.env_remove("IMGSRV_TOKEN").env_remove("IMGSRV_URL"));
    assert!(whoami.out.contains("may: audit.read, auth.manage"), "{whoami:?}");
}

#[test]
fn completions_and_manual_pages_name_every_command() {
    let fixture = Fixture::start();
    for shell in ["bash", "zsh", "fish"] {
        let completions = fixture.run(&["completions", shell]);
        assert!(completions.out.contains("publish") && completions.out.contains("replace"), "{shell}");
    }
    assert!(fixture.run(&["man"]).out.contains(".SH EXAMPLES"));
    assert_eq!(fixture.run(&["man", "pages"]).code, Some(0));
    for page in ["imgsrv.1", "imgsrv-publish.1", "imgsrv-auth-tokens-create.1"] {
        assert!(fixture.path("pages").join(page).exists(), "{page}");
    }
}
