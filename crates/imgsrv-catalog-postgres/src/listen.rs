//! Wake-ups from other nodes, by LISTEN and NOTIFY.

use futures::stream::{self, BoxStream};
use imgsrv_domain::ports::Enqueued;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use std::time::Duration;

const CHANNEL: &str = "imgsrv_enqueued";
/// How long to wait before listening is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// What is enqueued from now on. A lost connection is made again; what was missed meanwhile may be anything.
pub(crate) fn enqueued(options: PgConnectOptions) -> BoxStream<'static, Enqueued> {
    Box::pin(stream::unfold((options, None), |(options, listener)| async move {
        let mut listener: Option<PgListener> = listener;
        loop {
            let Some(listening) = &mut listener else {
                match listen(&options).await {
                    Ok(listening) => return Some((Enqueued::Anything, (options, Some(listening)))),
                    Err(error) => tracing::warn!(%error, "other nodes cannot be listened to; polling goes on"),
                }
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            match listening.try_recv().await {
                Ok(Some(notification)) => match notification.payload() {
                    "ingest" => return Some((Enqueued::Ingest, (options, listener))),
                    "publish" => return Some((Enqueued::Publish, (options, listener))),
                    // A newer node enqueues more.
                    _ => {}
                },
                Ok(None) | Err(_) => listener = None,
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
