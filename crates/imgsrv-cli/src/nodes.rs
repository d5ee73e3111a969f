//! `imgsrv nodes list`.

use crate::{
    failure::Failure,
    options::Session,
    report::{Column, date},
};
use clap::Subcommand;
use futures::TryStreamExt;
use imgsrv_client::api::Node;

#[derive(Debug, Subcommand)]
pub enum NodesCommand {
    /// List the server processes that share the catalog: first those that are gone
    List,
}

pub(crate) async fn run(command: NodesCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    match command {
        NodesCommand::List => {
            let mut nodes: Vec<Node> = client.nodes().try_collect().await?;
            nodes.sort_by_key(|node| node.state == "live");
            let head = [
                Column::name("NAME"),
                Column::cut("STATE"),
                Column::cut("VERSION"),
                Column::least("STARTED"),
                Column::time("LAST SEEN"),
                Column::text("WORKERS"),
            ];
            report.list("nodes", head, nodes, |node| {
                let (started, seen) = (date(&node.started_at), date(&node.last_seen_at));
                [node.name, node.state, node.version, started, seen, node.workers.join(", ")]
            })
        }
    }
}
