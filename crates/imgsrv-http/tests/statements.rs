//! The SQL statements that requests cost on both databases, beside `BEGIN` and `COMMIT`. They are the numbers of the table in
//! `docs/src/reference/statements.md`.

use futures::future::join_all;
use imgsrv_app::Ran;
use imgsrv_domain::work::WorkKind;
use imgsrv_testkit::{Issuer, SigningKey, Statements, TestServer, digest, qcow2};
use serde_json::{Value, json};
use std::time::Duration;

const VERSION: &str = "/v1/images/debian/versions/1";
const FILE: &str = "/images/debian/1/debian-1-amd64.qcow2";
const REVISION: &str = "SELECT revision FROM catalog_revision";
const ALIASED: [&str; 2] = ["/v1/images/debian/refs/latest", "/images/debian/latest/debian-amd64.qcow2"];

/// The databases, in the order of the table's columns.
#[derive(Debug, Clone, Copy)]
enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    async fn server(self) -> TestServer {
        match self {
            Self::Sqlite => TestServer::start().await,
            Self::Postgres => TestServer::start_on_postgres().await,
        }
    }

    /// What it costs to find out that nothing has changed.
    const fn revision(self) -> &'static [&'static str] {
        match self {
            Self::Sqlite => &[],
            Self::Postgres => &[REVISION],
        }
    }
}

/// A server with a published version that has an alias, and the paths that name the version.
async fn published(database: Database) -> (TestServer, [String; 6]) {
    let server = database.server().await;
    let artifact = server.published("debian", "1", &qcow2(1)).await;
    let alias = server.write("PUT", "/v1/images/debian/aliases/latest", Some(json!({"version": "1"}))).await;
    assert!(alias.status.is_success(), "{alias:?}");
    let paths = [
        VERSION.to_owned(),
        format!("{VERSION}/artifacts"),
        format!("{VERSION}/artifacts/{artifact}/download"),
        FILE.to_owned(),
        "/images/debian/1/SHA256SUMS".to_owned(),
        "/images/debian/1/".to_owned(),
    ];
    (server, paths)
}

/// The statements of an anonymous GET.
async fn cost(server: &TestServer, statements: &Statements, path: &str) -> Vec<String> {
    statements.take();
    let answer = server.get(path).await;
    assert!(answer.status.is_success(), "{path}: {answer:?}");
    statements.take()
}

/// Lets the revision that was read last get too old to be current.
async fn a_second_later() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(1)).await;
    tokio::time::resume();
}

async fn published_content(database: Database, statements: &Statements) {
    for at in 0..8 {
        let (server, paths) = published(database).await;
        let path = paths.iter().map(String::as_str).chain(ALIASED).nth(at).expect("a path");
        let spent = cost(&server, statements, path).await;
        assert!(spent.len() <= 4, "{path} costs {spent:#?} when nothing is cached");
    }
    let (server, paths) = published(database).await;
    for path in &paths {
        cost(&server, statements, path).await;
        assert_eq!(cost(&server, statements, path).await, Vec::<String>::new(), "{path}");
        a_second_later().await;
        assert_eq!(cost(&server, statements, path).await, database.revision(), "{path}");
    }
    for path in ALIASED {
        cost(&server, statements, path).await;
        assert_eq!(cost(&server, statements, path).await, database.revision(), "{path}");
        // Any change, also one that consumers do not see.
        server.token_with("auditor").await;
        assert_eq!(cost(&server, statements, path).await, [REVISION], "{path}");
    }
    // Those that wait while the revision is read share the next read.
    statements.take();
    let answers = join_all((0..32).map(|_| server.get(ALIASED[0]))).await;
    assert!(answers.iter().all(|answer| answer.status.is_success()), "{answers:?}");
    let spent = statements.take();
    assert!(spent.len() <= 8 && spent.iter().all(|sql| sql == REVISION), "32 requests cost {spent:#?}");
}

/// A server that admits tokens of an issuer, that issuer, and such a token.
async fn oidc(database: Database) -> (TestServer, Issuer, String) {
    let (server, issuer) = (database.server().await, Issuer::start().await);
    let key = SigningKey::generate("ES256", "first");
    issuer.publish(&[&key]);
    let rule = json!({
        "display_name": "CI", "issuer_url": issuer.url, "audience": "imgsrv", "forwarded_claims": ["repository"],
        "condition": "claims.repository == 'acme/images'",
    });
    let saved = server.manage("POST", "/v1/auth/oidc-provisioning-rules", Some(rule)).await;
    assert!(saved.status.is_success(), "{saved:?}");
    let now = server.services.adapters().catalog.catalog_time().await.expect("a time").micros() / 1_000_000;
    let token = key.sign(&json!({
        "iss": issuer.url, "sub": "repo:acme/images", "aud": "imgsrv", "exp": now + 600, "iat": now, "nbf": now,
        "repository": "acme/images",
    }));
    (server, issuer, token)
}

