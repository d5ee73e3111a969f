//! Sending bytes until they are a trusted blob: in parts, several at once, going on where an earlier try ended.

use super::{Observer, Progress, Source, Stage, meter::Meter, source::Shape};
use crate::{client::Client, error::Error};
use futures::{TryStreamExt, stream::FuturesUnordered};
use imgsrv_api::{CompleteUpload, CreateUpload, ListedPart, PartSummary, ProblemCode, UploadSession};
use reqwest::{Body, Method, header::CONTENT_LENGTH};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

const MIB: u64 = 1 << 20;
/// The least bytes of a part, unless told otherwise.
const PART: u64 = 32 * MIB;
/// Parts that an upload has at most, unless told otherwise: far from the 10,000 that the server takes.
const PARTS: u64 = 1000;
const MAX_PARTS: u64 = 10_000;
/// Parts that are sent at once, unless told otherwise.
const AT_ONCE: usize = 4;
/// Bytes a second from which on the network is fast.
const FAST: u64 = 64 * MIB;
/// Sessions that are begun before giving up: another client may abort one, or spoil one that is shared.
const SESSIONS: usize = 3;
/// Between looks at a session that the server works on, at first and at most.
const POLL: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Bytes that the server trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blob {
    /// Their digest.
    pub digest: String,
    /// How many they are.
    pub size_bytes: i64,
    /// Whether the server had them before.
    pub was_there: bool,
}

/// An upload to be done; made by [`Client::upload`].
#[must_use = "nothing is sent before `send`"]
pub struct Upload {
    client: Client,
    source: Source,
    part_bytes: Option<u64>,
    at_once: usize,
    observer: Option<Observer>,
    media_type: Option<String>,
    file_name: Option<String>,
}

impl Client {
    /// Uploads a file or bytes, and waits until they are a trusted blob.
    ///
    /// It may be called again after any interruption, on any machine: it goes on with what the server holds of an
    /// earlier try by the same principal, and is done at once when the server trusts the digest already.
    pub fn upload(&self, source: impl Into<Source>) -> Upload {
        Upload {
            client: self.clone(),
            source: source.into(),
            part_bytes: None,
            at_once: AT_ONCE,
            observer: None,
            media_type: None,
            file_name: None,
        }
    }
}

/// Whether a file's name may be told as a hint: a server takes no text with control or bidi characters.
fn is_plain(name: &str) -> bool {
    name.chars().count() <= 256 && name.chars().all(|c| c == ' ' || c.is_alphanumeric() || c.is_ascii_graphic())
}

/// How bytes are cut into parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    size: u64,
    part: u64,
}

impl Cut {
    fn new(size: u64, wanted: Option<u64>) -> Self {
        let least = size.div_ceil(MAX_PARTS).max(1);
        let usual = || size.div_ceil(PARTS).next_multiple_of(MIB).max(PART);
        Self { size, part: wanted.unwrap_or_else(usual).max(least) }
    }

    /// Every part: its number, where it starts and how many bytes it has.
    fn parts(self) -> impl Iterator<Item = (u16, u64, u64)> {
        let starts = (0..self.size.div_ceil(self.part)).map(move |at| at * self.part);
        (1..).zip(starts).map(move |(number, start)| (number, start, self.part.min(self.size - start)))
    }

    /// Whether `held` are parts of this cut.
    fn fits(self, held: &[PartSummary]) -> bool {
        let parts: BTreeMap<u16, u64> = self.parts().map(|(number, _, size)| (number, size)).collect();
        held.iter()
            .all(|part| parts.get(&part.part_number).is_some_and(|size| i64::try_from(*size) == Ok(part.size_bytes)))
    }
}

/// How many parts to send at once, after one of `at_once` has taken so long: one more where the network is slow. Where
/// it is fast, one after another is faster still, since the server hashes what comes in order as it arrives.
fn pace(bytes: u64, time: Duration, at_once: usize, most: usize) -> usize {
    let together = u128::from(bytes) * 1_000_000 * at_once as u128 / time.as_micros().max(1);
    if together < u128::from(FAST) { (at_once + 1).min(most) } else { at_once.max(2) - 1 }
}

