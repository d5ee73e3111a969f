//! `imgsrv versions revoke --digest`.

use super::{Confirmation, describe_state};
use crate::{
    failure::Failure,
    options::Session,
    report::{Column, Report, date},
};
use futures::TryStreamExt;
use imgsrv_client::{
    Client, Digest,
    api::{RevokeVersion, VersionOfImage},
};

/// Revokes every published version that has a digest, or only lists them with `dry_run`.
pub(super) async fn revoke(
    digest: &Digest,
    words: &RevokeVersion,
    dry_run: bool,
    confirmation: &Confirmation,
    Session { report, client }: &Session,
) -> Result<(), Failure> {
    let holders = client.versions_of_blob(&digest.to_string()).try_collect().await;
    let holders: Vec<VersionOfImage> = holders.map_err(Failure::about(format!("blob {digest}")))?;
    if holders.is_empty() {
        return Err(Failure::not_found(format!("no published version has the digest {digest}"))
            .with_advice("imgsrv versions show IMAGE VERSION shows the digests of a version."));
    }
    if dry_run {
        return list(report, holders);
    }
    let names: Vec<String> = holders.iter().map(name).collect();
    confirmation.require(&format!("{} will be revoked: their files are no longer served.", names.join(", ")))?;
    let (mut revoked, mut failed) = (Vec::new(), Vec::new());
    for holder in holders {
        let name = name(&holder);
        match revoke_one(client, holder, words).await {
            Ok(holder) => revoked.push(holder),
            Err(failure) => failed.push(format!("{name}: {}", failure.message())),
        }
    }
    for failure in &failed {
        report.note(failure);
    }
    list(report, revoked)?;
    match failed.len() {
        0 => Ok(()),
        count => Err(Failure::refused(format!("{count} of {} versions could not be revoked", names.len()))
            .with_advice(
                "Move aliases with imgsrv aliases set, end holds with imgsrv versions release, and run the same command again.",
            )),
    }
}

async fn revoke_one(client: &Client, holder: VersionOfImage, words: &RevokeVersion) -> Result<VersionOfImage, Failure> {
    let VersionOfImage { image_name, version } = &holder;
    let revoked = client.revoke_version(image_name, &version.version, words).await;
    let version = revoked.map_err(Failure::about(name(&holder)))?;
    Ok(VersionOfImage { version, ..holder })
}

fn name(holder: &VersionOfImage) -> String {
    format!("{}:{}", holder.image_name, holder.version.version)
}

fn list(report: &Report, holders: Vec<VersionOfImage>) -> Result<(), Failure> {
    let head = [Column::name("IMAGE"), Column::name("VERSION"), Column::text("STATE"), Column::day("PUBLISHED")];
    report.list("versions", head, holders, |holder| {
        let published = holder.version.published_at.as_deref().map(date).unwrap_or_default();
        let state = describe_state(&holder.version);
        [holder.image_name, holder.version.version, state, published]
    })
}
