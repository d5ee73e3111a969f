//! How summaries of images and versions are read from rows.

use crate::core::{Corrupt, Listed, Record, Row};
use imgsrv_domain::{
    browse::{ContentSummary, CurrentVersion, FeedEntry, ImageSummary, ListedArtifact, VersionSummary},
    digest::Digest,
    ids::VersionId,
    names::{Format, VersionName},
    packages::PackageList,
    time::Timestamp,
};
use std::str::FromStr;
use uuid::Uuid;

/// The values of a column that has several, separated by blanks.
fn words<T: FromStr>(row: &Row<'_>, column: &str) -> Result<Vec<T>, Corrupt> {
    let text: Option<String> = row.optional(column)?;
    let words = text.as_deref().unwrap_or_default().split_ascii_whitespace();
    words.map(|word| word.parse().map_err(|_| row.corrupt(format_args!("{column} is not valid")))).collect()
}

impl Record for ContentSummary {
    const WHAT: &'static str = "summary of a version";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let mut formats: Vec<Format> = words(row, "formats")?;
        formats.sort_by_key(|format| format.as_str());
        Ok(Self {
            architectures: words(row, "architectures")?,
            operating_systems: words(row, "operating_systems")?,
            formats,
            artifacts: row.get("artifacts")?,
            total_size: row.get("total_bytes")?,
        })
    }
}

/// The packages that a file lists.
pub(crate) struct FilePackages {
    pub(crate) digest: Digest,
    pub(crate) packages: PackageList,
}

impl Record for FilePackages {
    const WHAT: &'static str = "list of packages";
    const ID: &'static str = "digest";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self { digest: row.get("digest")?, packages: row.get("packages")? })
    }
}

impl Record for ImageSummary {
    const WHAT: &'static str = "image";
    const ID: &'static str = "image_id";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let current = match row.optional("current_name")? {
            Some(name) => Some(CurrentVersion {
                name,
                published_at: row.get("current_published_at")?,
                state: row.get("current_state")?,
                content: row.record()?,
            }),
            None => None,
        };
        Ok(Self { image: row.record()?, current })
    }
}

impl Listed for ImageSummary {
    type Key = String;

    fn key(row: &Row<'_>) -> Result<String, Corrupt> {
        row.get("image_name")
    }
}

/// An image in the order of its newest versions.
pub(crate) struct Newest(pub(crate) ImageSummary);

impl Record for Newest {
    const WHAT: &'static str = ImageSummary::WHAT;
    const ID: &'static str = ImageSummary::ID;

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        row.record().map(Self)
    }
}

impl Listed for Newest {
    type Key = (i64, Uuid);

    fn key(row: &Row<'_>) -> Result<(i64, Uuid), Corrupt> {
        let newest_at: Timestamp = row.get("newest_at")?;
        Ok((newest_at.micros(), row.get("newest_id")?))
    }
}

impl Record for VersionSummary {
    const WHAT: &'static str = "version";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self { version: row.record()?, content: row.record()? })
    }
}

impl Listed for VersionSummary {
    type Key = (i64, Uuid);

    fn key(row: &Row<'_>) -> Result<(i64, Uuid), Corrupt> {
        let published_at: Timestamp = row.get("published_at")?;
        Ok((published_at.micros(), row.get("id")?))
    }
}

impl Record for FeedEntry {
    const WHAT: &'static str = "version";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self { image: row.record()?, version: row.record()? })
    }
}

impl Record for ListedArtifact {
    const WHAT: &'static str = "stream index row";
    const ID: &'static str = "artifact_id";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            artifact: row.get("artifact_id")?,
            fingerprint: row.get("fingerprint")?,
            unified: row.optional("unified_kind")?,
        })
    }
}

/// The version that was published before another, without its artifacts.
pub(crate) struct Previous {
    pub(crate) id: VersionId,
    pub(crate) name: VersionName,
}

impl Record for Previous {
    const WHAT: &'static str = "version";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self { id: row.get("id")?, name: row.get("name")? })
    }
}
