//! Everything that a client sees of a server.

use imgsrv_testkit::digest;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    /// The text of a document, the digest of anything else.
    pub(crate) body: String,
}

/// The answers of a server, by path.
pub(crate) type Seen = BTreeMap<String, Answer>;

const HEADERS: [&str; 8] = [
    "etag",
    "last-modified",
    "content-type",
    "content-length",
    "content-digest",
    "repr-digest",
    "content-disposition",
    "deprecation",
];
/// Values that requests change, and the id of a request.
const VOLATILE: [&str; 2] = ["last_used_at", "instance"];

/// A request with a token.
pub(crate) fn get(url: &str, token: &str, path: &str) -> (ureq::http::HeaderMap, u16, Vec<u8>) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let response = agent.get(format!("{url}{path}")).header("authorization", format!("Bearer {token}")).call();
    let mut response = response.unwrap_or_else(|error| panic!("{path}: {error}"));
    let body = response.body_mut().with_config().limit(1 << 30).read_to_vec().expect("a body");
    (response.headers().clone(), response.status().as_u16(), body)
}

/// A document.
pub(crate) fn json(url: &str, token: &str, path: &str) -> Value {
    let (_, status, body) = get(url, token, path);
    assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).expect("JSON")
}

fn without_volatile(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !VOLATILE.contains(&name.as_str()));
            fields.values_mut().for_each(without_volatile);
        }
        Value::Array(items) => items.iter_mut().for_each(without_volatile),
        _ => {}
    }
}

/// Walks a server: its documents, everything that they link to, its streams and all files.
pub(crate) fn walk(url: &str, token: &str) -> Seen {
    let mut seen = Seen::new();
    let mut queue: BTreeSet<String> = [
        "/v1/images?include_unpublished=true&limit=200",
        "/v1/publish-jobs?limit=200",
        "/v1/auth/principals?limit=200",
        "/v1/auth/oidc-provisioning-rules?limit=200",
        "/v1/auth/whoami",
        "/v1/auth/roles",
        "/streams/v1/index.json",
        "/streams/v1/images.json",
    ]
    .map(str::to_owned)
    .into();
    while let Some(path) = queue.pop_first() {
        let (headers, status, body) = get(url, token, &path);
        let parsed: Option<Value> = serde_json::from_slice(&body).ok();
        if let Some(document) = &parsed {
            links(url, &path, document, &mut |link| {
                if !seen.contains_key(&link) {
                    queue.insert(link);
                }
            });
        }
        let body = match parsed {
            Some(mut document) => {
                without_volatile(&mut document);
                document.to_string().replace(url, "URL")
            }
            None => digest(&body),
        };
        let named = |name: &str| Some((name.to_owned(), headers.get(name)?.to_str().ok()?.replace(url, "URL")));
        // A list of tokens says when they were last used.
        let compared = if path.contains("/api-tokens") { &[][..] } else { &HEADERS[..] };
        let headers = compared.iter().filter_map(|name| named(name)).collect();
        seen.insert(path, Answer { status, headers, body });
    }
    seen
}

/// The paths that a document leads to.
fn links(url: &str, path: &str, document: &Value, found: &mut impl FnMut(String)) {
    let items = |name: &str| document[name].as_array().cloned().unwrap_or_default();
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    for image in items("images") {
        let image = format!("/v1/images/{}", text(&image, "name"));
        found(image.clone());
        for rest in ["aliases?limit=200", "retention"] {
            found(format!("{image}/{rest}"));
        }
        for lifecycle in ["", "&lifecycle=all"] {
            found(format!("{image}/versions?limit=200{lifecycle}"));
        }
    }
    if let Some((image, _)) = path.split_once("/versions?") {
        for version in items("versions") {
            let version = format!("{image}/versions/{}", text(&version, "version"));
            found(format!("{version}/lifecycle"));
            found(version);
        }
    }
    if let Some((image, _)) = path.split_once("/aliases?") {
        for alias in items("aliases") {
            let name = text(&alias, "alias");
            found(format!("{image}/aliases/{name}"));
            found(format!("{image}/refs/{name}"));
            found(format!("{}/{name}/", image.trim_start_matches("/v1")));
        }
    }
    for principal in items("principals") {
        found(format!("/v1/auth/principals/{}/api-tokens?limit=200", text(&principal, "id")));
    }
    for job in items("jobs") {
        found(format!("/v1/publish-jobs/{}", text(&job, "id")));
    }
    every_string(document, &mut |string| {
        // Digests have a URL each, and streams list paths.
        if let Some(hex) = string.strip_prefix("sha256:") {
            found(format!("/cas/sha256/{}/{hex}", &hex[..2]));
            found(format!("/v1/blobs/{string}"));
        }
        let is_file = string.starts_with("/images/") || string.starts_with("images/") || string.starts_with("streams/");
        match string.strip_prefix(url) {
            Some(path) if path.starts_with('/') => found(path.to_owned()),
            None if is_file => found(format!("/{}", string.trim_start_matches('/'))),
            _ => {}
        }
    });
    if let Some((image, version)) = path
        .strip_prefix("/v1/images/")
        .and_then(|rest| rest.split_once("/versions/"))
        .filter(|(_, v)| !v.contains('/'))
    {
        for name in ["", "SHA256SUMS"] {
            found(format!("/images/{image}/{version}/{name}"));
        }
    }
}

fn every_string(value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => found(text),
        Value::Array(items) => items.iter().for_each(|item| every_string(item, found)),
        Value::Object(fields) => fields.values().for_each(|value| every_string(value, found)),
        _ => {}
    }
}

/// All rows of the audit log, newest first, without those of exports and imports, and of the downloads of a comparison.
pub(crate) fn audit(url: &str, token: &str) -> Vec<Value> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = json(url, token, &format!("/v1/audit?limit=200{cursor}"));
        rows.extend(page["entries"].as_array().expect("entries").clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let is_own = |action: &str| action.starts_with("catalog.") || action == "file.downloaded";
    rows.retain(|row| !row["action"].as_str().is_some_and(is_own));
    rows
}

/// Fails unless both servers answer every request in the same way.
pub(crate) fn assert_same(original: &Seen, restored: &Seen) {
    let different: Vec<String> = original
        .keys()
        .chain(restored.keys())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .filter(|path| original.get(*path) != restored.get(*path))
        .map(|path| format!("{path}\n  {:?}\n  {:?}", original.get(path), restored.get(path)))
        .collect();
    assert!(different.is_empty(), "{} paths differ:\n{}", different.len(), different.join("\n"));
}
