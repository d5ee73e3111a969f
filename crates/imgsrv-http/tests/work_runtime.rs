//! Bursts of work, and workers that freeze. Crash points are those of the whole process, so no other tests run in this one.

use fail::FailScenario;
use futures::future::join_all;
use imgsrv_app::{Backoff, Ran, Schedule, WorkError, WorkObserver};
use imgsrv_domain::{
    audit::{AuditAction, AuditFilter},
    breaker::Breaker,
    digest::BlobClaim,
    ids::UploadId,
    page::PageRequest,
    ports::{Ids, View},
    time::Timestamp,
    work::{WorkKind, WorkName},
};
use imgsrv_testkit::{TestIds, TestServer, qcow2, services::Postgres};
use serde_json::json;
use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

const SLOTS: usize = 8;
const ITEMS: usize = 3 * SLOTS;
/// Far more than anything here takes, and far less than the interval at which workers look at the queue unasked.
const DEADLINE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_hours(1);
const LEASE: Duration = Duration::from_secs(30);
/// The lease where the test does not control the clock.
const SHORT_LEASE: Duration = Duration::from_millis(300);

/// Counts the polls of the queue that found nothing, and the attempts that succeeded.
#[derive(Default)]
struct Looks {
    idle: AtomicUsize,
    worked: AtomicUsize,
}

impl WorkObserver for Looks {
    fn ran(&self, _: WorkKind, ran: Ran, _: Timestamp) {
        let counter = if ran == Ran::Idle { &self.idle } else { &self.worked };
        counter.fetch_add(1, Ordering::SeqCst);
    }

    fn failed(&self, kind: WorkKind, _: u32, _: bool, _: Timestamp) {
        panic!("{kind} failed");
    }
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < DEADLINE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How many attempts wait at a crash point until every slot is taken, and at most so far.
#[derive(Default)]
struct Meeting(Mutex<(usize, usize)>, Condvar);

impl Meeting {
    /// Without keeping the runtime from running other tasks.
    fn join(&self) {
        tokio::task::block_in_place(|| self.wait());
    }

    fn wait(&self) {
        let mut present = self.0.lock().expect("not poisoned");
        present.0 += 1;
        present.1 = present.1.max(present.0);
        self.1.notify_all();
        let waited = self.1.wait_timeout_while(present, DEADLINE / 2, |present| present.1 < SLOTS);
        waited.expect("not poisoned").0.0 -= 1;
    }

