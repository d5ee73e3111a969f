//! Random sequences of actions on an upload session, checked against a model that knows every byte.

use imgsrv_domain::{
    access::Sender,
    blocks::BlockChecksums,
    digest::{BlobClaim, ByteSize, Digest, HashState},
    hash::RunningHash,
    ids::{AttemptId, PrincipalId, UploadId},
    names::PartNumber,
    parts::{HashBase, ListedPart, Part, PartLocation},
    time::Timestamp,
    upload::{Attempt, NewAppendUpload, NewUpload, Placement, Receiving, UploadRefusal, UploadSession},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

const TTL: Duration = Duration::from_hours(24);
const SIZE: u64 = 20;

fn sender() -> Sender {
    Sender::unlimited(PrincipalId::new(Uuid::from_u128(2)))
}

fn open(now: Timestamp) -> UploadSession {
    let claim = BlobClaim { digest: Digest::new([7; 32]), size: ByteSize::try_from(SIZE).expect("a size") };
    let new = NewUpload { claim, media_type_hint: None, filename_hint: None };
    UploadSession::open(UploadId::new(Uuid::from_u128(1)), sender(), new, now, TTL).0
}

/// A stand-in for a hash that depends on the attempts whose bytes it covers, and on their order.
fn hash_of(attempts: &[AttemptId], bytes: u64) -> HashState {
    let mut state = [0_u8; HashState::LENGTH];
    for attempt in attempts {
        for (at, byte) in attempt.uuid().as_bytes().iter().enumerate() {
            state[at] = state[at].wrapping_mul(31).wrapping_add(*byte);
        }
    }
    HashState { bytes, state, blocks: BlockChecksums::default() }
}

#[derive(Debug, Clone)]
enum Action {
    Begin { number: u16 },
    Finish { which: usize, size: u64 },
    Fail { which: usize },
    Advance { hours: u64 },
    Abort,
    Complete,
    Expire,
    Start,
    Ingested,
    Reject,
    Requeue,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        8 => (1_u16..5).prop_map(|number| Action::Begin { number }),
        8 => (0_usize..4, 0_u64..12).prop_map(|(which, size)| Action::Finish { which, size }),
        3 => (0_usize..4).prop_map(|which| Action::Fail { which }),
        1 => (0_u64..30).prop_map(|hours| Action::Advance { hours }),
        1 => Just(Action::Abort),
        3 => Just(Action::Complete),
        1 => Just(Action::Expire),
        2 => Just(Action::Start),
        1 => Just(Action::Ingested),
        1 => Just(Action::Reject),
        1 => Just(Action::Requeue),
    ];
    proptest::collection::vec(action, 1..60)
}

/// A session with what a catalog and a blob store would have of it.
struct Model {
    session: UploadSession,
    now: Timestamp,
    parts: BTreeMap<PartNumber, Part>,
    live: Vec<(Attempt, Vec<AttemptId>)>,
    /// The attempt that may still append to the prefix in a file, by file.
    writers: BTreeMap<String, AttemptId>,
    count: u128,
}

impl Model {
    fn new() -> Self {
        let now = Timestamp::from_micros(0);
        let session = open(now);
        Self { session, now, parts: BTreeMap::new(), live: vec![], writers: BTreeMap::new(), count: 100 }
    }

    fn recorded(&self) -> Vec<Part> {
        self.parts.values().cloned().collect()
    }

    fn before(&self, number: PartNumber) -> Option<Part> {
        number.previous().and_then(|previous| self.parts.get(&previous).cloned())
    }

    /// The attempts whose bytes come before part `number`; `None` if there is a gap.
    fn chain_before(&self, number: PartNumber) -> Option<Vec<AttemptId>> {
        (1..number.get()).map(|n| self.parts.get(&part_number(n)).map(|part| part.attempt)).collect()
    }

