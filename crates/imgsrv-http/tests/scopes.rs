//! Roles that are limited to some images, tokens that are narrower than their principal, and uploads that belong to
//! the principal that opened them.

use axum::http::StatusCode;
use imgsrv_testkit::{TestServer, digest};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A principal and a token of it.
struct Who {
    url: String,
    token: String,
}

impl Who {
    /// A principal with a role on the images that the patterns name.
    async fn with(server: &TestServer, role: &str, images: &[&str]) -> Self {
        let body = json!({"kind": "service", "display_name": format!("{role} of {}", images.join(" "))});
        let made = server.manage("POST", "/v1/auth/principals", Some(body)).await.json();
        let url = format!("/v1/auth/principals/{}", made["id"].as_str().expect("an id"));
        let body = (!images.is_empty()).then(|| json!({"images": images}));
        let granted = server.manage("PUT", &format!("{url}/roles/{role}"), body).await;
        assert_eq!(granted.status, StatusCode::NO_CONTENT, "{}", granted.problem());
        let token = Self::token_of(server, &url, json!({})).await;
        Self { url, token }
    }

    /// Another token of the principal, with these limits.
    async fn token_of(server: &TestServer, url: &str, limits: Value) -> String {
        let mut body = json!({"expires_at": "2099-01-01T00:00:00Z"});
        body.as_object_mut().expect("an object").extend(limits.as_object().expect("an object").clone());
        let issued = server.manage("POST", &format!("{url}/api-tokens"), Some(body)).await;
        assert_eq!(issued.status, StatusCode::CREATED, "{}", issued.problem());
        issued.json()["plaintext"].as_str().expect("a token").to_owned()
    }
}

/// The status of a request, and the code of its problem.
async fn ask(server: &TestServer, token: &str, method: &str, path: &str, body: Option<Value>) -> (u16, String) {
    let response = server.call(Some(token), method, path, body).await;
    let code = if response.status.is_success() { String::new() } else { response.problem() };
    (response.status.as_u16(), code)
}

/// Every change of an image that needs a permission on it, with a body that is valid.
fn changes(image: &str) -> Vec<(&'static str, &'static str, String, Option<Value>)> {
    let artifact = json!({
        "operating_system": "debian", "architecture": "amd64", "format": "qcow2",
        "primary_media_type": "application/x-qemu-disk", "primary_blob_digest": digest(b"x"), "primary_blob_size_bytes": 1,
    });
    let uuid = "00000000-0000-0000-0000-000000000000";
    let version = format!("/v1/images/{image}/versions/1");
    vec![
        ("content.write", "PATCH", format!("/v1/images/{image}"), Some(json!({"description": "x"}))),
        ("content.write", "POST", format!("/v1/images/{image}/versions"), Some(json!({"version": "9"}))),
        ("content.write", "DELETE", version.clone(), None),
        ("content.write", "POST", format!("{version}/artifacts"), Some(artifact)),
        ("content.write", "DELETE", format!("{version}/artifacts/{uuid}"), None),
        (
            "content.write",
            "POST",
            format!("{version}/artifacts/{uuid}/attachments"),
            Some(json!({
                "name": "x", "media_type": "text/plain", "blob_digest": digest(b"x"), "blob_size_bytes": 1,
            })),
        ),
        ("content.write", "DELETE", format!("{version}/artifacts/{uuid}/attachments/{uuid}"), None),
        ("content.write", "POST", format!("{version}/publish"), None),
        ("content.write", "PUT", format!("/v1/images/{image}/aliases/latest"), Some(json!({"version": "1"}))),
        ("content.write", "DELETE", format!("/v1/images/{image}/aliases/latest"), None),
        ("content.write", "DELETE", format!("/v1/images/{image}"), None),
        ("content.write", "GET", format!("/v1/images/{image}/versions?state=all"), None),
        ("content.write", "POST", format!("{version}/artifacts/{uuid}/incus-metadata"), Some(json!({}))),
        ("content.retire", "POST", format!("{version}/deprecate"), Some(json!({"reason": "old"}))),
        ("content.retire", "POST", format!("{version}/revoke"), Some(json!({"reason": "leaked"}))),
        ("content.retire", "POST", format!("{version}/remove"), Some(json!({}))),
        ("content.retire", "POST", format!("{version}/restore"), Some(json!({}))),
        ("content.retire", "PUT", format!("{version}/hold"), Some(json!({"reason": "audit"}))),
        ("content.retire", "DELETE", format!("{version}/hold"), None),
        ("content.retire", "GET", format!("/v1/images/{image}/retention"), None),
        ("content.retire", "GET", format!("/v1/images/{image}/retention/preview"), None),
        ("content.retire", "DELETE", format!("/v1/images/{image}/retention"), None),
    ]
}

