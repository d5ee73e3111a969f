//! Stopping behind a load balancer.

use crate::BINARY;
use imgsrv_testkit::Process;
use std::time::{Duration, Instant};
use tempfile::TempDir;

#[test]
fn during_the_shutdown_delay_requests_are_served_and_readiness_ends() {
    let dir = TempDir::new().expect("a scratch folder");
    let mut server = Process::start(BINARY, dir.path(), &["--shutdown-delay", "1h"]);
    let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).build());
    let status = |path: &str| agent.get(format!("{}{path}", server.url)).call().expect("a response").status().as_u16();
    assert_eq!(status("/readyz"), 204);
    server.signal("TERM");
    server.log_with("shutdown started");
    let started = Instant::now();
    while status("/readyz") != 503 {
        assert!(started.elapsed() < Duration::from_secs(10), "it stays ready");
    }
    assert_eq!((status("/healthz"), status("/v1/images")), (204, 200));
    // A second signal ends the delay.
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_server_that_stops_is_not_shown_as_gone() {
    let dir = TempDir::new().expect("a scratch folder");
    let nodes = |server: &Process| {
        let mut page = ureq::get(&server.metrics).call().expect("a response");
        let page = page.body_mut().read_to_string().expect("text");
        ["live", "gone"].map(|state| page.contains(&format!("imgsrv_nodes{{state=\"{state}\"}} 1")))
    };
    for _ in 0..2 {
        let mut server = Process::start(BINARY, dir.path(), &[]);
        let started = Instant::now();
        while nodes(&server) != [true, false] {
            assert!(started.elapsed() < Duration::from_secs(10), "{:?}", nodes(&server));
        }
        assert_eq!(server.terminate(), Some(0));
    }
}
