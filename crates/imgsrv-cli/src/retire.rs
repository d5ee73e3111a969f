//! `imgsrv versions deprecate`, `revoke`, `remove`, `restore`, `hold` and `release`.

mod digest;

use crate::{
    failure::Failure,
    gc::describe_reference,
    options::Session,
    report::{date, state_in_words},
};
use clap::{Args, Subcommand};
use imgsrv_client::{
    Client, Digest,
    api::{
        DeprecateVersion, HoldVersion, KeptDigest, Lifecycle, RemoveVersion, RemovedVersion, RevokeVersion, Version,
    },
};
use std::{
    collections::BTreeMap,
    fmt,
    io::{self, BufRead, IsTerminal, Write},
    str::FromStr,
};

#[derive(Debug, Subcommand)]
pub enum RetireCommand {
    /// Deprecate a version: it stays available, and clients are asked to move on
    Deprecate {
        #[command(flatten)]
        target: Target,
        /// Reason, which is public
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        successor: Successor,
        /// Day on which support ends, such as 2027-06-30
        #[arg(long, value_name = "DATE")]
        end_of_life: Option<String>,
    },
    /// Revoke a version: its files are no longer served
    Revoke {
        /// Image and version, such as debian:12.4.0
        #[arg(value_name = "IMAGE:VERSION", required_unless_present = "digest")]
        version: Option<VersionName>,
        /// Revoke every version of every image that has this digest
        #[arg(long, value_name = "DIGEST", conflicts_with_all = ["version", "aliases"])]
        digest: Option<Digest>,
        /// Only list the versions that have the digest
        #[arg(long, requires = "digest")]
        dry_run: bool,
        /// Reason, which is public; required unless --dry-run is given
        #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
        reason: Option<String>,
        #[command(flatten)]
        successor: Successor,
        #[command(flatten)]
        aliases: AliasMoves,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Remove a version: it is no longer listed, and its files are served until its drain ends
    Remove {
        #[command(flatten)]
        target: Target,
        /// Reason, which is public; required with --purge
        #[arg(long, value_name = "TEXT", required_if_eq("purge", "true"))]
        reason: Option<String>,
        #[command(flatten)]
        successor: Successor,
        #[command(flatten)]
        aliases: AliasMoves,
        /// How long the files are served after the removal, such as 48h; at least 2h, at most 100 years. Of a version that is
        /// removed already, it only lengthens that time [default: set by the server, usually 24h]
        #[arg(long, value_name = "DURATION")]
        drain: Option<String>,
        /// Stop serving the version at once, delete its content unless another version has it, and block the digests of that
        /// content: for a leaked secret. This cannot be undone
        #[arg(long, conflicts_with = "drain")]
        purge: bool,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Undo the last deprecation, revocation or removal of a version
    Restore {
        #[command(flatten)]
        target: Target,
        /// Reason, for the audit log
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Hold a version: it cannot be revoked or removed
    Hold {
        #[command(flatten)]
        target: Target,
        /// Reason, which is public
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Time at which the hold ends by itself, such as 2027-06-30T12:00:00Z, or a day such as 2027-06-30, at 00:00 UTC
        #[arg(long, value_name = "TIME", value_parser = time)]
        until: Option<String>,
    },
    /// Release the hold of a version, which ends after a cooldown
    Release {
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Args)]
pub struct Target {
    /// Image and version, such as debian:12.4.0
    #[arg(value_name = "IMAGE:VERSION")]
    version: VersionName,
}

#[derive(Debug, Args)]
pub struct Successor {
    /// What to use instead: a version or alias of the image, or IMAGE:NAME for one of another image
    #[arg(long, value_name = "REF")]
    replacement: Option<String>,
}

#[derive(Debug, Args)]
pub struct AliasMoves {
    /// Alias to move at the same time, such as latest=12.4.1; `latest=` deletes it. Repeat the option for several
    #[arg(long = "alias", value_name = "ALIAS=VERSION", value_parser = alias_move)]
    aliases: Vec<(String, Option<String>)>,
}

#[derive(Debug, Args)]
pub struct Confirmation {
    /// Do not ask for confirmation; required if standard input is not a terminal
    #[arg(long, short)]
    yes: bool,
}

/// A version, never by an alias: an alias may move between looking and acting.
#[derive(Debug, Clone)]
pub struct VersionName {
    image: String,
    version: String,
}

impl FromStr for VersionName {
    type Err = String;

    fn from_str(raw: &str) -> Result<Self, String> {
        match raw.split_once([':', '/']) {
            Some((image, version)) if !image.is_empty() && !version.is_empty() => {
                Ok(Self { image: image.to_owned(), version: version.to_owned() })
            }
            _ => Err("must be IMAGE:VERSION, such as debian:12.4.0".to_owned()),
        }
    }
}

impl fmt::Display for VersionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.image, self.version)
    }
}

