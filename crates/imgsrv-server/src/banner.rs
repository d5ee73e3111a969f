//! What a person who starts the server reads first: the bootstrap token, where the server listens, where its data are, and
//! what to do next. Without a terminal the same is in the log; standard output then has the token alone.

use crate::{config::ServeOptions, system::write_file};
use imgsrv_cli::quoted;
use imgsrv_http::PublicUrl;
use std::{
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// Gives the bootstrap token to the operator: in a file that only its owner can read, or on standard output.
pub(crate) fn deliver_token(token: &str, file: Option<&Path>) -> io::Result<()> {
    if let Some(path) = file {
        return write_file(path, &format!("{token}\n"), 0o600);
    }
    let mut output = io::stdout().lock();
    writeln!(output, "imgsrv bootstrap token (one-time): {token}")?;
    if output.is_terminal() {
        writeln!(output, "  Shown once, valid for 24 hours.")?;
    }
    Ok(())
}

/// Whether somebody can log in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Users {
    /// This start printed the bootstrap token, which creates the first one.
    Expected,
    /// There is none, and an earlier start printed the token.
    Missing,
    /// There are some.
    Exist,
}

/// Says where the server listens, where its data are, and what to do next. Clients need the certificate of its own
/// `authority`, if it has one.
pub(crate) fn started(
    options: &ServeOptions,
    address: SocketAddr,
    is_tls: bool,
    authority: Option<&Path>,
    users: Users,
) {
    if !io::stdout().is_terminal() {
        return;
    }
    let url = url(options, address, is_tls);
    let server = match authority {
        Some(file) => format!("--server {url} --ca-file {}", quoted(&absolute(file).display().to_string())),
        None => format!("--server {url}"),
    };
    let data = absolute(&options.storage.data_dir);
    let catalog =
        if options.storage.postgres().is_some() { "PostgreSQL".to_owned() } else { data.display().to_string() };
    let next = match users {
        Users::Expected => format!("In another terminal, run: imgsrv init {server}"),
        Users::Missing => {
            let catalog = match options.storage.postgres() {
                Some(_) => String::new(),
                None => format!(" --data-dir {}", quoted(&data.display().to_string())),
            };
            format!(
                "No user exists yet. In another terminal, run: imgsrv init {server}\n\
                 If the bootstrap token is lost, run: imgsrv admin bootstrap{catalog}"
            )
        }
        Users::Exist => format!("To publish, log in: imgsrv login {server}\nThe API is described at {url}/docs"),
    };
    let blobs = options.storage.blob_store();
    // Without a reader there is nobody to tell.
    let _ = writeln!(io::stdout().lock(), "Listening on {url}\nCatalog in {catalog}, blobs in {blobs}\n{next}");
}

/// The path to type in any folder.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The URL to type on this machine, or the public one.
fn url(options: &ServeOptions, address: SocketAddr, is_tls: bool) -> String {
    let public = options.api.public_url().as_ref().map(PublicUrl::to_string);
    public.unwrap_or_else(|| {
        let scheme = if is_tls { "https" } else { "http" };
        let address =
            if address.ip().is_unspecified() { SocketAddr::from(([127, 0, 0, 1], address.port())) } else { address };
        format!("{scheme}://{address}")
    })
}
