//! Serving reads while a disk is full or read-only, until it accepts writes again.

use crate::{
    disk::{seems_writable, why_unwritable},
    startup::Startup,
};
use imgsrv_domain::{error_chain, ports::Unwritable};
use imgsrv_http::Degradation;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// Interval of looking at the disks.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a disk that seems to be well is not written to.
const MAX_AGE: Duration = Duration::from_mins(1);

/// Watches the disks of a server, and finishes a start that one of them interrupted.
pub(crate) struct Monitor {
    folders: Vec<PathBuf>,
    degradation: Arc<Degradation>,
    startup: Startup,
    /// The folders that accept no writes.
    unwritable: BTreeMap<PathBuf, Unwritable>,
    probed: Option<Instant>,
    /// Why the start was not finished at the last look.
    obstacle: Option<String>,
}

impl Monitor {
    pub(crate) fn new(folders: Vec<PathBuf>, degradation: Arc<Degradation>, startup: Startup) -> Self {
        Self { folders, degradation, startup, unwritable: BTreeMap::new(), probed: None, obstacle: None }
    }

    /// Looks once a second until `stop`.
    pub(crate) async fn run(mut self, stop: &CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
            self.look().await;
        }
    }

    /// Finds which disks accept no writes, and says what has changed.
    pub(crate) async fn look(&mut self) {
        let is_probe_due = !self.unwritable.is_empty()
            || !self.startup.is_finished()
            || self.probed.is_none_or(|probed| probed.elapsed() >= MAX_AGE);
        let folders = self.folders.clone();
        let looking = tokio::task::spawn_blocking(move || {
            let found = |folder: &PathBuf| {
                let is_suspect = is_probe_due || !seems_writable(folder);
                is_suspect.then(|| why_unwritable(folder)).flatten().map(|why| (folder.clone(), why))
            };
            folders.iter().filter_map(found).collect()
        });
        let Ok(mut found) = looking.await else { return };
        if is_probe_due {
            self.probed = Some(Instant::now());
        }
        self.finish_start(&mut found).await;
        self.report(found);
    }

    /// Finishes the start, if that is still to be done and no disk prevents it.
    async fn finish_start(&mut self, found: &mut BTreeMap<PathBuf, Unwritable>) {
        let is_catalog_writable = || self.startup.catalog_folder().is_none_or(|folder| !found.contains_key(folder));
        if self.startup.is_finished() || !self.startup.is_writable() && !is_catalog_writable() {
            return;
        }
        let Err(error) = self.startup.finish().await else {
            self.obstacle = None;
            return;
        };
        // A disk may accept a small write, and not those of a start.
        let why = error.unwritable().or_else(|| self.unwritable.values().next().copied());
        if let (true, Some(why), Some(folder)) = (found.is_empty(), why, self.folders.first()) {
            found.insert(folder.clone(), why);
        }
        let obstacle = error_chain::text(&error);
        if self.obstacle.as_ref() != Some(&obstacle) {
            tracing::warn!(error = obstacle, "a write during startup failed; it will be retried");
            self.obstacle = Some(obstacle);
        }
    }

    fn report(&mut self, found: BTreeMap<PathBuf, Unwritable>) {
        for (folder, why) in &found {
            if self.unwritable.get(folder) != Some(why) {
                let (path, reason) = (folder.display(), why.as_str());
                tracing::warn!(%path, reason, "storage accepts no writes, because {why}; serving reads");
            }
        }
        for (folder, why) in &self.unwritable {
            if !found.contains_key(folder) {
                tracing::info!(path = %folder.display(), reason = why.as_str(), "storage accepts writes again");
            }
        }
        self.degradation.set(found.values().copied().collect());
        self.unwritable = found;
    }
}
