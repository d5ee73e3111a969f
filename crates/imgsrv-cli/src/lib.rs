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
pub use options::Remote;

use clap::Subcommand;
use clap_complete::Shell;
use failure::Failure;
use options::CommonOptions;
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
    Images {
        /// Also those with nothing published
        #[arg(long)]
        all: bool,
    },
    /// List the versions of an image
    Versions {
        /// The image
        image: String,
        /// Also those that are not published
        #[arg(long)]
        all: bool,
    },
    /// Show what a version is made of
    Show {
        /// The image and, behind a colon, the version or alias [default: latest]
        #[arg(value_name = "IMAGE[:REF]")]
        reference: download::Reference,
    },
    /// List or delete what is not published yet
    Drafts(content::DraftsOptions),
    /// Move names such as `latest` between published versions
    #[command(subcommand)]
    Alias(content::AliasCommand),
    /// Look after publish jobs
    #[command(subcommand)]
    Jobs(content::JobsCommand),
    /// Remember a server and a token for it
    Login,
    /// Forget the token of a server
    Logout,
    /// Tell who the token authenticates, and what it may do
    Whoami,
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

/// Runs a command until it ends or is interrupted.
pub async fn run(Remote { command, common }: Remote<ClientCommand>) -> ExitCode {
    let running = async {
        match command {
            ClientCommand::Publish(options) => publish::publish(options, &common.start()?).await,
            ClientCommand::Upload(options) => publish::upload(options, &common.start()?).await,
            ClientCommand::Download(options) => download::download(options, &common.start()?).await,
            ClientCommand::Images { all } => content::images(all, &common.start()?).await,
            ClientCommand::Versions { image, all } => content::versions(&image, all, &common.start()?).await,
            ClientCommand::Show { reference } => content::show(&reference, &common.start()?).await,
            ClientCommand::Drafts(options) => content::drafts(options, &common.start()?).await,
            ClientCommand::Alias(command) => content::alias(command, &common.start()?).await,
            ClientCommand::Jobs(command) => content::jobs(command, &common.start()?).await,
            ClientCommand::Login => login::login(&common).await,
            ClientCommand::Logout => login::logout(&common),
            ClientCommand::Whoami => login::whoami(&common.start()?).await,
        }
    };
    finish(running, &common).await
}

/// Runs a management command until it ends or is interrupted.
pub async fn manage(Remote { command, common }: Remote<AuthCommand>) -> ExitCode {
    finish(async { auth::run(command, &common.start()?).await }, &common).await
}

async fn finish(running: impl Future<Output = Result<(), Failure>>, common: &CommonOptions) -> ExitCode {
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
            let text = if common.output.json { failure.json().to_string() } else { failure.text() };
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
