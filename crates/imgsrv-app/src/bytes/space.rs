//! The disk space that this process has promised.

use imgsrv_domain::space::SpaceLedger;
use tokio::sync::Mutex;

/// The disk space that this process has promised to bytes that are being received.
#[derive(Default)]
pub(crate) struct Space {
    pub(crate) ledger: SpaceLedger,
    /// Locked while free space is compared and promised, so that nothing is promised twice.
    pub(crate) turn: Mutex<()>,
}