    fn most(&self) -> usize {
        self.0.lock().expect("not poisoned").1
    }
}

/// Lets workers go idle, then runs `burst`, and waits until all slots were taken at once and everything is done.
async fn burst(server: &TestServer, kind: WorkKind, point: &str, idle: usize, burst: impl Future<Output = ()>) {
    let (meeting, looks) = (Arc::new(Meeting::default()), Arc::new(Looks::default()));
    let met = Arc::clone(&meeting);
    fail::cfg_callback(point, move || met.join()).expect("configured");
    let backoff = Backoff::new(Duration::from_secs(5), Duration::from_mins(1));
    let schedule = Schedule { slots: SLOTS, poll: POLL, backoff, breaker: Breaker::new(10, POLL) };
    let (worker, observer) = (server.services.worker(kind), Arc::clone(&looks));
    let running = tokio::spawn(async move { worker.run(schedule, observer).await });
    until("workers are idle", async || looks.idle.load(Ordering::SeqCst) >= idle).await;
    burst.await;
    until("all is done", async || looks.worked.load(Ordering::SeqCst) == ITEMS).await;
    assert_eq!(meeting.most(), SLOTS, "every slot is taken at once");
    server.stop.cancel();
    running.await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_burst_takes_every_slot_at_once_on_sqlite() {
    let scenario = FailScenario::setup();
    let server = TestServer::start().await;
    let mut uploads = Vec::new();
    for number in 0..ITEMS {
        let bytes = qcow2(u64::try_from(number).expect("a small number"));
        let upload = server.open_upload(&bytes).await;
        server.put_part(&upload, 1, bytes).await;
        uploads.push(upload);
    }
    burst(&server, WorkKind::Ingest, "ingest.started", 1, async {
        join_all(uploads.iter().map(|upload| server.complete(upload))).await;
    })
    .await;
    let catalog = &server.services.adapters().catalog;
    for (number, upload) in (0..).zip(&uploads) {
        assert_eq!(server.upload_state(upload).await, "ready");
        let digest = BlobClaim::of(&qcow2(number)).digest;
        let blob = catalog.get_blob(&digest, View::All).await.expect("a catalog").expect("a blob");
        let checksums = catalog.get_block_checksums(&blob.name, 0).await.expect("a catalog");
        assert!(checksums.is_some(), "what was hashed when it was received is verified from the start");
    }
    scenario.teardown();
}

/// Another node enqueues the work: only the notifications of the database wake the workers.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_burst_takes_every_slot_at_once_on_postgres() {
    let scenario = FailScenario::setup();
    let server = TestServer::start_on_postgres().await;
    let services = server.services.clone();
    let relaying = tokio::spawn(async move { services.relay_wakeups().await });
    // The second look follows when notifications can be received.
    burst(&server, WorkKind::Clear, "clear.removed", 2, async {
        let catalog = &server.services.adapters().catalog;
        let enqueue = |_| async move {
            let mut tx = catalog.begin().await.expect("a transaction");
            tx.enqueue_work(WorkName::clear(UploadId::new(TestIds.next()))).await.expect("enqueued");
            tx.commit().await.expect("committed");
        };
        join_all((0..ITEMS).map(enqueue)).await;
    })
    .await;
    relaying.abort();
    scenario.teardown();
}

/// The caller of a request goes away at any moment; if the upload is completed by then, workers are woken all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wake_up_follows_its_commit_when_the_caller_is_gone() {
    let scenario = FailScenario::setup();
    let (server, looks) = (TestServer::start().await, Arc::new(Looks::default()));
    let backoff = Backoff::new(Duration::from_secs(5), Duration::from_mins(1));
    let schedule = Schedule { slots: 1, poll: POLL, backoff, breaker: Breaker::new(10, POLL) };
    let (worker, observer) = (server.services.worker(WorkKind::Ingest), Arc::clone(&looks));
    let running = tokio::spawn(async move { worker.run(schedule, observer).await });
    let mut completed = 0;
    for moment in 0..60 {
        let bytes = qcow2(moment);
        let upload = server.open_upload(&bytes).await;
        server.put_part(&upload, 1, bytes).await;
        // The completion itself, without the listing before it.
        let part = server.write("GET", &format!("/v1/uploads/{upload}/parts"), None).await.json()["parts"][0].clone();
        let body = json!({"parts": [{"number": 1, "etag": part["etag"], "size_bytes": part["size_bytes"]}]});
        let path = format!("/v1/uploads/{upload}/complete");
        let completing = server.write("POST", &path, Some(body));
        drop(tokio::time::timeout(Duration::from_micros(moment * 100), completing).await);
        if server.upload_state(&upload).await == "uploading" {
            continue;
        }
        completed += 1;
        until("it is ingested", async || server.upload_state(&upload).await == "ready").await;
    }
    assert!(completed > 0);
    server.stop.cancel();
    running.await.expect("it stops");
    scenario.teardown();
}