/// Whether a statement records the last use of a token, which happens once a minute whatever the request is.
fn is_touch(sql: &str) -> bool {
    sql.contains("SET last_used_at = ")
}

/// Runs all work of one kind that is due.
async fn work(server: &TestServer, kind: WorkKind) {
    let worker = server.services.worker(kind);
    while worker.run_once().await.expect("work") == Ran::Worked {}
}

/// Runs `request`, and adds its name and the number of its statements to `table`.
async fn count<T>(
    table: &mut Vec<(&'static str, usize)>,
    statements: &Statements,
    name: &'static str,
    request: impl Future<Output = T>,
) -> T {
    statements.take();
    let answer = request.await;
    table.push((name, statements.take().iter().filter(|sql| !is_touch(sql)).count()));
    answer
}

/// What each kind of request costs, in the order of the table's rows.
async fn measure(database: Database, statements: &Statements) -> Vec<(&'static str, usize)> {
    let (server, mut table) = (database.server().await, Vec::new());
    let upload = server.open_upload(b"onetwothree").await;
    server.put_part(&upload, 1, "one").await;
    count(&mut table, statements, "part", server.put_part(&upload, 2, "two")).await;
    server.put_part(&upload, 3, "three").await;
    let listed = server.write("GET", &format!("/v1/uploads/{upload}/parts"), None).await.json();
    let part =
        |part: &Value| json!({"number": part["part_number"], "etag": part["etag"], "size_bytes": part["size_bytes"]});
    let parts: Vec<Value> = listed["parts"].as_array().expect("parts").iter().map(part).collect();
    let complete = format!("/v1/uploads/{upload}/complete");
    let completing = server.write("POST", &complete, Some(json!({"parts": parts})));
    assert!(count(&mut table, statements, "complete", completing).await.status.is_success());
    count(&mut table, statements, "ingest", work(&server, WorkKind::Ingest)).await;
    server.draft("debian", "1", &qcow2(1)).await;
    let publish = format!("{VERSION}/publish");
    let publishing = server.write("POST", &publish, None);
    assert!(count(&mut table, statements, "publish", publishing).await.status.is_success());
    count(&mut table, statements, "publish job", work(&server, WorkKind::Publish)).await;
    count(&mut table, statements, "bearer", server.write("GET", "/v1/auth/whoami", None)).await;
    for name in ["streams, changed", "streams"] {
        count(&mut table, statements, name, server.get("/streams/v1/images.json")).await;
    }
    let (server, _issuer, token) = oidc(database).await;
    for name in ["JWT, first", "JWT"] {
        let asking = server.call(Some(&token), "GET", "/v1/auth/whoami", None);
        let answer = count(&mut table, statements, name, asking).await;
        assert!(answer.status.is_success(), "{answer:?}");
    }
    for (name, path) in [
        ("manifest by version, uncached", VERSION),
        ("file by version, uncached", FILE),
        ("manifest by alias, uncached", ALIASED[0]),
        ("file by alias, uncached", ALIASED[1]),
    ] {
        let (server, _paths) = published(database).await;
        let answer = count(&mut table, statements, name, server.get(path)).await;
        assert!(answer.status.is_success(), "{answer:?}");
    }
    let (server, paths) = published(database).await;
    server.get(VERSION).await;
    for (name, path) in [
        ("manifest by version, cached", paths[0].as_str()),
        ("file by version, first", &paths[3]),
        ("file by version, again", &paths[3]),
        ("manifest by alias", ALIASED[0]),
        ("file by alias", ALIASED[1]),
    ] {
        let answer = count(&mut table, statements, name, server.get(path)).await;
        assert!(answer.status.is_success(), "{answer:?}");
    }
    for (name, is_jwt) in [("link of an API token, again", false), ("link of a JWT, again", true)] {
        let (server, _issuer, jwt) = oidc(database).await;
        let artifact = server.published("debian", "1", &qcow2(1)).await;
        let maker = if is_jwt { &jwt } else { &server.writer };
        let (url, body) = (format!("{VERSION}/artifacts/{artifact}/links"), Some(json!({"ttl": "1h"})));
        let made = server.call(Some(maker), "POST", &url, body).await.json();
        let link =
            made["url"].as_str().and_then(|url| url.strip_prefix("http://images.test")).expect("a URL").to_owned();
        server.get(&link).await;
        let answer = count(&mut table, statements, name, server.get(&link)).await;
        assert!(answer.status.is_success(), "{answer:?}");
    }
    let (server, _paths) = published(database).await;
    for name in ["blob by digest, first", "blob by digest, again"] {
        count(&mut table, statements, name, server.get(&blob_url())).await;
    }
    let reader = hide(&server).await;
    for (name, path) in [
        ("private manifest by version, uncached", VERSION.to_owned()),
        ("private manifest by version, cached", VERSION.to_owned()),
        ("private file by version, first in an hour", FILE.to_owned()),
        ("private file by version, again", FILE.to_owned()),
        ("private blob by digest, again", blob_url()),
    ] {
        if name == "private blob by digest, again" {
            server.call(Some(&reader), "GET", &path, None).await;
        }
        let asking = server.call(Some(&reader), "GET", &path, None);
        let answer = count(&mut table, statements, name, asking).await;
        assert!(answer.status.is_success(), "{answer:?}");
    }
    table
}

fn blob_url() -> String {
    format!("/v1/blobs/{}", digest(&qcow2(1)))
}

/// Makes the image private; returns a token of a reader of it.
async fn hide(server: &TestServer) -> String {
    let admin = server.token_with("content-admin").await;
    let body = json!({"visibility": "private"});
    let hidden = server.call(Some(&admin), "PATCH", "/v1/images/debian", Some(body)).await;
    assert!(hidden.status.is_success(), "{hidden:?}");
    server.token_with("content-reader").await
}

/// For a caller who may not read it, a private image costs the statements that one costs that does not exist.
async fn hidden_content_costs_what_absent_content_does(database: Database, statements: &Statements) {
    let (server, paths) = published(database).await;
    let reader = hide(&server).await;
    let auditor = server.token_with("auditor").await;
    let absent_blob = format!("/v1/blobs/{}", digest(b"nothing"));
    let mut pairs = vec![(blob_url(), absent_blob)];
    let more = [
        "/v1/images/debian",
        "/v1/images/debian/versions",
        "/v1/images/debian/aliases/latest",
        "/images/debian/feed.atom",
    ];
    for path in paths.iter().map(String::as_str).chain(ALIASED).chain(more) {
        // In memory for those who may read it.
        server.call(Some(&reader), "GET", path, None).await;
        pairs.push((path.to_owned(), path.replace("debian", "nobody")));
    }
    for who in [None, Some(&*auditor)] {
        for (hidden, absent) in &pairs {
            let mut spent = Vec::new();
            for path in [hidden, absent] {
                statements.take();
                let answer = server.call(who, "GET", path, None).await;
                assert_eq!(answer.status, 404, "{path}");
                spent.push(statements.take().into_iter().filter(|sql| !is_touch(sql)).collect::<Vec<_>>());
            }
            assert_eq!(spent[0], spent[1], "{hidden}");
        }
    }
}

/// Many readers of the streams, at once after a change, read the changed rows once.
async fn readers_share_one_snapshot(database: Database, statements: &Statements) {
    let server = database.server().await;
    for version in 1..4 {
        server.published("debian", &version.to_string(), &qcow2(version)).await;
        statements.take();
        let answers = join_all((0..500).map(|_| server.get("/streams/v1/images.json"))).await;
        assert!(answers.iter().all(|answer| answer.status.is_success() && answer.body == answers[0].body));
        let spent = statements.take();
        let snapshots = spent.iter().filter(|sql| sql.contains("FROM incus_rows r")).count();
        assert_eq!(snapshots, 1, "{database:?}, version {version}");
        assert!(spent.len() <= 16, "{database:?}: 500 requests share reads of the revision: {spent:#?}");
    }
}

#[tokio::test]
async fn requests_cost_the_documented_number_of_statements() {
    let statements = Statements::record();
    let mut columns = Vec::new();
    for database in [Database::Sqlite, Database::Postgres] {
        published_content(database, &statements).await;
        readers_share_one_snapshot(database, &statements).await;
        hidden_content_costs_what_absent_content_does(database, &statements).await;
        columns.push(measure(database, &statements).await);
    }
    let rows = columns[0].iter().zip(&columns[1]);
    let measured: String =
        rows.map(|((name, sqlite), (_, postgres))| format!("| {name} | {sqlite} | {postgres} |\n")).collect();
    let page = include_str!("../../../docs/src/reference/statements.md");
    let rows = page.lines().filter(|line| line.starts_with("| ")).skip(2);
    let documented: String = rows.map(|row| format!("{row}\n")).collect();
    assert_eq!(documented, measured, "docs/src/reference/statements.md should have these rows:\n{measured}");
}
