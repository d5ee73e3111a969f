//! Searches and summaries for people who look at the catalog.

use crate::{
    core::{Connection, Dialects, List, SqlCatalog, SqlDatabase, values},
    queries::{
        images::{self as image_queries, ALIASES},
        summaries::{FilePackages, Newest, Previous},
        versions::{by_lifecycle, selected},
    },
    repos::{images, manifests, versions},
    rows::reach::{self, readable, required, visible},
};
use async_trait::async_trait;
use imgsrv_domain::{
    access::{Reach, View},
    browse::{
        CurrentState, FeedEntry, ImageOrder, ImageOverview, ImageSearch, ImageSummary, PreviousVersion, StreamSeries,
        VersionContext,
    },
    ids::VersionId,
    lifecycle::LifecycleFilter,
    names::{AliasName, Architecture, Format, ImageName, OperatingSystem},
    page::{Page, PageRequest},
    ports::{BrowseQueries, CatalogError},
    time::Timestamp,
};
use serde_json::{Value as JsonValue, json};
use sqlx::types::Json;
use std::num::NonZeroU32;
use uuid::Uuid;

/// What the artifacts of the version `v` have in common.
macro_rules! content {
    () => {
        "(SELECT string_agg(s.architecture, ' ') FROM (SELECT DISTINCT architecture FROM artifacts
            WHERE version_id = v.id ORDER BY architecture) s) AS architectures,
        (SELECT string_agg(s.operating_system, ' ') FROM (SELECT DISTINCT operating_system FROM artifacts
            WHERE version_id = v.id ORDER BY operating_system) s) AS operating_systems,
        (SELECT string_agg(s.format, ' ') FROM (SELECT DISTINCT format FROM artifacts
            WHERE version_id = v.id ORDER BY format) s) AS formats,
        (SELECT count(*) FROM artifacts WHERE version_id = v.id) AS artifacts,
        (SELECT CAST(coalesce(sum(primary_blob_size_bytes), 0) AS bigint) FROM artifacts
            WHERE version_id = v.id) AS total_bytes"
    };
}

/// Versions with an artifact of an operating system ($1), an architecture ($2) and a format ($3), at most [`FEW`]. The kinds of
/// artifacts are few, and each is found with one step in their index, whichever of the three are given.
macro_rules! few {
    () => {
        "WITH RECURSIVE systems (os) AS (
        SELECT min(operating_system) FROM artifacts
        UNION ALL SELECT (SELECT min(operating_system) FROM artifacts WHERE operating_system > s.os)
        FROM systems s WHERE s.os IS NOT NULL),
    machines (os, arch) AS (
        SELECT s.os, (SELECT min(architecture) FROM artifacts WHERE operating_system = s.os)
        FROM systems s WHERE s.os IS NOT NULL AND ($1 = '' OR s.os = $1)
        UNION ALL SELECT m.os, (SELECT min(architecture) FROM artifacts
            WHERE operating_system = m.os AND architecture > m.arch)
        FROM machines m WHERE m.arch IS NOT NULL),
    kinds (os, arch, format) AS (
        SELECT m.os, m.arch, (SELECT min(format) FROM artifacts
            WHERE operating_system = m.os AND architecture = m.arch)
        FROM machines m WHERE m.arch IS NOT NULL AND ($2 = '' OR replace($2, ' ' || lower(m.arch) || ' ', '') <> $2)
        UNION ALL SELECT k.os, k.arch, (SELECT min(format) FROM artifacts
            WHERE operating_system = k.os AND architecture = k.arch AND format > k.format)
        FROM kinds k WHERE k.format IS NOT NULL)
    SELECT a.version_id FROM kinds k CROSS JOIN artifacts a
    WHERE a.operating_system = k.os AND a.architecture = k.arch AND a.format = k.format
        AND ($3 = '' OR $3 LIKE '% ' || k.format || ' %') LIMIT 500"
    };
}
/// Maximum number of versions that a search reads one by one.
const FEW: i64 = 500;
const COUNT_FEW: &str = concat!("SELECT count(*) FROM (", few!(), ") few");
/// The images of these versions.
macro_rules! images_of_few {
    ($rest:literal) => {
        concat!(
            " FROM (SELECT DISTINCT image_id AS few_id FROM versions WHERE id IN (SELECT version_id FROM (",
            few!(),
            ") found)) few CROSS JOIN ",
            $rest
        )
    };
}