/// Creating metadata stores it as an upload of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn metadata_whose_request_is_gone_is_stored_at_once() {
    let scenario = FailScenario::setup();
    let (server, looks) = (TestServer::start().await, Arc::new(Looks::default()));
    let artifact = server.draft("debian", "1", &qcow2(1)).await;
    let path = format!("/v1/images/debian/versions/1/artifacts/{artifact}/incus-metadata");
    let backoff = Backoff::new(Duration::from_secs(5), Duration::from_mins(1));
    let schedule = Schedule { slots: 1, poll: POLL, backoff, breaker: Breaker::new(10, POLL) };
    let (worker, observer) = (server.services.worker(WorkKind::Ingest), Arc::clone(&looks));
    let running = tokio::spawn(async move { worker.run(schedule, observer).await });
    for moment in 0.. {
        let creating = server.write("POST", &path, Some(json!({"description": format!("moment {moment}")})));
        if tokio::time::timeout(Duration::from_micros(moment * 50), creating).await.is_ok() {
            break;
        }
        until("no upload waits for parts or for its ingest", async || {
            let uploads = server.services.adapters().catalog.statistics().await.expect("statistics").uploads;
            ["created", "uploading", "completed", "ingesting"]
                .iter()
                .all(|state| uploads.get(*state).is_none_or(|count| *count == 0))
        })
        .await;
    }
    server.stop.cancel();
    running.await.expect("it stops");
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_item_that_no_slot_takes_soon_is_left_to_others() {
    let scenario = FailScenario::setup();
    let server = TestServer::start().await;
    for version in ["1", "2"] {
        server.draft("debian", version, &qcow2(1)).await;
    }
    let freezer = Freezer::at("publish.started");
    let looks = Arc::new(Looks::default());
    let backoff = Backoff::new(Duration::from_secs(5), Duration::from_mins(1));
    let schedule = Schedule { slots: 1, poll: POLL, backoff, breaker: Breaker::new(10, POLL) };
    let (worker, observer) = (server.services.worker(WorkKind::Publish), Arc::clone(&looks));
    let running = tokio::spawn(async move { worker.run(schedule, observer).await });
    until("the worker is idle", async || looks.idle.load(Ordering::SeqCst) >= 1).await;
    let mut jobs = Vec::new();
    for version in ["1", "2"] {
        let requested = server.write("POST", &format!("/v1/images/debian/versions/{version}/publish"), None).await;
        jobs.push(format!("/v1/publish-jobs/{}", requested.json()["job_id"].as_str().expect("a job")));
    }
    let job = async |job: &str| {
        let job = server.write("GET", job, None).await.json();
        (job["state"].as_str().expect("a state").to_owned(), job["attempt_count"].clone())
    };
    assert_eq!(job(&jobs[1]).await, ("running".to_owned(), json!(1)), "it waits in the process that queued it");
    until("it is released", async || job(&jobs[1]).await == ("queued".to_owned(), json!(0))).await;
    freezer.thaw.send(()).expect("it waits");
    for path in &jobs {
        until("both are published", async || job(path).await == ("succeeded".to_owned(), json!(1))).await;
    }
    server.stop.cancel();
    running.await.expect("it stops");
    scenario.teardown();
}

#[tokio::test]
async fn metadata_that_cannot_be_stored_leaves_no_open_upload() {
    let scenario = FailScenario::setup();
    let server = TestServer::start().await;
    let artifact = server.draft("debian", "1", &qcow2(1)).await;
    server.blobs.break_staging(true);
    let path = format!("/v1/images/debian/versions/1/artifacts/{artifact}/incus-metadata");
    let refused = server.write("POST", &path, Some(json!({}))).await;
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (503, "unavailable"));
    assert_eq!(server.write("GET", "/v1/uploads", None).await.json()["uploads"], json!([]));
    scenario.teardown();
}

/// However an upload ends, the workers that clear it are woken.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clearing_follows_every_end_of_an_upload_at_once() {
    let scenario = FailScenario::setup();
    let server = TestServer::start_with(|settings| settings.work_attempts = 1).await;
    let looks = Arc::new(Looks::default());
    let backoff = Backoff::new(Duration::from_secs(5), Duration::from_mins(1));
    let schedule = Schedule { slots: 1, poll: POLL, backoff, breaker: Breaker::new(10, POLL) };
    let (worker, observer) = (server.services.worker(WorkKind::Clear), Arc::clone(&looks));
    let running = tokio::spawn(async move { worker.run(schedule, observer).await });
    let cleared = async |what: &str, count: usize| {
        until(what, async || looks.worked.load(Ordering::SeqCst) == count).await;
    };
    let completed = async |bytes: &'static [u8]| {
        let upload = server.open_upload(bytes).await;
        server.put_part(&upload, 1, bytes).await;
        server.complete(&upload).await;
        upload
    };
    let ingest = server.services.worker(WorkKind::Ingest);

    let aborted = server.open_upload(b"aborted").await;
    server.write("POST", &format!("/v1/uploads/{aborted}/abort"), None).await;
    cleared("an aborted one is cleared", 1).await;

    completed(b"ready").await;
    ingest.run_once().await.expect("ingested");
    cleared("a ready one is cleared", 2).await;

    let crashed = completed(b"crashed").await;
    fail::cfg("ingest.started", "panic").expect("configured");
    ingest.run_once().await.expect_err("it crashes");
    server.clock.advance(Duration::from_mins(2));
    assert_eq!(ingest.run_once().await.expect("it fails"), Ran::Worked);
    assert_eq!(server.upload_state(&crashed).await, "failed");
    cleared("a failed one is cleared", 3).await;

    server.open_upload(b"expired").await;
    server.clock.advance(Duration::from_hours(25));
    server.services.enqueue_recurring().await.expect("enqueued");
    server.services.worker(WorkKind::Sweep).run_once().await.expect("swept");
    cleared("an expired one is cleared", 4).await;

    server.stop.cancel();
    running.await.expect("it stops");
    scenario.teardown();
}

