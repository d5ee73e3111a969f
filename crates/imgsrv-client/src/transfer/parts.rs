//! Sending the missing parts of an upload session, in parallel where that is faster.

use super::{
    part_plan::PartRange,
    progress::{PartProgress, SendProgress},
    source::Snapshot,
    upload::{Session, Upload},
};
use crate::error::{Error, unless};
use futures::{TryStreamExt, stream::FuturesUnordered};
use imgsrv_api::ProblemCode;
use reqwest::{Body, Method, header::CONTENT_LENGTH};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Bytes a second from which on one connection is fast enough.
const FAST: u64 = 64 << 20;

/// How many parts to send in parallel, after one of `parallel` took `time`: one more if the network is slow, at most
/// `max`, else one fewer. On a fast network one part after the other is best, since the server hashes them as they
/// arrive in order.
fn next_parallelism(bytes: u64, time: Duration, parallel: usize, max: usize) -> usize {
    let rate = u128::from(bytes) * 1_000_000 * parallel as u128 / time.as_micros().max(1);
    if rate < u128::from(FAST) { (parallel + 1).min(max) } else { parallel.max(2) - 1 }
}

impl Upload {
    /// Sends the parts of the session's plan that the server does not have.
    pub(super) async fn send_parts(&self, session: &Session, snapshot: Snapshot) -> Result<(), Error> {
        let Session { id, plan, stored } = session;
        let stored: BTreeSet<u16> = stored.iter().map(|part| part.part_number).collect();
        let missing: Vec<PartRange> = plan.parts().filter(|part| !stored.contains(&part.number.get())).collect();
        let already_sent = plan.size - missing.iter().map(|part| part.size).sum::<u64>();
        let progress = SendProgress::new(plan.size, already_sent, self.observer.clone());
        let mut missing = missing.into_iter();
        let mut sending = FuturesUnordered::new();
        let mut parallelism = 1;
        loop {
            while sending.len() < parallelism
                && let Some(part) = missing.next()
            {
                let (progress, started) = (&progress, Instant::now());
                sending.push(async move {
                    self.send_part(id, part, snapshot, progress).await.map(|()| (part.size, started.elapsed()))
                });
            }
            let parallel = sending.len();
            let Some((bytes, time)) = sending.try_next().await? else { return Ok(()) };
            parallelism = next_parallelism(bytes, time, parallel, self.max_parallel);
        }
    }

    async fn send_part(
        &self,
        session: &str,
        PartRange { number, offset, size }: PartRange,
        snapshot: Snapshot,
        upload: &Arc<SendProgress>,
    ) -> Result<(), Error> {
        let url = self.client.endpoint(["v1", "uploads", session, "parts", &number.to_string()]);
        let progress = PartProgress::new(size, upload);
        let mut retries = self.client.retry().retries();
        loop {
            let request = |token: Option<&_>| {
                // A request that is repeated with another token starts again at the first byte.
                progress.restart();
                let progress = Arc::clone(&progress);
                let body = self.source.range(offset, size).inspect_ok(move |bytes| progress.add(bytes.len() as u64));
                let request = self.client.request(Method::PUT, url.clone(), token);
                request.header(CONTENT_LENGTH, size).body(Body::wrap_stream(body))
            };
            let sent = progress.watch(self.client.authenticated(request)).await;
            // Another client may have sent this part.
            let Err(error) = unless(ProblemCode::PartSuperseded, sent) else { return Ok(()) };
            progress.restart();
            if error.is_transient() {
                self.source.check_unchanged(snapshot).await?;
            }
            retries.wait_after(error).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_slow_network_gets_more_connections() {
        const MIB: u64 = 1 << 20;
        let second = Duration::from_secs(1);
        assert_eq!(next_parallelism(10 * MIB, second, 1, 4), 2);
        assert_eq!(next_parallelism(10 * MIB, second, 4, 4), 4);
        assert_eq!(next_parallelism(100 * MIB, second, 1, 4), 1);
        assert_eq!(next_parallelism(40 * MIB, second, 2, 4), 1);
        assert_eq!(next_parallelism(0, Duration::ZERO, 1, 1), 1);
    }
}