/// The id of the current version of the image `$image`.
macro_rules! current {
    ($image:literal) => {
        concat!(
            "coalesce((SELECT version_id FROM aliases WHERE image_id = ",
            $image,
            " AND name = 'latest'),
                (SELECT version_id FROM version_lifecycles WHERE image_id = ",
            $image,
            " AND state = 'active' ORDER BY published_at DESC, version_id DESC LIMIT 1),
                (SELECT version_id FROM version_lifecycles WHERE image_id = ",
            $image,
            " AND state = 'deprecated' ORDER BY published_at DESC, version_id DESC LIMIT 1))"
        )
    };
}
/// Images with their current versions: `from` yields `images i`, and `rest` selects among them.
macro_rules! search {
    ($dialect:ident, $from:expr, $($rest:expr),+) => {
        concat!(
            "SELECT ",
            images::columns!(),
            ", v.id AS current_id, v.name AS current_name, v.published_at AS current_published_at,
            l.state AS current_state, ",
            content!(),
            $from,
            " LEFT JOIN versions v ON v.id = ",
            current!("i.id"),
            " LEFT JOIN version_lifecycles l ON l.version_id = v.id
            WHERE (($1 = '' AND $2 = '' AND $3 = '') OR EXISTS (SELECT 1 FROM artifacts a WHERE a.version_id = v.id
                AND ($1 = '' OR a.operating_system = $1)
                AND ($2 = '' OR replace($2, ' ' || lower(a.architecture) || ' ', '') <> $2)
                AND ($3 = '' OR $3 LIKE '% ' || a.format || ' %')))
            AND ($4 = '' OR replace(lower(i.name || ' ' || coalesce(i.display_name, '')), $4, '')
                <> lower(i.name || ' ' || coalesce(i.display_name, '')))
            AND ($5 = '' OR l.state = $5) AND ",
            visible!($dialect, "$6", "$7", "$8", "$9"),
            $($rest),+
        )
    };
}
macro_rules! by_name {
    ($dialect:ident, $from:expr, $($rest:expr),*) => {
        search!($dialect, $from, $($rest,)* " AND i.name > $10 ORDER BY i.name LIMIT $11")
    };
}
const BY_NAME: Dialects =
    Dialects { sqlite: by_name!(sqlite, " FROM images i",), postgres: by_name!(postgres, " FROM images i",) };
macro_rules! few_by_name {
    ($dialect:ident) => {
        by_name!($dialect, images_of_few!("images i"), " AND i.id = few.few_id")
    };
}
const FEW_BY_NAME: Dialects = Dialects { sqlite: few_by_name!(sqlite), postgres: few_by_name!(postgres) };
/// The rarest of the trigrams in `$1`. Counting ends early: one that many images have is not rare.
macro_rules! rarest {
    ($from:literal) => {
        concat!(
            "SELECT p.value AS trigram FROM ",
            $from,
            " ORDER BY (SELECT count(*) FROM (SELECT 1 FROM image_trigrams WHERE trigram = p.value ",
            "LIMIT 100) few), p.value LIMIT 1"
        )
    };
}
const RAREST: Dialects = Dialects {
    sqlite: rarest!("json_each($1) p"),
    postgres: rarest!("(SELECT value COLLATE \"C\" AS value FROM jsonb_array_elements_text($1) j (value)) p"),
};
/// The images whose text has a trigram, `$12`.
macro_rules! with_trigram {
    ($dialect:ident) => {
        search!(
            $dialect,
            " FROM image_trigrams g CROSS JOIN images i",
            " AND g.trigram = $12 AND i.name = g.image_name AND g.image_name > $10 ORDER BY g.image_name LIMIT $11"
        )
    };
}
const WITH_TRIGRAM: Dialects = Dialects { sqlite: with_trigram!(sqlite), postgres: with_trigram!(postgres) };
/// The newest offered version of each image, in the order of the index of offered versions.
macro_rules! newest {
    ($dialect:ident, $from:expr, $($rest:expr),*) => {
        search!(
            $dialect,
            concat!(", n.published_at AS newest_at, n.version_id AS newest_id", $from),
            $($rest,)*
            " AND n.state IN ('active', 'deprecated') AND (n.published_at, n.version_id) < ($10, $11)
    AND NOT EXISTS (SELECT 1 FROM version_lifecycles o WHERE o.image_id = n.image_id AND o.state = 'active'
        AND (o.published_at, o.version_id) > (n.published_at, n.version_id))
    AND NOT EXISTS (SELECT 1 FROM version_lifecycles o WHERE o.image_id = n.image_id AND o.state = 'deprecated'
        AND (o.published_at, o.version_id) > (n.published_at, n.version_id))
    ORDER BY n.published_at DESC, n.version_id DESC LIMIT $12"
        )
    };
}
macro_rules! newest_of_any {
    ($dialect:ident) => {
        newest!($dialect, " FROM version_lifecycles n JOIN images i ON i.id = n.image_id",)
    };
}
const NEWEST: Dialects = Dialects { sqlite: newest_of_any!(sqlite), postgres: newest_of_any!(postgres) };
macro_rules! few_newest {
    ($dialect:ident) => {
        newest!(
            $dialect,
            images_of_few!("version_lifecycles n JOIN images i ON i.id = n.image_id"),
            " AND n.image_id = few.few_id"
        )
    };
}
const FEW_NEWEST: Dialects = Dialects { sqlite: few_newest!(sqlite), postgres: few_newest!(postgres) };
/// The same of the images that a search selects. Few images may match, so this costs what the images do: two reads of an index
/// for each, and not what all of their versions do.
macro_rules! newest_found {
    ($dialect:ident, $from:literal, $($rest:expr),*) => {
        search!(
            $dialect,
            concat!(", n.published_at AS newest_at, n.version_id AS newest_id FROM ", $from, " JOIN version_lifecycles n ON n.version_id =
        (SELECT version_id FROM (
            SELECT version_id, published_at FROM (SELECT version_id, published_at FROM version_lifecycles
                WHERE image_id = i.id AND state = 'active' ORDER BY published_at DESC, version_id DESC LIMIT 1) one
            UNION ALL SELECT version_id, published_at FROM (SELECT version_id, published_at FROM version_lifecycles
                WHERE image_id = i.id AND state = 'deprecated' ORDER BY published_at DESC, version_id DESC LIMIT 1) other
        ) offered ORDER BY published_at DESC, version_id DESC LIMIT 1)"),
            $($rest,)*
            " AND i.has_published AND i.name > '' AND (n.published_at, n.version_id) < ($10, $11)
    ORDER BY n.published_at DESC, n.version_id DESC LIMIT $12"
        )
    };
}
const NEWEST_FOUND: Dialects =
    Dialects { sqlite: newest_found!(sqlite, "images i",), postgres: newest_found!(postgres, "images i",) };
macro_rules! newest_with_trigram {
    ($dialect:ident) => {
        newest_found!(
            $dialect,
            "image_trigrams g CROSS JOIN images i",
            " AND g.trigram = $13 AND i.name = g.image_name"
        )
    };
}
const NEWEST_WITH_TRIGRAM: Dialects =
    Dialects { sqlite: newest_with_trigram!(sqlite), postgres: newest_with_trigram!(postgres) };

/// Versions with their artifacts that `rest` selects; `more` are further columns.
macro_rules! summaries {
    ($more:expr, $($rest:expr),+) => {
        concat!(
            "SELECT ",
            versions::columns!(),
            ", i.id AS image_id, i.name AS image_name, ",
            content!(),
            $more,
            " FROM versions v JOIN images i ON i.id = v.image_id LEFT JOIN version_lifecycles l ON l.version_id = v.id ",
            $($rest),+
        )
    };
}
const VERSIONS: &str = summaries!("", by_lifecycle!());
const ALL_VERSIONS: &str = summaries!(
    "",
    "WHERE v.image_id = $1 AND (v.listed_at, v.id) < ($2, $3) AND v.state = 'published'
    ORDER BY v.listed_at DESC, v.id DESC LIMIT $4"
);

macro_rules! feed {
    ($($rest:expr),+) => {
        summaries!(
            ", i.display_name, i.description, i.visibility, i.created_at AS image_created_at,
            i.updated_at AS image_updated_at, i.revision AS image_revision",
            $($rest),+
        )
    };
}
macro_rules! newest_of_all {
    ($dialect:ident) => {
        feed!(
            "WHERE l.state IN ('active', 'deprecated') AND ",
            readable!($dialect, "$2", "$3"),
            " ORDER BY l.published_at DESC, l.version_id DESC LIMIT $1"
        )
    };
}
const NEWEST_OF_ALL: Dialects = Dialects { sqlite: newest_of_all!(sqlite), postgres: newest_of_all!(postgres) };
const NEWEST_OF_IMAGE: &str = feed!(
    "JOIN (SELECT version_id FROM (SELECT version_id FROM version_lifecycles WHERE state = 'active'
            AND image_id = (SELECT id FROM images WHERE name = $2 AND ($3 = '' OR visibility = $3))
            ORDER BY published_at DESC, version_id DESC LIMIT $1) one
        UNION ALL SELECT version_id FROM (SELECT version_id FROM version_lifecycles WHERE state = 'deprecated'
            AND image_id = (SELECT id FROM images WHERE name = $2 AND ($3 = '' OR visibility = $3))
            ORDER BY published_at DESC, version_id DESC LIMIT $1) other) listed ON listed.version_id = v.id
    ORDER BY v.published_at DESC, v.id DESC LIMIT $1"
);
const ALIASES_OF_VERSION: &str = "SELECT name FROM aliases WHERE version_id = $1 ORDER BY name LIMIT 1000";
const LISTED_ARTIFACTS: &str = "SELECT artifact_id, fingerprint, unified_kind FROM incus_rows WHERE version_id = $1 AND catalog_revision IS NOT NULL";
const CURRENT: &str = concat!("SELECT name FROM versions WHERE id = ", current!("$1"));
const CURRENT_BESIDE: &str =
    concat!("SELECT c.name FROM versions v JOIN versions c ON c.id = ", current!("v.image_id"), " WHERE v.id = $1");
// The version is in subqueries: of a join, PostgreSQL would sort all earlier versions of the image.
const PREVIOUS: &str = "SELECT p.id, p.name FROM versions p
    JOIN version_lifecycles l ON l.version_id = p.id AND l.state IN ('active', 'deprecated', 'revoked')
    WHERE p.image_id = (SELECT image_id FROM versions WHERE id = $1) AND p.state = 'published'
        AND (p.listed_at, p.id) < ((SELECT listed_at FROM versions WHERE id = $1), $1)
    ORDER BY p.listed_at DESC, p.id DESC LIMIT 1";
const PACKAGES: &str = "SELECT digest, packages FROM package_lists WHERE digest IN
        (SELECT blob_digest FROM attachments WHERE version_id = $1 OR version_id = $2) ORDER BY digest LIMIT 16";
/// The positions of those series `p` of which $3 newer versions than $1 are listed. `>=` is for the index: names are not in it.
macro_rules! superseded {
    ($from:literal) => {
        concat!(
            "SELECT CAST((p.value ->> 'position') AS bigint) AS position FROM ",
            $from,
            " WHERE (SELECT count(*) FROM (SELECT 1 FROM versions n
        JOIN version_lifecycles l ON l.version_id = n.id AND l.state IN ('active', 'deprecated')
        WHERE n.image_id = (SELECT image_id FROM versions WHERE id = $1) AND n.state = 'published'
            AND n.listed_at >= (SELECT listed_at FROM versions WHERE id = $1)
            AND (n.listed_at > (SELECT listed_at FROM versions WHERE id = $1)
                OR n.name > (SELECT name FROM versions WHERE id = $1))
            AND EXISTS (SELECT 1 FROM incus_rows s JOIN artifacts a ON a.id = s.artifact_id
                WHERE s.version_id = n.id AND s.catalog_revision IS NOT NULL AND a.variant = (p.value ->> 'variant')
                AND replace((p.value ->> 'architectures'), ' ' || lower(a.architecture) || ' ', '')
                    <> (p.value ->> 'architectures')
                AND coalesce(s.unified_kind, CASE WHEN (p.value ->> 'formats') LIKE '% ' || a.format || ' %'
                    THEN (p.value ->> 'kind') END) = (p.value ->> 'kind'))
        LIMIT $3) newer) >= $3 ORDER BY position"
        )
    };
}
const SUPERSEDED: Dialects =
    Dialects { sqlite: superseded!("json_each($2) p"), postgres: superseded!("jsonb_array_elements($2) p (value)") };
