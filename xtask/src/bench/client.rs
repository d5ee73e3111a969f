//! The commands of the client beside curl: hashing included.

use super::{
    Options,
    bulk::mib,
    site::{Site, curl, renew, seconds, upload},
    table::{MIB_PER_SECOND, Row, Target},
};
use crate::{
    server::binary,
    shell::{Result, output},
};
use serde_json::json;
use std::{fs, path::Path, process::Command};

/// `imgsrv publish` and `imgsrv download` of the file.
pub(super) fn commands(site: &Site, options: &Options) -> Result<Vec<Row>> {
    let file = site.scratch.path().join("published.raw");
    super::site::write_random(&file, site.size)?;
    site.server.request("POST", "/v1/images", Some(&json!({"name": "client"})))?;
    let rate = |took: f64| mib(site.size) / took;
    let [mut publish, mut sent, mut download, mut received] = <[Vec<f64>; 4]>::default();
    for round in 0..options.rounds {
        let (mut digest, mut size) = renew(&file)?;
        let mut command = imgsrv(site);
        command.args([
            "publish",
            "client",
            &format!("{round}.1"),
            "--os",
            "linux",
            "--arch",
            "amd64",
            "--format",
            "raw",
        ]);
        publish.push(rate(seconds(|| output(command.arg(&file)).map(drop))?));
        sent.push(rate(seconds(|| {
            (digest, size) = renew(&file)?;
            upload(&site.server, &file, &digest, size)
        })?));
        let target = site.scratch.path().join("downloaded");
        let mut command = imgsrv(site);
        command.args(["download", &format!("client:{round}.1"), "--arch", "amd64", "-o"]).arg(&target);
        download.push(rate(seconds(|| output(&mut command).map(drop))?));
        fs::remove_file(&target)?;
        let url = site.ours(&format!("/images/client/{round}.1/client-{round}.1-amd64.raw"));
        received.push(rate(seconds(|| piped(&url, &target))?));
        fs::remove_file(&target)?;
    }
    let row = |what: &str, ours, peer, name, least| Row {
        what: format!("{what} of {} MiB", site.size >> 20),
        unit: MIB_PER_SECOND,
        ours,
        peer,
        target: Target::Peer(name, least),
    };
    Ok(vec![
        row("imgsrv publish", publish, sent, "one hash pass and curl", 0.85),
        row("imgsrv download", download, received, "curl into a file and a hash", 0.9),
    ])
}

/// The command, with a token for the server.
fn imgsrv(site: &Site) -> Command {
    let mut imgsrv = Command::new(binary());
    imgsrv.env("IMGSRV_URL", &site.server.url).env("IMGSRV_TOKEN", &site.server.token).env("HOME", site.scratch.path());
    imgsrv
}

/// Downloads into a file and hashes what arrives.
fn piped(url: &str, target: &Path) -> Result<()> {
    let curl = crate::shell::shown(&curl(url, None));
    let script = format!("{curl} | tee '{}' | openssl dgst -sha256 -r", target.display());
    output(Command::new("sh").args(["-c", &script])).map(drop)
}
