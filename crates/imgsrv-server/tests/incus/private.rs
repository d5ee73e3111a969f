//! Private remotes: real clients download with a token that they never send in plaintext.

use crate::{
    client::{Client, Program},
    daemon::Daemon,
    disk, file_names,
    publisher::{Artifact, Publisher, Release},
};
use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};
use tempfile::TempDir;

/// The first byte of a TLS connection.
const HANDSHAKE: u8 = 22;

/// A listener in front of a server that records what clients send in plaintext, as anybody on the network can.
struct Eavesdropper {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Eavesdropper {
    fn start(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let record = Arc::clone(&heard);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let record = Arc::clone(&record);
                thread::spawn(move || {
                    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else { return };
                    let back = (server.try_clone().expect("a handle"), client.try_clone().expect("a handle"));
                    thread::spawn(move || copy(back.0, back.1, None));
                    copy(client, server, Some(&*record));
                });
            }
        });
        Self { port, heard }
    }

    /// All that came in plaintext so far.
    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().expect("not poisoned")).into_owned()
    }
}

/// Copies until either end closes, and records bytes that are not TLS.
fn copy(mut from: TcpStream, mut to: TcpStream, record: Option<&Mutex<Vec<u8>>>) {
    let (mut buffer, mut is_tls) = (vec![0; 64 << 10], None);
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..read];
        if !*is_tls.get_or_insert(bytes[0] == HANDSHAKE)
            && let Some(record) = record
        {
            record.lock().expect("not poisoned").extend_from_slice(bytes);
        }
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn clients_download_from_a_private_remote_and_never_send_its_token_in_plaintext() {
    let scratch = TempDir::new().expect("a scratch folder");
    let publisher = Publisher::start_with(&["--access-log"]);
    let mut secrets = Vec::new();
    let bytes = disk(scratch.path(), 3);
    publisher.publish(&Release { image: "secret", version: "1", artifacts: &[Artifact::qcow2(&bytes).described()] });
    publisher.alias("secret", "latest", "1");
    publisher.make_private("secret");
    publisher.publish(&Release {
        image: "debian",
        version: "12",
        artifacts: &[Artifact::qcow2(&disk(scratch.path(), 5)).described()],
    });
    assert_eq!(
        Client::of_url(Program::Incus, &publisher.url, &publisher.authority()).list().len(),
        1,
        "the public image"
    );
    for program in [Program::Incus, Program::Lxd] {
        let token = publisher.reader();
        let network = Eavesdropper::start(publisher.port());
        let url = format!("https://localhost:{}/t/{token}", network.port);
        let client = Client::of_url(program, &url, &publisher.authority());
        assert_eq!(client.list().len(), 2, "{program:?}");
        assert!(client.fingerprint("secret/latest", "virtual-machine").is_some());
        let folder = scratch.path().join(format!("{program:?}"));
        fs::create_dir(&folder).expect("a folder");
        client.run(&["image", "export", "imgsrv:secret", folder.to_str().expect("UTF-8"), "--vm"]);
        assert_eq!(fs::read(folder.join("secret-1-x86_64.qcow2")).expect("the disk"), bytes);
        assert_eq!(file_names(&folder).len(), 2);

        let heard = network.heard();
        assert_eq!(heard.matches("GET /f/").count(), 2, "each file is requested in plaintext first: {heard}");
        for part in [token.as_str(), &token[10..22], &token[23..], "/t/", "Authorization"] {
            assert!(!heard.contains(part), "{program:?} sent {part:?} in plaintext: {heard}");
        }
        // What was heard gives access neither in plaintext nor, after the links are revoked, over TLS.
        let paths: Vec<&str> = heard.lines().filter_map(|line| line.strip_prefix("GET ")?.split(' ').next()).collect();
        for path in &paths {
            assert_eq!(publisher.status_in_clear(path), 400);
            assert_eq!(publisher.status(path), 200);
        }
        publisher.revoke_links("secret");
        for path in &paths {
            assert_eq!(publisher.status(path), 404);
        }
        secrets.extend(paths.iter().filter_map(|path| path.split('/').nth(2)).map(str::to_owned));
        secrets.push(token[22..].to_owned());
    }
    assert_eq!(publisher.plaintext_routes(), ["/f/{capability}/{file}"]);
    let log = publisher.log();
    assert!(log.contains("/t/{token}/streams/v1/images.json") && log.contains("request served"), "{log}");
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is logged: {log}");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "a skipped check is reported")]
fn a_daemon_copies_from_a_private_remote() {
    let daemon = match Daemon::start() {
        Ok(daemon) => daemon,
        Err(why) => {
            println!("image copy was NOT run: incusd cannot run here: {why}");
            return;
        }
    };
    let scratch = TempDir::new().expect("a scratch folder");
    let publisher = Publisher::start();
    publisher.publish(&Release {
        image: "secret",
        version: "1",
        artifacts: &[Artifact::qcow2(&disk(scratch.path(), 3)).described()],
    });
    publisher.make_private("secret");
    let (token, network) = (publisher.reader(), Eavesdropper::start(publisher.port()));
    let url = format!("https://localhost:{}/t/{token}", network.port);
    let client = Client::of_url(Program::Incus, &url, &publisher.authority()).of(&daemon);
    client.run(&["image", "copy", "imgsrv:secret/1", "local:", "--vm", "--alias", "machine"]);
    let heard = network.heard();
    assert!(heard.contains("GET /f/") && !heard.contains("imgsrv_at_") && !heard.contains("/t/"), "{heard}");
}

#[test]
fn a_remote_with_a_token_that_may_write_is_refused() {
    let publisher = Publisher::start();
    let url = format!("{}/t/{}", publisher.url, publisher.token());
    let client = Client::of_url(Program::Incus, &url, &publisher.authority());
    let refused = client.run_failing(&["image", "list", "imgsrv:"]);
    assert!(refused.contains("403"), "{refused}");
}