pub(crate) const STATEMENTS: &[&str] = &[
    COUNT_FEW,
    VERSIONS,
    ALL_VERSIONS,
    NEWEST_OF_IMAGE,
    ALIASES_OF_VERSION,
    LISTED_ARTIFACTS,
    CURRENT,
    CURRENT_BESIDE,
    PREVIOUS,
    PACKAGES,
];
pub(crate) const SQLITE: &[&str] = &[
    RAREST.sqlite,
    BY_NAME.sqlite,
    FEW_BY_NAME.sqlite,
    WITH_TRIGRAM.sqlite,
    NEWEST.sqlite,
    NEWEST_FOUND.sqlite,
    FEW_NEWEST.sqlite,
    NEWEST_WITH_TRIGRAM.sqlite,
    NEWEST_OF_ALL.sqlite,
    SUPERSEDED.sqlite,
];
pub(crate) const POSTGRES: &[&str] = &[
    RAREST.postgres,
    BY_NAME.postgres,
    FEW_BY_NAME.postgres,
    WITH_TRIGRAM.postgres,
    NEWEST.postgres,
    NEWEST_FOUND.postgres,
    FEW_NEWEST.postgres,
    NEWEST_WITH_TRIGRAM.postgres,
    NEWEST_OF_ALL.postgres,
    SUPERSEDED.postgres,
];

