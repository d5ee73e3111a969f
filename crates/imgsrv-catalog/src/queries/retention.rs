//! Reads of retention policies and of the versions that they decide about.

use crate::{
    core::{Connection, Corrupt, Listed, Record, Row, SqlCatalog, SqlDatabase, read_all, values},
    repos::retention::{columns, is_replacement},
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::{ImageId, VersionId},
    lifecycle::LifecycleState,
    names::{AliasName, ImageName},
    ports::{CatalogError, RetentionQueries, RetentionState},
    retention::{Candidate, RetentionPolicy},
    time::{Day, Timestamp},
    transition::Revision,
};
use std::{collections::BTreeMap, num::NonZeroU32};
use uuid::Uuid;

const IMAGE: &str = concat!(
    "SELECT i.id AS image_id, c.catalog_revision, (SELECT since FROM fetch_recording) AS recorded_since, ",
    columns!(),
    " FROM images i LEFT JOIN image_changes c ON c.image_id = i.id
    LEFT JOIN retention_policies p ON p.image_id = i.id WHERE i.name = $1"
);
/// Each of the two states is a section of an index.
const CANDIDATES: &str = concat!(
    "SELECT c.version_id AS id, v.name AS version_name, c.published_at, l.state, f.fetched_on, a.name AS alias,
    l.hold_reason IS NOT NULL AND (l.hold_until IS NULL OR l.hold_until > $5)
        AND (l.hold_lifts_at IS NULL OR l.hold_lifts_at > $5) AS is_held, ",
    is_replacement!("c.version_id", "$6", "v.name"),
    " AS is_replacement
    FROM (SELECT version_id, published_at FROM (SELECT version_id, published_at FROM version_lifecycles
                WHERE image_id = $1 AND state = 'active' AND (published_at, version_id) < ($2, $3)
                ORDER BY published_at DESC, version_id DESC LIMIT $4) one
            UNION ALL SELECT version_id, published_at FROM (SELECT version_id, published_at FROM version_lifecycles
                WHERE image_id = $1 AND state = 'deprecated' AND (published_at, version_id) < ($2, $3)
                ORDER BY published_at DESC, version_id DESC LIMIT $4) other
            ORDER BY published_at DESC, version_id DESC LIMIT $4) c
    JOIN version_lifecycles l ON l.version_id = c.version_id JOIN versions v ON v.id = c.version_id
    LEFT JOIN version_fetches f ON f.version_id = c.version_id LEFT JOIN aliases a ON a.version_id = c.version_id
    ORDER BY c.published_at DESC, c.version_id DESC, a.name"
);
const RETAINED: &str = "SELECT i.name FROM images i LEFT JOIN retention_policies p ON p.image_id = i.id
    WHERE i.has_published AND i.name > $1 AND coalesce(p.enabled, $2) ORDER BY i.name LIMIT $3";
/// How many versions one statement looks up.
const LOOKED_UP: usize = 50;
const LAST_FETCHES: &str = "SELECT l.version_id AS id, l.published_at, f.fetched_on,
        (SELECT since FROM fetch_recording) AS recorded_since
    FROM version_lifecycles l LEFT JOIN version_fetches f ON f.version_id = l.version_id WHERE l.version_id IN (
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
        $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41, $42,
        $43, $44, $45, $46, $47, $48, $49, $50)";
pub(crate) const STATEMENTS: &[&str] = &[IMAGE, CANDIDATES, RETAINED, LAST_FETCHES];

#[async_trait]
impl<D: SqlDatabase> RetentionQueries for SqlCatalog<D> {
    async fn get_retention(&self, image: &ImageName) -> Result<Option<Option<RetentionPolicy>>, CatalogError> {
        let found: Option<ImageRow> = self.reader().await?.find(IMAGE, values![image]).await?;
        Ok(found.map(|found| found.policy))
    }

