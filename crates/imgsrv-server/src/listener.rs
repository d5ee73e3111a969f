//! Accepting connections, and letting requests in flight finish when the server stops.

use crate::{
    config::LimitOptions,
    in_flight::InFlight,
    options::ListenAddress,
    stalled::{StreamExecutor, watched},
    turns::{Turns, Written},
};
use axum::Router;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
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

/// Limit of the HTTP/2 parser on header fields; that of HTTP/1.1 is 100 fields, because another one costs an allocation of
/// space for all of them with each request. Up to them, the smaller limits of the API respond with a problem document; beyond
/// them, and to what is not valid HTTP, hyper responds with a bare 431 or 400.
const MAX_HEADER_LIST: u32 = 256 << 10;
/// The most bytes that a stream of HTTP/2 may have buffered for its connection, beside the chunk that is being sent.
const MAX_STREAM_BUFFER: usize = 128 << 10;

/// The most bytes that HTTP/1.1 reads at once of a request, and that a response may have left to send before its next chunk
/// is read: half a chunk, so that most slow readers have one chunk in memory. Requests with larger headers get a bare 431.
const MIN_CONNECTION_BUFFER: u32 = 128 << 10;

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
    /// Those that are configured.
    pub(crate) configured: LimitOptions,
    /// Networks without a limit per address.
    pub(crate) unlimited: Vec<IpNet>,
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
    let LimitOptions {
        max_connections,
        max_connections_per_address,
        max_streams_per_connection,
        header_timeout,
        max_header_bytes,
        send_timeout,
        ..
    } = limits.configured;
    let mut builder = auto::Builder::new(StreamExecutor { timeout: send_timeout });
    let buffer = max_header_bytes.saturating_mul(2).max(MIN_CONNECTION_BUFFER);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(usize::try_from(buffer).unwrap_or(usize::MAX));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(max_streams_per_connection)
        .max_send_buf_size(MAX_STREAM_BUFFER)
        .max_header_list_size(MAX_HEADER_LIST)
        .keep_alive_interval(header_timeout);
    let connections = TaskTracker::new();
    let permits = Arc::new(Semaphore::new(usize::try_from(max_connections).unwrap_or(Semaphore::MAX_PERMITS)));
    let addresses = Addresses::default();
    let turns = Turns::new();
    loop {
        let accepted = stop.run_until_cancelled(accept(&listener, &permits)).await;
        let Some((stream, peer, permit)) = accepted else { break };
        let address = peer.ip().to_canonical();
        let is_unlimited =
            max_connections_per_address == 0 || limits.unlimited.iter().any(|net| net.contains(&address));
        let limit = (!is_unlimited).then_some(max_connections_per_address);
        let Some(address_permit) = addresses.acquire(limit_key(address), limit) else {
            tracing::debug!(client.address = %address, "connection closed: too many from one address");
            continue;
        };
        let connection = Connection { address, app: app.clone(), tls: tls.cloned(), limits: limits.clone() };
        let (builder, stop, turns) = (builder.clone(), stop.clone(), turns.clone());
        connections.spawn(async move {
            connection.serve(stream, &turns, &builder, &stop).await;
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
    async fn serve(
        self,
        stream: TcpStream,
        turns: &Turns,
        builder: &auto::Builder<StreamExecutor>,
        stop: &CancellationToken,
    ) {
        let timeout = self.limits.configured.header_timeout;
        // hyper's header timeout starts with the first byte, so a client that sends none is disconnected here.
        let mut first = [0];
        let peeked = stop.run_until_cancelled(tokio::time::timeout(timeout, stream.peek(&mut first))).await;
        if !matches!(peeked, Some(Ok(Ok(1)))) {
            return;
        }
        let stream = turns.of(stream);
        let written = stream.written();
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.limits.configured.send_timeout));
        let stream = Box::pin(stream);
        match self.tls.clone() {
            None => self.serve_http(stream, Transport::Plaintext, written, builder, stop).await,
            Some(tls) if first == [HANDSHAKE] => {
                match stop.run_until_cancelled(tokio::time::timeout(timeout, tls.accept(stream))).await {
                    None => {}
                    Some(Ok(Ok(stream))) => self.serve_http(stream, Transport::Tls, written, builder, stop).await,
                    Some(Ok(Err(error))) => {
                        tracing::debug!(%error, client.address = %self.address, "TLS handshake failed");
                    }
                    Some(Err(_)) => tracing::debug!(client.address = %self.address, "TLS handshake timed out"),
                }
            }
            // Incus requests every file over plain HTTP on this port first, and hangs without a response.
            Some(_) => {
                let builder = builder.clone().http1_only();
                self.serve_http(stream, Transport::PlaintextOnTlsPort, written, &builder, stop).await;
            }
        }
    }

    async fn serve_http<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self,
        stream: S,
        transport: Transport,
        written: Written,
        builder: &auto::Builder<StreamExecutor>,
        stop: &CancellationToken,
    ) {
        let Self { address, app, limits, .. } = self;
        let in_flight = InFlight::default();
        let counted = in_flight.clone();
        let service = tower::service_fn(move |mut request: axum::http::Request<Incoming>| {
            request.extensions_mut().insert(PeerAddress(address));
            request.extensions_mut().insert(transport);
            let guard = counted.begin();
            written.begin_request();
            let response = app.clone().oneshot(request.map(axum::body::Body::new));
            async move {
                // The guard moves into the body: the request is in flight until the body is written or dropped.
                let response = response.await?;
                Ok::<_, std::convert::Infallible>(response.map(|body| {
                    watched(body).map_frame(move |frame| {
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
            () = in_flight.idle(limits.configured.idle_timeout) => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    // An incomplete request head is not waited for.
                    () = in_flight.idle(limits.configured.header_timeout) => return,
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