fn alias_move(raw: &str) -> Result<(String, Option<String>), String> {
    match raw.split_once('=') {
        Some((alias, version)) if !alias.is_empty() => {
            Ok((alias.to_owned(), Some(version.to_owned()).filter(|version| !version.is_empty())))
        }
        _ => Err("must be ALIAS=VERSION, such as latest=12.4.1, or ALIAS= to delete the alias".to_owned()),
    }
}

/// A time as the server expects it: of a day its start. The server refuses what is neither.
#[expect(clippy::unnecessary_wraps, reason = "clap requires this signature")]
fn time(raw: &str) -> Result<String, String> {
    let is_day = raw.len() == "2027-06-30".len() && raw.parse::<jiff::civil::Date>().is_ok();
    Ok(if is_day { format!("{raw}T00:00:00Z") } else { raw.to_owned() })
}

impl Confirmation {
    /// Asks on a terminal; elsewhere `--yes` must be given.
    pub(crate) fn require(&self, what: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            return Err(Failure::usage("the command needs confirmation, and standard input is not a terminal")
                .with_advice("Add --yes."));
        }
        let unreadable = |error: io::Error| Failure::usage(format!("cannot read the answer: {error}"));
        write!(io::stderr().lock(), "{what} Continue? [y/N] ").map_err(unreadable)?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(unreadable)?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::refused("not confirmed; nothing was changed")),
        }
    }
}

pub(crate) async fn run(command: RetireCommand, session: &Session) -> Result<(), Failure> {
    let Session { report, client } = session;
    match command {
        RetireCommand::Revoke { digest: Some(digest), dry_run, reason, successor, confirmation, .. } => {
            let reason = reason.unwrap_or_default();
            let words = RevokeVersion { reason, replacement: successor.replacement, aliases: BTreeMap::new() };
            digest::revoke(&digest, &words, dry_run, &confirmation, session).await
        }
        RetireCommand::Revoke { dry_run: true, .. } => {
            Err(Failure::usage("--dry-run lists the versions of a digest, and no --digest is given"))
        }
        RetireCommand::Remove {
            target: Target { version: on },
            reason,
            successor,
            aliases,
            drain,
            purge,
            confirmation,
        } => {
            confirmation.require(&if purge {
                format!("{on} will be purged: it is gone permanently, and its content is deleted now.")
            } else {
                format!("{on} will be removed: when its drain has ended, it is gone permanently.")
            })?;
            let aliases = BTreeMap::from_iter(aliases.aliases);
            let words = RemoveVersion { reason, replacement: successor.replacement, aliases, drain, purge };
            let removed = client.remove_version(&on.image, &on.version, &words).await.map_err(Failure::about(&on))?;
            report.result(&describe_removal(&on, &removed), &removed)
        }
        command => {
            let (target, changed) = change(command, client).await?;
            report.result(&describe(&target, &changed), &changed)
        }
    }
}

