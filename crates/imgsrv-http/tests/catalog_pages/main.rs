//! Pages for people on the URLs of the API.
#![expect(clippy::unwrap_used, reason = "tests")]

mod hostile;
mod packages;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use imgsrv_testkit::{TestResponse, TestServer};
use serde_json::json;
use std::time::Duration;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";

async fn visit(server: &TestServer, path: &str) -> TestResponse {
    visit_with(server, path, &[]).await
}

async fn visit_with(server: &TestServer, path: &str, headers: &[(header::HeaderName, &str)]) -> TestResponse {
    let mut request = Request::builder().uri(path).header(header::ACCEPT, BROWSER);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    server.send(request.body(Body::empty()).unwrap()).await
}

fn text(response: &TestResponse) -> String {
    String::from_utf8(response.body.clone()).unwrap()
}

#[track_caller]
fn assert_page(response: &TestResponse, status: StatusCode) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("content-type"), "text/html; charset=utf-8");
    let policy = response.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'self'; img-src 'self'; script-src 'sha256-"),
        "{policy}"
    );
    assert!(policy.ends_with("; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"), "{policy}");
    assert_eq!(response.header("x-content-type-options"), "nosniff");
    let page = text(response);
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"), "{page}");
    assert!(!page.contains("style=") && !page.contains("onclick"), "{page}");
}

async fn revoke(server: &TestServer, image: &str, version: &str, body: serde_json::Value) {
    let admin = server.token_with("content-admin").await;
    let url = format!("/v1/images/{image}/versions/{version}/revoke");
    let revoked = server.call(Some(&admin), "POST", &url, Some(body)).await;
    assert_eq!(revoked.status, StatusCode::OK, "{revoked:?}");
}

#[tokio::test]
async fn a_browser_gets_pages_and_every_other_client_what_it_got_before() {
    let server = TestServer::start().await;
    server.published("debian", "12.5.0", b"disk").await;
    let alias = server.write("PUT", "/v1/images/debian/aliases/latest", Some(json!({"version": "12.5.0"}))).await;
    assert!(alias.status.is_success(), "{alias:?}");
    for path in ["/", "/images/", "/images", "/images/debian/", "/images/debian"] {
        assert_page(&visit(&server, path).await, StatusCode::OK);
        let other = server.get(path).await;
        assert_eq!((other.status, other.problem().as_str()), (StatusCode::NOT_FOUND, "not-found"), "{path}");
    }
    for path in ["/images/debian/12.5.0/", "/images/debian/12.5.0", "/images/debian/latest/"] {
        let page = visit(&server, path).await;
        assert_page(&page, StatusCode::OK);
        let listing = server.get(path).await;
        assert_eq!(listing.header("content-type"), "application/json");
        assert!(listing.json()["files"].is_array());
        for response in [&page, &listing] {
            assert_eq!(response.header("vary"), "Accept, Authorization");
            assert_eq!(response.header("cache-control"), "no-cache");
        }
        assert_ne!(page.header("etag"), listing.header("etag"));
    }
    let java = server.get("/images/debian/latest/").await;
    assert_eq!(java.header("content-type"), "application/json");
    // A page is not asked for by a request that would change something.
    let post = Request::builder().method("POST").uri("/v1/images").header(header::ACCEPT, BROWSER);
    let post = server.send(post.body(Body::empty()).unwrap()).await;
    assert_eq!(post.header("content-type"), "application/problem+json");
}

