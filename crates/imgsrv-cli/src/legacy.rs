//! Earlier forms of the command line, which stay valid.

use clap::{
    ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind},
};
use std::ffi::OsString;

/// The command of the server.
const SERVE: &str = "serve";

/// Commands that group others, their verbs, and the verb that a group without one had.
const DEFAULT_VERBS: [(&[&str], &[&str], &str); 4] = [
    (&["images"], &["list", "show", "create", "set", "delete", "help"], "list"),
    (&["versions"], &["list", "show", "deprecate", "revoke", "remove", "restore", "hold", "release", "help"], "list"),
    (&["drafts"], &["list", "delete", "help"], "list"),
    (&["auth", "audit"], &["list", "help"], "list"),
];

/// Renamed commands.
const RENAMED: [(&[&str], &[&str]); 10] = [
    (&["show"], &["versions", "show"]),
    (&["alias", "rm"], &["aliases", "delete"]),
    (&["alias"], &["aliases"]),
    (&["auth", "bootstrap"], &["admin", "bootstrap"]),
    (&["auth", "list"], &["admin", "tokens", "list"]),
    (&["auth", "revoke"], &["admin", "tokens", "revoke"]),
    (&["auth", "rules", "save"], &["auth", "rules", "set"]),
    (&["system", "nodes"], &["nodes", "list"]),
    (&["system"], &["nodes"]),
    (&["storage", "quarantined"], &["quarantined-blobs", "list"]),
];

/// Parses the arguments of a process (the first is its name), also those of earlier forms: earlier names become present ones,
/// groups without a verb get one, and options without a command are those of `serve`. An error is about what was typed: its
/// usage is never that of a verb that was only supplied.
pub fn parse(cli: &Command, arguments: Vec<OsString>) -> Result<ArgMatches, clap::Error> {
    let arguments = renamed(cli, arguments);
    let is_option = word(&arguments, 1).starts_with('-');
    let typed = |arguments| cli.clone().try_get_matches_from(arguments);
    let Some(completed) = completed(&arguments) else {
        return typed(arguments).map_err(|error| if is_option { with_tip(error) } else { error });
    };
    match typed(completed) {
        Err(error) if error.use_stderr() && !is_about_option(&error) => typed(arguments),
        parsed => parsed,
    }
}

/// Whether an error is about an option, not about a word that may be a misspelt verb.
fn is_about_option(error: &clap::Error) -> bool {
    let argument = error.get(ContextKind::InvalidArg);
    matches!(argument, Some(ContextValue::String(argument)) if argument.starts_with('-'))
}

