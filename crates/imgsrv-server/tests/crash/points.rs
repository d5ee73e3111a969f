//! Crashes at every crash point. `IMGSRV_KILLS` is the number of crashes on each catalog, by default one at each point.

use crate::{
    publication::{Publication, Way},
    victim::{Victim, text},
};
use reqwest::Method;
use std::time::Duration;

/// Points with what they do, and the only way that reaches them, if not both do. A publish job has three steps, which are
/// recorded together if they end soon after one another.
const POINTS: [(&str, Option<Way>); 21] = [
    ("complete.committing=return", None),
    ("complete.committed=return", None),
    ("ingest.started=return", None),
    ("ingest.hashed=return", Some(Way::Upload)),
    ("ingest.placed=return", None),
    ("ingest.committing=return", None),
    ("ingest.recorded=return", None),
    ("clear.unstaged=return", None),
    ("clear.removed=return", None),
    ("freeze.committing=return", Some(Way::Upload)),
    ("freeze.committed=return", Some(Way::Upload)),
    ("publish.started=return", None),
    ("publish.computed=return", None),
    ("publish.committing=return", None),
    ("publish.recorded=return", None),
    ("publish.computed=1*off->return", None),
    ("publish.computed=2*off->return", None),
    ("publish.one_by_one=return;publish.committing=1*off->return", None),
    ("publish.one_by_one=return;publish.recorded=1*off->return", None),
    ("publish.one_by_one=return;publish.committing=2*off->return", None),
    ("publish.one_by_one=return;publish.recorded=2*off->return", None),
];

#[expect(clippy::disallowed_methods, reason = "the environment says how long a test runs")]
fn kills() -> usize {
    let kills = std::env::var("IMGSRV_KILLS").ok();
    kills.map_or(POINTS.len(), |kills| kills.parse().expect("IMGSRV_KILLS is a number"))
}

/// Publishes one version for each crash. Every other one is an intake, where that reaches the point.
async fn crash_everywhere(mut victim: Victim, first: Way) {
    for kill in 0..kills() {
        let (point, only) = POINTS[kill % POINTS.len()];
        let pass = kill / POINTS.len();
        let other = if first == Way::Upload { Way::Intake } else { Way::Upload };
        let way = only.unwrap_or(if (kill + pass).is_multiple_of(2) { first } else { other });
        let mut publication = Publication::new(way, u64::try_from(kill).expect("a small number"));
        // Work of the version before may crash it before it listens.
        if victim.restart_with(point).is_ok() {
            let _ = publication.run(&victim).await;
            victim.crashes().await;
        }
        victim.restart();
        publication.is_kept(&victim).await;
        publication.run(&victim).await.unwrap_or_else(|error| panic!("after {point}, {way:?}: {error}"));
        publication.is_published(&victim).await;
        victim.staging_is_cleared().await;
    }
    let versions = victim.get("/v1/images/debian/versions?limit=100").await;
    assert_eq!(versions["versions"].as_array().map(Vec::len), Some(kills().min(100)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_loses_nothing_on_sqlite() {
    crash_everywhere(Victim::start().await, Way::Upload).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_loses_nothing_on_postgres() {
    crash_everywhere(Victim::start_on_postgres(&[]).await, Way::Intake).await;
}

/// A job whose process dies whenever it runs is parked after two attempts; the server serves and publishes meanwhile.
async fn park(mut victim: Victim) {
    let (mut poison, mut healthy) = (Publication::new(Way::Upload, 1), Publication::new(Way::Upload, 2));
    poison.upload(&victim).await.expect("uploaded");
    healthy.upload(&victim).await.expect("uploaded");
    assert!(victim.restart_with("publish.started=return").is_ok(), "nothing is to be published yet");
    let _ = poison.request(&victim).await;
    victim.crashes().await;
    // It crashes once more, when the lease has expired.
    if victim.restart_with("publish.started=return").is_ok() {
        victim.crashes().await;
    }
    // The next process does not work on it.
    victim.restart_with("publish.started=return").expect("it lives");
    let job = match &poison.job {
        Some(job) => job.clone(),
        None => {
            poison.request(&victim).await.expect("a response");
            poison.job.clone().expect("a job")
        }
    };
    let path = format!("/v1/publish-jobs/{job}");
    let failed = loop {
        let job = victim.get(&path).await;
        if text(&job, "state") == "failed" {
            break job;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(text(&failed, "reason").contains("2 consecutive attempts crashed"), "{failed}");
    assert!(!victim.process.has_ended());

    victim.restart();
    healthy.run(&victim).await.expect("another job is published");
    healthy.is_published(&victim).await;
    assert_eq!(text(&victim.get(&path).await, "state"), "failed");
    victim.send(Method::POST, &format!("{path}/retry"), None).await.expect("a response");
    victim.reaches(&path, "succeeded").await;
    poison.is_published(&victim).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_kills_its_process_is_parked_on_sqlite() {
    park(Victim::start_on(Vec::new(), &["--work-attempts", "2"]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_kills_its_process_is_parked_on_postgres() {
    park(Victim::start_on_postgres(&["--work-attempts", "2"]).await).await;
}
