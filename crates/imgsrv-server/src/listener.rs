//! Accepting connections, and finishing the requests in flight when the server stops.

use crate::{
    options::ListenAddress,
    refusal::{InFlight, Refusing},
};
use axum::Router;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use imgsrv_http::{PeerAddress, Transport, limit_key, refusal};
use ipnet::IpNet;
use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

/// What is accepted of header fields before the API's own, smaller limit answers with a problem.
const MAX_HEADERS: usize = 512;
const MAX_HEADER_LIST: u32 = 256 << 10;

/// Listens on `address`.
pub(crate) async fn bind(address: &ListenAddress) -> io::Result<TcpListener> {
    match &address.host {
        Some(host) => TcpListener::bind((host.as_str(), address.port)).await,
        // The IPv6 wildcard takes IPv4 as well, where the system has IPv6.
        None => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, address.port)).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port)).await
            }
            bound => bound,
        },
    }
}

/// What connections may cost.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Connections held at once; further ones wait to be accepted.
    pub(crate) connections: usize,
    /// Connections held of one address; further ones are closed.
    pub(crate) per_address: Option<u32>,
    /// Whose connections are not counted by address.
    pub(crate) unlimited: Vec<IpNet>,
    /// How long a client may take to send the headers of a request.
    pub(crate) header_timeout: Duration,
    /// How long a client may take none of the bytes that are sent to it.
    pub(crate) send_timeout: Duration,
    /// How long a connection is kept without a request; it is closed within twice that.
    pub(crate) idle_timeout: Duration,
    /// How long requests in flight may take to finish once the server stops.
    pub(crate) grace: Duration,
}

/// Serves until `stop`, then lets requests in flight finish for a while.
pub(crate) async fn serve(
    listener: TcpListener,
    app: Router,
    tls: Option<&TlsAcceptor>,
    stop: &CancellationToken,
    limits: &Limits,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(MAX_HEADER_LIST)
        .keep_alive_interval(limits.header_timeout);
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(limits.connections));
    let addresses = Addresses::default();
    loop {
        let (stream, peer, place) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let address = peer.ip().to_canonical();
        let counted = limits.per_address.filter(|_| !limits.unlimited.iter().any(|net| net.contains(&address)));
        let Some(held) = addresses.hold(limit_key(address), counted) else {
            tracing::debug!(client.address = %address, "a connection of too many of one address was closed");
            continue;
        };
        let connection = Connection { address, app: app.clone(), tls: tls.cloned(), limits: limits.clone() };
        let (builder, stop) = (builder.clone(), stop.clone());
        connections.spawn(async move {
            connection.serve(stream, &builder, &stop).await;
            drop((held, place));
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(limits.grace, connections.wait()).await.is_err() && !limits.grace.is_zero() {
        tracing::warn!("requests in flight did not finish in time");
    }
}

struct Connection {
    address: IpAddr,
    app: Router,
    tls: Option<TlsAcceptor>,
    limits: Limits,
}

/// The first byte of a TLS connection: a record of the handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

impl Connection {
    /// Answers requests until the client has no more, is too slow, or the server stops.
    async fn serve(self, stream: TcpStream, builder: &auto::Builder<TokioExecutor>, stop: &CancellationToken) {
        let timeout = self.limits.header_timeout;
        // A client that never speaks is let go; hyper's own timer starts with the first byte only.
        let mut first = [0];
        let spoke = tokio::select! {
            spoke = tokio::time::timeout(timeout, stream.peek(&mut first)) => spoke,
            () = stop.cancelled() => return,
        };
        if !matches!(spoke, Ok(Ok(1))) {
            return;
        }
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.limits.send_timeout));
        let stream = Box::pin(stream);
        match self.tls.clone() {
            None => self.answer(stream, Transport::Plaintext, builder, stop).await,
            Some(tls) if first == [HANDSHAKE] => {
                let accepted = tokio::select! {
                    accepted = tokio::time::timeout(timeout, tls.accept(stream)) => accepted,
                    () = stop.cancelled() => return,
                };
                match accepted {
                    Ok(Ok(stream)) => self.answer(stream, Transport::Tls, builder, stop).await,
                    Ok(Err(error)) => tracing::debug!(%error, client.address = %self.address, "a TLS handshake failed"),
                    Err(_) => tracing::debug!(client.address = %self.address, "a TLS handshake took too long"),
                }
            }
            // Incus asks for every file in the clear first, at the same port, and waits if nobody answers.
            Some(_) => self.answer(stream, Transport::PlaintextOnTlsPort, &builder.clone().http1_only(), stop).await,
        }
    }

    async fn answer<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self,
        stream: S,
        transport: Transport,
        builder: &auto::Builder<TokioExecutor>,
        stop: &CancellationToken,
    ) {
        let Self { address, app, limits, .. } = self;
        let in_flight = InFlight::default();
        let counted = in_flight.clone();
        let service = tower::service_fn(move |mut request: axum::http::Request<Incoming>| {
            request.extensions_mut().insert(PeerAddress(address));
            request.extensions_mut().insert(transport);
            let answering = counted.begin();
            let answer = app.clone().oneshot(request.map(axum::body::Body::new));
            async move {
                // The guard goes with the body: the request is answered when that is written or dropped.
                let answer = answer.await?;
                Ok::<_, std::convert::Infallible>(answer.map(|body| {
                    body.map_frame(move |frame| {
                        let _ = &answering;
                        frame
                    })
                }))
            }
        });
        let stream = Refusing::new(TokioIo::new(stream), in_flight.clone(), refusal);
        let mut connection = pin!(builder.serve_connection(stream, TowerToHyperService::new(service)));
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = stop.cancelled() => None,
            () = in_flight.idle(limits.idle_timeout) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    // What was never a whole request is not waited for.
                    () = in_flight.idle(limits.header_timeout) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }
}

/// How many connections each address holds.
#[derive(Debug, Clone, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, u32>>>);

/// One of an address's connections.
struct Held(Addresses, IpAddr);

impl Addresses {
    /// Counts a connection of `address`, unless it holds `limit` already.
    fn hold(&self, address: IpAddr, limit: Option<u32>) -> Option<Held> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if limit.is_some_and(|limit| *count >= limit) {
            return None;
        }
        *count += 1;
        Some(Held(self.clone(), address))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut counts = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<tokio::sync::OwnedSemaphorePermit>) {
    let place = Arc::clone(room).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                return (stream, peer, place);
            }
            // Out of file descriptors, most likely: give connections time to end.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