#[tokio::test]
async fn pages_are_revalidated_by_their_entity_tags() {
    let server = TestServer::start().await;
    server.published("debian", "1", b"disk").await;
    for path in ["/", "/images/debian/", "/images/debian/1/", "/status", "/feed.atom", "/images/debian/feed.atom"] {
        let page = visit(&server, path).await;
        let etag = page.header("etag").to_owned();
        assert!(!etag.is_empty(), "{path}");
        let again = visit_with(&server, path, &[(header::IF_NONE_MATCH, &etag)]).await;
        assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
    }
    let (home, image) = (visit(&server, "/").await, visit(&server, "/images/debian/").await);
    server.published("debian", "2", b"another disk").await;
    for (path, before) in [("/", home), ("/images/debian/", image)] {
        let etag = before.header("etag").to_owned();
        let after = visit_with(&server, path, &[(header::IF_NONE_MATCH, &etag)]).await;
        assert_eq!(after.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn problems_are_pages_for_browsers_alone() {
    let server = TestServer::start().await;
    for path in ["/images/debian/", "/images/debian/1/", "/images/debian/1/disk.raw", "/nothing", "/assets/x.css"] {
        let page = visit(&server, path).await;
        assert_page(&page, StatusCode::NOT_FOUND);
        assert_eq!(page.header("cache-control"), "no-store");
        assert_eq!(server.get(path).await.problem(), "not-found");
    }
    assert_page(&visit(&server, "/?kind=floppy").await, StatusCode::BAD_REQUEST);
    assert_page(&visit(&server, "/?cursor=x").await, StatusCode::BAD_REQUEST);
    let unauthorized = visit_with(&server, "/", &[(header::AUTHORIZATION, "Bearer nonsense")]).await;
    assert_page(&unauthorized, StatusCode::UNAUTHORIZED);
    // URLs for programs have no pages.
    assert_eq!(visit(&server, "/v1/images/debian").await.problem(), "not-found");
}

#[tokio::test]
async fn a_search_is_in_the_url_and_paged_by_cursor() {
    let server = TestServer::start().await;
    assert!(text(&visit(&server, "/").await).contains("No image is offered"));
    let disk = server.blob(b"disk").await;
    for number in 0..53 {
        server.published(&format!("image-{number:02}"), "1", b"disk").await;
    }
    let _ = disk;
    let first = text(&visit(&server, "/").await);
    let links = |page: &str| page.matches("href=\"/images/image-").count() / 2;
    assert_eq!(links(&first), 50);
    let next = first.split("rel=\"next\"").next().unwrap().rsplit("href=\"").next().unwrap();
    let next = next.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
    let second = text(&visit(&server, &next).await);
    assert_eq!(links(&second), 3);
    assert!(second.contains("First page") && !second.contains("rel=\"next\""));
    let found = text(&visit(&server, "/?q=IMAGE-07&os=debian&arch=amd64&kind=vm&state=active&sort=newest").await);
    assert_eq!(links(&found), 1);
    assert!(found.contains("value=\"IMAGE-07\"") && found.contains("<option value=\"vm\" selected>"), "{found}");
    let none = text(&visit(&server, "/?q=nothing").await);
    assert!(none.contains("No image matches"), "{none}");
    assert!(text(&visit(&server, "/?os=alpine").await).contains("No image matches"));
}

#[tokio::test]
async fn a_version_page_shows_files_commands_and_what_changed() {
    let server = TestServer::start().await;
    server.published("debian", "1", b"old disk").await;
    server.clock.advance(Duration::from_secs(2));
    server.published("debian", "2", b"a new disk").await;
    server.write("PUT", "/v1/images/debian/aliases/latest", Some(json!({"version": "2"}))).await;
    let hex = imgsrv_testkit::digest(b"a new disk").trim_start_matches("sha256:").to_owned();

    let pinned = text(&visit(&server, "/images/debian/2/?for=curl").await);
    assert!(pinned.contains(&hex) && pinned.contains("debian-2-amd64.qcow2"), "{pinned}");
    assert!(pinned.contains("curl -fLO --retry 3 http://images.test/images/debian/2/debian-2-amd64.qcow2"), "{pinned}");
    assert!(pinned.contains("Follow latest") && pinned.contains("What changed since"), "{pinned}");
    assert!(pinned.contains("no incus.tar.xz is attached to it"), "{pinned}");

    let alias = text(&visit(&server, "/images/debian/latest/?for=curl").await);
    assert!(alias.contains("http://images.test/images/debian/latest/debian-amd64.qcow2"), "{alias}");
    assert!(alias.contains("Pin 2"), "{alias}");

    for program in ["virt-install", "qemu", "packer", "terraform", "proxmox", "kubevirt", "cloud-init"] {
        let page = text(&visit(&server, &format!("/images/debian/2/?for={program}")).await);
        assert!(page.contains("http://images.test/images/debian/2/debian-2-amd64.qcow2"), "{program}: {page}");
    }
    revoke(&server, "debian", "2", json!({"reason": "It has a bug.", "replacement": "1", "aliases": {"latest": "1"}}))
        .await;
    let page = visit(&server, "/images/debian/2/").await;
    assert_page(&page, StatusCode::GONE);
    assert_eq!((page.header("cache-control"), page.header("x-robots-tag")), ("no-store", "noindex"));
    let revoked = text(&page);
    for expected in ["Revoked", "It has a bug.", "no longer served", "href=\"/images/debian/1/\""] {
        assert!(revoked.contains(expected), "{expected}: {revoked}");
    }
    assert!(
        !revoked.contains("href=\"/images/debian/2/debian-2-amd64.qcow2\"") && !revoked.contains("id=\"commands\"")
    );
    let file = visit(&server, "/images/debian/2/debian-2-amd64.qcow2").await;
    assert_page(&file, StatusCode::GONE);
    assert!(text(&file).contains("href=\"/images/debian/1/\""), "{}", text(&file));
}

#[tokio::test]
async fn the_page_of_a_version_has_the_status_of_its_listing() {
    let server = TestServer::start().await;
    let admin = server.token_with("content-admin").await;
    for version in ["1", "2", "3", "4", "5", "6"] {
        server.published("debian", version, version.as_bytes()).await;
    }
    for (version, action, body) in [
        ("2", "deprecate", json!({"reason": "It is old."})),
        ("3", "revoke", json!({"reason": "It has a bug."})),
        ("4", "remove", json!({"reason": "It is old."})),
        ("5", "remove", json!({"reason": "It names a secret.", "purge": true})),
        ("6", "revoke", json!({"reason": "It has a bug."})),
        ("6", "remove", json!({"reason": "It is old."})),
    ] {
        let url = format!("/v1/images/debian/versions/{version}/{action}");
        let retired = server.call(Some(&admin), "POST", &url, Some(body)).await;
        assert_eq!(retired.status, StatusCode::OK, "{retired:?}");
    }
    for (version, status) in [("1", 200), ("2", 200), ("3", 410), ("4", 200), ("5", 410), ("6", 410)] {
        let path = format!("/images/debian/{version}/");
        assert_page(&visit(&server, &path).await, StatusCode::from_u16(status).unwrap());
        assert_eq!(server.get(&path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn pages_lead_to_the_current_version() {
    let server = TestServer::start().await;
    server.published("debian", "1", b"old disk").await;
    server.clock.advance(Duration::from_secs(2));
    server.published("debian", "2", b"a new disk").await;
    let page = async |path: &str| text(&visit(&server, path).await);
    let button = |path: &str| format!("<a class=\"button\" href=\"{path}#commands\">Use 2</a>");
    assert!(page("/images/debian/").await.contains(&button("/images/debian/2/")));
    let leads = "<dt>Current version</dt><dd><a href=\"/images/debian/2/\">2</a></dd>";
    assert!(page("/images/debian/1/").await.contains(leads));
    let alias = server.write("PUT", "/v1/images/debian/aliases/latest", Some(json!({"version": "2"}))).await;
    assert!(alias.status.is_success(), "{alias:?}");
    assert!(page("/images/debian/").await.contains(&button("/images/debian/latest/")));
    for path in ["/images/debian/2/", "/images/debian/latest/"] {
        let current = page(path).await;
        assert!(current.contains("<span class=\"tag good\">current</span>") && !current.contains(leads), "{path}");
    }
    for path in ["/images/debian/", "/images/debian/2/", "/status", "/images/nothing/"] {
        assert_eq!(page(path).await.matches("<search>").count(), 1, "{path}");
    }
    assert_eq!(page("/").await.matches("<search>").count(), 1);
}

#[tokio::test]
async fn the_status_page_shows_operators_more() {
    let server = TestServer::start().await;
    server.published("debian", "1", b"disk").await;
    let anonymous = visit(&server, "/status").await;
    assert_page(&anonymous, StatusCode::OK);
    assert!(text(&anonymous).contains("Everything works.") && !text(&anonymous).contains("Garbage collection"));
    let writer = visit_with(&server, "/status", &[(header::AUTHORIZATION, &format!("Bearer {}", server.writer))]).await;
    assert_eq!(text(&writer), text(&anonymous));
    for role in ["auditor", "operator"] {
        let token = server.token_with(role).await;
        let page = visit_with(&server, "/status", &[(header::AUTHORIZATION, &format!("Bearer {token}"))]).await;
        assert_page(&page, StatusCode::OK);
        assert_eq!(page.header("cache-control"), "private, no-cache");
        for expected in ["Nodes", "<dd>1 published</dd>", "<dd>1 blob, 4 B</dd>", "Garbage collection", "<dd>kept</dd>"]
        {
            assert!(text(&page).contains(expected), "{expected}: {}", text(&page));
        }
    }
}

#[tokio::test]
async fn crawlers_find_pages_and_no_bytes() {
    let server = TestServer::start().await;
    server.published("debian", "1", b"disk").await;
    assert!(text(&server.get("/robots.txt").await).contains("Disallow: /v1/"));
    let llms = server.get("/llms.txt").await;
    assert_eq!((llms.status, llms.header("content-type")), (StatusCode::OK, "text/markdown; charset=utf-8"));
    assert!(text(&llms).starts_with("# Images\n") && text(&llms).contains("http://images.test/images/{image}/"));
    for path in ["/images/debian/1/debian-1-amd64.qcow2", "/images/debian/1/SHA256SUMS"] {
        assert_eq!(server.get(path).await.header("x-robots-tag"), "noindex", "{path}");
    }
    assert_eq!(visit(&server, "/images/debian/1/").await.header("x-robots-tag"), "");
}

#[tokio::test]
async fn assets_never_change_and_feeds_list_the_newest_versions() {
    let server = TestServer::start().await;
    server.published("debian", "1", b"disk").await;
    let home = text(&visit(&server, "/").await);
    let style = home.split("rel=\"stylesheet\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let style = server.get(style).await;
    assert_eq!((style.status, style.header("content-type")), (StatusCode::OK, "text/css; charset=utf-8"));
    assert_eq!(style.header("cache-control"), "public, max-age=31536000, immutable");
    let feed = server.get("/images/debian/feed.atom").await;
    assert_eq!(feed.header("content-type"), "application/atom+xml; charset=utf-8");
    assert!(text(&feed).contains("<title>debian 1</title>"), "{}", text(&feed));
    assert_eq!(server.get("/images/nothing/feed.atom").await.problem(), "not-found");
    let reserved = server.write("POST", "/v1/images/debian/versions", Some(json!({"version": "feed.atom"}))).await;
    assert_eq!(reserved.problem(), "invalid-request");
}

#[tokio::test]
async fn links_have_the_public_path_and_commands_the_public_url() {
    let server = TestServer::start_serving(|_, http| {
        http.public_url = "https://example.org/srv".parse().ok();
        http.site.title = "Our images".parse().ok();
    })
    .await;
    server.published("debian", "1", b"disk").await;
    for path in ["/", "/srv/", "/srv/images/"] {
        let home = text(&visit(&server, path).await);
        assert!(home.contains("href=\"/srv/images/debian/\"") && home.contains("<h1>Our images</h1>"), "{home}");
        assert!(!home.contains("href=\"/images"), "{home}");
    }
    let page = text(&visit(&server, "/srv/images/debian/1/?for=curl").await);
    assert!(page.contains("https://example.org/srv/images/debian/1/debian-1-amd64.qcow2"), "{page}");
}

#[tokio::test]
async fn commands_trust_the_authority_of_the_server_first() {
    let pem = b"a certificate";
    let server = TestServer::start_serving(|_, http| {
        http.public_url = "https://images.test:8443/srv".parse().ok();
        http.authority = Some(pem.as_slice().into());
    })
    .await;
    server.published("debian", "1", b"disk").await;
    let sha256 = imgsrv_testkit::digest(pem).trim_start_matches("sha256:").to_owned();
    let fetch = format!(
        "curl -sSfo imgsrv.crt http://images.test:8443/srv/ca.pem && echo '{sha256}  imgsrv.crt' | sha256sum -c"
    );
    for (program, count, expected) in [
        ("curl", 3, "curl --cacert imgsrv.crt -fLO --retry 3 https://images.test:8443/srv/images/debian/1/"),
        ("curl", 3, "wget --ca-certificate=imgsrv.crt -c https://"),
        ("curl", 3, "curl --cacert imgsrv.crt -fsSO https://"),
        ("qemu", 2, "curl --cacert imgsrv.crt -fL -o "),
        (
            "packer",
            1,
            "&&\nsudo install -m 644 imgsrv.crt /usr/local/share/ca-certificates/ && sudo update-ca-certificates",
        ),
        ("kubevirt", 1, "&&\nkubectl create configmap imgsrv-authority --from-file=ca.pem=imgsrv.crt"),
        ("kubevirt", 1, "\"\n      certConfigMap: imgsrv-authority\n  storage:"),
    ] {
        let page = text(&visit(&server, &format!("/srv/images/debian/1/?for={program}")).await);
        let commands = imgsrv_testkit::commands_of(&page);
        assert!(commands[0].starts_with(&fetch), "{program}: {commands:#?}");
        assert!(commands.iter().any(|command| command.contains(expected)), "{expected}: {commands:#?}");
        let curls: usize = commands.iter().map(|command| command.matches("curl ").count()).sum();
        assert_eq!(curls, count, "{program}: {commands:#?}");
    }
    let llms = text(&server.get("/llms.txt").await);
    assert!(llms.contains("(https://images.test:8443/srv/ca.pem)") && llms.contains(&sha256), "{llms}");
    assert!(llms.contains("`incus remote add {name} https://images.test:8443/srv --protocol simplestreams`"), "{llms}");
}

#[tokio::test]
async fn text_for_programs_names_the_queries_of_all_tabs_and_no_command_that_needs_https() {
    let server = TestServer::start().await;
    let llms = text(&server.get("/llms.txt").await);
    assert!(!llms.contains("incus remote add") && !llms.contains("ca.pem"), "{llms}");
    assert!(!llms.contains("\n\n\n"), "{llms}");
    for program in ["incus`: Incus\n", "lxc`: LXD\n", "sysupdate`: systemd\n", "cloud-init`: cloud-init\n"] {
        assert!(llms.contains(&format!("\n- `?for={program}")), "{program}: {llms}");
    }
}

#[tokio::test]
async fn an_image_without_an_offered_version_is_not_linked() {
    let server = TestServer::start().await;
    server.published("debian", "1", b"disk").await;
    let crumb = "<li><a href=\"/images/debian/\">debian</a></li>";
    assert!(text(&visit(&server, "/images/debian/1/").await).contains(crumb));
    revoke(&server, "debian", "1", json!({"reason": "It has a bug."})).await;
    assert_page(&visit(&server, "/images/debian/").await, StatusCode::NOT_FOUND);
    let revoked = text(&visit(&server, "/images/debian/1/").await);
    assert!(!revoked.contains("href=\"/images/debian/\"") && revoked.contains("<li>debian</li>"), "{revoked}");
    let home = text(&visit(&server, "/").await);
    assert!(home.contains("No image is offered") && !home.contains("first one"), "{home}");
}

#[tokio::test]
async fn a_refused_search_text_says_why() {
    let server = TestServer::start().await;
    for (query, why) in [("%00", "must not contain U+0000"), (&*"a".repeat(201), "must have at most 200 characters")] {
        let page = visit(&server, &format!("/?q={query}")).await;
        assert_page(&page, StatusCode::BAD_REQUEST);
        assert!(text(&page).contains(why), "{}", text(&page));
    }
}
