//! `imgsrv quarantined-blobs`.

use crate::{
    failure::Failure,
    options::Session,
    report::{Column, date, size},
};
use clap::Subcommand;
use futures::TryStreamExt;

#[derive(Debug, Subcommand)]
pub enum QuarantinedBlobsCommand {
    /// List the blobs whose stored content is missing or damaged
    List,
}

pub(crate) async fn run(command: QuarantinedBlobsCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    match command {
        QuarantinedBlobsCommand::List => {
            let blobs: Vec<_> = client.quarantined_blobs().try_collect().await?;
            let optional = |time: Option<String>| time.map_or_else(|| "never".to_owned(), |time| date(&time));
            let head =
                [Column::id("DIGEST"), Column::cut("SIZE"), Column::time("LAST RIGHT"), Column::time("LOOKED AT")];
            report.list("quarantined_blobs", head, blobs, |blob| {
                [blob.digest, size(blob.size_bytes), optional(blob.verified_at), optional(blob.looked_at)]
            })
        }
    }
}
