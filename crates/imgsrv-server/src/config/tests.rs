//! Parsing of settings, and the reference pages generated from them.

use super::*;
use crate::commands::{Cli, Command};
use clap::{CommandFactory, FromArgMatches, Parser};

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

/// The settings of a command line, of which earlier forms are valid as well.
fn serve_options(arguments: &[&str]) -> Result<ServeOptions, clap::Error> {
    let arguments = arguments.iter().map(std::ffi::OsString::from).collect();
    let matches = imgsrv_cli::parse(&Cli::command(), arguments)?;
    match Cli::from_arg_matches(&matches)?.command {
        Command::Serve(options) => Ok(options),
        other => panic!("not serve: {other:?}"),
    }
}

#[test]
fn every_command_has_examples() {
    fn check(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        let examples = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        assert!(examples.contains("Examples:\n  imgsrv"), "{path} has no example");
        command.get_subcommands().for_each(|below| check(below, &path));
    }
    check(&imgsrv_cli::with_examples(Cli::command()), "");
}

#[test]
fn every_example_is_a_valid_command_line() {
    fn check(command: &clap::Command) {
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for example in examples.lines().filter_map(|line| line.strip_prefix("  ")) {
            let typed = example.split(['|', '>', '<']).next().unwrap_or_default();
            let words = typed.replace("'Base images'", "Base-images");
            let parsed = Cli::try_parse_from(words.split_whitespace());
            assert!(parsed.is_ok(), "{example}: {}", parsed.map_or_else(|error| error.to_string(), |_| String::new()));
        }
        command.get_subcommands().for_each(check);
    }
    check(&imgsrv_cli::with_examples(Cli::command()));
}

