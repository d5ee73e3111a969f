//! The commands of the binary: the server, its operators' commands, and those of clients.

use crate::{
    config::{ServeOptions, StorageOptions},
    config_show::ShownSettings,
    options::{TokenRef, bytes},
};
use clap::{Args, Parser, Subcommand};
use imgsrv_cli::{ClientCommand, HelpCommand, Remote};
use imgsrv_domain::{
    digest::Digest,
    ids::PrincipalId,
    names::{ImageName, VersionName},
};
use std::path::PathBuf;

/// Publish disk and VM images, and serve them to the machines that boot them
#[derive(Debug, Parser)]
#[command(name = "imgsrv", version, subcommand_required = true, after_long_help = imgsrv_cli::EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    #[command(alias = "start")]
    Serve(ServeOptions),
    #[command(flatten)]
    Client(Remote<ClientCommand>),
    /// Manage a server on its own machine, with its catalog and without a token
    #[command(subcommand)]
    Admin(AdminCommand),
    #[command(flatten)]
    Help(HelpCommand),
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "constructed once")]
pub(crate) enum AdminCommand {
    /// Print a new bootstrap token, which can manage authentication for 24 hours: the way back in after a lock-out
    Bootstrap(CatalogOptions),
    /// List and revoke API tokens
    #[command(subcommand)]
    Tokens(AdminTokensCommand),
    /// Release the hold of a version at once, without the cooldown
    ReleaseHold(ReleaseHoldOptions),
    /// Replace the key of links: all links end at once, also those in the documents of private Incus remotes
    RotateLinkKey(CatalogOptions),
    /// Back up the catalog and all blobs into a folder, also while the server runs
    ///
    /// Run the command again with the same folder to copy only what is new. The earlier backup stays complete until the
    /// new one is. The folder contains private files, hashes of tokens and the key of links; only its
    /// owner can read it.
    Export(ExportOptions),
    /// Restore a backup into an empty catalog and an empty blob store, while no server runs
    ///
    /// The settings select the catalog and the blob store, of any kind. If the command is interrupted, run it again.
    Import(ImportOptions),
    /// Check and show the settings of the server
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check the catalog against the blob store, in both directions
    ///
    /// Works beside a running server. Exits with 0 if nothing is found, 1 if something is, 2 for a wrong command line, and 5 if
    /// the catalog or the blob store cannot be reached.
    Fsck(FsckArguments),
}

/// The options that all commands on a catalog have.
#[derive(Debug, Args)]
pub(crate) struct CatalogOptions {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) storage: StorageOptions,
}

#[derive(Debug, Args)]
pub(crate) struct FsckArguments {
    /// Hash the bytes of every blob
    #[arg(long)]
    pub(crate) bytes: bool,
    /// Hash only blobs after this digest, to continue an interrupted check
    #[arg(long, value_name = "DIGEST", requires = "bytes")]
    pub(crate) after: Option<Digest>,
    /// Quarantine damaged blobs, and delete stored bytes that belong to nothing and are older than `--gc-grace`
    #[arg(long)]
    pub(crate) repair: bool,
    /// Delete such bytes also if they are more than 1 GiB or 1 % of the store
    #[arg(long, requires = "repair")]
    pub(crate) delete_unknown: bool,
    #[command(flatten)]
    pub(crate) common: CatalogOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ExportOptions {
    /// Folder of the backup: a new one, or that of an earlier backup
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Export the catalog alone, without the bytes of blobs
    #[arg(long)]
    pub(crate) no_blobs: bool,
    /// Maximum number of bytes of blobs to read per second, such as 16MiB [default: no limit]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) rate: Option<u64>,
    /// Delete files of earlier backups that the new backup does not need
    #[arg(long)]
    pub(crate) prune: bool,
    /// Verify the backup in the folder instead, by hashing all of its files
    #[arg(long, conflicts_with_all = ["no_blobs", "rate", "prune"])]
    pub(crate) verify: bool,
    #[command(flatten)]
    pub(crate) common: CatalogOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ImportOptions {
    /// Folder of the backup
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Use the blob store of the server that was exported, which must never run again. Blobs that it has are verified
    /// and not copied
    #[arg(long)]
    pub(crate) existing_store: bool,
    #[command(flatten)]
    pub(crate) common: CatalogOptions,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "constructed once")]
pub(crate) enum ConfigCommand {
    /// Check the settings, and say what a server would do with them
    ///
    /// Opens the catalog, the blob store and the certificate without changing them; a probe object is written to the blob
    /// store and deleted. The command listens on no port and locks nothing, so that it can run beside a server. Exit code 1
    /// means that a server would not start.
    Check(CheckOptions),
    /// Show every setting, its value, and where the value comes from; secrets are hidden
    Show(ShownSettings),
}

#[derive(Debug, Args)]
pub(crate) struct CheckOptions {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) settings: ServeOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseHoldOptions {
    /// Version to release, as IMAGE:VERSION
    #[arg(value_name = "IMAGE:VERSION", value_parser = image_version)]
    pub(crate) version: (ImageName, VersionName),
    #[command(flatten)]
    pub(crate) common: CatalogOptions,
}

fn image_version(raw: &str) -> Result<(ImageName, VersionName), String> {
    let parsed = raw.split_once(':').and_then(|(image, version)| Some((image.parse().ok()?, version.parse().ok()?)));
    parsed.ok_or_else(|| "must be IMAGE:VERSION, such as debian:12.4.0".to_owned())
}

#[derive(Debug, Subcommand)]
pub(crate) enum AdminTokensCommand {
    /// List principals with their roles and their tokens
    List(CatalogOptions),
    /// Revoke API tokens, or deactivate principals
    Revoke(RevokeOptions),
}

#[derive(Debug, Args)]
pub(crate) struct RevokeOptions {
    /// Id of a token, the token itself, or its start (`imgsrv_at_` and 12 characters)
    #[arg(value_name = "TOKEN", required_unless_present = "principal")]
    pub(crate) tokens: Vec<TokenRef>,
    /// Principal to deactivate: the server refuses all its tokens
    #[arg(long, value_name = "ID")]
    pub(crate) principal: Vec<PrincipalId>,
    #[command(flatten)]
    pub(crate) common: CatalogOptions,
}
