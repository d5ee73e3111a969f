//! The client commands of `imgsrv`, for publishers, consumers and managers.
//!
//! The result of a command goes to standard output, everything else to standard error. [`EXIT_CODES`] are the same for
//! all commands.

mod aliases;
mod auth;
mod blocked;
mod certificate;
mod cleartext;
mod count;
mod credentials;
mod diagnosis;
mod doctor;
mod documents;
mod download;
mod drafts;
mod examples;
mod failure;
mod file_name;
mod file_spec;
mod gc;
mod guess;
mod images;
mod incus_remote;
mod init;
mod jobs;
mod legacy;
mod links;
mod login;
mod nodes;
mod options;
mod publish;
mod quarantined;
mod recognise;
mod reference;
mod report;
mod retention;
mod retire;
mod shell;
mod storage;
mod systems;
mod upload;
mod versions;

pub use certificate::Certificate;
pub use count::count;
pub use diagnosis::Diagnosis;
pub use documents::{HelpCommand, help};
pub use examples::with_examples;
pub use legacy::parse;
pub use options::Remote;
pub use report::for_stdout;
pub use shell::{quoted, trust_authority};

use clap::Subcommand;
use failure::Failure;
use options::{CommonOptions, RetryLimit, Session};
use std::{
    io::{self, Write},
    process::ExitCode,
};

/// The exit codes of the commands, for the help.
pub const EXIT_CODES: &str = "Exit codes: 0 success, 1 failure on this machine or a problem that a check found, 2 invalid \
    command line, 3 refused, 4 not found, 5 server, catalog or token source not reachable, 130 interrupted.";

/// The commands of a client.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Create the first user of a new server, and log in
    ///
    /// The command uses the bootstrap token that the server printed at its first start. The user gets all roles: to
    /// publish, to retire versions, to operate the server, and to manage other users. Give a pipeline a principal of its
    /// own with content-writer alone. The server is that of --server, else that of the last login, else `http://127.0.0.1:8080`.
    /// If you are logged in already, nothing is changed.
    Init(init::InitOptions),
    /// Log in: store a server and a token for it
    Login(login::LoginOptions),
    /// Log out: remove the stored token of a server
    Logout,
    /// Show who the token authenticates, and what it may do
    Whoami,
    /// Publish files as a version of an image
    Publish(publish::PublishOptions),
    /// Upload files without publishing them
    Upload(upload::UploadOptions),
    /// Download a file of a published version, and verify its digest
    Download(download::DownloadOptions),
    /// List, show, change and delete images
    #[command(subcommand)]
    Images(images::ImagesCommand),
    /// List and show versions, and retire published ones
    #[command(subcommand)]
    Versions(versions::VersionsCommand),
    /// Set, show, delete, preview and apply retention policies, which retire old versions
    #[command(subcommand)]
    Retention(retention::RetentionCommand),
    /// List, set and delete aliases, such as latest
    #[command(subcommand)]
    Aliases(aliases::AliasesCommand),
    /// Print a URL with which anybody can download a file for a time
    ///
    /// The URL needs no token. It ends earlier when the token with which it was made expires or is revoked, when you may no
    /// longer read the image, or when the links of the image are revoked. Needs the role content-writer.
    Link(links::LinkOptions),
    /// Revoke links to files
    #[command(subcommand)]
    Links(links::LinksCommand),
    /// Print the command that adds the private images of a server to Incus or LXD
    ///
    /// The URL of the remote contains a token, which the shell reads when it runs the command, so that it is not in the
    /// history of the shell.
    IncusRemote(incus_remote::IncusRemoteOptions),
    /// List and delete versions that are not published
    #[command(subcommand)]
    Drafts(drafts::DraftsCommand),
    /// List, show, retry and abandon publish jobs
    #[command(subcommand)]
    Jobs(jobs::JobsCommand),
    /// Delete stored content that nothing refers to, or show why a blob is kept
    ///
    /// The server does this regularly; the command starts a collection now. It needs the role operator.
    Gc(gc::GcOptions),
    /// List and unblock the digests whose content was purged
    #[command(subcommand)]
    BlockedDigests(blocked::BlockedDigestsCommand),
    /// List the server processes that share the catalog. Needs the role operator or auditor
    #[command(subcommand)]
    Nodes(nodes::NodesCommand),
    /// Examine a server from outside, as its clients see it
    ///
    /// Checks the certificate, plain HTTP, port 80, readiness, the clock, the documents for Incus and LXD, and whether files
    /// can be resumed and cached. Each line says what to do. The requests are anonymous. Exit code 1 means that something does
    /// not work.
    Doctor(doctor::DoctorOptions),
    /// Show the storage of a server, and verify blobs. Needs the role operator
    #[command(subcommand)]
    Storage(storage::StorageCommand),
    /// List the blobs that are not served, because their stored content is missing or damaged. Needs the role operator
    #[command(subcommand)]
    QuarantinedBlobs(quarantined::QuarantinedBlobsCommand),
    /// Manage principals, roles, tokens and rules of a server, over its API
    #[command(subcommand)]
    Auth(auth::AuthCommand),
}

