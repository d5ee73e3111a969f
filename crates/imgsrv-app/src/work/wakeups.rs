//! Waking the workers of this process when work was enqueued.

use imgsrv_domain::work::WorkKind;
use tokio::sync::Notify;

/// Wakes the workers of this process when this node or another one has enqueued work. A wake-up that arrives
/// while they poll the queue makes them poll again. One that is lost with the connection to the catalog only delays the
/// work by one polling interval.
#[derive(Debug, Default)]
pub(crate) struct Wakeups([Notify; WorkKind::ALL.len()]);

impl Wakeups {
    /// Wakes the workers of one kind.
    pub(crate) fn wake(&self, kind: WorkKind) {
        self.of(kind).notify_one();
    }

    /// Wakes the workers of every kind.
    pub(crate) fn wake_all(&self) {
        self.0.iter().for_each(Notify::notify_one);
    }

    /// Completes when workers of that kind are woken.
    pub(super) fn of(&self, kind: WorkKind) -> &Notify {
        &self.0[kind as usize]
    }
}