/// Says where options stand, if one before the command is unknown there.
fn with_tip(mut error: clap::Error) -> clap::Error {
    if error.kind() == ErrorKind::UnknownArgument {
        let tip = "options follow the command, as in 'imgsrv images list --server URL'".to_owned();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

fn word(arguments: &[OsString], at: usize) -> &str {
    arguments.get(at).and_then(|argument| argument.to_str()).unwrap_or_default()
}

fn is_help(word: &str) -> bool {
    ["-h", "--help", "-V", "--version"].contains(&word)
}

/// The arguments with the present name of a renamed command.
fn renamed(cli: &Command, mut arguments: Vec<OsString>) -> Vec<OsString> {
    if is_option_of_serve(cli, word(&arguments, 1)) {
        arguments.insert(1, SERVE.into());
        return arguments;
    }
    // `help` is followed by the command that it is about.
    let first = if word(&arguments, 1) == "help" { 2 } else { 1 };
    if let Some((old, new)) = RENAMED.iter().find(|(old, _)| is_command(&arguments[first - 1..], old)) {
        arguments.splice(first..first + old.len(), new.iter().map(OsString::from));
    }
    arguments
}

fn is_option_of_serve(cli: &Command, word: &str) -> bool {
    let Some(option) = word.strip_prefix("--").filter(|_| !is_help(word)) else { return false };
    let name = option.split('=').next().unwrap_or(option);
    let serve = cli.find_subcommand(SERVE);
    serve.is_some_and(|serve| serve.get_arguments().any(|argument| argument.get_long() == Some(name)))
}

/// Whether the arguments begin with the words of a command.
fn is_command(arguments: &[OsString], words: &[&str]) -> bool {
    words.iter().enumerate().all(|(at, name)| word(arguments, at + 1) == *name)
}

/// The arguments with the verb that a group without one had; `None` if there is a verb or no such group.
fn completed(arguments: &[OsString]) -> Option<Vec<OsString>> {
    let (group, verbs, verb) = DEFAULT_VERBS.iter().find(|(group, ..)| is_command(arguments, group))?;
    let at = group.len() + 1;
    let next = word(arguments, at);
    // `versions` alone lacks the name of an image; its help says more.
    let is_complete = arguments.len() > at || *group != ["versions"];
    (is_complete && !verbs.contains(&next) && !is_help(next)).then(|| {
        let mut arguments = arguments.to_vec();
        arguments.insert(at, OsString::from(verb));
        arguments
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_forms_become_present_ones() {
        let serve = Command::new(SERVE).arg(clap::Arg::new("listen").long("listen"));
        let cli = Command::new("imgsrv").subcommand(serve);
        let form = |line: &str| {
            let words = renamed(&cli, line.split_whitespace().map(OsString::from).collect());
            let words = completed(&words).unwrap_or(words).into_iter();
            words.map(|word| word.into_string().expect("UTF-8")).collect::<Vec<_>>().join(" ")
        };
        for (old, new) in [
            ("imgsrv", "imgsrv"),
            ("imgsrv --help", "imgsrv --help"),
            ("imgsrv --listen :1", "imgsrv serve --listen :1"),
            ("imgsrv --listen=:1", "imgsrv serve --listen=:1"),
            ("imgsrv --server x images list", "imgsrv --server x images list"),
            ("imgsrv images", "imgsrv images list"),
            ("imgsrv images --all", "imgsrv images list --all"),
            ("imgsrv images show debian", "imgsrv images show debian"),
            ("imgsrv images --help", "imgsrv images --help"),
            ("imgsrv versions debian --json", "imgsrv versions list debian --json"),
            ("imgsrv versions list debian", "imgsrv versions list debian"),
            ("imgsrv versions revoke debian:1", "imgsrv versions revoke debian:1"),
            ("imgsrv versions", "imgsrv versions"),
            ("imgsrv show debian:1", "imgsrv versions show debian:1"),
            ("imgsrv drafts", "imgsrv drafts list"),
            ("imgsrv drafts debian", "imgsrv drafts list debian"),
            ("imgsrv drafts delete debian 1", "imgsrv drafts delete debian 1"),
            ("imgsrv alias set debian latest 1", "imgsrv aliases set debian latest 1"),
            ("imgsrv alias rm debian latest", "imgsrv aliases delete debian latest"),
            ("imgsrv auth bootstrap", "imgsrv admin bootstrap"),
            ("imgsrv auth list --json", "imgsrv admin tokens list --json"),
            ("imgsrv auth revoke x", "imgsrv admin tokens revoke x"),
            ("imgsrv auth rules save ci f", "imgsrv auth rules set ci f"),
            ("imgsrv auth tokens list x", "imgsrv auth tokens list x"),
            ("imgsrv auth audit", "imgsrv auth audit list"),
            ("imgsrv auth audit --limit 1", "imgsrv auth audit list --limit 1"),
            ("imgsrv auth audit list --limit 1", "imgsrv auth audit list --limit 1"),
            ("imgsrv system nodes --json", "imgsrv nodes list --json"),
            ("imgsrv storage quarantined", "imgsrv quarantined-blobs list"),
            ("imgsrv system", "imgsrv nodes"),
            ("imgsrv system --help", "imgsrv nodes --help"),
            ("imgsrv help", "imgsrv help"),
            ("imgsrv help system", "imgsrv help nodes"),
            ("imgsrv help system nodes", "imgsrv help nodes list"),
            ("imgsrv help storage quarantined", "imgsrv help quarantined-blobs list"),
            ("imgsrv help auth list", "imgsrv help admin tokens list"),
        ] {
            assert_eq!(form(old), new);
        }
    }
}
