//! Downloads over TLS beside nginx with TLS.

use super::{
    Options, bulk,
    site::{publish, seconds, upload, write_random},
    table::{MIB_PER_SECOND, Row, Target},
};
use crate::{
    demo::digest,
    server::{Server, TlsServer},
    shell::{Result, output},
};
use imgsrv_testkit::services::Nginx;
use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    process::Command,
};
use tempfile::TempDir;

const LISTEN: &str = "127.0.0.1:8095";
const NGINX: u16 = 8096;

/// Downloads of a file of their own, because a server with TLS has its own catalog.
pub(super) fn downloads(options: &Options) -> Result<Vec<Row>> {
    let scratch = TempDir::with_prefix("imgsrv-bench-")?;
    let file = scratch.path().join("file");
    write_random(&file, options.mib << 20)?;
    let (digest, size) = digest(File::open(&file)?)?;
    let server = Server::start(scratch.path(), LISTEN, &[])?;
    upload(&server, &file, &digest, size)?;
    server.request("POST", "/v1/images", Some(&serde_json::json!({"name": "bench"})))?;
    publish(&server, "bench", "1", &digest, size)?;
    drop(server);
    let server = TlsServer::resume(scratch.path(), LISTEN)?;
    let nginx = {
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o755))?;
        let (key, certificate) = (scratch.path().join("key.pem"), scratch.path().join("certificate.pem"));
        let mut request = Command::new("openssl");
        request.args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ]);
        output(request.args(["-subj", "/CN=localhost", "-keyout"]).arg(&key).arg("-out").arg(&certificate))?;
        Nginx::start(NGINX, |_| {
            format!(
                "sendfile on; server {{ listen 127.0.0.1:{NGINX} ssl http2; root {}; ssl_certificate {}; ssl_certificate_key {}; }}",
                scratch.path().display(),
                certificate.display(),
                key.display()
            )
        })
    };
    let (ours, peer) =
        (format!("{}/images/bench/1/bench-1-amd64.raw", server.url), format!("https://127.0.0.1:{NGINX}/file"));
    let mut rows = Vec::new();
    for (protocol, name) in [(bulk::HTTP_1, "HTTP/1.1"), ("--http2", "HTTP/2")] {
        for connections in [1, 8] {
            let mut row = Row {
                what: format!("download of {} MiB over TLS and {name}, {connections} at once, cached", size >> 20),
                unit: MIB_PER_SECOND,
                ours: Vec::new(),
                peer: Vec::new(),
                target: Target::Peer("nginx", 1.2),
            };
            let total = bulk::mib(size * connections);
            for _ in 0..options.rounds {
                row.ours.push(total / seconds(|| bulk::download(&ours, connections, protocol))?);
                row.peer.push(total / seconds(|| bulk::download(&peer, connections, protocol))?);
            }
            rows.push(row);
        }
    }
    drop((server, nginx));
    Ok(rows)
}