/// How far a session has come.
enum Sent {
    /// The digest is a trusted blob.
    Ready { was_there: bool },
    /// The session ended without one, or is of no more use: the next may do better.
    Ended(Error),
}

impl Upload {
    /// Parts of so many bytes; at least a ten-thousandth of the whole.
    pub fn part_bytes(self, bytes: u64) -> Self {
        Self { part_bytes: Some(bytes.max(1)), ..self }
    }

    /// At most so many parts at once, at least one. More than one are sent where a single connection is slow.
    pub fn at_once(self, parts: usize) -> Self {
        Self { at_once: parts.max(1), ..self }
    }

    /// Tells `observer` how far it has come; it is called often and should be quick.
    pub fn observed_by(self, observer: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self { observer: Some(Arc::new(observer)), ..self }
    }

    /// What the bytes are, for people who look at uploads.
    pub fn media_type(self, media_type: impl Into<String>) -> Self {
        Self { media_type: Some(media_type.into()), ..self }
    }

    /// How the bytes are called, for people who look at uploads.
    pub fn file_name(self, name: impl Into<String>) -> Self {
        Self { file_name: Some(name.into()), ..self }
    }

    /// Takes the digest, sends what the server lacks, and returns once the bytes are a trusted blob.
    pub async fn send(self) -> Result<Blob, Error> {
        let shape = self.source.shape().await?;
        let digest = self.source.digest(shape, self.observer.clone()).await?;
        let expected_size_bytes = i64::try_from(shape.size).map_err(|error| Error::Answer(Box::new(error)))?;
        let new = CreateUpload {
            expected_digest: digest,
            expected_size_bytes,
            media_type_hint: self.media_type.clone(),
            filename_hint: self.file_name.clone().filter(|name| is_plain(name)),
        };
        let mut tried = 0;
        loop {
            // One that is shared may have been spoilt by whom it is shared with: the last tries are one's own.
            let begun = if tried == 0 { self.earlier(&new, shape).await? } else { None };
            let (session, cut, held) = match begun {
                Some(begun) => begun,
                None => {
                    let session = self.client.create_upload(&new).await?;
                    (session, Cut::new(shape.size, self.part_bytes), Vec::new())
                }
            };
            tried += 1;
            match self.fill(session, cut, held, shape).await? {
                Sent::Ready { was_there } => {
                    return Ok(Blob { digest: new.expected_digest, size_bytes: new.expected_size_bytes, was_there });
                }
                Sent::Ended(error) if tried >= SESSIONS => return Err(error),
                Sent::Ended(_) => self.source.check_unchanged(shape).await?,
            }
        }
    }

    /// A session that an earlier try left behind, with the parts that it holds, if it can be gone on with.
    async fn earlier(
        &self,
        new: &CreateUpload,
        shape: Shape,
    ) -> Result<Option<(UploadSession, Cut, Vec<PartSummary>)>, Error> {
        let mut open = self.client.open_uploads(Some(&new.expected_digest));
        while let Some(session) = open.try_next().await? {
            if session.expected_size_bytes != new.expected_size_bytes {
                continue;
            }
            let held: Vec<PartSummary> = self.client.upload_parts(&session.id).try_collect().await?;
            let own = Cut::new(shape.size, self.part_bytes);
            // Only a first part tells how the others are cut; the last one is shorter.
            let theirs =
                held.first().filter(|part| part.part_number == 1).and_then(|part| u64::try_from(part.size_bytes).ok());
            let theirs = theirs.map(|bytes| Cut::new(shape.size, Some(bytes)));
            if let Some(cut) = [Some(own), theirs].into_iter().flatten().find(|cut| cut.fits(&held)) {
                return Ok(Some((session, cut, held)));
            }
        }
        Ok(None)
    }

