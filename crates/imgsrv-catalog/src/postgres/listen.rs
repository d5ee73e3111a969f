//! Wake-ups from other nodes, by LISTEN and NOTIFY.

use futures::stream::{self, BoxStream};
use imgsrv_domain::{error_chain, work::WorkKind};
use sqlx::{
    Executor,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use std::time::Duration;
use tokio::time::timeout;

const CHANNEL: &str = "imgsrv_work";
/// The connection is checked after this time without a notification.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
/// The limit for a response of the server.
const RESPONSE_LIMIT: Duration = Duration::from_secs(5);
/// The delay before the next attempt to listen.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What is enqueued from now on. A lost connection is reopened; any kind of work may have been enqueued meanwhile.
pub(crate) fn enqueued(options: PgConnectOptions) -> BoxStream<'static, Option<WorkKind>> {
    Box::pin(stream::unfold((options, None), |(options, listener)| async move {
        let mut listener: Option<PgListener> = listener;
        loop {
            let Some(listening) = &mut listener else {
                match timeout(RESPONSE_LIMIT, listen(&options)).await.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                    Ok(listening) => return Some((None, (options, Some(listening)))),
                    Err(error) => {
                        let error = error_chain::text(&error);
                        tracing::warn!(error, "notifications of other nodes are unavailable; polling continues");
                    }
                }
                tokio::time::sleep(RETRY_DELAY).await;
                continue;
            };
            match timeout(IDLE_LIMIT, listening.try_recv()).await {
                // A dead connection would not be detected for hours without this statement.
                Err(_) => match timeout(RESPONSE_LIMIT, listening.execute("SELECT 1")).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) | Err(_) => listener = None,
                },
                Ok(Ok(Some(notification))) => {
                    // A newer node may enqueue other kinds of work.
                    if let Ok(kind) = notification.payload().parse() {
                        return Some((Some(kind), (options, listener)));
                    }
                }
                Ok(lost @ (Ok(None) | Err(_))) => {
                    let error = lost.err().map_or_else(String::new, |error| error_chain::text(&error));
                    tracing::warn!(error, "connection for notifications of other nodes was lost");
                    listener = None;
                    tokio::time::sleep(RETRY_DELAY).await;
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