    fn begin(&mut self, number: u16) {
        self.count += 1;
        let (id, number) = (AttemptId::new(Uuid::from_u128(self.count)), part_number(number));
        let (current, before) = (self.parts.get(&number).cloned(), self.before(number));
        let begun = self.session.clone().begin_attempt(id, number, None, current.as_ref(), before.as_ref(), self.now);
        let Ok((session, attempt)) = begun else { return };
        let chain = match &attempt.base {
            HashBase::After(..) => self.chain_before(number).expect("a hashed prefix has no gap"),
            HashBase::Start | HashBase::Unknown => vec![],
        };
        if let HashBase::After(_, state) = &attempt.base {
            assert_eq!(*state, hash_of(&chain, state.bytes), "the base is the hash of what comes before");
        }
        if let Placement::Frontier(last) = &attempt.placement {
            let file = last.as_ref().map_or_else(|| id.to_string(), |(location, _)| file(location));
            let other = self.writers.insert(file, id);
            assert_eq!(other, None, "two live attempts would append to one prefix");
        }
        self.session = session;
        self.live.push((attempt, chain));
    }

    fn end(&mut self, which: usize) -> Option<(Attempt, Vec<AttemptId>)> {
        if self.live.is_empty() {
            return None;
        }
        let ended = self.live.remove(which % self.live.len());
        self.writers.retain(|_, writer| *writer != ended.0.id);
        Some(ended)
    }

    fn finish(&mut self, which: usize, size: u64) {
        let Some((attempt, mut chain)) = self.end(which) else { return };
        let size = size.min(attempt.limit.get());
        let before_bytes = match &attempt.base {
            HashBase::Start => Some(0),
            HashBase::After(_, state) => Some(state.bytes),
            HashBase::Unknown => None,
        };
        chain.push(attempt.id);
        let location = match &attempt.placement {
            Placement::Frontier(Some((last, _))) => PartLocation(format!("{}@{}", file(last), attempt.id)),
            Placement::Frontier(None) | Placement::Standalone => PartLocation(format!("{}@start", attempt.id)),
        };
        let part = Part {
            number: attempt.number,
            attempt: attempt.id,
            sequence: attempt.sequence,
            size: ByteSize::try_from(size).expect("a size"),
            location,
            hash: before_bytes.map(|bytes| hash_of(&chain, bytes + size)),
        };
        let (current, before) = (self.parts.get(&part.number).cloned(), self.before(part.number));
        let recorded =
            self.session.clone().record_part(&attempt, &part, current.as_ref(), before.as_ref(), self.now, TTL);
        match recorded {
            Ok(session) => {
                self.session = session;
                self.parts.insert(part.number, part);
            }
            Err(_) => self.session = self.session.clone().end_attempt(&attempt).0,
        }
    }

    fn fail(&mut self, which: usize) {
        if let Some((attempt, _)) = self.end(which) {
            self.session = self.session.clone().end_attempt(&attempt).0;
        }
    }

    fn complete(&mut self) {
        let listed: Vec<ListedPart> = self
            .parts
            .values()
            .map(|part| ListedPart { number: part.number, attempt: part.attempt, size: part.size })
            .collect();
        let total: u64 = self.parts.values().map(|part| part.size.get()).sum();
        let receiving = self.session.receiving().is_some();
        let completed = self.session.clone().complete(&listed, &self.recorded(), self.now);
        assert_eq!(completed.is_ok(), receiving && self.session.expires_at > self.now && total == SIZE);
        if let Ok((session, _)) = completed {
            self.session = session;
        }
    }

    fn apply(&mut self, action: Action) {
        let (session, now) = (self.session.clone(), self.now);
        match action {
            Action::Begin { number } => self.begin(number),
            Action::Finish { which, size } => self.finish(which, size),
            Action::Fail { which } => self.fail(which),
            Action::Advance { hours } => self.now = now.plus(Duration::from_hours(hours)),
            Action::Complete => self.complete(),
            Action::Abort => {
                if let Ok((aborted, _)) = session.abort(now) {
                    self.session = aborted;
                }
            }
            Action::Expire => {
                if let Ok((expired, _)) = session.expire(now) {
                    self.session = expired;
                }
            }
            Action::Start => {
                if let Ok((started, _)) = session.start_ingest(now) {
                    self.session = started;
                }
            }
            Action::Ingested | Action::Reject | Action::Requeue => {
                let done = match action {
                    Action::Ingested => session.finish_ingest(now).map(|(session, _)| session),
                    Action::Reject => session.reject("wrong".to_owned(), now).map(|(session, _)| session),
                    _ => session.requeue_ingest(now),
                };
                if let Ok(done) = done {
                    self.session = done;
                }
            }
        }
    }

