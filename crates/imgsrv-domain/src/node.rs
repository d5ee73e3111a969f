//! Nodes: the server processes that share a catalog.

use crate::{names::string_enum, time::Timestamp, work::WorkerId};
use std::time::Duration;

/// One run of a server process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Identifies the run; the leases of its workers have the same owner.
    pub worker: WorkerId,
    /// The configured name of the node, which the next run has as well.
    pub name: String,
    /// The version of the program.
    pub version: String,
    /// The kinds of background work that it runs. A newer program may have kinds that this one does not know.
    pub workers: Vec<String>,
}

/// A node as the catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenNode {
    /// The node.
    pub node: Node,
    /// When it started to run workers.
    pub started_at: Timestamp,
    /// When it last recorded that it runs.
    pub seen_at: Timestamp,
}

string_enum! {
    /// Whether a node runs.
    NodeState: "live or gone" {
        /// It has recorded recently that it runs.
        Live = "live",
        /// It has ended without removing its record, or it cannot reach the catalog.
        Gone = "gone",
    }
}

impl SeenNode {
    /// Interval at which a node records that it runs.
    pub const INTERVAL: Duration = Duration::from_secs(15);
    /// Time without a record after which a node counts as gone.
    pub const GONE_AFTER: Duration = Duration::from_mins(1);
    /// Time without a record after which a node is forgotten.
    pub const FORGOTTEN_AFTER: Duration = Duration::from_hours(24);

    /// Whether it runs, as far as is known at `now`.
    pub fn state(&self, now: Timestamp) -> NodeState {
        if now.since(self.seen_at) < Self::GONE_AFTER { NodeState::Live } else { NodeState::Gone }
    }
}
