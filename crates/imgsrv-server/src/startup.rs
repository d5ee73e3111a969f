//! What a start writes, and the workers that it starts: at once, or when a full or read-only disk permits it.

use crate::{
    banner::{Users, deliver_token},
    config::ServeOptions,
    error::StartError,
    metrics::ProcessMetrics,
    storage::{Locks, OpenCatalog},
    system::{require_regular, write_file},
};
use imgsrv_app::{Schedule, Services};
use imgsrv_domain::{
    breaker::Breaker,
    error_chain,
    node::Node,
    work::{WorkKind, WorkerId},
};
use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Concurrent ingests of one process: a small one need not wait for a huge one.
const INGEST_SLOTS: usize = 4;
/// Concurrent publish jobs of one process. Most of a small one is waiting for commits, of which one sync of the disk
/// completes as many as wait for it.
const PUBLISH_SLOTS: usize = 8;
/// Ended uploads that one process clears at once.
const CLEAR_SLOTS: usize = 2;
/// Interval of storing the last use of tokens.
const USAGE_INTERVAL: Duration = Duration::from_secs(10);

/// The part of a start that needs disks that accept writes.
pub(crate) struct Startup {
    pub(crate) options: Arc<ServeOptions>,
    pub(crate) catalog: OpenCatalog,
    pub(crate) services: Services,
    pub(crate) metrics: Arc<ProcessMetrics>,
    pub(crate) locks: Arc<Mutex<Locks>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) workers_stop: CancellationToken,
    pub(crate) worker: WorkerId,
    pub(crate) stage: Stage,
    /// Whether this start gave the operator a bootstrap token.
    pub(crate) is_new: bool,
}

/// How far a start has got.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The catalog and the blob store are open.
    #[default]
    Open,
    /// The catalog accepts writes, somebody can manage authentication, and the work that recurs is due.
    Writable,
    /// The workers run.
    Working,
    /// The lock files are locked as well.
    Finished,
}

impl Startup {
    pub(crate) fn is_finished(&self) -> bool {
        self.stage == Stage::Finished
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.stage >= Stage::Writable
    }

    /// The folder of the embedded catalog.
    pub(crate) fn catalog_folder(&self) -> Option<&Path> {
        self.options.storage.postgres().is_none().then_some(&*self.options.storage.data_dir)
    }

    /// Makes the catalog accept writes, gives the operator a bootstrap token if one is needed, and makes the work that
    /// recurs due.
    pub(crate) async fn begin(&mut self) -> Result<(), StartError> {
        if self.stage < Stage::Writable {
            self.catalog.accept_writes().await?;
            self.is_new = self.bootstrap().await?;
            self.services.enqueue_recurring().await?;
            self.stage = Stage::Writable;
        }
        Ok(())
    }

    /// Does what is left. The blob store is bound to the catalog already, or the server would not serve.
    pub(crate) async fn finish(&mut self) -> Result<(), StartError> {
        self.begin().await?;
        if self.stage < Stage::Working {
            self.start_workers();
            self.stage = Stage::Working;
        }
        self.locks.lock().unwrap_or_else(PoisonError::into_inner).complete()?;
        self.stage = Stage::Finished;
        Ok(())
    }

    /// Whether somebody can log in; if that cannot be read, as if somebody could.
    pub(crate) async fn users(&self) -> Users {
        if self.is_new {
            return Users::Expected;
        }
        match self.services.bootstrap().has_users().await {
            Ok(false) => Users::Missing,
            _ => Users::Exist,
        }
    }

    /// Returns whether a token was needed.
    async fn bootstrap(&self) -> Result<bool, StartError> {
        let file = self.options.api.bootstrap_token_file.as_deref();
        file.map_or(Ok(()), require_regular).map_err(StartError::BootstrapOutput)?;
        let bootstrap = self.services.bootstrap();
        if bootstrap.is_needed().await? {
            if let Some(path) = file {
                // Checked before a token exists: one that cannot be written would be lost.
                write_file(path, "\n", 0o600).map_err(StartError::BootstrapOutput)?;
            }
            if let Some(token) = bootstrap.ensure().await? {
                deliver_token(&token, file).map_err(StartError::BootstrapOutput)?;
                return Ok(true);
            }
        }
        match file.map(std::fs::remove_file) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(StartError::BootstrapOutput(error)),
            _ => Ok(false),
        }
    }

    fn start_workers(&self) {
        let Self { options, services, metrics, tasks, workers_stop: stop, .. } = self;
        let workers = &options.workers;
        let breaker = Breaker::new(
            workers.cas_promotion_circuit_breaker_failures,
            workers.cas_promotion_circuit_breaker_cooldown,
        );
        let mut kinds = Vec::new();
        for kind in WorkKind::ALL.iter().copied() {
            let slots = match kind {
                WorkKind::Ingest if workers.cas_promotion_enabled => INGEST_SLOTS,
                WorkKind::Publish if workers.publish_enabled => PUBLISH_SLOTS,
                WorkKind::Ingest | WorkKind::Publish => continue,
                WorkKind::Clear => CLEAR_SLOTS,
                WorkKind::Sweep | WorkKind::Collect | WorkKind::Tombstone | WorkKind::Retention | WorkKind::Scrub => 1,
            };
            kinds.push(kind.to_string());
            let poll = workers.cas_promotion_poll_interval;
            let schedule = Schedule { slots, poll, backoff: workers.backoff(), breaker: breaker.clone() };
            let (worker, metrics) = (services.worker(kind), Arc::clone(metrics));
            tasks.spawn(async move { worker.run(schedule, metrics).await });
        }

        let version = env!("CARGO_PKG_VERSION").to_owned();
        let node = Node { worker: self.worker.clone(), name: workers.node_name.clone(), version, workers: kinds };
        let nodes = services.nodes();
        tasks.spawn(async move { nodes.announce(&node).await });
        let (relayed, stopping) = (services.clone(), stop.clone());
        tasks.spawn(async move { stopping.run_until_cancelled(relayed.relay_wakeups()).await });
        let (auth, retention, stop) = (services.auth(), services.retention(), stop.clone());
        tasks.spawn(async move {
            while stop.run_until_cancelled(tokio::time::sleep(USAGE_INTERVAL)).await.is_some() {
                if let Err(error) = auth.flush_usage().await {
                    tracing::warn!(error = error_chain::text(&error), "token usage could not be stored");
                }
                if let Err(error) = retention.flush_fetches().await {
                    tracing::warn!(error = error_chain::text(&error), "fetches of versions could not be stored");
                }
            }
        });
    }
}