#[tokio::test]
async fn a_role_counts_only_on_the_images_of_its_scope() {
    let server = TestServer::start().await;
    for image in ["debian-13", "fedora"] {
        server.published(image, "1", image.as_bytes()).await;
    }
    server.write("POST", "/v1/images", Some(json!({"name": "secret-plan"}))).await;
    let writer = Who::with(&server, "content-writer", &["debian-*", "tools"]).await;
    let admin = Who::with(&server, "content-admin", &["debian-*"]).await;

    for (permission, method, path, body) in changes("fedora") {
        for who in [&writer, &admin] {
            let (status, code) = ask(&server, &who.token, method, &path, body.clone()).await;
            assert_eq!((status, code.as_str()), (403, "forbidden"), "{method} {path} needs {permission}");
        }
    }
    // An image that cannot be seen does not exist, whether or not it does.
    for image in ["secret-plan", "no-such-image"] {
        for (permission, method, path, body) in changes(image) {
            let (status, code) = ask(&server, &admin.token, method, &path, body).await;
            assert_eq!((status, code.as_str()), (404, "not-found"), "{method} {path} needs {permission}");
        }
    }
    for (permission, method, path, body) in changes("debian-13") {
        let (status, code) = ask(&server, &admin.token, method, &path, body.clone()).await;
        assert_ne!(code, "forbidden", "{method} {path} {status}");
        if permission == "content.retire" {
            let (_, code) = ask(&server, &writer.token, method, &path, body).await;
            assert_eq!(code, "forbidden", "{method} {path}");
        }
    }
    // A new image needs a name in the scope; that is no answer about what exists.
    for (name, expected) in [("tools", 201), ("debian-14", 201), ("fedora", 403), ("secret-plan", 403), ("new", 403)] {
        let (status, _) = ask(&server, &writer.token, "POST", "/v1/images", Some(json!({"name": name}))).await;
        assert_eq!(status, expected, "{name}");
    }
    assert_eq!(server.get("/v1/images/fedora/versions/1").await.status, StatusCode::OK, "nothing was changed");
}

