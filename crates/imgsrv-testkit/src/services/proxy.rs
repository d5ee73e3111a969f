//! A network that can be broken: a TCP proxy on loopback.
#![cfg(feature = "fresh")]

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::broadcast,
};

/// Forwards connections to a port of loopback until it is told otherwise.
pub struct Proxy {
    port: u16,
    tear: broadcast::Sender<()>,
    held: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// A proxy in front of `target`.
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let (tear, _) = broadcast::channel(1);
        let held = Arc::new(AtomicBool::new(false));
        let (torn, holding) = (tear.clone(), Arc::clone(&held));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut torn, holding) = (torn.subscribe(), Arc::clone(&holding));
                tokio::spawn(async move {
                    tokio::select! {
                        () = forward(client, target, &holding) => {}
                        _ = torn.recv() => {}
                    }
                });
            }
        });
        Self { port, tear, held, task }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Breaks every connection there is.
    pub fn tear(&self) {
        let _ = self.tear.send(());
    }

    /// Lets nothing through any more: connections stand, and are silent.
    pub fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
    }

    /// Lets everything through again.
    pub fn release(&self) {
        self.held.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.tear();
    }
}

async fn forward(client: TcpStream, target: u16, held: &AtomicBool) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(pass(from_client, to_server, held), pass(from_server, to_client, held));
}

/// Passes bytes on until either end is closed, but none while they are held.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, held: &AtomicBool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        while held.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}
