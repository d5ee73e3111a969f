//! Whole lives of upload sessions, against a model that knows every byte.

use imgsrv_domain::{
    digest::{BlobClaim, ByteSize, Digest, HashState},
    ids::{AttemptId, PrincipalId, UploadId},
    lease::{LeaseKey, WorkerId},
    names::PartNumber,
    parts::{HashBase, ListedPart, Part, PartLocation},
    time::Timestamp,
    upload::{Attempt, INGEST_RETRY_LIMIT, NewUpload, Placement, UploadRefusal, UploadSession, UploadState},
};
use proptest::prelude::*;
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

const TTL: Duration = Duration::from_hours(24);
const TERM: Duration = Duration::from_secs(30);
const SIZE: u64 = 20;

fn open(now: Timestamp) -> UploadSession {
    let claim = BlobClaim { digest: Digest::new([7; 32]), size: ByteSize::try_from(SIZE).expect("a size") };
    let new = NewUpload { claim, media_type_hint: None, filename_hint: None };
    UploadSession::open(UploadId::new(Uuid::from_u128(1)), PrincipalId::new(Uuid::from_u128(2)), new, now, TTL).0
}

/// A "hash" that names the attempts that went into it: enough to see whether it is of the right bytes.
fn hash_of(attempts: &[AttemptId], bytes: u64) -> HashState {
    let mut state = [0_u8; HashState::LENGTH];
    for attempt in attempts {
        for (at, byte) in attempt.uuid().as_bytes().iter().enumerate() {
            state[at] = state[at].wrapping_mul(31).wrapping_add(*byte);
        }
    }
    HashState { bytes, state }
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
    Claim,
    Renew,
    Finished,
    Reject,
    Postpone,
    HandBack,
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
        2 => Just(Action::Claim),
        1 => Just(Action::Renew),
        1 => Just(Action::Finished),
        1 => Just(Action::Reject),
        1 => Just(Action::Postpone),
        1 => Just(Action::HandBack),
    ];
    proptest::collection::vec(action, 1..60)
}

/// A session with everything around it: what a catalog and a blob store would hold.
struct World {
    session: UploadSession,
    now: Timestamp,
    parts: BTreeMap<PartNumber, Part>,
    live: Vec<(Attempt, Vec<AttemptId>)>,
    /// Attempts that may still write behind the prefix of a file: by file.
    writers: BTreeMap<String, AttemptId>,
    key: Option<LeaseKey>,
    count: u128,
}

impl World {
    fn new() -> Self {
        let now = Timestamp::from_micros(0);
        let session = open(now);
        Self { session, now, parts: BTreeMap::new(), live: vec![], writers: BTreeMap::new(), key: None, count: 100 }
    }

    fn recorded(&self) -> Vec<Part> {
        self.parts.values().cloned().collect()
    }

    fn before(&self, number: PartNumber) -> Option<Part> {
        number.previous().and_then(|previous| self.parts.get(&previous).cloned())
    }

