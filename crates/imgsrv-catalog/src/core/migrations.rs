//! The migrations, which are a part of the program. `sqlx::migrate!` would embed them as well; its macros compile both
//! databases, TLS and SQLite a second time, for the compiler.

use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType},
};

/// The migrator of the files in a folder of `migrations`. Both databases have files of the same names.
macro_rules! migrator {
    ($folder:literal) => {
        std::sync::LazyLock::new(|| {
            sqlx::migrate::Migrator::with_migrations(vec![crate::core::migrations::migration(
                1,
                "initial",
                include_str!(concat!("../../../../migrations/", $folder, "/0001_initial.sql")),
            )])
        })
    };
}
pub(crate) use migrator;

/// The migration in the file `<version>_<description>.sql`.
pub(crate) fn migration(version: i64, description: &'static str, sql: &'static str) -> Migration {
    Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::migrate::Migrator;
    use std::{collections::BTreeSet, path::Path, sync::LazyLock};

    static SQLITE: LazyLock<Migrator> = migrator!("sqlite");

    #[test]
    fn every_file_is_a_part_of_the_program() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/sqlite");
        let files = std::fs::read_dir(folder).expect("the migrations");
        let files: BTreeSet<_> =
            files.map(|file| file.expect("a file").file_name().into_string().expect("UTF-8")).collect();
        let name = |migration: &Migration| format!("{:04}_{}.sql", migration.version, migration.description);
        assert_eq!(SQLITE.iter().map(name).collect::<BTreeSet<_>>(), files);
    }
}
