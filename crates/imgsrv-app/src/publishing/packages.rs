//! Reading which packages an image has from its attachments.

use crate::{bytes::reader::BlobReader, context::Context, publishing::error::StepError};
use imgsrv_domain::{manifest::Attachment, packages::PackageList, ports::TrustedBlob};
use std::sync::Arc;

/// What the names of attachments that list packages have in them.
const NAMES: [&str; 9] = ["sbom", "spdx", "cdx", "cyclonedx", "packages", "manifest", "dpkg", "rpm", "apk"];
const MEDIA_TYPES: [&str; 2] = ["application/spdx+json", "application/vnd.cyclonedx+json"];

/// Whether the name or the media type of an attachment says that it may list packages.
pub(super) fn may_list(attachment: &Attachment) -> bool {
    let name = attachment.name.as_str().to_ascii_lowercase();
    let media_type = attachment.media_type.as_str().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    NAMES.iter().any(|part| name.contains(part)) || MEDIA_TYPES.contains(&&*media_type)
}

/// The packages that a file lists; absent if it is not such a list, or too large to be shown.
pub(super) async fn read(context: &Arc<Context>, blob: &TrustedBlob) -> Result<Option<PackageList>, StepError> {
    let packages = imgsrv_inspect::read_packages(&BlobReader { context, blob }).await;
    Ok(packages.map_err(|error| StepError::reading(blob, error))?.and_then(PackageList::new))
}
