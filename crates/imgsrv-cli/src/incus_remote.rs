//! `imgsrv incus-remote`: the command that adds the private images of a server to Incus or LXD.
//!
//! The URL of the remote contains a token. It is read by the shell that runs the command, so that it is neither printed
//! nor in the history of a shell.

use crate::{
    auth::{principals, tokens},
    credentials::Credentials,
    doctor::http,
    failure::{Failure, plain},
    options::{CommonOptions, RetryLimit, ServerOptions, Session, token_in},
    report::{Report, date},
    shell::{install, quoted, trust_authority},
};
use clap::Args;
use imgsrv_client::api::{CreateApiToken, Whoami};
use imgsrv_domain::{auth::Role, digest::BlobClaim};
use serde_json::json;
use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// What the token of a remote is limited to.
const READER: &str = Role::ContentReader.as_str();

#[derive(Debug, Args)]
pub struct IncusRemoteOptions {
    /// Name of the remote
    #[arg(default_value = "imgsrv", value_parser = remote_name)]
    name: String,
    /// File with the token of the remote, which must be limited to content-reader [default: the printed command asks for
    /// the token]
    #[arg(long, value_name = "FILE")]
    remote_token_file: Option<PathBuf>,
    /// Create the token for this principal, limited to content-reader, and write it to the file. Needs auth-manager
    #[arg(long, value_name = "PRINCIPAL", requires = "remote_token_file")]
    create_for: Option<String>,
    /// Limit the created token to images whose name matches, such as 'debian-*'. Repeat the option for several
    #[arg(long = "image", value_name = "PATTERN", requires = "create_for")]
    images: Vec<String>,
    /// Lifetime of the created token, such as 90d or 1y
    #[arg(long, default_value = "1y", value_name = "DURATION", value_parser = tokens::lifetime)]
    expires_in: jiff::Span,
    /// Print the command for LXD instead of Incus
    #[arg(long)]
    lxd: bool,
}

/// The names that both programs accept, without characters that a shell interprets.
fn remote_name(raw: &str) -> Result<String, String> {
    let fits = !raw.is_empty() && raw.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let fits = fits && !raw.starts_with('-') && !raw.starts_with('.');
    if fits { Ok(raw.to_owned()) } else { Err("must be letters, digits, `-`, `_` and `.`".to_owned()) }
}

pub(crate) async fn run(options: IncusRemoteOptions, common: &CommonOptions) -> Result<(), Failure> {
    let url = common.server.url_with(&Credentials::load().unwrap_or_default())?;
    if !url.starts_with("https://") {
        return Err(Failure::usage(format!("{url} does not use HTTPS, which private remotes need"))
            .with_advice("Add --server with the HTTPS URL at which the clients reach the server."));
    }
    let Session { report, client } = common.start(RetryLimit::Short)?;
    let file = options.remote_token_file.as_deref();
    let mut created = None;
    match (&options.create_for, file) {
        (Some(principal), Some(file)) => {
            let principal = principals::find(&client, principal).await?;
            let mut written = new_file(file)?;
            let images = (!options.images.is_empty()).then(|| options.images.clone());
            let name = Some(format!("Incus remote {}", options.name));
            let expires_at = tokens::expiry(&options.expires_in)?;
            let new = CreateApiToken { name, expires_at, role_ids: Some(vec![READER.to_owned()]), images };
            let issued = client.create_api_token(&principal.id, &new).await.inspect_err(|_| {
                let _ = fs::remove_file(file);
            })?;
            writeln!(written, "{}", issued.plaintext).map_err(unwritable(file))?;
            let until = date(&issued.expires_at);
            report.step(&format!(
                "token {} of {}, valid until {until}, written to {}",
                issued.id,
                principal.display_name,
                file.display()
            ));
            created = Some(issued);
        }
        (None, Some(file)) => {
            let client = common.server.builder(&report, &url, RetryLimit::Short)?.token(token_in(file)?).build()?;
            check(&client.whoami().await?)?;
        }
        (_, None) => {}
    }
    let trust = trust(&common.server, &url, program(&options), &options.name, &report).await?;
    let command = format!("{trust}{}", command(&url, file, &options));
    let (id, expires_at) = created.map(|token| (token.id, token.expires_at)).unzip();
    report.result(
        &command,
        &json!({"remote": options.name, "command": command, "token_id": id, "token_expires_at": expires_at}),
    )?;
    report.step(
        "Run it on the machine with the client. Give each machine a token of its own: clients store it and show it.",
    );
    Ok(())
}

