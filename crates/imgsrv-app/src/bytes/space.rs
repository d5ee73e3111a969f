//! The disk space that this process has reserved.

use imgsrv_domain::space::SpaceLedger;
use tokio::sync::Mutex;

/// The disk space that this process has reserved for bytes that are being received.
#[derive(Default)]
pub(crate) struct Space {
    pub(crate) ledger: SpaceLedger,
    /// Locked while free space is compared and reserved, so that no space is reserved twice.
    pub(crate) turn: Mutex<()>,
}
