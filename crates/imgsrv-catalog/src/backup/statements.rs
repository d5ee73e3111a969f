//! The statements that read and write the records of one kind.

/// The statements of one table.
pub(crate) struct Statements {
    /// Its first rows by key.
    pub(crate) first: String,
    /// The rows after a key.
    pub(crate) next: String,
    insert_sqlite: String,
    insert_postgres: String,
    /// Stores all columns of the row with a key.
    pub(crate) update: String,
}

impl Statements {
    /// Those of `table`, whose first `keys` columns of `columns` are its key.
    pub(crate) fn new(table: &str, columns: &[&str], keys: usize) -> Self {
        let quoted = |columns: &[&str]| columns.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        let numbered = |count: usize| (1..=count).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ");
        let (all, key) = (quoted(columns), quoted(&columns[..keys]));
        let select = |condition: &str, limit: usize| {
            format!("SELECT {all} FROM {table} {condition}ORDER BY {key} LIMIT ${limit}")
        };
        let insert =
            |overriding: &str| format!("INSERT INTO {table} ({all}) {overriding}VALUES ({})", numbered(columns.len()));
        let equal = |column: &str, number: usize| format!("\"{column}\" = ${number}");
        let numbers = |columns: &[&str], from: usize, by: &str| {
            (from..).zip(columns).map(|(number, column)| equal(column, number)).collect::<Vec<_>>().join(by)
        };
        let (set, found) = (numbers(&columns[keys..], keys + 1, ", "), numbers(&columns[..keys], 1, " AND "));
        Self {
            first: select("", 1),
            next: select(&format!("WHERE ({key}) > ({}) ", numbered(keys)), keys + 1),
            insert_sqlite: insert(""),
            // Without effect on tables that do not number their rows themselves.
            insert_postgres: insert("OVERRIDING SYSTEM VALUE "),
            update: format!("UPDATE {table} SET {set} WHERE {found}"),
        }
    }

    /// Inserts a row, with its number if the database numbers its rows.
    pub(crate) fn insert(&self, locks_rows: bool) -> &str {
        if locks_rows { &self.insert_postgres } else { &self.insert_sqlite }
    }
}
