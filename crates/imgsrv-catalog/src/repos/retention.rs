//! Retention policies, and the days on which versions were last fetched.

use crate::core::{Connection, Corrupt, Record, Row, SqlTx, values};
use async_trait::async_trait;
use imgsrv_domain::{
    digest::Digest,
    ids::{ImageId, VersionId},
    ports::{CatalogError, RetentionRepo},
    retention::{Disposal, KeepRules, RetentionPolicy},
    time::Day,
    transition::Revision,
    version::Version,
};

/// The columns of a policy, from `retention_policies p`.
macro_rules! columns {
    () => {
        "p.newest, p.daily, p.weekly, p.monthly, p.younger_than, p.fetched_within, p.min_keep, p.deprecate_after,
        p.remove_after, p.enabled"
    };
}
pub(crate) use columns;

/// Whether another version than `$version` names `$name` of `$image` as its replacement.
macro_rules! is_replacement {
    ($version:literal, $image:literal, $name:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM version_lifecycles l WHERE ",
            $crate::rows::lifecycles::replacement!("image"),
            " = ",
            $image,
            " AND ",
            $crate::rows::lifecycles::replacement!("ref"),
            " = ",
            $name,
            " AND l.version_id <> ",
            $version,
            ")"
        )
    };
}
pub(crate) use is_replacement;

const GET: &str = concat!("SELECT ", columns!(), " FROM retention_policies p WHERE p.image_id = $1");
const PUT: &str =
    "INSERT INTO retention_policies (image_id, newest, daily, weekly, monthly, younger_than, fetched_within,
        min_keep, deprecate_after, remove_after, enabled) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (image_id) DO UPDATE SET newest = excluded.newest, daily = excluded.daily, weekly = excluded.weekly,
        monthly = excluded.monthly, younger_than = excluded.younger_than, fetched_within = excluded.fetched_within,
        min_keep = excluded.min_keep, deprecate_after = excluded.deprecate_after,
        remove_after = excluded.remove_after, enabled = excluded.enabled";
pub(crate) const DELETE: &str = "DELETE FROM retention_policies WHERE image_id = $1";
const IMAGE_CHANGE: &str = "SELECT catalog_revision FROM image_changes WHERE image_id = $1";
const IS_NEEDED: &str = concat!(
    "SELECT EXISTS (SELECT 1 FROM aliases WHERE version_id = $1) OR ",
    is_replacement!("$1", "$2", "$3"),
    " AS is_needed"
);
const START_RECORDING: &str = "INSERT INTO fetch_recording (id, since) VALUES (1, $1) ON CONFLICT (id) DO NOTHING";
const OF_DIGEST: &str = "SELECT version_id FROM version_lifecycles WHERE version_id IN
    (SELECT version_id FROM artifacts WHERE primary_blob_digest = $1
        UNION ALL SELECT version_id FROM attachments WHERE blob_digest = $1)";
const RECORD: &str = "INSERT INTO version_fetches (version_id, fetched_on)
    SELECT version_id, $2 FROM version_lifecycles WHERE version_id = $1
    ON CONFLICT (version_id) DO UPDATE SET fetched_on = excluded.fetched_on
        WHERE version_fetches.fetched_on < excluded.fetched_on";
pub(crate) const STATEMENTS: &[&str] = &[GET, PUT, DELETE, IMAGE_CHANGE, IS_NEEDED, START_RECORDING, OF_DIGEST, RECORD];

#[async_trait]
impl<C: Connection> RetentionRepo for SqlTx<C> {
    async fn get_retention(&mut self, image: ImageId) -> Result<Option<RetentionPolicy>, CatalogError> {
        self.find(GET, values![image]).await
    }

    async fn put_retention(&mut self, image: ImageId, policy: &RetentionPolicy) -> Result<(), CatalogError> {
        let KeepRules { newest, daily, weekly, monthly, younger_than, fetched_within } = policy.keep();
        let RetentionPolicy { min_keep, disposal, enabled, .. } = policy;
        let (deprecate_after, remove_after) = (disposal.deprecate_after(), disposal.remove_after());
        let values = values![
            image,
            newest,
            daily,
            weekly,
            monthly,
            younger_than,
            fetched_within,
            min_keep,
            deprecate_after,
            remove_after,
            enabled
        ];
        self.execute(PUT, values).await.map(drop)
    }

    async fn delete_retention(&mut self, image: ImageId) -> Result<(), CatalogError> {
        self.execute(DELETE, values![image]).await.map(drop)
    }

    async fn get_image_change(&mut self, image: ImageId) -> Result<Revision, CatalogError> {
        Ok(self.find(IMAGE_CHANGE, values![image]).await?.unwrap_or(Revision::new(0)))
    }

    async fn is_needed(&mut self, version: &Version) -> Result<bool, CatalogError> {
        self.get(IS_NEEDED, values![version.id, version.image, version.name]).await
    }

    async fn start_recording_fetches(&mut self) -> Result<(), CatalogError> {
        self.execute(START_RECORDING, values![Day::of(self.time())]).await.map(drop)
    }

    async fn list_versions_of_digest(&mut self, digest: &Digest) -> Result<Vec<VersionId>, CatalogError> {
        self.list(OF_DIGEST, values![digest]).await
    }

    async fn record_fetches(&mut self, fetched: &[(VersionId, Day)]) -> Result<(), CatalogError> {
        // In the same order everywhere, so that two nodes do not wait for each other.
        let mut fetched = fetched.to_vec();
        fetched.sort_unstable_by_key(|(id, _)| *id);
        for (id, day) in fetched {
            self.execute(RECORD, values![id, day]).await?;
        }
        Ok(())
    }
}

impl Record for RetentionPolicy {
    const WHAT: &'static str = "retention policy";
    const ID: &'static str = "image_id";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let keep = KeepRules {
            newest: row.optional("newest")?,
            daily: row.optional("daily")?,
            weekly: row.optional("weekly")?,
            monthly: row.optional("monthly")?,
            younger_than: row.optional("younger_than")?,
            fetched_within: row.optional("fetched_within")?,
        };
        let disposal = Disposal::new(row.optional("deprecate_after")?, row.optional("remove_after")?);
        let disposal = disposal.map_err(|why| row.corrupt(why))?;
        let policy = Self::new(keep, row.get("min_keep")?, disposal, row.get("enabled")?);
        policy.map_err(|why| row.corrupt(why))
    }
}
