//! Lists that are read page by page. Rows that cannot be decoded are left out, and do not end a page.

use crate::core::{
    connection::{Connection, Statement},
    cursor::{CursorKey, ListName, is_key},
    record::{Corrupt, Record, Row},
    value::Value,
};
use imgsrv_domain::{
    page::{Page, PageRequest},
    ports::CatalogError,
};

/// How many rows a statement of [`read_all`] reads, so that it ends long before its timeout.
const BATCH: i64 = 500;

/// A record of a list that is ordered by a key.
pub(crate) trait Listed: Record {
    /// The key.
    type Key: CursorKey + Clone + PartialEq + Send + Sync;
    /// The key of its row, which can usually be read even if the record cannot be decoded.
    fn key(row: &Row<'_>) -> Result<Self::Key, Corrupt>;
}

/// A row of a list.
struct Entry<T: Listed> {
    /// The key; `None` if it cannot be read, or no list can start after it.
    key: Option<T::Key>,
    record: Result<T, Corrupt>,
}

impl<T: Listed> Record for Entry<T> {
    const WHAT: &'static str = T::WHAT;
    const ID: &'static str = T::ID;

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self { key: T::key(row).ok().filter(is_key), record: T::read(row) })
    }
}

/// An item of a list, or why it cannot be decoded, and its key.
type Keyed<K, T> = (Option<K>, Result<T, Corrupt>);

/// One page of a list.
pub(crate) struct List<K> {
    name: ListName,
    limit: u16,
    /// The key after which the page starts.
    after: K,
}

impl<K: CursorKey + Clone + PartialEq + Send + Sync> List<K> {
    /// The page that `page` requests of the list `name`, which includes the list's filters. The first page starts after
    /// `start`.
    pub(crate) fn open(name: impl Into<String>, page: &PageRequest, start: K) -> Result<Self, CatalogError> {
        let name = ListName(name.into());
        let after = name.key(page.after.as_ref(), start)?;
        Ok(Self { name, limit: page.limit.get(), after })
    }

    /// Reads the page with `sql`. `values` are those of a statement that reads the given number of rows after a key.
    pub(crate) async fn read<T: Listed<Key = K>>(
        self,
        connection: &mut impl Connection,
        sql: impl Statement,
        values: impl Fn(&K, i64) -> Vec<Value> + Send,
    ) -> Result<Page<T>, CatalogError> {
        self.read_items(connection, sql, values, |entries: Vec<Entry<T>>| {
            entries.into_iter().map(|Entry { key, record }| (key, record)).collect()
        })
        .await
    }

    /// Reads a page of items that each have several rows with one key. `values` are those of a statement that reads all
    /// rows of the given number of keys after a key; `item` makes an item of its rows.
    pub(crate) async fn read_groups<T: Listed<Key = K>, I: Send>(
        self,
        connection: &mut impl Connection,
        sql: impl Statement,
        values: impl Fn(&K, i64) -> Vec<Value> + Send,
        item: fn(Vec<T>) -> Result<I, Corrupt>,
    ) -> Result<Page<I>, CatalogError> {
        self.read_items(connection, sql, values, |entries: Vec<Entry<T>>| {
            let mut groups: Vec<Keyed<K, Vec<T>>> = Vec::new();
            for Entry { key, record } in entries {
                match groups.last_mut() {
                    Some((last, group)) if key.is_some() && *last == key => match (group, record) {
                        (Ok(rows), Ok(row)) => rows.push(row),
                        (group @ Ok(_), Err(corrupt)) => *group = Err(corrupt),
                        (Err(_), _) => {}
                    },
                    _ => groups.push((key, record.map(|row| vec![row]))),
                }
            }
            groups.into_iter().map(|(key, rows)| (key, rows.and_then(item))).collect()
        })
        .await
    }

    async fn read_items<T: Listed<Key = K>, I: Send>(
        self,
        connection: &mut impl Connection,
        sql: impl Statement,
        values: impl Fn(&K, i64) -> Vec<Value> + Send,
        items_of: impl Fn(Vec<Entry<T>>) -> Vec<Keyed<K, I>> + Send,
    ) -> Result<Page<I>, CatalogError> {
        let Self { name, limit, mut after } = self;
        let mut items = Vec::new();
        // One more than the page has, to see whether there is a next page.
        let mut fetch = i64::from(limit) + 1;
        loop {
            let found = items_of(connection.list(sql, values(&after, fetch)).await?);
            let is_last = i64::try_from(found.len()).is_ok_and(|read| read < fetch);
            for (key, record) in found {
                if items.len() == usize::from(limit) {
                    return Ok(Page { items, next: Some(name.cursor(&after)) });
                }
                match record {
                    Ok(item) => items.push(item),
                    Err(corrupt) => connection.undecodable().leave_out(&corrupt),
                }
                after = key.unwrap_or(after);
            }
            if is_last {
                return Ok(Page { items, next: None });
            }
            // More than one row could not be decoded. Reading twice as many also gets past rows without a key.
            fetch *= 2;
        }
    }
}

/// Reads a whole list in many statements that each read a bounded number of keys: `values` are those of a statement that
/// reads the rows of the given number of keys after a key.
pub(crate) async fn read_all<T: Listed>(
    connection: &mut impl Connection,
    sql: impl Statement,
    start: T::Key,
    values: impl Fn(&T::Key, i64) -> Vec<Value> + Send,
) -> Result<Vec<T>, CatalogError> {
    let (mut items, mut after, mut fetch) = (Vec::new(), start, BATCH);
    loop {
        let rows: Vec<Entry<T>> = connection.list(sql, values(&after, fetch)).await?;
        let (mut keys, mut has_moved) = (0, false);
        for Entry { key, record } in rows {
            if key.as_ref().is_none_or(|key| *key != after) {
                keys += 1;
            }
            match record {
                Ok(item) => items.push(item),
                Err(corrupt) => connection.undecodable().leave_out(&corrupt),
            }
            if let Some(key) = key {
                (after, has_moved) = (key, true);
            }
        }
        if keys < fetch {
            return Ok(items);
        }
        fetch = if has_moved { BATCH } else { fetch * 2 };
    }
}
