//! `imgsrv gc`.

use crate::{
    failure::Failure,
    options::Session,
    report::{date, size, state_in_words},
};
use clap::Args;
use imgsrv_client::{
    Digest,
    api::{BlobReference, GarbageCollection, StoredBlob},
};

#[derive(Debug, Args)]
pub struct GcOptions {
    /// Only show what a collection would delete
    #[arg(long)]
    dry_run: bool,
    /// Show what refers to the blob with this digest, or when it may be deleted
    #[arg(long, value_name = "DIGEST", conflicts_with = "dry_run")]
    explain: Option<Digest>,
}

pub(crate) async fn run(options: GcOptions, Session { report, client }: &Session) -> Result<(), Failure> {
    let Some(digest) = options.explain else {
        let collection = client.collect_garbage(options.dry_run).await?;
        return report.result(&describe_collection(&collection), &collection);
    };
    let digest = digest.to_string();
    let blob = client.stored_blob(&digest).await.map_err(Failure::about(format!("blob {digest}")))?;
    report.result(&describe_blob(&blob), &blob)
}

fn describe_collection(collection: &GarbageCollection) -> String {
    let GarbageCollection { dry_run, blobs, bytes, complete } = collection;
    let at_least = if *complete { "" } else { "at least " };
    let noun = if *blobs == 1 { "blob" } else { "blobs" };
    let what = format!("{at_least}{blobs} {noun} ({})", size(*bytes));
    if *dry_run { format!("a collection would delete {what}") } else { format!("collection started: deleting {what}") }
}

fn describe_blob(blob: &StoredBlob) -> String {
    let mut text =
        format!("{}\n  {}, {} since {}\n", blob.digest, size(blob.size_bytes), blob.state, date(&blob.created_at));
    for reference in &blob.references {
        text += &format!("  referenced by {}\n", describe_reference(reference));
    }
    if blob.more_references {
        text += "  and by more\n";
    }
    for reference in &blob.tombstones {
        text += &format!("  released by {}\n", describe_reference(reference));
    }
    if let Some(since) = &blob.unreferenced_since {
        text += &format!("  no version refers to it since {}\n", date(since));
    }
    if let Some(time) = &blob.collectable_at {
        text += &format!("  may be deleted after {}\n", date(time));
    }
    text
}

/// What refers to a blob, with the state that keeps or frees it.
pub(crate) fn describe_reference(reference: &BlobReference) -> String {
    let BlobReference { kind, image_name, version, version_state, lifecycle_state, available_until, upload_id } =
        reference;
    let state = lifecycle_state.as_ref().or(version_state.as_ref());
    let until = available_until.as_ref().filter(|_| lifecycle_state.as_deref() == Some("removed"));
    let until = until.map(|until| format!(", available until {}", date(until))).unwrap_or_default();
    match (image_name, version, state, upload_id) {
        (Some(image), Some(version), Some(state), _) => {
            format!("an {kind} of {image}:{version} ({}{until})", state_in_words(state))
        }
        (_, _, _, Some(upload)) => format!("upload {upload}"),
        _ => format!("an {kind} of another image"),
    }
}
