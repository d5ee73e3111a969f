//! Migrations: both databases have the same ones, by number and name.

use super::Source;
use std::collections::BTreeSet;

pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let names = |database: &str| -> BTreeSet<String> {
        let folder = format!("migrations/{database}");
        let of_database =
            sources.iter().filter(|source| source.path.parent().is_some_and(|parent| parent.ends_with(&folder)));
        of_database.filter_map(|source| Some(source.path.file_name()?.to_string_lossy().into_owned())).collect()
    };
    let (postgres, sqlite) = (names("postgres"), names("sqlite"));
    let missing = |database: &'static str, missing: &BTreeSet<String>, other: &BTreeSet<String>| {
        other.difference(missing).map(|name| format!("migrations/{database} lacks {name}")).collect::<Vec<_>>()
    };
    [missing("postgres", &postgres, &sqlite), missing("sqlite", &sqlite, &postgres)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_of_one_database_is_a_breach() {
        let source = |path: &str| Source::new(path, "");
        let both = || vec![source("migrations/postgres/0001_a.sql"), source("migrations/sqlite/0001_a.sql")];
        assert_eq!(check(&both()), [""; 0]);
        let mut more = both();
        more.push(source("migrations/sqlite/0002_b.sql"));
        assert_eq!(check(&more), ["migrations/postgres lacks 0002_b.sql"]);
    }
}
