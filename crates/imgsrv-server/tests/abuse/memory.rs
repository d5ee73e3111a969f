//! Clients of HTTP/2 that try to fill the server's memory, or to keep it busy.

use crate::{
    http2::{
        ACK, CONTINUATION, Connection, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS,
        ZERO_WINDOW, frame, get,
    },
    support::{Server, TIMEOUT, big_image, certificate},
};
use imgsrv_testkit::writer_token;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use serde_json::json;
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    sync::Arc,
    time::Instant,
};
use tempfile::TempDir;

/// The most that an attack may add to the memory of a debug build.
const MAX_GROWTH: u64 = 200 << 20;

/// Opens `connections` with 255 streams each, all without a window, and returns what the server's memory grew by.
fn stalled_streams<S: Read + Write>(
    server: &Server,
    connections: usize,
    fields: &[u8],
    connect: impl Fn() -> S,
) -> (u64, Vec<Connection<S>>) {
    let before = server.resident();
    let requests: Vec<u8> =
        (0..255).flat_map(|stream| frame(HEADERS, END_STREAM | END_HEADERS, 2 * stream + 1, fields)).collect();
    let open = (0..connections).map(|_| {
        let mut connection = Connection::open(connect(), ZERO_WINDOW);
        assert!(connection.send(&requests));
        // The server reads the first bytes of a body before it sends the response's headers.
        assert!(connection.responses(255) > 0);
        connection
    });
    let open: Vec<_> = open.collect();
    (server.resident().saturating_sub(before), open)
}

#[test]
fn downloads_without_a_window_are_not_read_ahead() {
    let server = Server::start(&[]);
    let path = big_image(&server);
    let (growth, open) = stalled_streams(&server, 40, &get(&path), || server.connect());
    assert!(growth < MAX_GROWTH, "{} MiB", growth >> 20);
    assert!(server.works());
    drop(open);
}

#[test]
fn documents_without_a_window_are_bounded() {
    let server = Server::start(&["--max-send-buffer-bytes", "16MiB"]);
    let manager = server.process.bootstrap.as_deref().expect("a token");
    let token = writer_token(&server.process.url, manager);
    for number in 0..100 {
        let image = json!({"name": format!("image-{number}"), "description": "d".repeat(4096)});
        server.send(&token, "POST", "/v1/images", image);
    }
    // `authorization` is name 23 of the static table: its index does not fit the prefix of four bits.
    let bearer = format!("Bearer {token}");
    let authorization = [&[0x0f, 23 - 15, u8::try_from(bearer.len()).expect("short")], bearer.as_bytes()].concat();
    let fields = [get("/v1/images?include_unpublished=true"), authorization].concat();
    let (growth, open) = stalled_streams(&server, 10, &fields, || server.connect());
    // Without a bound these are 400 KiB for each of 1,000 streams.
    assert!(growth < (16 << 20) + MAX_GROWTH / 2, "{} MiB", growth >> 20);
    assert!(server.works());
    drop(open);
}

fn connect_tls(server: &Server, authority: &Path) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&fs::read(authority).expect("a file")).expect("PEM")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let connection = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    rustls::StreamOwned::new(connection, server.connect())
}

#[test]
fn downloads_over_tls_without_a_window_are_not_read_ahead() {
    let dir = TempDir::new().expect("a scratch folder");
    let (cert, key) = certificate(dir.path());
    let mut server = Server::start(&[]);
    let path = big_image(&server);
    server.restart(&["--tls-cert", &cert, "--tls-key", &key]);
    let (growth, open) = stalled_streams(&server, 20, &get(&path), || connect_tls(&server, Path::new(&cert)));
    assert!(growth < MAX_GROWTH, "{} MiB", growth >> 20);
    drop(open);
}

#[test]
fn a_stalled_stream_is_reset() {
    let server = Server::start(&["--send-timeout", "300ms"]);
    let path = big_image(&server);
    let mut connection = Connection::open(server.connect(), ZERO_WINDOW);
    assert!(connection.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &get(&path))));
    let deadline = Instant::now() + TIMEOUT;
    loop {
        assert!(Instant::now() < deadline, "the stream is not reset");
        // Frames that a live client exchanges do not count as progress.
        assert!(connection.send(&frame(PING, 0, 0, &[0; 8])));
        if let (RST_STREAM, _, 1) = connection.receive().expect("a frame") {
            break;
        }
    }
    // The connection serves on.
    assert!(connection.send(&frame(HEADERS, END_STREAM | END_HEADERS, 3, &get("/healthz"))));
    assert_eq!(connection.responses(1), 1);
}

/// Sends `flood` up to 2,000 times, and reads what the server sends meanwhile; returns what its memory grew by.
fn flooded(flood: impl Fn(u32) -> Vec<u8>) -> u64 {
    let server = Server::start(&[]);
    assert!(server.works());
    let before = server.resident();
    let stream = server.connect();
    let mut reader = Connection::of(stream.try_clone().expect("a clone"));
    let reading = std::thread::spawn(move || {
        while let Some((kind, ..)) = reader.receive() {
            if kind == GOAWAY {
                break;
            }
        }
    });
    let mut connection = Connection::open(stream.try_clone().expect("a clone"), &[]);
    for round in 0..2000 {
        if !connection.send(&flood(round)) {
            break;
        }
    }
    let growth = server.resident().saturating_sub(before);
    assert!(server.works());
    let _ = stream.shutdown(std::net::Shutdown::Both);
    reading.join().expect("the reader ends");
    growth
}

#[test]
fn floods_are_harmless() {
    let request = get("/healthz");
    // CVE-2023-44487: streams are opened and reset at once.
    let rapid_reset = |round: u32| {
        let stream = |at: u32| {
            let id = 2 * (round * 50 + at) + 1;
            [frame(HEADERS, END_STREAM | END_HEADERS, id, &request), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])].concat()
        };
        (0..50).flat_map(stream).collect()
    };
    // CVE-2024-27316 and its kind: the fields of a request never end.
    let continuation = |round: u32| match round {
        0 => frame(HEADERS, END_STREAM, 1, &request),
        _ => frame(CONTINUATION, 0, 1, &[&[0, 1, b'x', 0x7f, 0xa1, 0x7c][..], &[b'y'; 16_000]].concat()),
    };
    let empty_continuation = |round: u32| match round {
        0 => frame(HEADERS, END_STREAM, 1, &request),
        _ => frame(CONTINUATION, 0, 1, &[]).repeat(50),
    };
    // CVE-2019-9512 and CVE-2019-9515: each frame demands an acknowledgement.
    let pings = |_| frame(PING, 0, 0, &[0; 8]).repeat(50);
    let settings = |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(50);
    let acknowledgements = |_| frame(SETTINGS, ACK, 0, &[]).repeat(50);
    for (name, growth) in [
        ("rapid reset", flooded(rapid_reset)),
        ("CONTINUATION", flooded(continuation)),
        ("empty CONTINUATION", flooded(empty_continuation)),
        ("PING", flooded(pings)),
        ("SETTINGS", flooded(settings)),
        ("acknowledged SETTINGS", flooded(acknowledgements)),
    ] {
        assert!(growth < 32 << 20, "{name}: {} MiB", growth >> 20);
    }
}
