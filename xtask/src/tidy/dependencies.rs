//! Dependencies between the crates of the workspace.

use crate::shell::{Result, cargo, output};
use serde_json::Value;

/// The crates of the workspace that each crate may depend on, without the prefix of their names.
const MAY_DEPEND_ON: &[(&str, &str)] = &[
    ("imgsrv-domain", ""),
    ("imgsrv-inspect", ""),
    ("imgsrv-api", ""),
    ("imgsrv-simplestreams", "domain"),
    ("imgsrv-app", "domain inspect simplestreams"),
    ("imgsrv-catalog", "domain"),
    ("imgsrv-blobs", "domain"),
    ("imgsrv-auth", "domain"),
    ("imgsrv-backup", "domain app"),
    ("imgsrv-web", "domain app"),
    ("imgsrv-http", "domain app api simplestreams web"),
    ("imgsrv-client", "domain api"),
    ("imgsrv-cli", "domain inspect client"),
    ("imgsrv-server", "domain inspect api simplestreams app backup catalog blobs auth http client cli"),
    ("imgsrv-contract", "domain"),
    ("imgsrv-testkit", "domain app catalog blobs auth http"),
    ("xtask", "testkit"),
];
/// Crates for tests, which other crates use as dev-dependencies only.
const TEST_ONLY: &[&str] = &["imgsrv-contract", "imgsrv-testkit"];
/// Crates that the domain must not depend on.
const NOT_IN_DOMAIN: &[&str] = &["serde", "sqlx", "axum", "tokio", "utoipa", "object_store"];

pub(super) fn check() -> Result<Vec<String>> {
    let text = output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    Ok(breaches(&serde_json::from_str(&text)?))
}

fn breaches(metadata: &Value) -> Vec<String> {
    let mut breaches = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = MAY_DEPEND_ON.iter().find(|(known, _)| *known == name) else {
            breaches.push(format!(
                "{name} is not in the table of crates (xtask/src/tidy/dependencies.rs, docs/src/architecture.md)"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let (on, kind) = (dependency["name"].as_str().unwrap_or_default(), dependency["kind"].as_str());
            let ours = MAY_DEPEND_ON.iter().any(|(known, _)| *known == on);
            let is_listed = on.strip_prefix("imgsrv-").is_some_and(|on| allowed.split(' ').any(|listed| listed == on));
            let allowed = is_listed || (kind == Some("dev") && TEST_ONLY.contains(&on));
            let is_banned = name == "imgsrv-domain" && kind.is_none() && NOT_IN_DOMAIN.contains(&on);
            if (ours && !allowed) || is_banned {
                breaches.push(format!("{name} must not depend on {on}"));
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dependencies_outside_the_table_are_breaches() {
        let package = |name: &str, on: &str, kind: Option<&str>| json!({"name": name, "dependencies": [{"name": on, "kind": kind}]});
        for (allowed, name, on, kind) in [
            (true, "imgsrv-app", "imgsrv-domain", None),
            (true, "imgsrv-app", "moka", None),
            (true, "imgsrv-catalog", "imgsrv-contract", Some("dev")),
            (true, "imgsrv-domain", "serde", Some("dev")),
            (false, "imgsrv-domain", "imgsrv-app", None),
            (false, "imgsrv-domain", "serde", None),
            (false, "imgsrv-catalog", "imgsrv-contract", None),
            (false, "imgsrv-new", "serde", None),
        ] {
            let found = breaches(&json!({"packages": [package(name, on, kind)]}));
            assert_eq!(found.is_empty(), allowed, "{name} on {on}: {found:?}");
        }
    }
}
