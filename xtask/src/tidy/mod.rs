//! Rules of the workspace that the compiler does not check: who may depend on whom, and how files look.

use crate::shell::{Result, cargo, output, root};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Which of our crates a crate may depend on.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("imgsrv-domain", &[]),
    ("imgsrv-inspect", &[]),
    ("imgsrv-simplestreams", &["imgsrv-domain"]),
    ("imgsrv-app", &["imgsrv-domain", "imgsrv-inspect", "imgsrv-simplestreams"]),
    ("imgsrv-catalog", &["imgsrv-domain"]),
    ("imgsrv-auth", &["imgsrv-domain"]),
    ("imgsrv-blobs", &["imgsrv-domain"]),
    ("imgsrv-api", &[]),
    ("imgsrv-client", &["imgsrv-api"]),
    ("imgsrv-cli", &["imgsrv-client", "imgsrv-inspect"]),
    ("imgsrv-http", &["imgsrv-domain", "imgsrv-app", "imgsrv-api", "imgsrv-simplestreams"]),
    (
        "imgsrv-server",
        &[
            "imgsrv-domain",
            "imgsrv-app",
            "imgsrv-api",
            "imgsrv-http",
            "imgsrv-auth",
            "imgsrv-blobs",
            "imgsrv-catalog",
            "imgsrv-cli",
        ],
    ),
    ("imgsrv-contract", &["imgsrv-domain"]),
    (
        "imgsrv-testkit",
        &["imgsrv-domain", "imgsrv-app", "imgsrv-http", "imgsrv-auth", "imgsrv-blobs", "imgsrv-catalog"],
    ),
    ("xtask", &["imgsrv-testkit"]),
];
/// Crates of tests, which no product crate depends on but in its tests.
const TEST_ONLY: &[&str] = &["imgsrv-contract", "imgsrv-testkit"];
/// Crates that the domain must do without.
const NOT_IN_DOMAIN: &[&str] = &["serde", "sqlx", "axum", "tokio", "utoipa", "object_store"];
/// Lines of a source file, tests aside, from which on it must be rethought.
const MAX_LINES: usize = 600;

/// Checks all rules and tells of every breach.
pub(crate) fn run() -> Result<()> {
    let mut breaches = dependencies()?;
    breaches.extend(files(&root().join("crates"))?);
    breaches.extend(files(&root().join("xtask"))?);
    if breaches.is_empty() {
        println!("\nthe workspace is tidy");
        return Ok(());
    }
    Err(breaches.join("\n").into())
}

fn dependencies() -> Result<Vec<String>> {
    let text = output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&text)?;
    let mut breaches = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = MAY_DEPEND_ON.iter().find(|(known, _)| *known == name) else {
            breaches
                .push(format!("{name} is not in the table of crates (xtask/src/tidy.rs, docs/src/architecture.md)"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let (on, kind) = (dependency["name"].as_str().unwrap_or_default(), dependency["kind"].as_str());
            let ours = MAY_DEPEND_ON.iter().any(|(known, _)| *known == on);
            let allowed = allowed.contains(&on) || (kind == Some("dev") && TEST_ONLY.contains(&on));
            if ours && !allowed {
                breaches.push(format!("{name} must not depend on {on}"));
            }
            if name == "imgsrv-domain" && kind.is_none() && NOT_IN_DOMAIN.contains(&on) {
                breaches.push(format!("the domain must do without {on}"));
            }
        }
    }
    Ok(breaches)
}

fn files(folder: &Path) -> Result<Vec<String>> {
    let mut breaches = Vec::new();
    for path in sources(folder)? {
        let text = std::fs::read_to_string(&path)?;
        let shown = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        if !text.starts_with("//!") {
            breaches.push(format!("{shown} does not open with its purpose (//!)"));
        }
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        let is_test = shown.contains("/tests/");
        if !is_test && product.lines().count() > MAX_LINES {
            breaches.push(format!("{shown} has more than {MAX_LINES} lines"));
        }
        for mark in [concat!("#[", "ignore"), concat!("FIX", "ME")] {
            if text.contains(mark) {
                breaches.push(format!("{shown} has {mark}"));
            }
        }
    }
    Ok(breaches)
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}