    async fn get_retention_state(&self, name: &ImageName) -> Result<Option<RetentionState>, CatalogError> {
        let (mut snapshot, now) = self.database.snapshot().await?;
        let found: Option<ImageRow> = snapshot.find(IMAGE, values![name]).await?;
        let Some(ImageRow { image, changed_in, policy, recorded_since }) = found else { return Ok(None) };
        let recorded_since = recorded_since.unwrap_or(Day::of(now));
        let start = (i64::MAX, Uuid::max());
        let values = |(before, id): &(i64, Uuid), limit: i64| {
            values![image, Timestamp::from_micros(*before), id, limit, now, name]
        };
        let mut candidates: Vec<(VersionId, Candidate)> = Vec::new();
        for row in read_all::<CandidateRow>(&mut snapshot, CANDIDATES, start, values).await? {
            if let Some((_, last)) = candidates.last_mut().filter(|(id, _)| *id == row.id) {
                last.aliases.extend(row.candidate.aliases);
                continue;
            }
            let CandidateRow { id, mut candidate, fetched_on } = row;
            let since = recorded_since.max(Day::of(candidate.published_at));
            candidate.last_fetched = fetched_on.unwrap_or(since);
            candidates.push((id, candidate));
        }
        Ok(Some(RetentionState { image, changed_in, policy, candidates, now }))
    }

    async fn get_last_fetches(&self, versions: &[VersionId]) -> Result<BTreeMap<VersionId, Day>, CatalogError> {
        let mut reader = self.reader().await?;
        let mut days = BTreeMap::new();
        for batch in versions.chunks(LOOKED_UP) {
            let Some(last) = batch.last() else { continue };
            let padded = batch.iter().chain(std::iter::repeat(last)).take(LOOKED_UP);
            let values = padded.flat_map(|version| values![version]).collect();
            let found: Vec<LastFetch> = reader.list_decodable(LAST_FETCHES, values).await?;
            days.extend(found.into_iter().map(|LastFetch(version, day)| (version, day)));
        }
        Ok(days)
    }

    async fn list_retained_images(
        &self,
        with_default: bool,
        after: Option<&ImageName>,
        limit: u16,
    ) -> Result<Vec<ImageName>, CatalogError> {
        let after = after.map_or("", ImageName::as_str);
        self.reader().await?.list_decodable(RETAINED, values![*after, with_default, i64::from(limit)]).await
    }
}

/// A version, and the day on which it was last fetched.
struct LastFetch(VersionId, Day);

impl Record for LastFetch {
    const WHAT: &'static str = "version";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let published = Day::of(row.get("published_at")?);
        let since = row.optional::<Day>("recorded_since")?.map_or(published, |since| since.max(published));
        Ok(Self(row.get("id")?, row.optional("fetched_on")?.unwrap_or(since)))
    }
}

/// An image, and what decides about retention in it besides its versions.
struct ImageRow {
    image: ImageId,
    changed_in: Revision,
    policy: Option<RetentionPolicy>,
    recorded_since: Option<Day>,
}

impl Record for ImageRow {
    const WHAT: &'static str = RetentionPolicy::WHAT;
    const ID: &'static str = RetentionPolicy::ID;

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let has_policy = row.optional::<NonZeroU32>("min_keep")?.is_some();
        Ok(Self {
            image: row.get("image_id")?,
            changed_in: row.optional("catalog_revision")?.unwrap_or(Revision::new(0)),
            policy: if has_policy { Some(row.record()?) } else { None },
            recorded_since: row.optional("recorded_since")?,
        })
    }
}

/// A version with one of its aliases, if it has any.
struct CandidateRow {
    id: VersionId,
    candidate: Candidate,
    fetched_on: Option<Day>,
}

impl Record for CandidateRow {
    const WHAT: &'static str = "version";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let published_at = row.get("published_at")?;
        let fetched_on = row.optional("fetched_on")?;
        let candidate = Candidate {
            version: row.get("version_name")?,
            published_at,
            deprecated: row.get::<LifecycleState>("state")? == LifecycleState::Deprecated,
            aliases: row.optional::<AliasName>("alias")?.into_iter().collect(),
            held: row.get("is_held")?,
            is_replacement: row.get("is_replacement")?,
            last_fetched: fetched_on.unwrap_or(Day::of(published_at)),
        };
        Ok(Self { id: row.get("id")?, candidate, fetched_on })
    }
}

impl Listed for CandidateRow {
    type Key = (i64, Uuid);

    fn key(row: &Row<'_>) -> Result<(i64, Uuid), Corrupt> {
        Ok((row.get::<Timestamp>("published_at")?.micros(), row.get("id")?))
    }
}