    /// Sends what a session lacks, completes it and waits for its end.
    async fn fill(
        &self,
        session: UploadSession,
        cut: Cut,
        held: Vec<PartSummary>,
        shape: Shape,
    ) -> Result<Sent, Error> {
        if session.state == "ready" {
            return Ok(Sent::Ready { was_there: true });
        }
        let mut held: BTreeMap<u16, PartSummary> = held.into_iter().map(|part| (part.part_number, part)).collect();
        loop {
            match self.send_parts(&session.id, cut, &held, shape).await {
                Ok(()) => {}
                Err(error) => match self.look_after(&session.id, error).await? {
                    Some(ended) => return Ok(ended),
                    None => return self.wait(&session.id, shape).await,
                },
            }
            self.source.check_unchanged(shape).await?;
            // As the server has them: another client may have sent some of the same.
            let listed: Vec<PartSummary> = self.client.upload_parts(&session.id).try_collect().await?;
            let parts = listed.iter().map(|part| ListedPart {
                number: part.part_number.into(),
                etag: part.etag.clone(),
                size_bytes: part.size_bytes,
            });
            let parts = CompleteUpload { parts: parts.collect() };
            match self.client.complete_upload(&session.id, &parts).await {
                Ok(_) => return self.wait(&session.id, shape).await,
                Err(error) if error.code() == Some(ProblemCode::PartListMismatch) => {
                    if !cut.fits(&listed) {
                        return Ok(Sent::Ended(error));
                    }
                    held = listed.into_iter().map(|part| (part.part_number, part)).collect();
                }
                Err(error) => match self.look_after(&session.id, error).await? {
                    Some(ended) => return Ok(ended),
                    None => return self.wait(&session.id, shape).await,
                },
            }
        }
    }

    /// What a refusal means: the end of the session, or, when absent, that somebody completed it.
    async fn look_after(&self, session: &str, error: Error) -> Result<Option<Sent>, Error> {
        let is_over =
            matches!(error.code(), Some(ProblemCode::UploadState | ProblemCode::UploadExpired | ProblemCode::NotFound));
        if !is_over {
            return Err(error);
        }
        let state = match self.client.upload_session(session).await {
            Ok(session) => session.state,
            Err(error) if error.code() == Some(ProblemCode::NotFound) => return Ok(Some(Sent::Ended(error))),
            Err(error) => return Err(error),
        };
        match state.as_str() {
            "completed" | "ingesting" | "ready" => Ok(None),
            _ => Ok(Some(Sent::Ended(error))),
        }
    }

    async fn send_parts(
        &self,
        session: &str,
        cut: Cut,
        held: &BTreeMap<u16, PartSummary>,
        shape: Shape,
    ) -> Result<(), Error> {
        let tally = Tally::new(cut.size, self.observer.clone());
        let missing: Vec<_> = cut.parts().filter(|(number, _, _)| !held.contains_key(number)).collect();
        let there = cut.size - missing.iter().map(|(_, _, size)| size).sum::<u64>();
        tally.moved(0, there);
        let mut missing = missing.into_iter();
        let mut sending = FuturesUnordered::new();
        let mut wanted = 1;
        loop {
            while sending.len() < wanted
                && let Some(part) = missing.next()
            {
                let (tally, began) = (&tally, Instant::now());
                sending.push(async move {
                    self.send_part(session, part, shape, tally).await.map(|()| (part.2, began.elapsed()))
                });
            }
            let at_once = sending.len();
            let Some((bytes, time)) = sending.try_next().await? else { return Ok(()) };
            wanted = pace(bytes, time, at_once, self.at_once);
        }
    }

    async fn send_part(
        &self,
        session: &str,
        (number, offset, size): (u16, u64, u64),
        shape: Shape,
        tally: &Arc<Tally>,
    ) -> Result<(), Error> {
        let url = self.client.at(["v1", "uploads", session, "parts", &number.to_string()]);
        let mut attempts = self.client.retry().attempts();
        loop {
            let meter = Arc::new(Meter::new(size));
            let request = |token: Option<&_>| {
                let (meter, tally) = (Arc::clone(&meter), Arc::clone(tally));
                // A second request, with another token, begins at the first byte again.
                meter.restart();
                let body = self.source.range(offset, size).inspect_ok(move |bytes| {
                    meter.add(bytes.len() as u64);
                    tally.moved(number, meter.moved().min(size));
                });
                let request = self.client.bare(Method::PUT, url.clone(), token);
                request.header(CONTENT_LENGTH, size).body(Body::wrap_stream(body))
            };
            let error = match meter.watch(self.client.authenticated(request)).await {
                Ok(_) => {
                    tally.moved(number, size);
                    return Ok(());
                }
                // Another client sent this very part.
                Err(error) if error.code() == Some(ProblemCode::PartSuperseded) => return Ok(()),
                Err(error) => error,
            };
            tally.moved(number, 0);
            if !error.is_passing() {
                return Err(error);
            }
            self.source.check_unchanged(shape).await?;
            attempts.after(error).await?;
        }
    }

