//! Settings as an operator gives them, and the page that lists them.

use super::*;
use clap::CommandFactory;

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn switches_take_an_explicit_value() {
    for (arguments, expected) in [
        (vec!["imgsrv"], true),
        (vec!["imgsrv", "serve", "--cas-promotion-enabled", "true"], true),
        (vec!["imgsrv", "start", "--cas-promotion-enabled"], true),
        (vec!["imgsrv", "start", "--cas-promotion-enabled=false"], false),
    ] {
        let cli = Cli::try_parse_from(&arguments).expect("valid arguments");
        let options = match cli.command {
            Some(Command::Serve(options)) => options,
            _ => cli.serve,
        };
        assert_eq!(options.workers.cas_promotion_enabled, expected, "{arguments:?}");
    }
}

#[test]
fn a_bad_value_names_flag_value_and_what_is_allowed() {
    for (arguments, parts) in [
        (["imgsrv", "--upload-ttl", "soon"], ["--upload-ttl", "soon", "24h"]),
        (["imgsrv", "--lease-term", "10ms"], ["--lease-term", "10ms", "at least 1s"]),
        (["imgsrv", "--listen", "nowhere"], ["--listen", "nowhere", "host:port"]),
        (["imgsrv", "--verbosity", "loud"], ["--verbosity", "loud", "debug"]),
        (["imgsrv", "--s3-endpoint", "http://a:1"], ["--s3-endpoint", "http://a:1", "without a scheme"]),
        (["imgsrv", "--trusted-proxies", "10.0.0.0/33"], ["--trusted-proxies", "10.0.0.0/33", "10.0.0.0/8"]),
        (["imgsrv", "--max-header-bytes", "1"], ["--max-header-bytes", "1", "4096"]),
        (["imgsrv", "--metrics-path", "metrics"], ["--metrics-path", "metrics", "start with /"]),
        (["imgsrv", "--postgres-url-file", "/no/such"], ["--postgres-url-file", "/no/such", "cannot be read"]),
    ] {
        let error = Cli::try_parse_from(arguments).expect_err("a bad value").to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn empty_values_count_as_not_given() {
    let arguments = ["imgsrv", "--postgres-url", "", "--s3-bucket", "", "--storage-dir", "", "--metrics-listen", ""];
    let options = Cli::try_parse_from(arguments).expect("valid arguments").serve;
    assert!(options.storage.postgres().is_none() && options.storage.s3().is_none());
    assert_eq!(options.storage.storage_dir(), PathBuf::from(".imgsrv/storage"));
    assert!(options.metrics.metrics_listen.0.is_none());
}

#[test]
fn secrets_are_read_from_files_and_never_shown() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "hunter2\n").expect("written");
    let path = file.path().to_str().expect("UTF-8");
    let arguments = [
        "imgsrv",
        "--postgres-url",
        "postgres://u:hunter2@h/d",
        "--s3-bucket",
        "b",
        "--s3-secret-access-key-file",
        path,
    ];
    let options = Cli::try_parse_from(arguments).expect("valid arguments").serve;
    assert!(!format!("{options:?}").contains("hunter2"));
    assert_eq!(options.storage.s3().and_then(|s3| s3.secret_access_key).as_deref(), Some("hunter2"));
    assert_eq!(options.storage.postgres().map(|pg| pg.url).as_deref(), Some("postgres://u:hunter2@h/d"));
}

/// Every setting of `imgsrv serve` as a table, by group.
fn reference() -> String {
    let mut page = String::from(REFERENCE_HEAD);
    let command = Cli::command();
    let serve = command.find_subcommand("serve").expect("the command");
    let mut group = "";
    for argument in serve.get_arguments().filter(|argument| argument.get_long() != Some("help")) {
        let heading = argument.get_help_heading().unwrap_or_default();
        if heading != group {
            group = heading;
            page += &format!("\n## {heading}\n\n| flag | variable | default | what |\n| --- | --- | --- | --- |\n");
        }
        let default: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = match default.first() {
            Some(default) if !argument.is_hide_default_value_set() => format!("`{default}`"),
            Some(_) | None => String::new(),
        };
        let variable = argument.get_env().map(|name| name.to_string_lossy()).unwrap_or_default();
        let what = argument.get_help().map(ToString::to_string).unwrap_or_default();
        page += &format!("| `--{}` | `{variable}` | {default} | {what} |\n", argument.get_long().unwrap_or_default());
    }
    page
}

const REFERENCE_HEAD: &str = "# Configuration

With no subcommand, or `serve` (alias `start`), `imgsrv` runs the server. Every setting is a flag and an environment
variable; the flag wins. Durations are written `500ms`, `5s`, `1m`, `24h`. A bad value is refused before anything is
opened. An empty value counts as not given. Logs go to standard error; standard output has the bootstrap token, with
`--tls-self-signed` the command that adds the server to Incus, and nothing else.

`imgsrv auth bootstrap`, `imgsrv auth list` and `imgsrv auth revoke` take the storage settings and need no token; see
[Manage authentication](../how-to/manage-authentication.md#from-the-servers-shell).
";

#[test]
#[expect(clippy::disallowed_methods, reason = "it may be asked to write the page instead")]
fn the_reference_page_lists_every_setting() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/reference/configuration.md");
    if std::env::var("IMGSRV_UPDATE_DOCS").is_ok() {
        std::fs::write(path, reference()).expect("written");
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(page == reference(), "run IMGSRV_UPDATE_DOCS=1 cargo test -p imgsrv-server the_reference_page");
}