/// Each format between two blanks.
fn spaced(formats: impl IntoIterator<Item = Format>) -> String {
    formats.into_iter().map(|format| format!(" {format} ")).collect()
}

/// Every spelling of an architecture, each between two blanks.
fn spellings(architecture: &Architecture) -> String {
    architecture.spellings().map(|name| format!(" {name} ")).collect()
}

/// Trigrams of a text, at most as many as it takes to find a rare one.
fn trigrams(text: &str) -> Vec<String> {
    const ENOUGH: usize = 16;
    let characters: Vec<char> = text.chars().collect();
    characters.windows(3).take(ENOUGH).map(String::from_iter).collect()
}

#[async_trait]
impl<D: SqlDatabase> BrowseQueries for SqlCatalog<D> {
    async fn search_images(
        &self,
        reach: &Reach,
        search: &ImageSearch,
        order: ImageOrder,
        page: &PageRequest,
    ) -> Result<Page<ImageSummary>, CatalogError> {
        let ImageSearch { text, operating_system, architecture, kind, state } = search;
        let text = text.as_deref().unwrap_or_default().to_ascii_lowercase();
        let system = operating_system.as_ref().map_or("", OperatingSystem::as_str).to_owned();
        let architecture = architecture.as_ref().map_or_else(String::new, spellings);
        let state = state.map_or("", CurrentState::as_str);
        let kind = values![system, architecture, spaced(kind.iter().flat_map(|kind| kind.formats()))];
        let trigrams = trigrams(&text);
        let filters = [kind.clone(), values![text, *state], reach::scopes(reach)].concat();
        let list_name = format!("browse:{order}:{}:{search:?}", reach::name(reach));
        let mut reader = self.reader().await?;
        let is_any = search.operating_system.is_none() && search.architecture.is_none() && search.kind.is_none();
        // If many versions have such an artifact, a page is full soon; if few have one, those are looked at alone.
        let is_few = !is_any && reader.get::<i64>(COUNT_FEW, kind).await? < FEW;
        let mut trigram = Vec::new();
        if !is_few && !trigrams.is_empty() {
            let rarest: String = reader.get(RAREST, values![Json(JsonValue::from(trigrams))]).await?;
            trigram = values![rarest];
        }
        match order {
            ImageOrder::Name => {
                let sql = match trigram[..] {
                    [] if is_few => FEW_BY_NAME,
                    [] => BY_NAME,
                    _ => WITH_TRIGRAM,
                };
                let list = List::open(list_name, page, String::new())?;
                let values =
                    |after: &String, limit: i64| [filters.clone(), values![after, limit], trigram.clone()].concat();
                list.read(&mut reader, sql, values).await
            }
            ImageOrder::Newest => {
                let sql = match search.is_empty() {
                    true => NEWEST,
                    false if is_few => FEW_NEWEST,
                    false if trigram.is_empty() => NEWEST_FOUND,
                    false => NEWEST_WITH_TRIGRAM,
                };
                let list = List::open(list_name, page, (i64::MAX, Uuid::max()))?;
                let values = |(before, id): &(i64, Uuid), limit: i64| {
                    [filters.clone(), values![Timestamp::from_micros(*before), id, limit], trigram.clone()].concat()
                };
                let Page { items, next } = list.read(&mut reader, sql, values).await?;
                Ok(Page { items: items.into_iter().map(|Newest(summary)| summary).collect(), next })
            }
        }
    }

