//! Small requests: ranges, manifests, Simple Streams, and conditional requests, beside nginx with the same bytes.

use super::{
    Options,
    registry::Registry,
    site::Site,
    table::{PER_SECOND, Row, Target},
    wrk::{self, Load},
};
use crate::{
    server::Server,
    shell::{Result, output},
};

const RANGE: u64 = 64 << 10;

/// Ranges of the published file at random offsets.
pub(super) fn ranges(site: &Site, options: &Options) -> Result<Vec<Row>> {
    let script = site.scratch.path().join("ranges.lua");
    wrk::random_ranges(&script, site.size, RANGE)?;
    let load = Load { connections: 16, seconds: options.round_seconds, headers: &[], script: Some(&script) };
    let what = "ranges of 64 KiB at random offsets, 16 connections";
    Ok(vec![compare(what, (&site.published(), load), (&Site::peer("file"), load), options.rounds, 0.9)?])
}

/// The manifest of a version, and a response without a body.
pub(super) fn manifests(site: &Site, options: &Options) -> Result<Vec<Row>> {
    let url = site.ours("/v1/images/bench/versions/1");
    let manifest = output(&mut super::site::curl(&url, None))?;
    let same = site.serve("manifest.json", manifest.as_bytes())?;
    let registry = Registry::start(site.scratch.path())?;
    let theirs = registry.push(manifest.as_bytes())?;
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json";
    let mut rows = Vec::new();
    for connections in [1, 64] {
        let load = Load { connections, seconds: options.round_seconds, headers: &[], script: None };
        let what = |what: &str| format!("{what}, {}", connected(connections));
        let ours = (url.as_str(), load);
        rows.push(compare(&what("manifest of a version, cached"), ours, (&same, load), options.rounds, 0.4)?);
        let peer = (theirs.as_str(), Load { headers: &[accept], ..load });
        let mut row = compare(&what("the same beside a registry"), ours, peer, options.rounds, 3.0)?;
        row.target = Target::Peer("docker-registry", 3.0);
        rows.push(row);
        let alias = site.ours("/v1/images/bench/refs/latest");
        rows.push(compare(&what("manifest by alias"), (&alias, load), (&same, load), options.rounds, 0.4)?);
        if connections == 64 {
            let rates = rows.iter().find(|row| row.what.starts_with("manifest of a version, cached, 64"));
            let ours = rates.map(|row| row.ours.clone()).unwrap_or_default();
            let what = what("manifest of a version, cached");
            rows.push(Row { what, unit: PER_SECOND, ours, peer: Vec::new(), target: Target::Limit(25_000.0) });
        }
    }
    Ok(rows)
}

/// The document of Simple Streams in both encodings, and while it is current.
pub(super) fn streams(site: &Site, streams: &Server, options: &Options) -> Result<Vec<Row>> {
    let url = format!("{}/streams/v1/images.json", streams.url);
    let mut rows = Vec::new();
    for (encoding, name) in [("gzip", "images.json.gz"), ("identity", "images.json")] {
        let field = format!("Accept-Encoding: {encoding}");
        let file = site.scratch.path().join(name);
        output(super::site::curl(&url, None).args(["-H", &field, "-o"]).arg(&file))?;
        let peer = Site::peer(name);
        for connections in [1, 16] {
            let headers: &[&str] = &[&field];
            let load = Load { connections, seconds: options.round_seconds, headers, script: None };
            let what = format!("images.json of {} products, {encoding}, {}", options.products, connected(connections));
            let plain = Load { headers: &[], ..load };
            rows.push(compare(&what, (&url, load), (&peer, plain), options.rounds, 0.9)?);
        }
    }
    let ours = format!("If-None-Match: {}", etag(&url)?);
    let theirs = format!("If-None-Match: {}", etag(&Site::peer("images.json"))?);
    for connections in [1, 64] {
        let load = Load { connections, seconds: options.round_seconds, headers: &[&ours], script: None };
        let peer = (&*Site::peer("images.json"), Load { headers: &[&theirs], ..load });
        let what = format!("304 of images.json, {}", connected(connections));
        rows.push(compare(&what, (&url, load), peer, options.rounds, 0.9)?);
    }
    Ok(rows)
}

fn etag(url: &str) -> Result<String> {
    let head = output(super::site::curl(url, None).args(["-o", "/dev/null", "-D", "-"]))?;
    let etag = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("etag").then(|| value.trim().to_owned())
    });
    etag.ok_or_else(|| format!("{url} has no entity tag").into())
}

fn connected(connections: usize) -> String {
    format!("{connections} connection{}", if connections == 1 { "" } else { "s" })
}

/// Requests per second of ours and of nginx, in turns.
fn compare(
    what: &str,
    (ours, our_load): (&str, Load<'_>),
    (peer, peer_load): (&str, Load<'_>),
    rounds: usize,
    least: f64,
) -> Result<Row> {
    let mut row = Row {
        what: what.to_owned(),
        unit: PER_SECOND,
        ours: Vec::new(),
        peer: Vec::new(),
        target: Target::Peer("nginx", least),
    };
    for _ in 0..rounds {
        row.ours.push(wrk::rate(ours, our_load)?);
        row.peer.push(wrk::rate(peer, peer_load)?);
    }
    Ok(row)
}
