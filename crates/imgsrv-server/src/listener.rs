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
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use imgsrv_http::{PeerAddress, refusal};
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How long a client may take to send the headers of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(20);
/// Connections held at once; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;
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

/// Serves until `stop`, then lets requests in flight finish for at most `grace`.
pub(crate) async fn serve(listener: TcpListener, app: Router, stop: &CancellationToken, grace: Duration) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(256)
        .max_header_list_size(MAX_HEADER_LIST)
        .keep_alive_interval(HEADER_TIMEOUT);
    let connections = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let (stream, peer, place) = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let (app, in_flight) = (app.clone(), InFlight::default());
        let counted = in_flight.clone();
        let service = tower::service_fn(move |mut request: axum::http::Request<Incoming>| {
            request.extensions_mut().insert(PeerAddress(peer.ip().to_canonical()));
            let answering = in_flight.begin();
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
        let (builder, watcher, stop) = (builder.clone(), connections.watcher(), stop.clone());
        tokio::spawn(async move {
            // A client that never speaks is let go; hyper's own timer starts with the first byte only.
            let spoke = tokio::select! {
                spoke = tokio::time::timeout(HEADER_TIMEOUT, stream.readable()) => spoke.is_ok(),
                () = stop.cancelled() => false,
            };
            if !spoke {
                return;
            }
            let connection = builder.serve_connection(
                Refusing::new(TokioIo::new(stream), counted, refusal),
                TowerToHyperService::new(service),
            );
            let connection = watcher.watch(connection.into_owned());
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    tokio::select! {
        () = connections.shutdown() => {}
        () = tokio::time::sleep(grace) => tracing::warn!("requests in flight did not finish in time"),
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