#[test]
fn switches_take_an_explicit_value() {
    for (arguments, expected) in [
        (vec!["imgsrv", "serve"], true),
        (vec!["imgsrv", "serve", "--cas-promotion-enabled", "true"], true),
        (vec!["imgsrv", "start", "--cas-promotion-enabled"], true),
        (vec!["imgsrv", "start", "--cas-promotion-enabled=false"], false),
    ] {
        let options = serve_options(&arguments).expect("valid arguments");
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
        (["imgsrv", "--metrics-path", "/a/:b"], ["--metrics-path", "/a/:b", "plain path"]),
        (["imgsrv", "--postgres-url-file", "/no/such"], ["--postgres-url-file", "/no/such", "cannot be read"]),
    ] {
        let error = serve_options(&arguments).expect_err("a bad value").to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn empty_values_count_as_absent() {
    let arguments = ["imgsrv", "--postgres-url", "", "--s3-bucket", "", "--storage-dir", "", "--metrics-listen", ""];
    let options = serve_options(&arguments).expect("valid arguments");
    assert!(options.storage.postgres().is_none() && options.storage.s3().is_none());
    assert_eq!(options.storage.storage_dir(), PathBuf::from(".imgsrv/storage"));
    assert!(options.metrics.metrics_listen.0.is_none());
}

#[test]
fn secrets_are_read_from_files_and_never_printed() {
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
    let options = serve_options(&arguments).expect("valid arguments");
    assert!(!format!("{options:?}").contains("hunter2"));
    assert_eq!(options.storage.s3().and_then(|s3| s3.secret_access_key).as_deref(), Some("hunter2"));
    assert_eq!(options.storage.postgres().map(|pg| pg.url).as_deref(), Some("postgres://u:hunter2@h/d"));
}

/// All settings of `imgsrv serve` as tables, by group.
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

This page is for operators; it lists every setting of `imgsrv serve` with its variable and default.

`imgsrv serve` (alias `start`) runs the server. `imgsrv` without a command runs it as well if any of these variables is
set and neither standard input nor standard output is a terminal, as in a container. Every setting is a flag and an
environment variable; the flag takes precedence. Durations are written as `500ms`, `5s`, `1m` or `24h`. The server
checks all values before it opens anything, and refuses invalid ones. An empty value is the same as no value.

Logs go to standard error. The server prints the bootstrap token to standard output and, with `--tls-self-signed`, the
command that adds the server to Incus. On a terminal it also prints its address, the location of its data, and the next
step.

`imgsrv admin` takes the storage settings and needs no token; see
[Manage authentication](../how-to/manage-authentication.md#from-the-servers-shell).
";

/// Compares a page of the reference with the command line, or writes it.
#[expect(clippy::disallowed_methods, reason = "the environment says whether to write the page")]
fn check_page(name: &str, expected: &str) {
    let path = format!("{}/../../docs/src/reference/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var("IMGSRV_UPDATE_DOCS").is_ok() {
        std::fs::write(&path, expected).expect("written");
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(page == expected, "run IMGSRV_UPDATE_DOCS=1 cargo test -p imgsrv-server the_reference");
}

#[test]
fn the_reference_page_lists_every_setting() {
    check_page("configuration.md", &reference());
}

const COMMANDS_HEAD: &str = "# The command line

This page is for publishers, consumers and managers; it lists every command of the client.
[Configuration](configuration.md) lists the settings of `imgsrv serve`, and [Publish and fetch in one
command](../how-to/publish.md) shows how the commands are used together.

## Output

The result goes to standard output; progress, notes and errors go to standard error. On a terminal, progress is shown as
bars and tables fit the width; `NO_COLOR` turns colours off. Standard output gets no binary data if it is a terminal.

With `--json`, a command that succeeds prints one JSON object to standard output:

- A list is an object with one array: `images list` prints `{\"images\": [...]}`; the other keys are `versions`, `aliases`,
  `blocked_digests`, `checks` (of `doctor` and `admin config check`), `drafts`, `entries` (of the audit log), `jobs`,
  `nodes`, `principals`, `quarantined_blobs`, `roles`, `api_tokens`, `rules`, `settings` (of `admin config show`) and
  `uploads`.
- Absent values are omitted; nothing is `null`.
- Objects have the form of the [API](api.md).

A command that fails prints a problem object (RFC 9457) to standard error: `type`, `title` and `detail`, with the exit code
in `exit_code` and the next step in `advice`. A refusal of the server is its own problem, with `status`, and `server` as
the URL. Failures of the command itself have a type of `urn:imgsrv:cli:`: `usage`, `failed`, `refused`, `not-found`,
`unreachable` or `interrupted`. `job` is the publish job that failed. [The schema](cli-output.schema.json) describes all of
it. Commands of `imgsrv admin` log changes to standard error as well: the problem is the last line. A command that revokes
several tokens and fails also prints what it has revoked to standard output.

## Exit codes

Every command, also those of `imgsrv admin`, has these exit codes:

| exit code | meaning | examples |
| --- | --- | --- |
| 0 | success; also if there was nothing left to do | a version that was published before, with the same content |
| 1 | failure on this machine, or a check that found a problem | a full disk; `doctor`, `storage verify` or `admin fsck` found something; `serve` cannot start |
| 2 | the command line cannot be right, whatever the server has | an unknown option or role, an invalid name, date or duration, a file that cannot be read, several objects that match |
| 3 | refused: by the server, or by the command before it changes anything | a missing permission, a wrong token, a version that is published with other content, an empty file without `--force` |
| 4 | what the command names does not exist | an unknown image, version, alias, job, principal, token, rule or digest |
| 5 | the server, the catalog or the token source cannot be reached, or is not imgsrv's | a wrong URL, a certificate that is not trusted, a folder without a catalog |
| 130 | interrupted | Ctrl-C |

## Earlier forms

Earlier forms of commands stay valid: `imgsrv images`, `versions IMAGE`, `show`, `drafts`, `alias set|rm|list`,
`auth bootstrap|list|revoke`, `auth rules save`, `auth audit`, `system nodes`, `storage quarantined`, and `imgsrv --OPTION`
for `imgsrv serve --OPTION`.
";

/// Headings of the options that all commands with a server share.
const COMMON: [&str; 2] = ["Server", "Output"];

/// All commands of clients and managers, from their help texts.
fn commands() -> String {
    let mut cli = imgsrv_cli::with_examples(Cli::command());
    cli.build();
    let mut page = String::from(COMMANDS_HEAD);
    let publish = cli.find_subcommand("publish").expect("the command");
    for heading in COMMON {
        page += &format!(
            "\n## {heading} options\n\nThese options belong to every command that uses a server.\n\n{OPTIONS_HEAD}"
        );
        for argument in publish.get_arguments().filter(|argument| argument.get_help_heading() == Some(heading)) {
            page += &option(argument);
        }
    }
    page += "\n## Commands\n";
    for command in cli.get_subcommands().filter(|command| !["serve", "help"].contains(&command.get_name())) {
        describe(command, "imgsrv", &mut page);
    }
    page
}

const OPTIONS_HEAD: &str = "| option | variable | what |\n| --- | --- | --- |\n";

fn option(argument: &clap::Arg) -> String {
    if argument.is_hide_set() {
        return String::new();
    }
    let short = argument.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let value = argument.get_value_names().filter(|_| argument.get_action().takes_values());
    let value = value.map(|names| format!(" <{}>", names[0])).unwrap_or_default();
    let variable = argument.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
    let default = argument.get_default_values().first().filter(|_| argument.get_action().takes_values());
    let default = default.map(|default| format!(" [default: {}]", default.to_string_lossy())).unwrap_or_default();
    let what = argument.get_help().map(ToString::to_string).unwrap_or_default();
    format!("| {short}`--{}{value}` | {variable} | {what}{default} |\n", argument.get_long().unwrap_or_default())
}

fn describe(command: &clap::Command, above: &str, page: &mut String) {
    let name = format!("{above} {}", command.get_name());
    let groups = command.get_subcommands().filter(|below| below.get_name() != "help");
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let is_own = |argument: &&clap::Arg| !argument.get_help_heading().is_some_and(|heading| COMMON.contains(&heading));
    let own: Vec<&clap::Arg> = command.get_arguments().filter(is_own).collect();
    let words: Vec<String> = own.iter().filter(|argument| argument.is_positional()).map(ToString::to_string).collect();
    if own.iter().any(|argument| argument.get_long() != Some("help")) || command.get_subcommands().count() == 0 {
        let about = about.trim_end_matches('.');
        *page += &format!("\n### `{}`\n\n{about}.\n", [std::slice::from_ref(&name), &words[..]].concat().join(" "));
        for word in own.iter().filter(|argument| argument.is_positional()) {
            *page += &format!("\n- `{word}`: {}", word.get_help().map(ToString::to_string).unwrap_or_default());
        }
        *page += if words.is_empty() { "" } else { "\n" };
        let is_storage = |argument: &&&clap::Arg| argument.get_help_heading() == Some("Storage");
        let has_storage = own.iter().any(|argument| is_storage(&argument));
        let rows = own.iter().filter(|argument| !argument.is_positional() && !is_storage(argument));
        let rows: String =
            rows.filter(|argument| argument.get_long() != Some("help")).map(|argument| option(argument)).collect();
        if !rows.is_empty() {
            *page += &format!("\n{OPTIONS_HEAD}{rows}");
        }
        if has_storage {
            *page +=
                "\nThe command takes the [storage settings](configuration.md#storage) of the server, and no token.\n";
        }
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = examples.trim_start_matches("Examples:\n").replace("\n  ", "\n");
        *page += &format!("\n```console\n{}\n```\n", examples.trim());
    }
    for below in groups {
        describe(below, &name, page);
    }
}

#[test]
fn the_reference_page_lists_every_command() {
    check_page("command-line.md", &commands());
}
