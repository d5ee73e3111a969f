//! The client commands of `imgsrv`, for publishers, consumers and managers.
//!
//! The result of a command goes to standard output, everything else to standard error. [`EXIT_CODES`] are the same for
//! all commands.

mod auth;
mod content;
mod credentials;
mod download;
mod failure;
mod file_spec;
mod login;
mod options;
mod publish;
mod report;

pub use auth::AuthCommand;

use clap::{Subcommand, ValueEnum};
use failure::Failure;
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

/// The exit codes of the commands, for the help.
pub const EXIT_CODES: &str = "Exit codes of all but serve: 0 done, 1 something on this side went wrong, 2 the command line is \
    wrong, 3 refused, 4 not found, 5 the server or who gives tokens could not be reached, 130 interrupted.";

/// The commands of a client.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Publish files as a version of an image, whole and once
    Publish(publish::PublishOptions),
    /// Upload files, without saying what they are
    Upload(publish::UploadOptions),
    /// Download a published image, verified
    Download(download::DownloadOptions),
    /// List images
    Images(content::ImagesOptions),
    /// List the versions of an image
    Versions(content::VersionsOptions),
    /// Show what a version is made of
    Show(content::ShowOptions),
    /// List or delete what is not published yet
    Drafts(content::DraftsOptions),
    /// Move names such as `latest` between published versions
    #[command(subcommand)]
    Alias(content::AliasCommand),
    /// Look after publish jobs
    #[command(subcommand)]
    Jobs(content::JobsCommand),
    /// Remember a server and a token for it
    Login(options::CommonOptions),
    /// Forget the token of a server
    Logout(options::CommonOptions),
    /// Tell who the token authenticates, and what it may do
    Whoami(options::CommonOptions),
}

/// Commands that print documents about the command line.
#[derive(Debug, Subcommand)]
pub enum HelpCommand {
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write one for each command into a folder
    Man {
        /// The folder
        folder: Option<PathBuf>,
    },
}

/// A shell for which completions can be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "they are their own names")]
pub enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

/// Runs a command until it ends or is interrupted.
pub async fn run(command: ClientCommand) -> ExitCode {
    let is_json = std::env::args_os().any(|argument| argument == "--json");
    let running = async {
        match command {
            ClientCommand::Publish(options) => publish::publish(options).await,
            ClientCommand::Upload(options) => publish::upload(options).await,
            ClientCommand::Download(options) => download::download(options).await,
            ClientCommand::Images(options) => content::images(options).await,
            ClientCommand::Versions(options) => content::versions(options).await,
            ClientCommand::Show(options) => content::show(options).await,
            ClientCommand::Drafts(options) => content::drafts(options).await,
            ClientCommand::Alias(command) => content::alias(command).await,
            ClientCommand::Jobs(command) => content::jobs(command).await,
            ClientCommand::Login(options) => login::login(options).await,
            ClientCommand::Logout(options) => login::logout(&options),
            ClientCommand::Whoami(options) => login::whoami(options).await,
        }
    };
    finish(running, is_json).await
}

/// Runs a management command until it ends or is interrupted.
pub async fn manage(command: AuthCommand) -> ExitCode {
    let is_json = std::env::args_os().any(|argument| argument == "--json");
    finish(auth::run(command), is_json).await
}

async fn finish(running: impl Future<Output = Result<(), Failure>>, is_json: bool) -> ExitCode {
    let done = tokio::select! {
        done = running => done,
        _ = tokio::signal::ctrl_c() => {
            report::clear_bars();
            let _ = writeln!(io::stderr().lock(), "imgsrv: interrupted; run the same command again to go on from there");
            return ExitCode::from(130);
        }
    };
    report::clear_bars();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = if is_json { failure.json().to_string() } else { failure.text() };
            let _ = writeln!(io::stderr().lock(), "{text}");
            ExitCode::from(failure.kind as u8)
        }
    }
}

/// Prints completions or manual pages.
pub fn help(command: HelpCommand, mut cli: clap::Command) -> ExitCode {
    let printed = match command {
        HelpCommand::Completions { shell } => {
            let mut text = Vec::new();
            let shell = match shell {
                Shell::Bash => clap_complete::Shell::Bash,
                Shell::Elvish => clap_complete::Shell::Elvish,
                Shell::Fish => clap_complete::Shell::Fish,
                Shell::Powershell => clap_complete::Shell::PowerShell,
                Shell::Zsh => clap_complete::Shell::Zsh,
            };
            clap_complete::generate(shell, &mut cli, "imgsrv", &mut text);
            io::stdout().lock().write_all(&text)
        }
        HelpCommand::Man { folder: None } => clap_mangen::Man::new(cli).render(&mut io::stdout().lock()),
        HelpCommand::Man { folder: Some(folder) } => {
            std::fs::create_dir_all(&folder).and_then(|()| clap_mangen::generate_to(cli, &folder))
        }
    };
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "imgsrv: {error}");
            ExitCode::FAILURE
        }
    }
}
