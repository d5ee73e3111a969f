//! Details of problems: each names the object that the request is about, as the caller has sent it.

use imgsrv_testkit::{TestServer, digest, qcow2};
use serde_json::json;

const ID: &str = "0198c0de-0000-7000-8000-000000000000";

#[tokio::test]
async fn a_problem_of_something_missing_names_it() {
    let server = TestServer::start().await;
    let artifact = server.published("debian", "1", &qcow2(1)).await;
    let missing = digest(b"never sent");
    for (path, detail) in [
        ("/v1/images/ubuntu".to_owned(), "image ubuntu does not exist".to_owned()),
        ("/v1/images/ubuntu/versions".to_owned(), "image ubuntu does not exist".to_owned()),
        ("/v1/images/debian/versions/7".to_owned(), "version debian/7 does not exist".to_owned()),
        (
            "/v1/images/debian/refs/latest".to_owned(),
            "image debian has no published version or alias latest".to_owned(),
        ),
        ("/images/debian/latest/".to_owned(), "image debian has no published version or alias latest".to_owned()),
        ("/images/debian/1/disk.img".to_owned(), "debian/1 has no file disk.img".to_owned()),
        ("/v1/images/debian/aliases/latest".to_owned(), "alias debian/latest does not exist".to_owned()),
        (format!("/v1/images/debian/versions/1/artifacts/{ID}"), format!("version debian/1 has no artifact {ID}")),
        (
            format!("/v1/images/debian/versions/1/artifacts/{artifact}/attachments/{ID}/download"),
            format!("artifact {artifact} has no attachment {ID}"),
        ),
        (format!("/v1/blobs/{missing}"), format!("blob {missing} does not exist")),
        (format!("/v1/publish-jobs/{ID}"), format!("publish job {ID} does not exist")),
        (format!("/v1/uploads/{ID}"), format!("upload session {ID} does not exist")),
    ] {
        let refused = server.write("GET", &path, None).await.json();
        assert_eq!((&refused["status"], &refused["detail"]), (&json!(404), &json!(detail)), "{path}");
    }
    for (path, detail) in [
        (format!("/v1/auth/principals/{ID}"), format!("principal {ID} does not exist")),
        ("/v1/auth/oidc-provisioning-rules/ci".to_owned(), "provisioning rule ci does not exist".to_owned()),
    ] {
        let refused = server.manage("GET", &path, None).await.json();
        assert_eq!(refused["detail"], json!(detail), "{path}");
    }
}

#[tokio::test]
async fn a_problem_of_a_draft_is_the_same_as_of_a_missing_version_for_those_who_cannot_see_it() {
    let server = TestServer::start().await;
    server.draft("debian", "1", &qcow2(1)).await;
    for (path, detail) in [
        ("/v1/images/debian", "image debian does not exist"),
        ("/v1/images/debian/versions/1", "version debian/1 does not exist"),
        ("/v1/images/debian/refs/1", "image debian has no published version or alias 1"),
    ] {
        assert_eq!(server.get(path).await.json()["detail"], detail, "{path}");
    }
}

#[tokio::test]
async fn a_refusal_names_the_object_and_its_state() {
    let server = TestServer::start().await;
    server.published("debian", "1", &qcow2(1)).await;
    server.draft("debian", "2", &qcow2(2)).await;
    server.write("POST", "/v1/images/debian/versions", Some(json!({"version": "3"}))).await;
    let latest = "/v1/images/debian/aliases/latest";
    for (method, path, body, detail) in [
        ("DELETE", "/v1/images/debian/versions/1", None, "cannot delete version debian/1: its state is published"),
        (
            "DELETE",
            "/v1/images/debian",
            None,
            "image debian has versions; only an image without versions can be deleted",
        ),
        (
            "PUT",
            latest,
            Some(json!({"version": "2"})),
            "alias debian/latest cannot point to version debian/2, which is not published: its state is draft",
        ),
        (
            "POST",
            "/v1/images/debian/versions/3/publish",
            None,
            "version debian/3 cannot be published: the version has no artifact",
        ),
        ("POST", "/v1/images", Some(json!({"name": "debian"})), "an image with this name already exists: image debian"),
        (
            "POST",
            "/v1/images/debian/versions",
            Some(json!({"version": "1"})),
            "the image already has a version or an alias with this name: version debian/1",
        ),
    ] {
        assert_eq!(server.write(method, path, body).await.json()["detail"], detail, "{method} {path}");
    }
}

#[tokio::test]
async fn an_invalid_value_is_repeated_in_quotes_escaped_and_shortened() {
    let server = TestServer::start().await;
    let image = |name: &str| Some(json!({"name": name}));
    let pattern = "must begin with a lowercase letter or digit, contain only lowercase letters, digits and . _ -, and have at \
                   most 128 characters";
    let long = "a".repeat(5000);
    for (method, path, body, detail) in [
        ("GET", "/v1/images/Debian", None, format!("name: \"Debian\" {pattern}")),
        ("GET", "/v1/images/%1B%5B31m%E2%80%AEx", None, format!("name: \"\\u{{1b}}[31m\\u{{202e}}x\" {pattern}")),
        ("GET", "/v1/images?limit=many", None, "limit: \"many\" must be from 1 to 1000".to_owned()),
        ("POST", "/v1/images", image("Debian"), format!("name: \"Debian\" {pattern}")),
        ("POST", "/v1/images", image(&long), format!("name: \"{}…\" {pattern}", &long[..64])),
    ] {
        assert_eq!(server.write(method, path, body).await.json()["detail"], json!(detail), "{method} {path}");
    }
    let unknown = server.get("/v2/%1Bnothing?token=secret").await.json();
    assert_eq!(unknown["detail"], "\"/v2/%1Bnothing\" is not a URL of this server");
}