    /// Waits until the server has made a blob of a completed session.
    async fn wait(&self, session: &str, shape: Shape) -> Result<Sent, Error> {
        let (mut pause, longest) = POLL;
        loop {
            self.tell(Stage::Verifying, shape.size);
            let UploadSession { state, failure_reason, .. } = self.client.upload_session(session).await?;
            match state.as_str() {
                "ready" => return Ok(Sent::Ready { was_there: false }),
                "completed" | "ingesting" => {}
                _ => {
                    let reason = failure_reason.unwrap_or_else(|| format!("the upload is {state}"));
                    return Ok(Sent::Ended(Error::UploadFailed(reason)));
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    fn tell(&self, stage: Stage, bytes: u64) {
        if let Some(observer) = &self.observer {
            observer(Progress { stage, done: bytes, total: bytes });
        }
    }
}

/// Adds up what the parts of an upload have sent.
struct Tally {
    total: u64,
    observer: Option<Observer>,
    /// Bytes by part, what was there already under 0; and their sum.
    sent: Mutex<(BTreeMap<u16, u64>, u64)>,
}

impl Tally {
    fn new(total: u64, observer: Option<Observer>) -> Arc<Self> {
        Arc::new(Self { total, observer, sent: Mutex::default() })
    }

    /// Notes that `part` has sent `bytes` so far.
    fn moved(&self, part: u16, bytes: u64) {
        let done = {
            let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
            let before = sent.0.insert(part, bytes).unwrap_or(0);
            sent.1 = sent.1 + bytes - before;
            sent.1
        };
        if let Some(observer) = &self.observer {
            observer(Progress { stage: Stage::Sending, done, total: self.total });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_every_byte_and_are_few() {
        for (size, wanted) in [(0, None), (1, None), (PART, None), (PART + 1, None), (1 << 40, None), (25_000, Some(1))]
        {
            let cut = Cut::new(size, wanted);
            let parts: Vec<_> = cut.parts().collect();
            assert!(parts.len() <= 10_000, "{size}: {} parts", parts.len());
            let mut end = 0;
            for (at, (number, start, bytes)) in parts.iter().enumerate() {
                assert_eq!((usize::from(*number), *start), (at + 1, end));
                assert!(*bytes > 0);
                end += bytes;
            }
            assert_eq!(end, size);
        }
        assert_eq!(Cut::new(1 << 40, None).part, 1049 * MIB);
    }

    #[test]
    fn only_a_slow_network_gets_more_connections() {
        let second = Duration::from_secs(1);
        assert_eq!(pace(10 * MIB, second, 1, 4), 2);
        assert_eq!(pace(10 * MIB, second, 4, 4), 4);
        assert_eq!(pace(100 * MIB, second, 1, 4), 1);
        assert_eq!(pace(40 * MIB, second, 2, 4), 1);
        assert_eq!(pace(0, Duration::ZERO, 1, 1), 1);
    }

    #[test]
    fn only_parts_of_the_same_cut_are_gone_on_with() {
        let part = |number, size| PartSummary { part_number: number, etag: String::new(), size_bytes: size };
        let cut = Cut::new(25, Some(10));
        assert!(cut.fits(&[]));
        assert!(cut.fits(&[part(1, 10), part(3, 5)]));
        assert!(!cut.fits(&[part(1, 9)]));
        assert!(!cut.fits(&[part(4, 0)]));
    }
}