    async fn get_image_overview(
        &self,
        name: &ImageName,
        see: View,
        lifecycle: Option<LifecycleFilter>,
        page: &PageRequest,
    ) -> Result<Option<ImageOverview>, CatalogError> {
        let list_name = format!("overview:{name}:{}", lifecycle.map_or("offered", LifecycleFilter::as_str));
        let list = List::open(list_name, page, (i64::MAX, Uuid::max()))?;
        let (mut snapshot, _) = self.database.snapshot().await?;
        let Some(image) = image_queries::image(&mut snapshot, name, see).await? else { return Ok(None) };
        let aliases = snapshot.list_decodable(ALIASES, values![image.id, *"", 1000_i64]).await?;
        let current = snapshot.find(CURRENT, values![image.id]).await?;
        let (sql, own) = match selected(lifecycle) {
            Some([one, other]) => (VERSIONS, values![*one, *other]),
            None => (ALL_VERSIONS, values![]),
        };
        let values = |(before, id): &(i64, Uuid), limit: i64| {
            [values![image.id, Timestamp::from_micros(*before), id, limit], own.clone()].concat()
        };
        let versions = list.read(&mut snapshot, sql, values).await?;
        Ok(Some(ImageOverview { image, aliases, current, versions }))
    }

    async fn list_newest_versions(&self, reach: &Reach, limit: u16) -> Result<Vec<FeedEntry>, CatalogError> {
        let values = [values![i64::from(limit)], reach::patterns(&reach.read)].concat();
        self.reader().await?.list_decodable(NEWEST_OF_ALL, values).await
    }

