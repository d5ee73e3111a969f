//! A TCP proxy that simulates network failures.
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

/// Forwards connections to a loopback port, with failures on demand.
pub struct Proxy {
    port: u16,
    resets: broadcast::Sender<()>,
    paused: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// A proxy in front of `target`.
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let (resets, _) = broadcast::channel(1);
        let paused = Arc::new(AtomicBool::new(false));
        let (senders, pausing) = (resets.clone(), Arc::clone(&paused));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut reset, pausing) = (senders.subscribe(), Arc::clone(&pausing));
                tokio::spawn(async move {
                    tokio::select! {
                        () = forward(client, target, &pausing) => {}
                        _ = reset.recv() => {}
                    }
                });
            }
        });
        Self { port, resets, paused, task }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes every open connection.
    pub fn reset(&self) {
        let _ = self.resets.send(());
    }

    /// Stops forwarding: connections stay open, and silent.
    pub fn pause(&self) {
        self.paused.store(true, Ordering::SeqCst);
    }

    /// Forwards again, also what was delayed.
    pub fn resume(&self) {
        self.paused.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.reset();
    }
}

async fn forward(client: TcpStream, target: u16, paused: &AtomicBool) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(copy(from_client, to_server, paused), copy(from_server, to_client, paused));
}

/// Copies bytes until either end is closed, but none while paused.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, paused: &AtomicBool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        while paused.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}
