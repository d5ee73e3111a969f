//! Lists that are read page by page.

use crate::core::{
    connection::Connection,
    cursor::{CursorKey, ListName},
    record::Record,
    value::Value,
};
use imgsrv_domain::{
    page::{Page, PageRequest},
    ports::CatalogError,
};

/// One page of a list.
pub(crate) struct List<K> {
    name: ListName,
    limit: usize,
    /// The key after which the page starts.
    pub(crate) after: K,
    /// How many rows to read: one more than the page has, to see whether there is a next page.
    pub(crate) fetch: i64,
}

impl<K: CursorKey> List<K> {
    /// The page that `page` requests of the list `name`, which includes the list's filters. The first page starts after
    /// `start`.
    pub(crate) fn open(name: impl Into<String>, page: &PageRequest, start: K) -> Result<Self, CatalogError> {
        let name = ListName(name.into());
        let after = name.key(page.after.as_ref(), start)?;
        let limit = page.limit.get();
        Ok(Self { name, limit: limit.into(), after, fetch: i64::from(limit) + 1 })
    }

    /// Reads the page with `sql`; `key` is the key of a record.
    pub(crate) async fn read<T: Record>(
        &self,
        connection: &mut impl Connection,
        sql: &'static str,
        values: Vec<Value>,
        key: fn(&T) -> K,
    ) -> Result<Page<T>, CatalogError> {
        let mut items: Vec<T> = connection.list(sql, values).await?;
        let has_next = items.len() > self.limit;
        items.truncate(self.limit);
        let next = items.last().filter(|_| has_next).map(|last| self.name.cursor(&key(last)));
        Ok(Page { items, next })
    }
}