/// Runs a command until it ends or is interrupted.
pub async fn run(Remote { command, common }: Remote<ClientCommand>) -> ExitCode {
    let failed = tokio::select! {
        done = dispatch(command, &common) => done.err(),
        _ = tokio::signal::ctrl_c() => Some(Failure::interrupted()),
    };
    report::clear_bars();
    let Some(failure) = failed else { return ExitCode::SUCCESS };
    report_failure(&failure.at(common.server().as_deref()), common.output.json)
}

async fn dispatch(command: ClientCommand, common: &CommonOptions) -> Result<(), Failure> {
    let short = || common.start(RetryLimit::Short);
    let long = || -> Result<Session, Failure> { common.start(RetryLimit::Long) };
    match command {
        ClientCommand::Init(options) => init::init(&options, common).await,
        ClientCommand::Login(options) => login::login(&options, common).await,
        ClientCommand::Logout => login::logout(common),
        ClientCommand::Whoami => login::whoami(&short()?).await,
        ClientCommand::Publish(options) => publish::publish(options, &common.server, &long()?).await,
        ClientCommand::Upload(options) => upload::upload(options, &long()?).await,
        ClientCommand::Download(options) => download::download(options, &short()?, &long()?).await,
        ClientCommand::Images(command) => images::run(command, &short()?).await,
        ClientCommand::Versions(command) => versions::run(command, &short()?).await,
        ClientCommand::Retention(command) => retention::run(command, &short()?).await,
        ClientCommand::Aliases(command) => aliases::run(command, &short()?).await,
        ClientCommand::Link(options) => links::link(options, &short()?).await,
        ClientCommand::Links(command) => links::run(command, &short()?).await,
        ClientCommand::IncusRemote(options) => incus_remote::run(options, common).await,
        ClientCommand::Drafts(command) => drafts::run(command, &short()?).await,
        ClientCommand::Jobs(command) => jobs::run(command, &short()?).await,
        ClientCommand::Gc(options) => gc::run(options, &short()?).await,
        ClientCommand::BlockedDigests(command) => blocked::run(command, &short()?).await,
        ClientCommand::Nodes(command) => nodes::run(command, &short()?).await,
        ClientCommand::Doctor(options) => doctor::run(options, common).await,
        ClientCommand::Storage(command) => storage::run(command, &short()?).await,
        ClientCommand::QuarantinedBlobs(command) => quarantined::run(command, &short()?).await,
        ClientCommand::Auth(command) => auth::run(command, &short()?).await,
    }
}

/// Prints what is wrong with a command line: as a problem if `json`.
pub fn usage_error(error: &clap::Error, json: bool) -> ExitCode {
    if !error.use_stderr() {
        // Requested output: help or version.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if !json {
        let text = report::for_stderr(&error.render().ansi().to_string());
        // Without colours, unless they are wanted.
        let _ = write!(anstream::stderr().lock(), "{text}");
        return ExitCode::from(failure::Kind::Usage as u8);
    }
    let text = error.render().to_string();
    let detail = text.trim_start_matches("error: ").split("\n\nUsage:").next().unwrap_or_default();
    let failure = Failure::usage(detail.split_whitespace().collect::<Vec<_>>().join(" "));
    report_failure(&failure.with_advice("Run the command with --help."), true)
}

/// Prints the failure of a command of an operator, in the form of the failures of a client's commands, and returns its exit
/// code, which is one of [`EXIT_CODES`].
pub fn operator_failure(message: &str, exit_code: u8, json: bool) -> ExitCode {
    report_failure(&Failure::new(failure::Kind::with_exit_code(exit_code), message), json)
}

fn report_failure(failure: &Failure, json: bool) -> ExitCode {
    let text = if json { failure.json().to_string() } else { report::for_stderr(&failure.text()) };
    let _ = writeln!(io::stderr().lock(), "{text}");
    ExitCode::from(failure.kind as u8)
}
