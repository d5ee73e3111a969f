//! Nodes on a dedicated PostgreSQL and S3-compatible store, which can be stopped, killed and disconnected.

use imgsrv_testkit::{
    Process,
    services::{Garage, LocalPostgres, Proxy, S3, S3Server, SeaweedFs},
    writer_token,
};
use std::{sync::Mutex, time::Duration};
use tempfile::TempDir;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");
/// A short lease, so that the work of a killed node is soon reclaimed.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// Settings with which nodes recover quickly from failures.
const QUICK: [&str; 8] = [
    "--lease-term",
    "2s",
    "--cas-promotion-error-backoff",
    "200ms",
    "--cas-promotion-error-backoff-max",
    "1s",
    "--cas-promotion-circuit-breaker-failures",
    "1000",
];

/// The services, and the proxies in front of them.
pub(crate) struct Cluster {
    pub(crate) postgres: LocalPostgres,
    pub(crate) store: Box<dyn S3Server>,
    pub(crate) s3: S3,
    pub(crate) bucket: String,
    pub(crate) to_postgres: Proxy,
    pub(crate) to_s3: Proxy,
    dir: TempDir,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::with_store(|| Box::new(Garage::start())).await
    }

    /// The same with SeaweedFS.
    pub(crate) async fn with_seaweedfs() -> Self {
        Self::with_store(|| Box::new(SeaweedFs::start())).await
    }

    async fn with_store(start: fn() -> Box<dyn S3Server>) -> Self {
        let (postgres, store) = tokio::task::spawn_blocking(move || {
            let store = std::thread::spawn(start);
            (LocalPostgres::start(), store.join().expect("the store starts"))
        })
        .await
        .expect("they start");
        let s3 = S3::of(&*store);
        let bucket = s3.bucket().await;
        let (to_postgres, to_s3) = (Proxy::start(postgres.port()).await, Proxy::start(store.port()).await);
        Self { postgres, store, s3, bucket, to_postgres, to_s3, dir: TempDir::new().expect("a scratch folder") }
    }

    /// The settings of a node's catalog.
    pub(crate) fn catalog(&self) -> Vec<(String, String)> {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", self.to_postgres.port());
        vec![("IMGSRV_POSTGRES_URL".to_owned(), url)]
    }

    /// The settings of a node's blob store, reached through the port `s3`.
    pub(crate) fn blobs(&self, s3: u16) -> Vec<(String, String)> {
        let settings = [
            ("ENDPOINT", format!("127.0.0.1:{s3}")),
            ("BUCKET", self.bucket.clone()),
            ("ACCESS_KEY_ID", self.s3.access_key_id.clone()),
            ("SECRET_ACCESS_KEY", self.s3.secret_access_key.clone()),
            ("REGION", self.s3.region.clone()),
            ("PATH_STYLE", "true".to_owned()),
        ];
        settings.into_iter().map(|(name, value)| (format!("IMGSRV_S3_{name}"), value)).collect()
    }

    /// Starts node `name` with more arguments.
    pub(crate) fn node(&self, name: &str, arguments: &[&str]) -> Process {
        self.node_through(name, arguments, self.to_s3.port())
    }

    /// The same, with the blob store reached through the port `s3`.
    pub(crate) fn node_through(&self, name: &str, arguments: &[&str], s3: u16) -> Process {
        let arguments = [&QUICK[..], &["--node-name", name], arguments].concat();
        let environment = [self.catalog(), self.blobs(s3)].concat();
        Process::start_with(BINARY, &self.dir.path().join(name), &arguments, &environment)
    }

    /// A scratch folder.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.dir.path()
    }
}

/// Several nodes, each in its slot.
pub(crate) struct Nodes(Mutex<Vec<Option<Process>>>);

impl Nodes {
    pub(crate) fn new(nodes: Vec<Process>) -> Self {
        Self(Mutex::new(nodes.into_iter().map(Some).collect()))
    }

    /// The URLs of the running nodes.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").iter().flatten().map(|node| node.url.clone()).collect()
    }

    /// Takes a node out of its slot.
    pub(crate) fn take(&self, slot: usize) -> Process {
        self.0.lock().expect("not poisoned")[slot].take().expect("a node")
    }

    /// Puts a node into its slot.
    pub(crate) fn put(&self, slot: usize, node: Process) {
        self.0.lock().expect("not poisoned")[slot] = Some(node);
    }

    /// Sends a signal to the node in a slot.
    pub(crate) fn signal(&self, slot: usize, name: &str) {
        self.0.lock().expect("not poisoned")[slot].as_ref().expect("a node").signal(name);
    }
}

/// A token with `content.write`, from a node that has created a bootstrap token.
pub(crate) async fn writer(node: &Process) -> String {
    let (url, bootstrap) = (node.url.clone(), node.bootstrap.clone().expect("a bootstrap token"));
    tokio::task::spawn_blocking(move || writer_token(&url, &bootstrap)).await.expect("a token")
}

/// Waits until `condition` is true, for at most a minute.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..1200 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not within a minute: {what}");
}
