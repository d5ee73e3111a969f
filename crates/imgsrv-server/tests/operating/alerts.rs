//! The alerts and the dashboard in `deploy/`: that they are valid, tested and described, and that their series exist.

use crate::BINARY;
use imgsrv_testkit::{Process, services::Postgres};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Series that are absent until something waits or is stored.
const ABSENT_AT_REST: [&str; 3] = [
    "imgsrv_cas_ingest_oldest_queued_age_seconds",
    "imgsrv_publish_step_oldest_queued_age_seconds",
    "imgsrv_scrub_oldest_verified_timestamp_seconds",
];
/// How long a first garbage collection may take.
const LIMIT: Duration = Duration::from_secs(30);

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(deploy().join(path)).expect("a file")
}

fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool").current_dir(deploy().join("prometheus")).args(arguments).output();
    let output = output.expect("promtool is installed (Debian: prometheus)");
    let shown = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&shown));
}

/// The values of lines such as `name: value`, in their order.
fn values<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    text.lines()
        .filter_map(|line| line.trim_start().trim_start_matches("- ").strip_prefix(name))
        .map(str::trim)
        .collect()
}

/// The names of series in expressions.
fn series(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("imgsrv_") || word.starts_with("http_server_")).map(str::to_owned).collect()
}

fn scrape(server: &Process) -> String {
    let mut response = ureq::get(&server.metrics).call().expect("a response");
    response.body_mut().read_to_string().expect("text")
}

#[test]
fn the_rules_are_valid_and_pass_their_tests() {
    promtool(&["check", "rules", "imgsrv.rules.yml"]);
    promtool(&["test", "rules", "imgsrv.rules_test.yml"]);
}

#[test]
fn every_alert_is_tested_and_has_a_section_in_the_handbook() {
    let (rules, tests) = (read("prometheus/imgsrv.rules.yml"), read("prometheus/imgsrv.rules_test.yml"));
    let alerts: BTreeSet<_> = values(&rules, "alert:").into_iter().collect();
    let tested: BTreeSet<_> = values(&tests, "alertname:").into_iter().collect();
    assert_eq!(alerts, tested);
    let page = read("../docs/src/handbook/alerts.md");
    let described: BTreeSet<_> = page.lines().filter_map(|line| line.strip_prefix("## Imgsrv")).collect();
    assert_eq!(alerts.iter().filter_map(|alert| alert.strip_prefix("Imgsrv")).collect::<BTreeSet<_>>(), described);
}

#[tokio::test]
async fn every_series_of_the_alerts_and_of_the_dashboard_exists() {
    let dashboard: Value = serde_json::from_str(&read("grafana/imgsrv.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expressions: String =
        targets.filter_map(|target| target["expr"].as_str()).map(|text| format!("{text}\n")).collect();
    let rules = read("prometheus/imgsrv.rules.yml");
    let mut wanted = series(&(rules + &expressions));
    assert!(wanted.len() > 20, "{wanted:?}");
    let (dir, url) = (TempDir::new().expect("a scratch folder"), Postgres::shared().await.database().await);
    let embedded = Process::start(BINARY, &dir.path().join("embedded"), &["--tls-self-signed"]);
    let shared = Process::start(BINARY, &dir.path().join("shared"), &["--postgres-url", &url]);
    // The first garbage collection has a series of its own.
    let started = Instant::now();
    let mut page = String::new();
    while !page.contains("imgsrv_gc_last_success_timestamp_seconds") && started.elapsed() < LIMIT {
        page = scrape(&embedded);
    }
    page += &scrape(&shared);
    let present: BTreeSet<_> = page.lines().filter_map(|line| line.split(['{', ' ']).next()).collect();
    wanted.retain(|name| !present.contains(&**name) && !ABSENT_AT_REST.contains(&&**name));
    // The histogram of requests begins with the first request.
    wanted.retain(|name| !name.starts_with("http_server_request_duration_seconds"));
    assert!(wanted.is_empty(), "there are no series {wanted:?}");
    let documented = read("../docs/src/reference/metrics.md");
    for name in ABSENT_AT_REST {
        assert!(documented.contains(&format!("`{name}`")) || name.starts_with("imgsrv_publish_step"), "{name}");
    }
}
