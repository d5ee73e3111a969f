//! The packages in an image, and how they differ between two images.

use crate::text::check;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

/// The packages in an image: their names, each with its versions. A package whose version is unknown has none.
///
/// As text it is a line a package: the name and the versions, with a tab before each version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PackageList(BTreeMap<String, BTreeSet<String>>);

/// The text is not a list of packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a list of packages")]
pub struct InvalidPackageList;

impl PackageList {
    /// The most packages.
    pub const MAX_PACKAGES: usize = 20_000;
    /// The most characters of a name or a version.
    pub const MAX_TEXT: usize = 200;
    /// The most versions of a package.
    pub const MAX_VERSIONS: usize = 16;

    /// A list of these packages, without those that have a name or a version that is too long, is empty or has characters
    /// that mislead a reader. `None` if there are too many packages, or none.
    pub fn new(packages: BTreeMap<String, BTreeSet<String>>) -> Option<Self> {
        let is_shown = |text: &String| !text.is_empty() && check(text, Self::MAX_TEXT).is_ok();
        let mut packages = packages;
        packages.retain(|name, versions| {
            is_shown(name) && versions.len() <= Self::MAX_VERSIONS && versions.iter().all(is_shown)
        });
        (!packages.is_empty() && packages.len() <= Self::MAX_PACKAGES).then_some(Self(packages))
    }

    /// How the packages of `self` differ from those of an earlier list, by name.
    pub fn changes_since(&self, before: &Self) -> Vec<PackageChange> {
        let names: BTreeSet<_> = self.0.keys().chain(before.0.keys()).collect();
        let versions = |list: &Self, name: &String| list.0.get(name).map(|versions| versions.iter().cloned().collect());
        let change = |name: &String| PackageChange {
            name: name.clone(),
            before: versions(before, name),
            now: versions(self, name),
        };
        names.into_iter().map(change).filter(|change| change.before != change.now).collect()
    }
}

impl fmt::Display for PackageList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, versions) in &self.0 {
            f.write_str(name)?;
            versions.iter().try_for_each(|version| write!(f, "\t{version}"))?;
            f.write_str("\n")?;
        }
        Ok(())
    }
}

impl FromStr for PackageList {
    type Err = InvalidPackageList;

    fn from_str(raw: &str) -> Result<Self, InvalidPackageList> {
        let mut packages = BTreeMap::new();
        for line in raw.lines() {
            let mut parts = line.split('\t').map(str::to_owned);
            packages.insert(parts.next().unwrap_or_default(), parts.collect());
        }
        let lines = packages.len();
        Self::new(packages).filter(|list| list.0.len() == lines).ok_or(InvalidPackageList)
    }
}

/// A package that differs between two images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageChange {
    /// Its name.
    pub name: String,
    /// Its versions before; absent if it is new.
    pub before: Option<Vec<String>>,
    /// Its versions now; absent if it is gone.
    pub now: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(packages: &[(&str, &[&str])]) -> Option<PackageList> {
        let owned = |(name, versions): &(&str, &[&str])| {
            ((*name).to_owned(), versions.iter().map(|version| (*version).to_owned()).collect())
        };
        PackageList::new(packages.iter().map(owned).collect())
    }

    #[test]
    fn changes_are_what_is_new_gone_or_of_another_version() {
        let before = list(&[("bash", &["5.1"]), ("gone", &["1"]), ("same", &["1", "2"]), ("unknown", &[])]).unwrap();
        let now = list(&[("bash", &["5.2"]), ("new", &["3"]), ("same", &["1", "2"]), ("unknown", &[])]).unwrap();
        let change = |name: &str, before: Option<&str>, now: Option<&str>| PackageChange {
            name: name.to_owned(),
            before: before.map(|version| vec![version.to_owned()]),
            now: now.map(|version| vec![version.to_owned()]),
        };
        let expected =
            [change("bash", Some("5.1"), Some("5.2")), change("gone", Some("1"), None), change("new", None, Some("3"))];
        assert_eq!(now.changes_since(&before), expected);
        assert_eq!(now.changes_since(&now), []);
    }

    #[test]
    fn packages_that_cannot_be_shown_are_left_out() {
        let long = "x".repeat(PackageList::MAX_TEXT + 1);
        let shown = list(&[("bash", &["5.2"])]);
        for hidden in ["", "two\nlines", "a\tb", "\u{202e}evil", &long] {
            assert_eq!(list(&[("bash", &["5.2"]), (hidden, &["1"])]), shown, "{hidden:?}");
            assert_eq!(list(&[("bash", &["5.2"]), ("other", &[hidden])]), shown, "{hidden:?}");
        }
        assert_eq!(list(&[]), None);
        let many = (0..=PackageList::MAX_PACKAGES).map(|number| (number.to_string(), BTreeSet::new()));
        assert_eq!(PackageList::new(many.collect()), None);
    }

    proptest! {
        #[test]
        fn a_list_is_what_its_text_says(packages: BTreeMap<String, BTreeSet<String>>) {
            if let Some(list) = PackageList::new(packages) {
                prop_assert_eq!(list.to_string().parse(), Ok(list));
            }
        }
    }
}