#[tokio::test]
async fn a_scoped_writer_sees_what_is_unpublished_in_its_scope_alone() {
    let server = TestServer::start().await;
    server.published("public", "1", b"public").await;
    for image in ["debian-13", "fedora"] {
        server.draft(image, "1", image.as_bytes()).await;
    }
    let who = Who::with(&server, "content-writer", &["debian-*"]).await;
    let names = async |token: &str| {
        let listed = server.call(Some(token), "GET", "/v1/images?include_unpublished=true", None).await.json();
        let images = listed["images"].as_array().expect("a list").clone();
        images.iter().map(|image| image["name"].as_str().expect("a name").to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(names(&who.token).await, BTreeSet::from(["debian-13".to_owned(), "public".to_owned()]));
    let everywhere = Who::with(&server, "content-writer", &[]).await;
    let narrow = Who::token_of(&server, &everywhere.url, json!({"images": ["fed*"]})).await;
    assert_eq!(names(&narrow).await, BTreeSet::from(["fedora".to_owned(), "public".to_owned()]));
    assert_eq!(names(&everywhere.token).await.len(), 3);

    for (image, expected) in [("debian-13", 200), ("fedora", 404), ("public", 200)] {
        for path in [format!("/v1/images/{image}"), format!("/v1/images/{image}/versions/1")] {
            assert_eq!(ask(&server, &who.token, "GET", &path, None).await.0, expected, "{path}");
        }
    }
    // Jobs follow their image.
    let job = server.write("POST", "/v1/images/fedora/versions/1/publish", None).await.json();
    let job = format!("/v1/publish-jobs/{}", job["job_id"].as_str().expect("an id"));
    assert_eq!(ask(&server, &everywhere.token, "GET", &job, None).await.0, 200);
    for (method, path) in [("GET", job.clone()), ("POST", format!("{job}/retry")), ("POST", format!("{job}/abandon"))] {
        assert_eq!(ask(&server, &who.token, method, &path, None).await, (404, "not-found".to_owned()), "{path}");
    }
    let listed = server.call(Some(&who.token), "GET", "/v1/publish-jobs", None).await.json();
    assert_eq!(listed["jobs"], json!([]), "{listed}");
}

#[tokio::test]
async fn a_token_allows_what_both_it_and_its_principal_allow() {
    let server = TestServer::start().await;
    server.published("debian-13", "1", b"debian").await;
    server.published("tools", "1", b"tools").await;
    let who = Who::with(&server, "content-admin", &["debian-*", "tools"]).await;
    let reader = Who::token_of(&server, &who.url, json!({"role_ids": ["content-reader"]})).await;
    let writer =
        Who::token_of(&server, &who.url, json!({"role_ids": ["content-writer"], "images": ["tools", "fedora"]}));
    let writer = writer.await;
    let describe = async |token: &str, image: &str| {
        let body = Some(json!({"description": "x"}));
        ask(&server, token, "PATCH", &format!("/v1/images/{image}"), body).await.0
    };
    assert_eq!(describe(&reader, "tools").await, 403);
    assert_eq!((describe(&writer, "tools").await, describe(&writer, "debian-13").await), (200, 403));
    assert_eq!(describe(&who.token, "debian-13").await, 200);
    let (status, _) = ask(&server, &writer, "POST", "/v1/images", Some(json!({"name": "fedora"}))).await;
    assert_eq!(status, 403, "a token grants nothing that its principal lacks");
    let retire = Some(json!({"reason": "old"}));
    assert_eq!(ask(&server, &writer, "POST", "/v1/images/tools/versions/1/deprecate", retire).await.0, 403);

    let shown = server.call(Some(&writer), "GET", "/v1/auth/whoami", None).await.json();
    assert_eq!(shown["actions"], json!(["content.read", "content.write"]));
    let on = |action: &str| json!({"action": action, "images": ["tools"]});
    assert_eq!(shown["permissions"], json!([on("content.read"), on("content.write")]));
    assert_eq!(shown["authentication"]["role_ids"], json!(["content-writer"]));
    assert_eq!(shown["authentication"]["images"], json!(["fedora", "tools"]));
    assert_eq!(shown["principal"]["roles"], json!([{"id": "content-admin", "images": ["debian-*", "tools"]}]));
    assert_eq!(shown["principal"]["role_ids"], json!(["content-admin"]));
    let listed = server.manage("GET", &format!("{}/api-tokens", who.url), None).await.json();
    assert_eq!(listed["api_tokens"][2]["images"], json!(["fedora", "tools"]));
    assert!(listed["api_tokens"][0].get("images").is_none() && listed["api_tokens"][0].get("role_ids").is_none());

    // Taking the role away takes it from every token.
    server.manage("DELETE", &format!("{}/roles/content-admin", who.url), None).await;
    assert_eq!(describe(&writer, "tools").await, 403);
}

#[tokio::test]
async fn whoami_shows_what_a_token_allows_and_where() {
    let server = TestServer::start().await;
    let who = Who::with(&server, "content-writer", &["debian-*"]).await;
    for role in ["auth-manager", "operator"] {
        let granted = server.manage("PUT", &format!("{}/roles/{role}", who.url), None).await;
        assert_eq!(granted.status, StatusCode::NO_CONTENT);
    }
    let content = |images: Value| {
        let on = |action: &str| {
            let mut permission = json!({"action": action});
            permission.as_object_mut().expect("an object").extend(images.as_object().expect("an object").clone());
            permission
        };
        [on("content.read"), on("content.write")]
    };
    let system = ["system.operate", "system.read"].map(|action| json!({"action": action}));
    let auth = ["audit.read", "auth.manage"].map(|action| json!({"action": action}));
    let debian = content(json!({"images": ["debian-*"]}));
    let whole = [auth.as_slice(), &debian, &system].concat();
    for (limits, expected) in [
        (json!({}), whole.clone()),
        (json!({"images": ["*"]}), whole),
        (json!({"role_ids": ["content-writer", "auditor"]}), [&auth[..1], &debian, &system[1..]].concat()),
        // Narrower patterns count instead, and others besides.
        (json!({"images": ["debian-13", "tools"]}), content(json!({"images": ["debian-13"]})).to_vec()),
        (json!({"images": ["d*", "debian-13"]}), content(json!({"images": ["debian-*", "debian-13"]})).to_vec()),
        (json!({"images": ["*-13"]}), content(json!({"images": ["debian-*"], "within_images": ["*-13"]})).to_vec()),
        (json!({"images": ["fedora"]}), Vec::new()),
        (json!({"role_ids": ["content-reader"], "images": ["debian-*"]}), debian[..1].to_vec()),
        (
            json!({"role_ids": ["content-admin"], "images": ["debian-13"]}),
            content(json!({"images": ["debian-13"]})).to_vec(),
        ),
    ] {
        let token = Who::token_of(&server, &who.url, limits.clone()).await;
        let shown = server.call(Some(&token), "GET", "/v1/auth/whoami", None).await.json();
        assert_eq!(shown["permissions"], json!(expected), "{limits}");
        let actions: Vec<_> = expected.iter().map(|permission| permission["action"].clone()).collect();
        assert_eq!(shown["actions"], json!(actions), "{limits}");
        // What it does not show is refused.
        let upload = json!({"expected_digest": digest(b"x"), "expected_size_bytes": 1});
        let uploads = ask(&server, &token, "POST", "/v1/uploads", Some(upload)).await.0;
        assert_eq!(uploads == 403, !actions.contains(&json!("content.write")), "{limits} {uploads}");
        let manages = ask(&server, &token, "GET", "/v1/auth/principals", None).await.0;
        assert_eq!(manages == 200, actions.contains(&json!("auth.manage")), "{limits}");
    }
}

#[tokio::test]
async fn the_scope_of_a_role_is_replaced_widened_and_checked() {
    let server = TestServer::start().await;
    let who = Who::with(&server, "content-writer", &["debian-*"]).await;
    let role = format!("{}/roles/content-writer", who.url);
    let shown = async || server.manage("GET", &who.url, None).await.json()["roles"].clone();
    let grant = async |body: Option<Value>| server.manage("PUT", &role, body).await;
    for (body, expected) in [
        (None, json!([{"id": "content-writer", "images": ["debian-*"]}])),
        (Some(json!({})), json!([{"id": "content-writer", "images": ["debian-*"]}])),
        (Some(json!({"images": ["b", "a", "b"]})), json!([{"id": "content-writer", "images": ["a", "b"]}])),
        (Some(json!({"images": ["*"]})), json!([{"id": "content-writer"}])),
        (None, json!([{"id": "content-writer"}])),
        (Some(json!({"images": ["a"]})), json!([{"id": "content-writer", "images": ["a"]}])),
    ] {
        assert_eq!(grant(body.clone()).await.status, StatusCode::NO_CONTENT, "{body:?}");
        assert_eq!(shown().await, expected, "{body:?}");
    }
    let many: Vec<_> = (0..65).map(|at| format!("image-{at}")).collect();
    for bad in [
        json!({"images": []}),
        json!({"images": ["A"]}),
        json!({"images": many}),
        json!({"images": "a"}),
        json!({"x": 1}),
    ] {
        assert_eq!(grant(Some(bad.clone())).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    for role in ["auth-manager", "operator"] {
        let url = format!("{}/roles/{role}", who.url);
        let refused = server.manage("PUT", &url, Some(json!({"images": ["a"]}))).await;
        assert_eq!(
            (refused.status, refused.problem().as_str()),
            (StatusCode::BAD_REQUEST, "invalid-request"),
            "{role}"
        );
    }
    assert_eq!(shown().await, json!([{"id": "content-writer", "images": ["a"]}]), "nothing was changed");
    for bad in [
        json!({"role_ids": []}),
        json!({"role_ids": ["king"]}),
        json!({"images": []}),
        json!({"images": ["a b"]}),
        json!({"images": ["{claims.repository}-*"]}),
        json!({"role_ids": ["content-reader", "auditor"], "images": ["a"]}),
    ] {
        let mut body = json!({"expires_at": "2099-01-01T00:00:00Z"});
        body.as_object_mut().expect("an object").extend(bad.as_object().expect("an object").clone());
        let refused = server.manage("POST", &format!("{}/api-tokens", who.url), Some(body)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    let entries = server.manage("GET", "/v1/audit?action=role.granted", None).await;
    let text = String::from_utf8_lossy(&entries.body).into_owned();
    assert!(text.contains("content-writer on a, b"), "{text}");
}

#[tokio::test]
async fn an_upload_belongs_to_the_principal_that_opened_it() {
    let server = TestServer::start().await;
    let (owner, other) = (server.writer.clone(), server.token_with("content-writer").await);
    let upload = server.open_upload(b"content").await;
    server.put_part(&upload, 1, b"content".to_vec()).await;
    let url = format!("/v1/uploads/{upload}");
    let part = json!({"parts": [{"number": 1, "etag": "00000000-0000-0000-0000-000000000000", "size_bytes": 7}]});
    let requests = [
        ("GET", url.clone(), None),
        ("GET", format!("{url}/parts"), None),
        ("PUT", format!("{url}/parts/1"), None),
        ("POST", format!("{url}/complete"), Some(part)),
        ("POST", format!("{url}/abort"), None),
    ];
    let narrow = Who::with(&server, "content-admin", &["debian-*"]).await;
    for token in [&other, &narrow.token] {
        for (method, path, body) in &requests {
            let (status, code) = ask(&server, token, method, path, body.clone()).await;
            assert_eq!((status, code.as_str()), (404, "not-found"), "{method} {path}");
        }
    }
    assert_eq!(server.upload_state(&upload).await, "uploading");
    // The same principal with another token is the owner.
    assert_eq!(ask(&server, &owner, "GET", &url, None).await.0, 200);

    // A content-admin of every image sees and aborts it, and cannot write to it.
    let admin = server.token_with("content-admin").await;
    assert_eq!(ask(&server, &admin, "PUT", &format!("{url}/parts/1"), None).await.0, 404);
    let listed = server.call(Some(&admin), "GET", "/v1/uploads?all=true", None).await.json();
    assert_eq!(listed["uploads"][0]["id"], json!(upload));
    assert!(listed["uploads"][0]["principal_id"].as_str().is_some_and(|id| !id.is_empty()));
    for token in [&other, &narrow.token] {
        assert_eq!(ask(&server, token, "GET", "/v1/uploads?all=true", None).await, (403, "forbidden".to_owned()));
    }
    assert_eq!(server.call(Some(&other), "GET", "/v1/uploads", None).await.json()["uploads"], json!([]));
    assert_eq!(ask(&server, &admin, "POST", &format!("{url}/abort"), None).await.0, 200);
    assert_eq!(server.upload_state(&upload).await, "aborted");
}

#[tokio::test]
async fn one_principal_cannot_use_up_the_uploads_of_all() {
    let server = TestServer::start_with(|settings| settings.max_open_uploads_per_principal = Some(2)).await;
    let open = async |token: &str, bytes: &[u8]| {
        let body = json!({"expected_digest": digest(bytes), "expected_size_bytes": bytes.len()});
        ask(&server, token, "POST", "/v1/uploads", Some(body)).await
    };
    let other = server.token_with("content-writer").await;
    assert_eq!(open(&server.writer, b"1").await.0, 201);
    assert_eq!(open(&server.writer, b"2").await.0, 201);
    assert_eq!(open(&server.writer, b"3").await, (429, "too-many-uploads".to_owned()));
    assert_eq!(open(&other, b"3").await.0, 201);
}

#[tokio::test]
async fn one_principal_cannot_use_up_the_space_for_the_uploads_of_all() {
    let server = TestServer::start_with(|settings| settings.max_staged_bytes_per_principal = Some(10)).await;
    let open = async |token: &str, size: u64| {
        let body = json!({"expected_digest": digest(&size.to_be_bytes()), "expected_size_bytes": size});
        ask(&server, token, "POST", "/v1/uploads", Some(body)).await
    };
    let other = server.token_with("content-writer").await;
    assert_eq!(open(&server.writer, 6).await.0, 201);
    assert_eq!(open(&server.writer, 5).await, (507, "storage-full".to_owned()));
    assert_eq!(open(&server.writer, 4).await.0, 201);
    assert_eq!(open(&other, 10).await.0, 201);
}

#[tokio::test]
async fn an_intake_ends_with_the_permission_to_write_to_its_image() {
    let server = TestServer::start().await;
    let who = Who::with(&server, "content-writer", &["debian-*", "other-*"]).await;
    let narrow = Who::token_of(&server, &who.url, json!({"images": ["other-*"]})).await;
    let open = async |version: &str| {
        let body = json!({
            "image": "debian-13", "version": version, "operating_system": "debian", "architecture": "amd64",
            "format": "qcow2", "size_bytes": 4, "aliases": ["latest"],
        });
        let opened = server.call(Some(&who.token), "POST", "/api/images", Some(body)).await;
        assert_eq!(opened.status, StatusCode::CREATED, "{}", opened.problem());
        opened.json()["upload_session_id"].as_str().expect("an id").to_owned()
    };
    let append = async |token: &str, id: &str| {
        let request = axum::http::Request::builder()
            .method("PATCH")
            .uri(format!("/api/uploads/tus/{id}"))
            .header("authorization", format!("Bearer {token}"))
            .header("tus-resumable", "1.0.0")
            .header("upload-offset", "0")
            .header("content-type", "application/offset+octet-stream");
        server.send(request.body("data".into()).expect("a request")).await.status.as_u16()
    };
    let (first, second) = (open("1").await, open("2").await);
    // A token that is limited to other images neither sees nor continues it.
    assert_eq!(ask(&server, &narrow, "GET", &format!("/api/uploads/{first}"), None).await.0, 404);
    assert_eq!(append(&narrow, &first).await, 404);
    // What was received before the role was limited is not published after that.
    assert_eq!(append(&who.token, &first).await, 204);
    let role = format!("{}/roles/content-writer", who.url);
    server.manage("PUT", &role, Some(json!({"images": ["other-*"]}))).await;
    assert_eq!(append(&who.token, &second).await, 404);
    server.settle().await;
    assert_eq!(server.get("/v1/images/debian-13/versions/1").await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.get("/v1/images/debian-13/aliases/latest").await.status, StatusCode::NOT_FOUND);
    server.manage("PUT", &role, Some(json!({"images": ["debian-*"]}))).await;
    let status = server.call(Some(&who.token), "GET", &format!("/api/uploads/{first}"), None).await.json();
    assert_eq!(status["state"], "failed", "{status}");
    assert!(status.to_string().contains("may no longer write to the image debian-13"), "{status}");
}
