//! Random histories of everything that retires and reclaims content, concurrent with publishers, aliases, retention and a
//! collector that runs all the time. In the end, the guarantees of the state machines hold.

use crate::lifecycle::Fixture;
use axum::http::StatusCode;
use futures::future::join_all;
use imgsrv_app::Settings;
use imgsrv_domain::{ports::Clock, work::WorkKind};
use imgsrv_testkit::{TestResponse, TestServer, digest, qcow2, services::Postgres};
use serde_json::{Value, json};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

const HOUR: Duration = Duration::from_hours(1);
const URL: &str = "/v1/images/debian";
const ACTORS: u64 = 6;
const STEPS: usize = 40;
/// Few digests, so that versions share them.
const DIGESTS: u64 = 5;
const ALIASES: [&str; 3] = ["latest", "stable", "next"];
/// The changes of a lifecycle, each of which raises its revision by one.
const CHANGES: [&str; 7] = [
    "version.deprecated",
    "version.revoked",
    "version.removed",
    "version.restored",
    "version.held",
    "version.released",
    "version.tombstoned",
];

/// Everything recurs at once.
fn restless(settings: &mut Settings) {
    settings.collection.interval = Some(Duration::ZERO);
    settings.collection.grace = Duration::ZERO;
    settings.retention_interval = Duration::ZERO;
    settings.sweep_interval = Duration::ZERO;
    settings.hold_cooldown = 3 * HOUR;
}

/// Random numbers that depend on a seed alone (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(all.len()).expect("a small number");
        (count > 0).then(|| &all[usize::try_from(self.below(count)).expect("a small number")])
    }
}

struct History {
    fixture: Fixture,
    /// A token that reads the audit log.
    manager: String,
    /// The bytes of published versions.
    published: RefCell<BTreeMap<String, Vec<u8>>>,
    actors: Cell<u64>,
    /// How often each kind of step succeeded.
    done: RefCell<BTreeMap<&'static str, usize>>,
}

impl History {
    fn server(&self) -> &TestServer {
        &self.fixture.server
    }