    async fn list_newest_versions_of(
        &self,
        image: &ImageName,
        see: View,
        limit: u16,
    ) -> Result<Vec<FeedEntry>, CatalogError> {
        let values = values![i64::from(limit), image, *required(see)];
        self.reader().await?.list_decodable(NEWEST_OF_IMAGE, values).await
    }

    async fn get_version_context(&self, version: VersionId) -> Result<VersionContext, CatalogError> {
        let (mut snapshot, _) = self.database.snapshot().await?;
        let aliases: Vec<AliasName> = snapshot.list_decodable(ALIASES_OF_VERSION, values![version]).await?;
        let listed = snapshot.list_decodable(LISTED_ARTIFACTS, values![version]).await?;
        let current = snapshot.find(CURRENT_BESIDE, values![version]).await?;
        let mut context = VersionContext { aliases, listed, current, ..VersionContext::default() };
        if let Some(Previous { id, name }) = snapshot.find(PREVIOUS, values![version]).await? {
            let entries = manifests::entries(&mut snapshot, id).await?.entries;
            context.previous = Some(PreviousVersion { name, entries });
            let lists: Vec<FilePackages> = snapshot.list_decodable(PACKAGES, values![version, id]).await?;
            context.packages = lists.into_iter().map(|list| (list.digest, list.packages)).collect();
        }
        Ok(context)
    }

    async fn list_superseded_series(
        &self,
        version: VersionId,
        series: &[StreamSeries],
        newest: NonZeroU32,
    ) -> Result<Vec<usize>, CatalogError> {
        let series = series.iter().enumerate().map(|(position, series)| {
            json!({
                "position": position, "architectures": spellings(&series.architecture), "variant": series.variant.as_str(),
                "kind": series.kind.as_str(), "formats": spaced(series.formats.iter().copied()),
            })
        });
        let values = values![version, Json(series.collect::<JsonValue>()), i64::from(newest.get())];
        let found: Vec<i64> = self.reader().await?.list(SUPERSEDED, values).await?;
        Ok(found.into_iter().filter_map(|position| usize::try_from(position).ok()).collect())
    }
}
