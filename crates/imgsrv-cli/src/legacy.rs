//! Earlier forms of the command line, which stay valid.

use std::{ffi::OsString, iter};

/// Commands that group others, their verbs, and the verb that a group without one had.
const DEFAULT_VERBS: [(&str, &[&str], &str); 3] = [
    ("images", &["list", "show", "set", "delete", "help"], "list"),
    ("versions", &["list", "show", "deprecate", "revoke", "remove", "restore", "hold", "release", "help"], "list"),
    ("drafts", &["list", "delete", "help"], "list"),
];

/// Renamed commands.
const RENAMED: [(&[&str], &[&str]); 7] = [
    (&["show"], &["versions", "show"]),
    (&["alias", "rm"], &["aliases", "delete"]),
    (&["alias"], &["aliases"]),
    (&["auth", "bootstrap"], &["admin", "bootstrap"]),
    (&["auth", "list"], &["admin", "tokens", "list"]),
    (&["auth", "revoke"], &["admin", "tokens", "revoke"]),
    (&["auth", "rules", "save"], &["auth", "rules", "set"]),
];

/// The arguments of a process (the first is its name) in the present form of the command line: earlier names become
/// present ones, and options without a command are those of `serve`.
pub fn current_form(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let word = |at: usize| arguments.get(at).and_then(|argument| argument.to_str()).unwrap_or_default();
    let is_help = |word: &str| ["-h", "--help", "-V", "--version"].contains(&word);
    if word(1).starts_with('-') && !is_help(word(1)) {
        arguments.insert(1, "serve".into());
        return arguments;
    }
    let is_prefix = |old: &&[&str]| old.iter().enumerate().all(|(at, name)| word(at + 1) == *name);
    if let Some((old, new)) = RENAMED.iter().find(|(old, _)| is_prefix(old)) {
        arguments.splice(1..=old.len(), new.iter().map(OsString::from));
        return arguments;
    }
    let group = DEFAULT_VERBS.iter().find(|(group, ..)| *group == word(1));
    if let Some((group, verbs, verb)) = group {
        let next = word(2);
        // `versions` alone lacks the name of an image; its help says more.
        let is_complete = arguments.len() > 2 || *group != "versions";
        if is_complete && !verbs.contains(&next) && !is_help(next) {
            arguments.splice(2..2, iter::once(OsString::from(verb)));
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_forms_become_present_ones() {
        let form = |line: &str| {
            let words = line.split_whitespace().map(OsString::from);
            let words = current_form(words).into_iter().map(|word| word.into_string().expect("UTF-8"));
            words.collect::<Vec<_>>().join(" ")
        };
        for (old, new) in [
            ("imgsrv", "imgsrv"),
            ("imgsrv --help", "imgsrv --help"),
            ("imgsrv --listen :1", "imgsrv serve --listen :1"),
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
        ] {
            assert_eq!(form(old), new);
        }
    }
}
