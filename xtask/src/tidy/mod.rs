//! Rules of the workspace that the compiler does not check.

mod circles;
mod dependencies;
mod files;
mod links;
mod migrations;
mod words;

use crate::shell::{Result, root};
use std::path::{Path, PathBuf};

/// Checks all rules and reports every breach.
pub(crate) fn run() -> Result<()> {
    let (rust, sql) = (sources(&["crates", "xtask"], "rs")?, sources(&["migrations"], "sql")?);
    let mut documentation = sources(&["docs/src"], "md")?;
    documentation.extend(pages_of_the_root()?);
    let mut breaches = dependencies::check()?;
    breaches.extend(circles::check(&rust)?);
    breaches.extend(files::check(&rust));
    breaches.extend(words::check(rust.iter().chain(&sql).chain(&documentation)));
    breaches.extend(links::check(&documentation));
    breaches.extend(migrations::check(&sql));
    if breaches.is_empty() {
        println!("\nthe workspace is tidy");
        return Ok(());
    }
    Err(breaches.join("\n").into())
}

/// A source file of the repository.
struct Source {
    /// Its path, relative to the root of the repository.
    path: PathBuf,
    text: String,
}

/// All files with an extension in `folders`, by path.
fn sources(folders: &[&str], extension: &str) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for folder in folders {
        read(Path::new(folder), extension, &mut sources)?;
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(sources)
}

fn read(folder: &Path, extension: &str, sources: &mut Vec<Source>) -> Result<()> {
    for entry in std::fs::read_dir(root().join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            read(&path, extension, sources)?;
        } else if path.extension().is_some_and(|found| found == extension) {
            let text = std::fs::read_to_string(entry.path())?;
            sources.push(Source { path, text });
        }
    }
    Ok(())
}

/// README and the other Markdown files of the root folder.
fn pages_of_the_root() -> Result<Vec<Source>> {
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(root())? {
        let path = PathBuf::from(entry?.file_name());
        if path.extension().is_some_and(|found| found == "md") {
            let text = std::fs::read_to_string(root().join(&path))?;
            pages.push(Source { path, text });
        }
    }
    Ok(pages)
}

#[cfg(test)]
impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.to_owned() }
    }
}
