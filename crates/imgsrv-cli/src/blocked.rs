//! `imgsrv blocked-digests`.

use crate::{
    failure::Failure,
    options::Session,
    report::{Column, date},
};
use clap::Subcommand;
use futures::TryStreamExt;
use imgsrv_client::{Digest, api::BlockedDigest};
use serde_json::json;

#[derive(Debug, Subcommand)]
pub enum BlockedDigestsCommand {
    /// List the digests whose content was purged
    List,
    /// Unblock a digest in every image, so that its content can be uploaded and published again
    #[command(alias = "rm")]
    Delete {
        /// Digest, such as sha256:9f86d081...
        digest: Digest,
    },
}

pub(crate) async fn run(command: BlockedDigestsCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    match command {
        BlockedDigestsCommand::List => {
            let blocked: Vec<BlockedDigest> = client.blocked_digests().try_collect().await?;
            let head = [
                Column::id("DIGEST"),
                Column::name("PURGED WITH"),
                Column::name("BLOCKED IN"),
                Column::day("AT"),
                Column::text("REASON"),
            ];
            report.list("blocked_digests", head, blocked, |block| {
                let version = format!("{}:{}", block.image_name, block.version);
                let scope = if block.everywhere { "every image".to_owned() } else { block.image_name };
                [block.digest, version, scope, date(&block.blocked_at), block.reason]
            })
        }
        BlockedDigestsCommand::Delete { digest } => {
            let digest = digest.to_string();
            client.unblock_digest(&digest).await.map_err(Failure::about(&digest))?;
            report.result(&format!("unblocked {digest}"), &json!({"digest": digest, "unblocked": true}))
        }
    }
}