/// Refuses a token that a server would refuse, before a client shows it to anybody.
fn check(Whoami { principal, authentication, .. }: &Whoami) -> Result<(), Failure> {
    let limits = authentication.role_ids.as_deref().unwrap_or(&principal.role_ids);
    if limits == [READER] {
        return Ok(());
    }
    Err(Failure::refused("the token may do more than read, so it must not be in the URL of a remote".to_owned())
        .with_advice(
            "Create one with imgsrv auth tokens create PRINCIPAL --read-only, or with --create-for PRINCIPAL.",
        ))
}

/// A new file that only its owner can read.
fn new_file(path: &Path) -> Result<fs::File, Failure> {
    fs::File::options().write(true).create_new(true).mode(0o600).open(path).map_err(unwritable(path))
}

fn unwritable(path: &Path) -> impl Fn(std::io::Error) -> Failure + '_ {
    move |error| Failure::other(format!("cannot write {}: {}", path.display(), plain(&error)))
}

/// The program of the client.
const fn program(options: &IncusRemoteOptions) -> &'static str {
    if options.lxd { "lxc" } else { "incus" }
}

/// The beginning of a command that makes the client trust the authority of the server for a remote, on any machine if the
/// server hands out its own; nothing if the authority is one that every machine trusts.
pub(crate) async fn trust(
    server: &ServerOptions,
    url: &str,
    client: &str,
    remote: &str,
    report: &Report,
) -> Result<String, Failure> {
    let Some(authority) = server.authority_of(url)? else { return Ok(String::new()) };
    let response = http(Some(&authority))?.get(format!("{url}/ca.pem")).send().await;
    if let Ok(response) = response.and_then(reqwest::Response::error_for_status)
        && let Ok(pem) = response.bytes().await
    {
        return Ok(trust_authority(url, &BlobClaim::of(&pem).digest.hex(), client, remote));
    }
    let Some(file) = server.ca_file() else { return Ok(String::new()) };
    let file = file.display().to_string();
    report.step(&format!("The command reads {file}: copy that file to the machine with the client first."));
    Ok(install(&quoted(&file), client, remote))
}

/// Adds the remote; the shell reads the token.
fn command(url: &str, file: Option<&Path>, options: &IncusRemoteOptions) -> String {
    let (program, name, url) = (program(options), &options.name, escaped(url));
    match file {
        Some(file) => {
            let file = quoted(&file.display().to_string()).into_owned();
            format!("{program} remote add {name} \"{url}/t/$(cat {file})\" --protocol simplestreams")
        }
        None => format!(
            "read -rsp 'Token: ' token && {program} remote add {name} \"{url}/t/$token\" --protocol simplestreams; unset token"
        ),
    }
}

/// The text within double quotes of a shell.
fn escaped(text: &str) -> String {
    let is_special = |character: char| "\"\\$`!".contains(character);
    text.chars().flat_map(|c| is_special(c).then_some('\\').into_iter().chain([c])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(lxd: bool) -> IncusRemoteOptions {
        let (name, expires_in) = ("team".to_owned(), tokens::lifetime("1y").expect("a lifetime"));
        IncusRemoteOptions { name, remote_token_file: None, create_for: None, images: vec![], expires_in, lxd }
    }

    #[test]
    fn the_shell_reads_the_token() {
        let url = "https://images.example.org";
        assert_eq!(
            command(url, Some(Path::new("/root/a b")), &options(false)),
            "incus remote add team \"https://images.example.org/t/$(cat '/root/a b')\" --protocol simplestreams"
        );
        assert_eq!(
            command(url, None, &options(true)),
            "read -rsp 'Token: ' token && lxc remote add team \"https://images.example.org/t/$token\" --protocol \
             simplestreams; unset token"
        );
        assert_eq!(escaped("https://a/$(reboot)`"), "https://a/\\$(reboot)\\`");
    }

    #[test]
    fn the_name_of_a_remote_is_safe_in_a_shell() {
        assert!(remote_name("team-a.b_1").is_ok());
        for bad in ["", "-x", ".", "a b", "a;b", "a$b"] {
            assert!(remote_name(bad).is_err(), "{bad:?}");
        }
    }
}