async fn change(command: RetireCommand, client: &Client) -> Result<(VersionName, Version), Failure> {
    let (target, changed) = match command {
        RetireCommand::Deprecate { target: Target { version: on }, reason, successor, end_of_life } => {
            let words = DeprecateVersion { reason, replacement: successor.replacement, end_of_life };
            let changed = client.deprecate_version(&on.image, &on.version, &words).await;
            (on, changed)
        }
        RetireCommand::Revoke { version: Some(on), reason, successor, aliases, confirmation, .. } => {
            confirmation.require(&format!("{on} will be revoked: its files are no longer served."))?;
            let aliases = BTreeMap::from_iter(aliases.aliases);
            let reason = reason.unwrap_or_default();
            let words = RevokeVersion { reason, replacement: successor.replacement, aliases };
            let changed = client.revoke_version(&on.image, &on.version, &words).await;
            (on, changed)
        }
        RetireCommand::Restore { target: Target { version: on }, reason } => {
            let changed = client.restore_version(&on.image, &on.version, reason.as_deref()).await;
            (on, changed)
        }
        RetireCommand::Hold { target: Target { version: on }, reason, until } => {
            let changed = client.hold_version(&on.image, &on.version, &HoldVersion { reason, until }).await;
            (on, changed)
        }
        RetireCommand::Release { target: Target { version: on } } => {
            let changed = client.release_version(&on.image, &on.version).await;
            (on, changed)
        }
        // Clap requires the version without a digest, and removals are not simple changes.
        RetireCommand::Revoke { version: None, .. } | RetireCommand::Remove { .. } => {
            return Err(Failure::usage("no version is named"));
        }
    };
    let changed = changed.map_err(|error| {
        let failure = Failure::about(&target)(error);
        let advice =
            || format!("imgsrv versions list {} shows the versions. Aliases are not accepted here.", target.image);
        if failure.is_missing("version") { failure.with_advice(advice()) } else { failure }
    })?;
    Ok((target, changed))
}

fn describe(target: &VersionName, version: &Version) -> String {
    format!("{target} is {}", describe_state(version))
}

/// The state of the lifecycle of a published version.
fn describe_state(version: &Version) -> String {
    version.lifecycle.as_ref().map_or_else(|| "active".to_owned(), state)
}

/// A removed version, with the digests that a purge has blocked or kept.
fn describe_removal(target: &VersionName, removed: &RemovedVersion) -> String {
    let mut text = describe(target, &removed.version);
    let scope = if removed.blocked_everywhere == Some(false) { " (in this image)" } else { "" };
    for digest in removed.purged.iter().flatten() {
        text += &format!("\n  deleted and blocked{scope} {digest}");
    }
    for KeptDigest { digest, by } in removed.kept.iter().flatten() {
        text += &format!("\n  kept {digest}");
        for reference in by {
            text += &format!("\n    referenced by {}", describe_reference(reference));
        }
    }
    text
}

/// The state of a lifecycle in one line, with its times and its hold.
pub(crate) fn state(lifecycle: &Lifecycle) -> String {
    let mut text = state_in_words(&lifecycle.state).to_owned();
    match &lifecycle.available_until {
        // The files of a version that was revoked are not served during its drain either.
        Some(until) if lifecycle.state == "removed" && lifecycle.revoked_at.is_none() => {
            text += &format!(", available until {}", date(until));
        }
        _ => {}
    }
    if let Some(hold) = &lifecycle.hold {
        let end = hold.lifts_at.as_ref().or(hold.until.as_ref());
        text += &end.map_or(", held".to_owned(), |end| format!(", held until {}", date(end)));
    }
    text
}

/// The reason and the replacement, after a colon and a full stop.
pub(crate) fn words(lifecycle: &Lifecycle) -> String {
    let reason = lifecycle.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let instead = lifecycle.replacement.as_ref().map(|to| format!(". Use {} instead", to.name)).unwrap_or_default();
    format!("{reason}{instead}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_moved_or_deleted() {
        let to = Some("12.4.1".to_owned());
        assert_eq!(alias_move("latest=12.4.1"), Ok(("latest".to_owned(), to)));
        assert_eq!(alias_move("old="), Ok(("old".to_owned(), None)));
        assert!(alias_move("latest").is_err());
        assert!(alias_move("=1").is_err());
    }

    #[test]
    fn a_hold_ends_at_a_time_or_at_the_start_of_a_day() {
        assert_eq!(time("2027-06-30").as_deref(), Ok("2027-06-30T00:00:00Z"));
        for other in ["2027-06-30T12:00:00Z", "2027-02-31", "tomorrow"] {
            assert_eq!(time(other).as_deref(), Ok(other));
        }
    }

    #[test]
    fn a_version_is_named_explicitly() {
        assert_eq!("debian:2026:01".parse::<VersionName>().expect("a version").to_string(), "debian:2026:01");
        assert!("debian".parse::<VersionName>().is_err());
    }
}