    fn check(&self, before: &UploadSession) {
        let total: u64 = self.parts.values().map(|part| part.size.get()).sum();
        assert_eq!(self.session.offset().get(), total);
        assert!(total <= SIZE);
        if let Some(frontier) = self.session.receiving().and_then(Receiving::frontier) {
            let chain =
                self.chain_before(part_number(frontier.number.get() + 1)).expect("the hashed prefix has no gap");
            let bytes = chain.len();
            assert_eq!(frontier.hash, hash_of(&chain, frontier.hash.bytes), "{bytes} parts");
            let sizes: u64 = (1..=frontier.number.get()).map(|n| self.parts[&part_number(n)].size.get()).sum();
            assert_eq!(frontier.hash.bytes, sizes);
        }
        if before.state.has_ended() {
            assert_eq!(self.session, *before, "a final state is final");
        }
    }
}

fn part_number(number: u16) -> PartNumber {
    PartNumber::try_from(i64::from(number)).expect("a part number")
}

fn file(location: &PartLocation) -> String {
    location.0.split_once('@').expect("a location").0.to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_actions_breaks_a_session(actions in actions()) {
        let mut model = Model::new();
        for action in actions {
            let before = model.session.clone();
            model.apply(action);
            model.check(&before);
        }
    }
}

#[test]
fn parts_sent_in_order_are_all_hashed_on_arrival() {
    let mut model = Model::new();
    for (number, size) in [(1, 5), (2, 5), (3, 10)] {
        model.begin(number);
        model.finish(0, size);
    }
    let frontier = model.session.receiving().and_then(Receiving::frontier).expect("a frontier");
    assert_eq!(frontier.hash.bytes, SIZE);
    model.complete();
    let (_, ingest) = model.session.start_ingest(model.now).expect("it is completed");
    assert_eq!(ingest.hashed.expect("a hash").bytes, SIZE);
}

#[test]
fn a_failed_retry_does_not_free_the_frontier_of_a_stalled_writer() {
    let mut model = Model::new();
    model.begin(1);
    model.finish(0, 5);
    model.begin(2);
    model.begin(2);
    assert_eq!(model.live[1].0.placement, Placement::Standalone);
    model.fail(1);
    model.begin(2);
    assert_eq!(model.live[1].0.placement, Placement::Standalone, "the first attempt may still write at the frontier");
}

#[test]
fn an_earlier_attempt_does_not_replace_a_later_one() {
    let mut model = Model::new();
    model.begin(1);
    model.begin(1);
    model.finish(1, 5);
    let (late, _) = model.live[0].clone();
    let part = Part { attempt: late.id, sequence: late.sequence, ..model.parts[&part_number(1)].clone() };
    let current = model.parts[&part_number(1)].clone();
    let refused = model.session.clone().record_part(&late, &part, Some(&current), None, model.now, TTL);
    assert_eq!(refused.expect_err("superseded"), UploadRefusal::Superseded(part_number(1)));
}

fn append(size: u64, digest: Option<Digest>) -> UploadSession {
    let new = NewAppendUpload { size: ByteSize::try_from(size).expect("a size"), digest, media_type_hint: None };
    let (id, by) = (UploadId::new(Uuid::from_u128(1)), sender());
    UploadSession::open_append(id, by, new, Timestamp::from_micros(0), TTL).0
}

fn appended(attempt: &Attempt, bytes: &[u8]) -> Part {
    let mut hash = RunningHash::of(&attempt.base).expect("the hash of what comes before");
    hash.update(bytes);
    Part {
        number: attempt.number,
        attempt: attempt.id,
        sequence: attempt.sequence,
        size: ByteSize::try_from(bytes.len() as u64).expect("a size"),
        location: PartLocation(format!("{}@start", attempt.id)),
        hash: Some(hash.save()),
    }
}

