//! Wake-ups from other nodes, by LISTEN and NOTIFY.

use futures::stream::{self, BoxStream};
use imgsrv_domain::ports::Enqueued;
use sqlx::{
    Executor,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use std::time::Duration;
use tokio::time::timeout;

const CHANNEL: &str = "imgsrv_enqueued";
/// After so long without a notification the connection is tried.
const SILENCE: Duration = Duration::from_secs(30);
/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait before listening is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What is enqueued from now on. A lost connection is made again; what was missed meanwhile may be anything.
pub(crate) fn enqueued(options: PgConnectOptions) -> BoxStream<'static, Enqueued> {
    Box::pin(stream::unfold((options, None), |(options, listener)| async move {
        let mut listener: Option<PgListener> = listener;
        loop {
            let Some(listening) = &mut listener else {
                match timeout(PATIENCE, listen(&options)).await.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                    Ok(listening) => return Some((Enqueued::Anything, (options, Some(listening)))),
                    Err(error) => tracing::warn!(%error, "other nodes cannot be listened to; polling goes on"),
                }
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            match timeout(SILENCE, listening.try_recv()).await {
                // A connection that is only listened on may be dead for hours before anybody notices.
                Err(_) => match timeout(PATIENCE, listening.execute("SELECT 1")).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) | Err(_) => listener = None,
                },
                Ok(Ok(Some(notification))) => match notification.payload() {
                    "ingest" => return Some((Enqueued::Ingest, (options, listener))),
                    "publish" => return Some((Enqueued::Publish, (options, listener))),
                    // A newer node enqueues more.
                    _ => {}
                },
                Ok(Ok(None) | Err(_)) => {
                    listener = None;
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }))
}

async fn listen(options: &PgConnectOptions) -> Result<PgListener, sqlx::Error> {
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}
