//! `imgsrv doctor`: a server as its clients see it.

mod http;
mod tls;

use crate::{
    credentials::Credentials,
    diagnosis::Diagnosis,
    failure::Failure,
    options::{CommonOptions, RetryLimit},
    report::Report,
};
use clap::Args;
use http::Site;
pub(crate) use http::http;
use imgsrv_client::Client;

#[derive(Debug, Args)]
pub struct DoctorOptions {
    /// URL at which clients reach the server [default: --server, else that of the last login]
    #[arg(value_name = "URL")]
    url: Option<String>,
}

/// Examines the server anonymously, and prints what was found.
pub(crate) async fn run(options: DoctorOptions, common: &CommonOptions) -> Result<(), Failure> {
    let report = Report::new(&common.output);
    let url = match options.url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => common.server.url_with(&Credentials::load()?)?,
    };
    let authority = common.server.authority_of(&url)?;
    let client = common.server.builder(&report, &url, RetryLimit::Short)?.build()?;
    let mut diagnosis = Diagnosis::default();
    examine(&client, authority.as_deref(), &mut diagnosis).await?;
    report.result(&diagnosis.text(), &diagnosis.json())?;
    match diagnosis.problems() {
        0 => Ok(()),
        1 => Err(Failure::other("1 check found a problem")),
        count => Err(Failure::other(format!("{count} checks found problems"))),
    }
}

async fn examine(client: &Client, authority: Option<&str>, diagnosis: &mut Diagnosis) -> Result<(), Failure> {
    let url = client.url();
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().unwrap_or_default();
    let is_tls = url.scheme() == "https";
    if is_tls {
        let is_trusted = tls::examine(&host, port, authority, diagnosis).await;
        http::plaintext(&host, port, diagnosis).await;
        if !is_trusted {
            diagnosis.note("api", "not examined, because no client connects");
            return Ok(());
        }
    } else {
        tls::absent(&host, diagnosis);
    }
    let site = Site::new(client, authority)?;
    if site.health(diagnosis).await {
        site.streams(diagnosis).await;
        site.files(diagnosis).await;
    }
    Ok(())
}