#[test]
fn the_last_appended_byte_completes_an_upload_and_computes_an_undeclared_digest() {
    let (now, mut session, mut last) = (Timestamp::from_micros(0), append(6, None), None);
    let name = session.blob_name();
    let mut completed = None;
    for (count, bytes) in [(1, b"abc"), (2, b"def")] {
        assert_eq!((session.digest(), completed), (None, None));
        let id = AttemptId::new(Uuid::from_u128(count));
        let offset = session.offset().get();
        let (begun, attempt) = session.begin_append(id, offset, last.as_ref(), now).expect("it begins");
        let part = appended(&attempt, bytes);
        (session, completed) = begun.record_append(&attempt, &part, last.as_ref(), now, TTL).expect("it is recorded");
        last = Some(part);
    }
    let mut whole = RunningHash::default();
    whole.update(b"abcdef");
    let digest = whole.finish();
    assert_eq!(session.digest(), Some(digest));
    assert_eq!(completed.and_then(|event| event.detail), Some(digest.to_string()));
    assert_eq!((session.state.name(), session.offset().get()), ("completed", 6));
    assert_eq!(session.blob_name(), name, "its bytes are stored under that name already");
}

#[test]
fn a_newer_append_attempt_supersedes_an_older_one_also_once_the_upload_is_complete() {
    let now = Timestamp::from_micros(0);
    let begin = |session: UploadSession, id| {
        session.begin_append(AttemptId::new(Uuid::from_u128(id)), 0, None, now).expect("it begins")
    };
    let (session, older) = begin(append(3, Some(Digest::new([7; 32]))), 1);
    let (session, newer) = begin(session, 2);
    let record = |session: &UploadSession, attempt: &Attempt| {
        session.clone().record_append(attempt, &appended(attempt, b"abc"), None, now, TTL)
    };
    assert_eq!(record(&session, &older), Err(UploadRefusal::Superseded(part_number(1))));
    let (completed, _) = record(&session, &newer).expect("it is recorded");
    assert_eq!(completed.state.name(), "completed");
    assert_eq!(record(&completed, &older), Err(UploadRefusal::Superseded(part_number(1))));
    let recorded = appended(&newer, b"abc");
    for session in [&session, &completed] {
        assert_eq!(session.check_attempt(&older, None, now), Err(UploadRefusal::Superseded(part_number(1))));
        assert_eq!(session.check_attempt(&newer, Some(&recorded), now), Ok(()), "its own part is recorded");
    }
}

#[test]
fn only_an_upload_of_no_bytes_is_completed_without_a_part() {
    let now = Timestamp::from_micros(0);
    assert!(append(1, None).complete_empty(now).is_err());
    assert!(append(1, Some(Digest::new([7; 32]))).complete_empty(now).is_err());
    let (completed, _) = append(0, None).complete_empty(now).expect("it is complete");
    assert_eq!(completed.digest(), Some(RunningHash::default().finish()));
}

#[test]
fn each_state_of_a_session_allows_only_its_own_actions() {
    let now = Timestamp::from_micros(0);
    let late = now.plus(TTL);
    let created = append(0, None);
    let (completed, _) = created.clone().complete_empty(now).expect("completed");
    let (ingesting, _) = completed.clone().start_ingest(now).expect("started");
    let (ready, _) = ingesting.clone().finish_ingest(now).expect("ready");
    let (failed, _) = ingesting.clone().reject("wrong".to_owned(), now).expect("failed");
    let hash = RunningHash::default().save();
    let (aborted, _) = created.clone().abort(now).expect("aborted");
    let id = AttemptId::new(Uuid::from_u128(3));
    let allowed = |session: &UploadSession| {
        [
            session.clone().begin_append(id, 0, None, now).is_ok(),
            session.clone().complete_empty(now).is_ok(),
            session.clone().abort(now).is_ok(),
            session.clone().expire(late).is_ok(),
            session.clone().start_ingest(now).is_ok(),
            session.clone().save_hash(hash.clone()).is_ok(),
            session.clone().finish_ingest(now).is_ok(),
            session.clone().requeue_ingest(now).is_ok(),
            session.clone().reject("wrong".to_owned(), now).is_ok(),
        ]
    };
    let table = [
        (created, [true, true, true, true, false, false, false, false, false]),
        (completed, [false, false, false, false, true, false, false, false, true]),
        (ingesting, [false, false, false, false, true, true, true, true, true]),
        (ready, [false; 9]),
        (failed, [false; 9]),
        // Aborting is idempotent.
        (aborted, [false, false, true, false, false, false, false, false, false]),
    ];
    for (session, expected) in table {
        assert_eq!(allowed(&session), expected, "{}", session.state.name());
    }
}
