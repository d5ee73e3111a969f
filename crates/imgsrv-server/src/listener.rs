//! Accepting connections, and letting requests in flight finish when the server stops.

use crate::{in_flight::InFlight, options::ListenAddress};
use axum::Router;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use imgsrv_http::{PeerAddress, Transport, limit_key};
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
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

/// Limits of the HTTP parser on header fields. Up to them, the smaller limit of the API responds with a problem document;
/// beyond them, and to what is not valid HTTP, hyper responds with a bare 431 or 400.
const MAX_HEADERS: usize = 512;
const MAX_HEADER_LIST: u32 = 256 << 10;

/// Listens on `address`.
pub(crate) async fn bind(address: &ListenAddress) -> io::Result<TcpListener> {
    match &address.host {
        Some(host) => TcpListener::bind((host.as_str(), address.port)).await,
        // The IPv6 wildcard accepts IPv4 as well; without IPv6 in the system, the IPv4 wildcard does.
        None => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, address.port)).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port)).await
            }
            bound => bound,
        },
    }
}

/// Limits on connections.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Most open connections; further ones wait to be accepted.
    pub(crate) connections: usize,
    /// Most open connections of one address; further ones are closed.
    pub(crate) per_address: Option<u32>,
    /// Networks without a limit per address.
    pub(crate) unlimited: Vec<IpNet>,
    /// Timeout of a request's headers.
    pub(crate) header_timeout: Duration,
    /// Timeout of a write to a client that reads nothing.
    pub(crate) send_timeout: Duration,
    /// An idle connection is closed after this time, and before twice this time.
    pub(crate) idle_timeout: Duration,
    /// Timeout of requests in flight once the server stops.
    pub(crate) grace: Duration,
}

/// Serves until `stop`, then waits for requests in flight.
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
    let permits = Arc::new(Semaphore::new(limits.connections));
    let addresses = Addresses::default();
    loop {
        let (stream, peer, permit) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener, &permits) => accepted,
        };
        let address = peer.ip().to_canonical();
        let limit = limits.per_address.filter(|_| !limits.unlimited.iter().any(|net| net.contains(&address)));
        let Some(address_permit) = addresses.acquire(limit_key(address), limit) else {
            tracing::debug!(client.address = %address, "connection closed: too many from one address");
            continue;
        };
        let connection = Connection { address, app: app.clone(), tls: tls.cloned(), limits: limits.clone() };
        let (builder, stop) = (builder.clone(), stop.clone());
        connections.spawn(async move {
            connection.serve(stream, &builder, &stop).await;
            drop((address_permit, permit));
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(limits.grace, connections.wait()).await.is_err() && !limits.grace.is_zero() {
        tracing::warn!(timeout = ?limits.grace, "requests in flight did not finish in time");
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
    /// Serves requests until the client closes the connection or is too slow, or the server stops.
    async fn serve(self, stream: TcpStream, builder: &auto::Builder<TokioExecutor>, stop: &CancellationToken) {
        let timeout = self.limits.header_timeout;
        // hyper's header timeout starts with the first byte, so a client that sends none is disconnected here.
        let mut first = [0];
        let peeked = tokio::select! {
            peeked = tokio::time::timeout(timeout, stream.peek(&mut first)) => peeked,
            () = stop.cancelled() => return,
        };
        if !matches!(peeked, Ok(Ok(1))) {
            return;
        }
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.limits.send_timeout));
        let stream = Box::pin(stream);
        match self.tls.clone() {
            None => self.serve_http(stream, Transport::Plaintext, builder, stop).await,
            Some(tls) if first == [HANDSHAKE] => {
                let accepted = tokio::select! {
                    accepted = tokio::time::timeout(timeout, tls.accept(stream)) => accepted,
                    () = stop.cancelled() => return,
                };
                match accepted {
                    Ok(Ok(stream)) => self.serve_http(stream, Transport::Tls, builder, stop).await,
                    Ok(Err(error)) => tracing::debug!(%error, client.address = %self.address, "TLS handshake failed"),
                    Err(_) => tracing::debug!(client.address = %self.address, "TLS handshake timed out"),
                }
            }
            // Incus requests every file over plain HTTP on this port first, and hangs without a response.
            Some(_) => {
                self.serve_http(stream, Transport::PlaintextOnTlsPort, &builder.clone().http1_only(), stop).await;
            }
        }
    }

    async fn serve_http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
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
            let guard = counted.begin();
            let response = app.clone().oneshot(request.map(axum::body::Body::new));
            async move {
                // The guard moves into the body: the request is in flight until the body is written or dropped.
                let response = response.await?;
                Ok::<_, std::convert::Infallible>(response.map(|body| {
                    body.map_frame(move |frame| {
                        let _ = &guard;
                        frame
                    })
                }))
            }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)));
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
                    // An incomplete request head is not waited for.
                    () = in_flight.idle(limits.header_timeout) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection failed");
        }
    }
}

/// Open connections of each address.
#[derive(Debug, Clone, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, u32>>>);

/// Counts one connection of an address until it is dropped.
struct AddressPermit(Addresses, IpAddr);

impl Addresses {
    /// Counts a connection of `address`, unless it has `limit` of them.
    fn acquire(&self, address: IpAddr, limit: Option<u32>) -> Option<AddressPermit> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if limit.is_some_and(|limit| *count >= limit) {
            return None;
        }
        *count += 1;
        Some(AddressPermit(self.clone(), address))
    }
}

impl Drop for AddressPermit {
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
    permits: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    let permit = Arc::clone(permits).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let _ = stream.set_nodelay(true);
                return (stream, peer, permit);
            }
            // Most likely out of file descriptors: some connections must end first.
            Err(error) => {
                tracing::warn!(%error, "connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
