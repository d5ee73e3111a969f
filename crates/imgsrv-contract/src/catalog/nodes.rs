//! Nodes.

use super::Fresh;
use imgsrv_domain::{
    node::{Node, NodeState, SeenNode},
    work::WorkerId,
};

fn node(name: &str, run: u8) -> Node {
    Node {
        worker: WorkerId::new(format!("{name}-{run}")),
        name: name.to_owned(),
        version: "1.2.3".to_owned(),
        workers: vec!["ingest".to_owned(), "gc".to_owned()],
    }
}

async fn touch(fresh: &Fresh, node: &Node) {
    fresh.write(async |tx| tx.touch_node(node).await.unwrap()).await;
}

/// The ids of the nodes with their states, after comparing the counts of the states with those of the statistics.
async fn nodes(fresh: &Fresh) -> Vec<(String, NodeState)> {
    let (nodes, now) = fresh.catalog.list_nodes().await.unwrap();
    let listed: Vec<_> = nodes.iter().map(|seen| (seen.node.worker.to_string(), seen.state(now))).collect();
    let counted = fresh.catalog.statistics().await.unwrap().nodes;
    for state in NodeState::ALL {
        let count = listed.iter().filter(|(_, listed)| listed == state).count();
        assert_eq!(counted.get(state).copied().unwrap_or(0), u64::try_from(count).unwrap());
    }
    listed
}

pub(super) async fn a_node_is_live_then_gone_then_forgotten(fresh: Fresh) {
    let (one, other) = (node("a", 1), node("b", 1));
    touch(&fresh, &one).await;
    touch(&fresh, &other).await;
    let (seen, now) = fresh.catalog.list_nodes().await.unwrap();
    assert_eq!(seen.iter().map(|seen| seen.node.clone()).collect::<Vec<_>>(), [one.clone(), other.clone()]);
    assert!(seen[0].started_at == seen[0].seen_at && seen[0].seen_at <= now);
    (fresh.advance)(SeenNode::GONE_AFTER);
    touch(&fresh, &other).await;
    let live = ("b-1".to_owned(), NodeState::Live);
    assert_eq!(nodes(&fresh).await, [("a-1".to_owned(), NodeState::Gone), live.clone()]);
    let (seen_again, _) = fresh.catalog.list_nodes().await.unwrap();
    assert!(seen_again[1].started_at == seen[1].started_at && seen_again[1].seen_at > seen[1].seen_at);
    (fresh.advance)(SeenNode::FORGOTTEN_AFTER);
    touch(&fresh, &other).await;
    assert_eq!(nodes(&fresh).await, [live]);
    fresh.write(async |tx| tx.delete_node(&other.worker).await.unwrap()).await;
    assert_eq!(nodes(&fresh).await, []);
}

pub(super) async fn a_restart_replaces_the_earlier_run_once_that_is_gone(fresh: Fresh) {
    let (first, second) = (node("a", 1), node("a", 2));
    touch(&fresh, &first).await;
    touch(&fresh, &second).await;
    let state = |run: &str, state| (format!("a-{run}"), state);
    assert_eq!(nodes(&fresh).await, [state("1", NodeState::Live), state("2", NodeState::Live)]);
    (fresh.advance)(SeenNode::GONE_AFTER + SeenNode::INTERVAL);
    touch(&fresh, &second).await;
    assert_eq!(nodes(&fresh).await, [state("2", NodeState::Live)]);
}
