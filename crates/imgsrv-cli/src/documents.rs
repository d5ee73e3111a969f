//! `imgsrv completions` and `imgsrv man`.

use clap::{Command, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man;
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Commands that print documents about the command line.
#[derive(Debug, Subcommand)]
pub enum HelpCommand {
    /// Print completions for a shell
    Completions {
        /// Shell
        shell: Shell,
    },
    /// Print the manual page, or write one for each command to a folder
    Man {
        /// Folder, such as /usr/local/share/man/man1 [default: print the page of imgsrv]
        folder: Option<PathBuf>,
    },
}

/// Runs a command that prints a document about the command line `cli`.
pub fn help(command: HelpCommand, mut cli: Command) -> ExitCode {
    let printed = match command {
        HelpCommand::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut cli, "imgsrv", &mut script);
            io::stdout().lock().write_all(&script)
        }
        HelpCommand::Man { folder: None } => page(cli).and_then(|page| io::stdout().lock().write_all(&page)),
        HelpCommand::Man { folder: Some(folder) } => {
            cli = cli.disable_help_subcommand(true);
            cli.build();
            fs::create_dir_all(&folder).and_then(|()| write_pages(&cli, &folder))
        }
    };
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "imgsrv: cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the page of a command and of those below it.
fn write_pages(command: &Command, folder: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or(command.get_name());
    fs::write(folder.join(format!("{name}.1")), page(command.clone())?)?;
    command.get_subcommands().filter(|below| !below.is_hide_set()).try_for_each(|below| write_pages(below, folder))
}

/// A manual page in roff. What follows the options are examples.
fn page(command: Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    let text = String::from_utf8_lossy(&page).replace(".SH EXTRA\n", ".SH EXAMPLES\n").replace("Examples:\n", "");
    Ok(text.into_bytes())
}
