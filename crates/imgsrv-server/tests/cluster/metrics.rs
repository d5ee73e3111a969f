//! Metrics, checked as Prometheus and its linter read them.

use crate::{
    harness::{Cluster, Nodes, writer},
    publisher::{Publisher, bytes},
};
use imgsrv_testkit::Process;
use reqwest::Client;
use std::{
    collections::BTreeMap,
    io::Write,
    process::{Command, Stdio},
    sync::Arc,
};

async fn scrape(url: &str) -> String {
    let response = Client::new().get(url).send().await.expect("a response");
    let kind = response.headers().get("content-type").expect("a type").to_str().expect("text").to_owned();
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    response.text().await.expect("a body")
}

/// Series and their values.
fn series(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            (series.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

fn lint(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed (Debian: prometheus)");
    promtool.stdin.take().expect("its input").write_all(text.as_bytes()).expect("sent");
    let output = promtool.wait_with_output().expect("it ends");
    let complaints = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happened_and_pass_the_linter() {
    let cluster = Cluster::start().await;
    let node = cluster.node("only", &[]);
    let metrics = node.metrics.clone();
    let before = scrape(&metrics).await;
    lint(&before);
    let zeros = series(&before);
    for zero in [
        "imgsrv_upload_sessions{state=\"ingesting\"}",
        "imgsrv_publish_steps{state=\"failed\",step=\"validate_catalog\"}",
        "imgsrv_objectstore_operations_total{operation=\"copy_part\",outcome=\"conflict\"}",
        "imgsrv_objectstore_operation_duration_seconds_count{operation=\"copy_part\",outcome=\"error\"}",
        "imgsrv_background_job_attempts_total{job=\"publish\",outcome=\"error\"}",
        "imgsrv_background_job_circuit_open_total{job=\"sweep\"}",
    ] {
        assert_eq!(zeros.get(zero), Some(&0.0), "{zero}");
    }
    assert!(!before.contains("oldest_queued_age_seconds{"), "nothing waits");

    let token = writer(&node).await;
    let publisher = Publisher::new(Arc::new(Nodes::new(vec![node])), token);
    let content = bytes(20 << 20);
    publisher.upload(&content, 20 << 20, 1).await;
    let published = publisher.publish("measured", &content).await;
    publisher.check(&published).await;
    // Statistics of the catalog are read at most once a second.
    crate::harness::until("the catalog is read again", async || {
        series(&scrape(&metrics).await).get("imgsrv_cas_blobs") == Some(&1.0)
    })
    .await;
    let after = scrape(&metrics).await;
    lint(&after);
    let values = series(&after);
    let is = |name: &str, value: f64| assert_eq!(values.get(name), Some(&value), "{name}");
    is("imgsrv_cas_blob_bytes", 20.0 * 1024.0 * 1024.0);
    is("imgsrv_upload_sessions{state=\"ready\"}", 1.0);
    is("imgsrv_publish_jobs{state=\"succeeded\"}", 1.0);
    is("imgsrv_publish_versions_publishing", 0.0);
    is("imgsrv_objectstore_bytes_total{direction=\"write\",operation=\"put_part\"}", 20.0 * 1024.0 * 1024.0);
    is("imgsrv_objectstore_operations_total{operation=\"complete_multipart\",outcome=\"success\"}", 1.0);
    is("imgsrv_objectstore_operations_total{operation=\"copy_part\",outcome=\"success\"}", 0.0);
    assert!(values["imgsrv_postgres_pool_acquires_total"] > 10.0);
    assert!(values["imgsrv_background_job_attempts_total{job=\"cas-promotion\",outcome=\"worked\"}"] >= 1.0);
    let put = values.keys().any(|name| {
        name.starts_with("http_server_request_duration_seconds_count")
            && name.contains("http_route=\"/v1/uploads/{upload_id}/parts/{part_number}\"")
            && name.contains("http_request_method=\"PUT\"")
            && name.contains("http_response_status_code=\"200\"")
    });
    assert!(put, "{after}");
    for secret in [published.digest.as_str(), &published.job, "measured"] {
        assert!(!after.contains(secret), "{secret} is a label");
    }
}

#[tokio::test]
async fn a_server_with_an_embedded_catalog_has_metrics_as_well() {
    let dir = tempfile::TempDir::new().expect("a scratch folder");
    let node = Process::start(crate::harness::BINARY, dir.path(), &[]);
    let token = writer(&node).await;
    let metrics = node.metrics.clone();
    let publisher = Publisher::new(Arc::new(Nodes::new(vec![node])), token);
    let content = bytes(1 << 20);
    publisher.upload(&content, 1 << 20, 1).await;
    let published = publisher.publish("embedded", &content).await;
    publisher.check(&published).await;
    let text = scrape(&metrics).await;
    lint(&text);
    let values = series(&text);
    assert_eq!(values.get("imgsrv_cas_blobs"), Some(&1.0));
    let written = "imgsrv_objectstore_bytes_total{direction=\"write\",operation=\"put\"}";
    assert_eq!(values.get(written), Some(&1_048_576.0));
    assert!(!text.contains("imgsrv_postgres_pool"));
}
