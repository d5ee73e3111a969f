//! The status page.

use crate::{
    chrome::{Frame, Section, Viewer},
    text::{When, count, size},
};
use askama::Template;
use imgsrv_app::StorageStatus;
use imgsrv_domain::{
    digest::ByteSize,
    node::{NodeState, SeenNode},
    time::Timestamp,
};
use std::collections::BTreeMap;

/// What works.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// Why images cannot be read; empty if they can.
    pub unreadable: Vec<String>,
    /// Why nothing can be published although images can be read; empty if it can.
    pub unwritable: Vec<String>,
}

/// What operators see beside.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The nodes, and the time on the catalog's clock.
    pub nodes: (Vec<SeenNode>, Timestamp),
    /// The state of the storage.
    pub storage: StorageStatus,
}

#[derive(Template)]
#[template(path = "status.html")]
struct Page<'a> {
    frame: Frame<'a>,
    summary: &'static str,
    rows: [Row<'a>; 2],
    operation: Option<OperationView<'a>>,
}

struct Row<'a> {
    what: &'static str,
    works: bool,
    details: &'a [String],
}

struct OperationView<'a> {
    nodes: Vec<NodeRow<'a>>,
    groups: [Group; 4],
}

struct NodeRow<'a> {
    name: &'a str,
    version: &'a str,
    workers: String,
    is_live: bool,
    started: When,
    seen: When,
}

/// Facts under a heading.
struct Group {
    title: &'static str,
    facts: Vec<(&'static str, String)>,
}

/// The page that shows what works, and to operators what the server does.
pub fn status(viewer: &Viewer<'_>, health: &Health, operation: Option<&Operation>) -> askama::Result<String> {
    let Health { unreadable, unwritable } = health;
    let (reads, writes) = (unreadable.is_empty(), unreadable.is_empty() && unwritable.is_empty());
    Page {
        frame: viewer.frame(Section::Status, "Status"),
        summary: match (reads, writes) {
            (true, true) => "Everything works.",
            (true, false) => "Images can be downloaded, but nothing can be published at present.",
            (false, _) => "Images cannot be downloaded at present.",
        },
        rows: [
            Row { what: "Downloads", works: reads, details: unreadable },
            Row { what: "Publishing", works: writes, details: if reads { unwritable } else { unreadable } },
        ],
        operation: operation.map(|operation| view(viewer, operation)),
    }
    .render()
}

fn view<'a>(viewer: &Viewer<'_>, operation: &'a Operation) -> OperationView<'a> {
    let (nodes, now) = &operation.nodes;
    let node = |seen: &'a SeenNode| NodeRow {
        name: &seen.node.name,
        version: &seen.node.version,
        workers: seen.node.workers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        is_live: seen.state(*now) == NodeState::Live,
        started: viewer.when(seen.started_at),
        seen: viewer.when(seen.seen_at),
    };
    OperationView { nodes: nodes.iter().map(node).collect(), groups: groups(viewer, &operation.storage) }
}

fn groups(viewer: &Viewer<'_>, status: &StorageStatus) -> [Group; 4] {
    let (statistics, verified) = (&status.statistics, &status.verification);
    let when =
        |time: Option<Timestamp>, never: &str| time.map_or_else(|| never.to_owned(), |time| viewer.when(time).full);
    let amount = |blobs: u64, bytes: u64| format!("{}, {}", count(blobs, "blob"), bytes_of(bytes));
    [
        Group {
            title: "Work",
            facts: vec![
                ("Versions", listed(&statistics.versions)),
                ("Publish jobs", listed(&statistics.jobs)),
                ("Uploads", listed(&statistics.uploads)),
                ("Parked", listed(&statistics.parked)),
            ],
        },
        Group {
            title: "Storage",
            facts: vec![
                ("Content", amount(statistics.blobs, statistics.blob_bytes)),
                ("Uploading", bytes_of(status.staged_bytes)),
                ("Free", status.free_bytes.map_or_else(|| "unknown".to_owned(), bytes_of)),
            ],
        },
        Group {
            title: "Verification",
            facts: vec![
                ("Quarantined", amount(verified.quarantined, verified.quarantined_bytes)),
                ("Last day", bytes_of(verified.verified_bytes)),
                ("Oldest", when(verified.oldest_verified_at, "nothing is stored")),
                ("Schedule", if status.is_behind { "behind" } else { "kept" }.to_owned()),
            ],
        },
        Group {
            title: "Garbage collection",
            facts: vec![
                ("Next", amount(status.reclaimable.blobs, status.reclaimable.bytes)),
                ("Last run", when(status.collections.last_success, "not since this node started")),
                ("Freed", bytes_of(status.collections.freed_bytes)),
            ],
        },
    ]
}

fn bytes_of(bytes: u64) -> String {
    ByteSize::try_from(bytes).map_or_else(|_| "more than 8 EiB".to_owned(), size)
}

/// `3 published, 1 draft`; states without any are left out.
fn listed(counts: &BTreeMap<String, u64>) -> String {
    let present = counts.iter().filter(|(_, count)| **count > 0);
    let listed: Vec<_> = present.map(|(state, count)| format!("{count} {state}")).collect();
    if listed.is_empty() { "none".to_owned() } else { listed.join(", ") }
}
