//! The types of columns: as values of a statement's placeholders, and as they are read from a row.

use crate::core::time::SqlTime;
use imgsrv_domain::ports::CatalogError;
use sqlx::{Arguments, ColumnIndex, Decode, Encode, Row, Type, types::Json};
use uuid::Uuid;

/// A type of columns.
pub(crate) trait ColumnType: Clone {
    /// The value of a placeholder.
    fn value(raw: Option<Self>) -> Value;
    /// The value in a column.
    fn get(row: &dyn Columns, column: &str) -> Result<Option<Self>, sqlx::Error>;
}

macro_rules! column_types {
    ($($variant:ident($raw:ty): $get:ident),* $(,)?) => {
        /// The value of a placeholder, of one of the few types that the catalog stores.
        #[derive(Debug, Clone)]
        pub(crate) enum Value {
            $($variant(Option<$raw>)),*
        }

        /// The values as a database takes them.
        pub(crate) fn arguments<A: Arguments>(values: Vec<Value>) -> Result<A, CatalogError>
        where
            $(for<'t> Option<$raw>: Encode<'t, A::Database> + Type<A::Database>,)*
        {
            let mut arguments = A::default();
            for value in values {
                let added = match value {
                    $(Value::$variant(value) => arguments.add(value)),*
                };
                added.map_err(CatalogError::Backend)?;
            }
            Ok(arguments)
        }

        /// A row of either database.
        pub(crate) trait Columns {
            /// The name of its first column.
            fn first(&self) -> &str;
            $(fn $get(&self, column: &str) -> Result<Option<$raw>, sqlx::Error>;)*
        }

        impl<R: Row> Columns for R
        where
            for<'c> &'c str: ColumnIndex<R>,
            $(for<'r> $raw: Decode<'r, R::Database> + Type<R::Database>,)*
        {
            fn first(&self) -> &str {
                sqlx::Column::name(&self.columns()[0])
            }

            $(fn $get(&self, column: &str) -> Result<Option<$raw>, sqlx::Error> {
                self.try_get(column)
            })*
        }

        $(impl ColumnType for $raw {
            fn value(raw: Option<Self>) -> Value {
                Value::$variant(raw)
            }

            fn get(row: &dyn Columns, column: &str) -> Result<Option<Self>, sqlx::Error> {
                row.$get(column)
            }
        })*
    };
}

column_types! {
    Bool(bool): bool,
    Int(i64): int,
    Text(String): text,
    Bytes(Vec<u8>): bytes,
    Json(Json<serde_json::Value>): json,
    Uuid(Uuid): uuid,
    Time(SqlTime): time,
}