    /// A request that may be refused but must not fail.
    async fn send(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> TestResponse {
        loop {
            let answer = self.server().call(Some(token), method, path, body.clone()).await;
            if answer.status == StatusCode::SERVICE_UNAVAILABLE {
                continue;
            }
            assert!(!answer.status.is_server_error(), "{method} {path} {body:?}: {answer:?}");
            return answer;
        }
    }

    async fn write(&self, method: &str, path: &str, body: Value) -> TestResponse {
        self.send(&self.server().writer, method, path, Some(body)).await
    }

    async fn administer(&self, method: &str, path: &str, body: Value) -> TestResponse {
        self.send(&self.fixture.admin, method, path, Some(body)).await
    }

    fn note(&self, step: &'static str, answer: &TestResponse) {
        if answer.status.is_success() {
            *self.done.borrow_mut().entry(step).or_default() += 1;
        }
    }

    fn version(&self, random: &mut Random) -> Option<String> {
        let all: Vec<String> = self.published.borrow().keys().cloned().collect();
        random.of(&all).cloned()
    }

    async fn upload(&self, bytes: &[u8]) {
        let new = json!({"expected_digest": digest(bytes), "expected_size_bytes": bytes.len()});
        loop {
            let opened = self.write("POST", "/v1/uploads", new.clone()).await.json();
            let id = opened["id"].as_str().expect("an id").to_owned();
            if opened["state"] != "ready" {
                self.server().put_part(&id, 1, bytes.to_vec()).await;
                self.server().complete(&id).await;
            }
            loop {
                let state = self.server().upload_state(&id).await;
                match &*state {
                    "ready" => return,
                    "completed" | "ingesting" => tokio::task::yield_now().await,
                    _ => break,
                }
            }
        }
    }

    async fn publish(&self, name: &str, seed: u64) {
        let bytes = qcow2(seed);
        let url = format!("{URL}/versions/{name}");
        self.upload(&bytes).await;
        self.write("POST", &format!("{URL}/versions"), json!({"version": name})).await;
        let artifact = json!({"operating_system": "debian", "architecture": "amd64", "format": "qcow2",
            "primary_blob_digest": digest(&bytes), "primary_blob_size_bytes": bytes.len(),
            "primary_media_type": "application/x-qemu-disk"});
        self.write("POST", &format!("{url}/artifacts"), artifact).await;
        let job = loop {
            let requested = self.write("POST", &format!("{url}/publish"), json!({})).await;
            if requested.status.is_success() {
                break requested.json()["job_id"].as_str().expect("an id").to_owned();
            }
            // The blob was collected before the draft referred to it.
            assert_eq!(requested.problem(), "version-not-publishable");
            self.upload(&bytes).await;
        };
        while self.send(&self.server().writer, "GET", &format!("/v1/publish-jobs/{job}"), None).await.json()["state"]
            != "succeeded"
        {
            tokio::task::yield_now().await;
        }
        self.published.borrow_mut().insert(name.to_owned(), bytes);
    }

    /// Moves of some aliases, to versions that may be retired.
    fn moves(&self, random: &mut Random) -> Value {
        let mut moves = json!({});
        for alias in ALIASES {
            match random.below(4) {
                0 | 1 => moves[alias] = Value::Null,
                2 => moves[alias] = self.version(random).map_or(Value::Null, Value::from),
                _ => {}
            }
        }
        moves
    }

    async fn retire(&self, random: &mut Random) {
        let Some(version) = self.version(random) else { return };
        let url = format!("{URL}/versions/{version}");
        let replacement = match random.below(3) {
            0 => self.version(random),
            1 => random.of(&ALIASES).map(|alias| (*alias).to_owned()),
            _ => None,
        };
        let why = json!({"reason": format!("reason {}", random.below(3)), "replacement": replacement});
        let with = |more: Value| {
            let mut body = why.clone();
            body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            body
        };
        let (step, answer) = match random.below(8) {
            0 | 1 => ("deprecate", self.administer("POST", &format!("{url}/deprecate"), why).await),
            2 => {
                let body = with(json!({"aliases": self.moves(random)}));
                ("revoke", self.administer("POST", &format!("{url}/revoke"), body).await)
            }
            3 | 4 => {
                let body = with(json!({"aliases": self.moves(random), "drain": format!("{}h", 2 + random.below(30))}));
                ("remove", self.administer("POST", &format!("{url}/remove"), body).await)
            }
            5 => ("restore", self.administer("POST", &format!("{url}/restore"), json!({})).await),
            6 => {
                let until = self.server().clock.now().plus(HOUR * u32::try_from(1 + random.below(40)).expect("small"));
                let until = jiff::Timestamp::from_microsecond(until.micros()).expect("a time").to_string();
                ("hold", self.administer("PUT", &format!("{url}/hold"), json!({"reason": "x", "until": until})).await)
            }
            _ => ("release", self.send(&self.fixture.admin, "DELETE", &format!("{url}/hold"), None).await),
        };
        self.note(step, &answer);
    }

    async fn retain(&self, random: &mut Random) {
        let url = format!("{URL}/retention");
        let policy = json!({"keep": {"newest": 1 + random.below(12), "daily": 1 + random.below(3)},
            "min_keep": 1 + random.below(3), "action": if random.below(2) == 0 { "remove" } else { "deprecate" },
            "enabled": random.below(3) == 0});
        self.note("retention", &self.administer("PUT", &url, policy).await);
        let preview = self.send(&self.fixture.admin, "GET", &format!("{url}/preview"), None).await.json();
        let apply = json!({"revision": preview["revision"]});
        self.note("apply", &self.administer("POST", &format!("{url}/apply"), apply).await);
    }

    async fn act(&self, actor: u64, seed: u64) {
        let mut random = Random(seed * 1000 + actor + 1);
        for step in 0..STEPS {
            match random.below(10) {
                0 | 1 => self.publish(&format!("v{actor}.{step}"), random.below(DIGESTS)).await,
                2 | 3 => {
                    let Some(version) = self.version(&mut random) else { continue };
                    let alias = format!("{URL}/aliases/{}", random.of(&ALIASES).expect("one"));
                    let answer = self.write("PUT", &alias, json!({"version": version})).await;
                    self.note("alias", &answer);
                }
                4 => self.retain(&mut random).await,
                _ => self.retire(&mut random).await,
            }
        }
        self.actors.set(self.actors.get() - 1);
    }

    /// Runs what is due of each kind of work once.
    async fn work_once(&self) {
        const KINDS: [WorkKind; 6] = [
            WorkKind::Ingest,
            WorkKind::Publish,
            WorkKind::Clear,
            WorkKind::Tombstone,
            WorkKind::Retention,
            WorkKind::Collect,
        ];
        for kind in KINDS {
            self.server().services.worker(kind).run_once().await.expect("work");
        }
    }

    /// Works, and lets hours pass, until all actors have ended.
    async fn work(&self, seed: u64) {
        let mut random = Random(seed + 77);
        self.server().services.enqueue_recurring().await.expect("recurring work is enqueued");
        while self.actors.get() > 0 {
            self.work_once().await;
            if random.below(5) == 0 {
                self.fixture.advance(HOUR * u32::try_from(1 + random.below(4)).expect("small")).await;
            }
        }
    }

    /// Checks a version; returns whether it is short of a tombstone, so that its bytes are kept.
    async fn check_version(&self, name: &str, bytes: &[u8]) -> bool {
        let lifecycle = self.server().get(&format!("{URL}/versions/{name}/lifecycle")).await;
        let state = lifecycle.json()["state"].as_str().expect("a state").to_owned();
        let revision = lifecycle.header("etag").trim_matches('"').rsplit('.').next().expect("a revision").to_owned();
        let audit = format!("/v1/audit?subject=debian/{name}&limit=200");
        let audit = self.server().call(Some(&self.manager), "GET", &audit, None).await.json();
        let entries = audit["entries"].as_array().expect("entries").iter();
        let is_change = |entry: &&Value| entry["action"].as_str().is_some_and(|action| CHANGES.contains(&action));
        assert_eq!(revision, (1 + entries.filter(is_change).count()).to_string(), "{name}: {audit}");
        let file = self.server().get(&format!("/images/debian/{name}/debian-{name}-amd64.qcow2")).await;
        match (&*state, file.status) {
            ("tombstone" | "revoked" | "removed", StatusCode::GONE) => {}
            ("active" | "deprecated" | "removed", StatusCode::OK) => assert!(file.body == bytes, "{name}: wrong bytes"),
            (_, status) => panic!("{name} is {state}, but its file {status}"),
        }
        let by_digest = self.server().get(&format!("/v1/blobs/{}", digest(bytes))).await;
        assert!(by_digest.status != StatusCode::OK || by_digest.body == bytes, "{name}: wrong bytes by digest");
        state != "tombstone"
    }

    async fn check(&self) {
        let server = self.server();
        let open = self.send(&server.writer, "GET", "/v1/uploads?limit=200", None).await.json();
        for upload in open["uploads"].as_array().expect("uploads") {
            let abort = format!("/v1/uploads/{}/abort", upload["id"].as_str().expect("an id"));
            self.send(&server.writer, "POST", &abort, None).await;
        }
        self.send(&self.fixture.admin, "DELETE", &format!("{URL}/retention"), None).await;
        // What is due now is done after that.
        for _ in 0..20 {
            self.work_once().await;
        }
        let aliases = self.send(&self.fixture.admin, "GET", &format!("{URL}/aliases"), None).await.json();
        for alias in aliases["aliases"].as_array().expect("aliases") {
            let version = alias["version"].as_str().expect("a version");
            let state = server.get(&format!("{URL}/versions/{version}/lifecycle")).await.json()["state"].clone();
            assert!(state == "active" || state == "deprecated", "{alias} points to a version that is {state}");
        }
        let (mut kept, published) = (BTreeSet::new(), self.published.borrow().clone());
        for (name, bytes) in &published {
            if self.check_version(name, bytes).await {
                kept.insert(digest(bytes).trim_start_matches("sha256:").to_owned());
            }
        }
        let files = server.stored_files();
        let hex = |path: &String| path.rsplit('/').next()?.split_once('-').map(|(hex, _)| hex.to_owned());
        let stored: BTreeSet<String> = files.iter().filter_map(hex).collect();
        assert_eq!(stored, kept, "the digests of versions short of tombstones are stored, and no others");
        assert_eq!(files.len(), kept.len(), "{files:?}");
    }
}

/// Returns how often each kind of step succeeded.
async fn run(fixture: Fixture, seed: u64) -> BTreeMap<&'static str, usize> {
    let manager = fixture.server.token_with("auth-manager").await;
    let history = History {
        fixture,
        manager,
        published: RefCell::default(),
        actors: Cell::new(ACTORS),
        done: RefCell::default(),
    };
    history.write("POST", "/v1/images", json!({"name": "debian"})).await;
    let acting = join_all((0..ACTORS).map(|actor| history.act(actor, seed)));
    futures::join!(acting, history.work(seed));
    history.check().await;
    history.done.into_inner()
}

/// Whether the histories were long enough to mean something.
fn check_steps(runs: &[BTreeMap<&'static str, usize>]) {
    for step in ["alias", "deprecate", "revoke", "remove", "restore", "hold", "release", "retention", "apply"] {
        assert!(runs.iter().any(|done| done.contains_key(step)), "no {step} succeeded: {runs:?}");
    }
}

#[tokio::test]
async fn any_history_keeps_the_guarantees_on_sqlite() {
    let mut runs = Vec::new();
    for seed in 1..=3 {
        runs.push(run(Fixture::on(TestServer::start_with(restless).await, None).await, seed).await);
    }
    check_steps(&runs);
}

#[tokio::test]
async fn any_history_keeps_the_guarantees_on_postgres() {
    let mut runs = Vec::new();
    for seed in 4..=5 {
        let url = Postgres::shared().await.database().await;
        let server = TestServer::start_on_database(&url, 16, restless).await;
        Postgres::set_clock(&url, server.clock.now().micros()).await;
        runs.push(run(Fixture::on(server, Some(url.clone())).await, seed).await);
        assert_eq!(Postgres::deadlocks(&url).await, 0);
    }
    check_steps(&runs);
}
