//! `imgsrv storage`.

use crate::{
    failure::Failure,
    options::Session,
    report::{date, size},
};
use clap::Subcommand;
use imgsrv_client::{
    Digest,
    api::{StorageStatus, StoredBlob},
};

#[derive(Debug, Subcommand)]
pub enum StorageCommand {
    /// Show how much is stored, when it was verified, and what can be deleted
    Show,
    /// Verify a stored blob now
    ///
    /// Exits with 1 if its content is missing or damaged. A quarantined blob whose content is right is served again.
    Verify {
        /// Digest of the blob, such as sha256:ab12...
        digest: Digest,
    },
}

pub(crate) async fn run(command: StorageCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    match command {
        StorageCommand::Show => {
            let status = client.storage_status().await?;
            report.prose(&describe(&status), &status)
        }
        StorageCommand::Verify { digest } => {
            let digest = digest.to_string();
            let blob = client.verify_blob(&digest).await.map_err(Failure::about(format!("blob {digest}")))?;
            report.result(&describe_blob(&blob), &blob)?;
            if blob.state == "quarantined" {
                let failure = Failure::other(format!("the stored content of blob {digest} is missing or damaged"));
                return Err(failure.with_advice("Upload the same content again: imgsrv upload, or imgsrv publish."));
            }
            Ok(())
        }
    }
}

fn describe(status: &StorageStatus) -> String {
    let StorageStatus { blobs, staged, reclaimable, free_bytes, scrub, gc } = status;
    let oldest = blobs.oldest_verified_at.as_deref().map_or_else(|| "never".to_owned(), date);
    let free = free_bytes.map_or_else(|| "unknown".to_owned(), size);
    let last_run = gc.last_run_at.as_deref().map_or_else(|| "none".to_owned(), date);
    let behind = if scrub.behind { ", which is behind the cycle" } else { "" };
    format!(
        "stored        {} in {} blobs, {} of them quarantined\n\
         uploads       {} in {} unfinished uploads\n\
         reclaimable   {} in {} blobs\n\
         free          {free}\n\
         verified      all since {oldest}{behind}; {} in the last day\n\
         gc            last run of this node: {last_run}; {} freed since its start",
        size(blobs.bytes),
        blobs.count,
        blobs.quarantined,
        size(staged.bytes),
        staged.sessions,
        size(reclaimable.bytes),
        reclaimable.blobs,
        size(scrub.bytes_last_day),
        size(gc.freed_bytes),
    )
}

fn describe_blob(blob: &StoredBlob) -> String {
    let verified = blob.verified_at.as_deref().map_or_else(|| "never".to_owned(), date);
    format!("{}: {}, {}; last found right {verified}", blob.digest, size(blob.size_bytes), blob.state)
}
