//! `cargo xtask fill`: fills an empty catalog with many published versions, so that it can be seen how costs grow.

use crate::shell::{Result, run};
use clap::Args;
use std::{io::Write, path::Path, process::Command, time::Instant};
use tempfile::NamedTempFile;

/// How many versions each of the large images has.
pub(crate) const LARGE: u32 = 5_000;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The file of a SQLite catalog, or the URL of a PostgreSQL database. The server has created its tables, and does not run
    #[arg(value_name = "CATALOG")]
    catalog: String,
    /// How many versions to publish, on up to 10,000 images. From 10,000 on, half of them are versions of images that have
    /// 5,000 each; of fewer, there is one such image beside them
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(10..=10_000_000))]
    versions: u32,
    /// How many more blobs to record to which nothing refers
    #[arg(long, default_value_t = 0)]
    unreferenced: u32,
}

/// What a filled catalog contains: `image-00000` to one less than `images`, of which the first `large` have 5,000 versions.
/// Version `v{n}` for each `n` below `versions`: first those of the large images, then one of each other image in turn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) versions: u32,
    pub(crate) images: u32,
    pub(crate) large: u32,
}

impl Shape {
    /// The shape of a catalog that is filled with so many versions.
    pub(crate) fn of(versions: u32) -> Self {
        let large = (versions / (2 * LARGE)).max(1);
        let beside = if versions < 2 * LARGE { LARGE } else { 0 };
        Self { versions: versions + beside, images: (versions / 10).clamp(large + 1, 10_000), large }
    }

    /// The image of version `v{n}`.
    pub(crate) fn image_of(self, n: u32) -> u32 {
        match n.checked_sub(self.large * LARGE) {
            None => n / LARGE,
            Some(other) => self.large + other % (self.images - self.large),
        }
    }

    /// The number of the first version of an image.
    pub(crate) fn first_version_of(self, image: u32) -> u32 {
        let large = image.min(self.large);
        large * LARGE + (image - large)
    }
}

/// Fills the catalog with the tools of its database. The versions have no content in a store: their blobs are records only.
pub(crate) fn fill(options: &Options) -> Result<()> {
    fill_catalog(&options.catalog, options.versions, options.unreferenced)
}

/// The same for a catalog that another task has created.
pub(crate) fn fill_catalog(catalog: &str, versions: u32, unreferenced: u32) -> Result<()> {
    let is_postgres = ["postgres://", "postgresql://"].iter().any(|scheme| catalog.starts_with(scheme));
    let template = if is_postgres { POSTGRES } else { SQLITE };
    if !is_postgres && !Path::new(catalog).exists() {
        return Err(format!("{catalog} does not exist: start the server once, so that it creates the catalog").into());
    }
    let Shape { versions, images, large } = Shape::of(versions);
    let mut script = NamedTempFile::new()?;
    let sql = template
        .replace("{versions}", &versions.to_string())
        .replace("{images}", &images.to_string())
        .replace("{large}", &large.to_string())
        .replace("{unreferenced}", &unreferenced.to_string());
    script.write_all(sql.as_bytes())?;
    let began = Instant::now();
    if is_postgres {
        run(Command::new("psql").args(["--quiet", "--no-psqlrc", "--file"]).arg(script.path()).arg(catalog))?;
    } else {
        run(Command::new("sqlite3").arg(catalog).arg(format!(".read {}", script.path().display())))?;
    }
    println!("{versions} versions of {images} images, {large} of which have {LARGE}, in {:?}", began.elapsed());
    Ok(())
}

pub(crate) const POSTGRES: &str = include_str!("fill/postgres.sql");
pub(crate) const SQLITE: &str = include_str!("fill/sqlite.sql");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_the_versions_that_the_scripts_give_them() {
        let small = Shape::of(1_000);
        assert_eq!((small.versions, small.images, small.large), (6_000, 100, 1));
        assert_eq!([0, 4_999, 5_000, 5_098, 5_099].map(|n| small.image_of(n)), [0, 0, 1, 99, 1]);
        assert_eq!([0, 1, 99].map(|image| small.first_version_of(image)), [0, 5_000, 5_098]);
        let large = Shape::of(1_000_000);
        assert_eq!((large.versions, large.images, large.large), (1_000_000, 10_000, 100));
        assert_eq!([5_000, 499_999, 500_000, 509_900].map(|n| large.image_of(n)), [1, 99, 100, 100]);
    }
}