/// Freezes the first attempt at `point`.
struct Freezer {
    frozen: mpsc::Receiver<()>,
    thaw: mpsc::Sender<()>,
}

impl Freezer {
    fn at(point: &str) -> Self {
        let (entered, frozen) = mpsc::channel();
        let (thaw, thawed) = mpsc::channel();
        let (is_first, thawed) = (AtomicBool::new(true), Mutex::new(thawed));
        let freeze = move || {
            if is_first.swap(false, Ordering::SeqCst) {
                entered.send(()).expect("the test waits");
                // Without keeping the runtime from running other tasks.
                let _ = tokio::task::block_in_place(|| thawed.lock().expect("not poisoned").recv_timeout(DEADLINE));
            }
        };
        fail::cfg_callback(point, freeze).expect("configured");
        Self { frozen, thaw }
    }
}

/// Works on an item with a worker that freezes at `point` until its lease has expired and another one has done the work.
async fn freeze(server: &TestServer, kind: WorkKind, point: &str) {
    let freezer = Freezer::at(point);
    let worker = server.services.worker(kind);
    let frozen: tokio::task::JoinHandle<Result<Ran, WorkError>> = tokio::spawn(async move { worker.run_once().await });
    freezer.frozen.recv_timeout(DEADLINE).expect("it freezes");
    server.clock.advance(LEASE + Duration::from_secs(1));
    let other = server.services.worker(kind);
    until("the lease expires", async || other.run_once().await.expect("it works") == Ran::Worked).await;
    freezer.thaw.send(()).expect("it waits");
    assert_eq!(frozen.await.expect("it ends").expect("it stops"), Ran::Worked);
    fail::remove(point);
}

async fn audited(server: &TestServer, action: AuditAction) -> usize {
    let filter = AuditFilter { action: Some(action), ..AuditFilter::default() };
    let rows = server.services.adapters().catalog.list_audit(&filter, &PageRequest::FIRST).await.expect("rows");
    rows.items.len()
}

/// Both workers run to completion, but only the result of the second one counts.
async fn the_result_of_a_frozen_worker_is_void(server: TestServer) {
    let bytes = qcow2(1);
    let upload = server.open_upload(&bytes).await;
    server.put_part(&upload, 1, bytes.clone()).await;
    server.complete(&upload).await;
    freeze(&server, WorkKind::Ingest, "ingest.placed").await;
    assert_eq!(server.upload_state(&upload).await, "ready");
    assert_eq!((audited(&server, AuditAction::BlobTrusted).await, server.stored_files().len()), (1, 2));
    server.settle().await;
    assert_eq!(server.stored_files().len(), 1, "{:?}", server.stored_files());

    for (version, point) in [("1", "publish.computed"), ("2", "publish.started")] {
        let artifact = server.draft("debian", version, &bytes).await;
        server.write("POST", &format!("/v1/images/debian/versions/{version}/publish"), None).await;
        freeze(&server, WorkKind::Publish, point).await;
        let path = format!("/v1/images/debian/versions/{version}/artifacts/{artifact}/download");
        assert_eq!(server.get(&path).await.body, bytes);
    }
    assert_eq!(audited(&server, AuditAction::VersionPublished).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_result_of_a_frozen_worker_is_void_on_sqlite() {
    let scenario = FailScenario::setup();
    the_result_of_a_frozen_worker_is_void(TestServer::start().await).await;
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_result_of_a_frozen_worker_is_void_on_postgres() {
    let scenario = FailScenario::setup();
    let url = Postgres::shared().await.database().await;
    let server = TestServer::start_on_database(&url, 8, |settings| settings.lease_term = SHORT_LEASE).await;
    the_result_of_a_frozen_worker_is_void(server).await;
    scenario.teardown();
}