    /// The attempts whose bytes lie before part `number`, if there is no gap.
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
            assert_eq!(*state, hash_of(&chain, state.bytes), "the base is the hash of what lies before");
        }
        if let Placement::Frontier(behind) = &attempt.placement {
            let file = behind.as_ref().map_or_else(|| id.to_string(), |(place, _)| file(place));
            let other = self.writers.insert(file, id);
            assert_eq!(other, None, "two live attempts would write behind one prefix");
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
        let place = match &attempt.placement {
            Placement::Frontier(Some((place, _))) => PartLocation(format!("{}@{}", file(place), attempt.id)),
            Placement::Frontier(None) | Placement::Standalone => PartLocation(format!("{}@start", attempt.id)),
        };
        let part = Part {
            number: attempt.number,
            attempt: attempt.id,
            sequence: attempt.sequence,
            size: ByteSize::try_from(size).expect("a size"),
            place,
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
        let receiving = matches!(self.session.state, UploadState::Created | UploadState::Uploading);
        let completed = self.session.clone().complete(&listed, &self.recorded(), self.now);
        assert_eq!(completed.is_ok(), receiving && self.session.expires_at > self.now && total == SIZE);
        if let Ok((session, _)) = completed {
            self.session = session;
        }
    }

    fn apply(&mut self, action: Action) {
        let (session, now) = (self.session.clone(), self.now);
        let key = self.key.clone();
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
            Action::Claim => {
                if let Ok((claimed, claim)) = session.acquire_ingest(&WorkerId::new("w".to_owned()), now, TERM) {
                    if let Some(earlier) = key {
                        assert!(claim.attempt > earlier.attempt, "attempt numbers are never given twice");
                        assert!(claimed.clone().finish_ingest(&earlier, now).is_err(), "the earlier holder is fenced");
                    }
                    (self.session, self.key) = (claimed, Some(claim));
                }
            }
            Action::Renew | Action::Finished | Action::Reject | Action::Postpone | Action::HandBack => {
                let Some(key) = key else { return };
                let done = match action {
                    Action::Renew => session.renew_ingest(&key, None, now, TERM),
                    Action::Finished => session.finish_ingest(&key, now).map(|(session, _)| session),
                    Action::Reject => session.reject(&key, "wrong".to_owned(), now).map(|(session, _)| session),
                    Action::Postpone => session.postpone_ingest(&key, TERM, now).map(|(session, _)| session),
                    _ => session.release_ingest(&key, now),
                };
                if let Ok(done) = done {
                    self.session = done;
                }
            }
        }
    }

    fn check(&self, before: &UploadSession) {
        let total: u64 = self.parts.values().map(|part| part.size.get()).sum();
        assert_eq!(self.session.received.get(), total);
        assert!(total <= SIZE);
        if let Some(frontier) = &self.session.frontier {
            let chain =
                self.chain_before(part_number(frontier.number.get() + 1)).expect("the hashed prefix has no gap");
            let bytes = chain.len();
            assert_eq!(frontier.hash, hash_of(&chain, frontier.hash.bytes), "{bytes} parts");
            let sizes: u64 = (1..=frontier.number.get()).map(|n| self.parts[&part_number(n)].size.get()).sum();
            assert_eq!(frontier.hash.bytes, sizes);
        }
        match before.state {
            UploadState::Ready | UploadState::Failed { .. } | UploadState::Aborted => {
                assert_eq!(self.session.state, before.state, "an end is an end");
            }
            UploadState::Created | UploadState::Uploading | UploadState::Completed(_) | UploadState::Ingesting(_) => {}
        }
    }
}

fn part_number(number: u16) -> PartNumber {
    PartNumber::try_from(i64::from(number)).expect("a part number")
}

fn file(place: &PartLocation) -> String {
    place.0.split_once('@').expect("a place").0.to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_actions_breaks_a_session(actions in actions()) {
        let mut world = World::new();
        for action in actions {
            let before = world.session.clone();
            world.apply(action);
            world.check(&before);
        }
    }
}

#[test]
fn parts_sent_in_order_are_all_hashed_on_arrival() {
    let mut world = World::new();
    for (number, size) in [(1, 5), (2, 5), (3, 10)] {
        world.begin(number);
        world.finish(0, size);
    }
    assert_eq!(world.session.frontier.as_ref().expect("a frontier").hash.bytes, SIZE);
    world.complete();
    assert_eq!(world.session.hashed.as_ref().expect("a hash").bytes, SIZE);
}

#[test]
fn a_failed_retry_does_not_free_the_place_of_a_stalled_appender() {
    let mut world = World::new();
    world.begin(1);
    world.finish(0, 5);
    world.begin(2);
    world.begin(2);
    assert_eq!(world.live[1].0.placement, Placement::Standalone);
    world.fail(1);
    world.begin(2);
    assert_eq!(world.live[1].0.placement, Placement::Standalone, "the first attempt may still write there");
}

#[test]
fn an_attempt_that_began_earlier_does_not_replace_a_later_one() {
    let mut world = World::new();
    world.begin(1);
    world.begin(1);
    world.finish(1, 5);
    let (late, _) = world.live[0].clone();
    let part = Part { attempt: late.id, sequence: late.sequence, ..world.parts[&part_number(1)].clone() };
    let current = world.parts[&part_number(1)].clone();
    let refused = world.session.clone().record_part(&late, &part, Some(&current), None, world.now, TTL);
    assert_eq!(refused.expect_err("superseded"), UploadRefusal::Superseded);
}

#[test]
fn an_ingest_that_the_store_fails_for_a_day_fails_and_a_long_wait_alone_does_not() {
    let mut world = World::new();
    world.begin(1);
    world.finish(0, SIZE);
    world.complete();
    world.now = world.now.plus(2 * INGEST_RETRY_LIMIT);
    world.apply(Action::Claim);
    world.apply(Action::Postpone);
    assert!(matches!(world.session.state, UploadState::Completed(_)), "it has failed for no time yet");
    world.now = world.now.plus(INGEST_RETRY_LIMIT);
    world.apply(Action::Claim);
    world.apply(Action::HandBack);
    world.apply(Action::Claim);
    world.apply(Action::Postpone);
    assert!(matches!(world.session.state, UploadState::Failed { .. }));
}
