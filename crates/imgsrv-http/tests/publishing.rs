//! From uploads to a published version, and what each caller can see of it.

use axum::http::StatusCode;
use imgsrv_testkit::{TestServer, digest, qcow2};
use serde_json::{Value, json};

#[tokio::test]
async fn a_version_is_uploaded_drafted_published_aliased_and_downloaded() {
    let server = TestServer::start().await;
    let bytes = qcow2(1);
    let artifact = server.draft("debian", "12.5.0", &bytes).await;
    let version = "/v1/images/debian/versions/12.5.0";

    assert_eq!(server.get("/v1/images").await.json()["images"], json!([]));
    assert_eq!(server.get(version).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.write("GET", version, None).await.json()["version"]["state"], "draft");

    let requested = server.write("POST", &format!("{version}/publish"), None).await;
    assert_eq!(requested.status, StatusCode::ACCEPTED);
    assert_eq!(requested.json()["state"], "publishing");
    let job = requested.json()["job_id"].clone();
    server.settle().await;

    let again = server.write("POST", &format!("{version}/publish"), None).await;
    assert_eq!((again.status, &again.json()["job_id"]), (StatusCode::OK, &job));
    assert_eq!(again.json()["state"], "published");
    let job = server.write("GET", &format!("/v1/publish-jobs/{}", job.as_str().expect("an id")), None).await.json();
    assert_eq!(job["state"], "succeeded");
    let steps: Vec<_> =
        job["steps"].as_array().expect("steps").iter().map(|step| (&step["name"], &step["state"])).collect();
    let succeeded = json!("succeeded");
    let names = ["validate_catalog", "incus_index", "finalize_publish"].map(|name| json!(name));
    assert_eq!(steps, names.each_ref().map(|name| (name, &succeeded)));

    let alias = server.write("PUT", "/v1/images/debian/aliases/latest", Some(json!({"version": "12.5.0"}))).await;
    assert_eq!(alias.status, StatusCode::OK);
    let manifest = server.get("/v1/images/debian/refs/latest").await.json();
    assert_eq!(manifest["artifacts"][0]["artifact_id"], artifact);
    assert_eq!(manifest, server.get("/v1/images/debian/refs/12.5.0").await.json());

    let download = server.get(&format!("{version}/artifacts/{artifact}/download")).await;
    assert_eq!(download.status, StatusCode::OK);
    assert_eq!(download.body, bytes);
    assert_eq!(download.header("content-disposition"), "attachment; filename=\"debian-12.5.0-amd64.qcow2\"");
    assert_eq!(server.get(&format!("/v1/blobs/{}", digest(&bytes))).await.body, bytes);
}

#[tokio::test]
async fn a_published_manifest_refuses_every_edit() {
    let server = TestServer::start().await;
    let artifact = server.published("debian", "1", &qcow2(1)).await;
    let version = "/v1/images/debian/versions/1";
    let new = json!({"operating_system": "x", "architecture": "y", "format": "raw", "primary_blob_digest": digest(b""),
        "primary_blob_size_bytes": 0, "primary_media_type": "a/b"});
    let attachment = json!({"name": "sbom", "media_type": "a/b", "blob_digest": digest(b""), "blob_size_bytes": 0});
    for (method, path, body) in [
        ("POST", format!("{version}/artifacts"), Some(new)),
        ("DELETE", format!("{version}/artifacts/{artifact}"), None),
        ("POST", format!("{version}/artifacts/{artifact}/attachments"), Some(attachment)),
        ("DELETE", version.to_owned(), None),
    ] {
        let response = server.write(method, &path, body).await;
        assert_eq!(
            (response.status, response.problem().as_str()),
            (StatusCode::PRECONDITION_FAILED, "version-not-draft"),
            "{method} {path}"
        );
    }
    let deleted = server.write("DELETE", "/v1/images/debian", None).await;
    assert_eq!((deleted.status, deleted.problem().as_str()), (StatusCode::PRECONDITION_FAILED, "image-in-use"));
}

#[tokio::test]
async fn a_draft_that_names_untrusted_bytes_is_not_published() {
    let server = TestServer::start().await;
    let bytes = qcow2(1);
    let trusted = server.blob(&bytes).await;
    server.write("POST", "/v1/images", Some(json!({"name": "debian"}))).await;
    server.write("POST", "/v1/images/debian/versions", Some(json!({"version": "1"}))).await;
    let version = "/v1/images/debian/versions/1";
    let empty = server.write("POST", &format!("{version}/publish"), None).await;
    assert_eq!((empty.status, empty.problem().as_str()), (StatusCode::PRECONDITION_FAILED, "version-not-publishable"));

    let missing = digest(b"never sent");
    for (architecture, digest, size) in [("amd64", missing.as_str(), 10), ("arm64", trusted.as_str(), 11)] {
        let body = json!({"operating_system": "debian", "architecture": architecture, "format": "qcow2",
            "primary_blob_digest": digest, "primary_blob_size_bytes": size, "primary_media_type": "a/b"});
        assert_eq!(server.write("POST", &format!("{version}/artifacts"), Some(body)).await.status, StatusCode::CREATED);
    }
    let refused = server.write("POST", &format!("{version}/publish"), None).await;
    assert_eq!(refused.problem(), "version-not-publishable");
    let detail = refused.json()["detail"].as_str().expect("a detail").to_owned();
    assert!(detail.contains(&missing) && detail.contains(&trusted), "{detail}");
    assert_eq!(server.write("GET", version, None).await.json()["version"]["state"], "draft");
}

#[tokio::test]
async fn a_taken_name_is_a_conflict_that_refers_to_the_existing_resource() {
    let server = TestServer::start().await;
    let artifact = server.draft("debian", "1", &qcow2(1)).await;
    let attachment = json!({"name": "sbom", "media_type": "a/b", "blob_digest": digest(b""), "blob_size_bytes": 0});
    let attachments = format!("/v1/images/debian/versions/1/artifacts/{artifact}/attachments");
    let first = server.write("POST", &attachments, Some(attachment.clone())).await.json();
    let same = |architecture: &str, os: &str| {
        json!({"operating_system": os, "architecture": architecture, "format": "qcow2",
            "primary_blob_digest": digest(b""), "primary_blob_size_bytes": 0, "primary_media_type": "a/b"})
    };
    for (path, body, existing) in [
        ("/v1/images", json!({"name": "debian"}), "/v1/images/debian".to_owned()),
        ("/v1/images/debian/versions", json!({"version": "1"}), "/v1/images/debian/versions/1".to_owned()),
        (
            "/v1/images/debian/versions/1/artifacts",
            same("amd64", "debian"),
            format!("/v1/images/debian/versions/1/artifacts/{artifact}"),
        ),
        // Another operating system with the same file name.
        (
            "/v1/images/debian/versions/1/artifacts",
            same("amd64", "ubuntu"),
            format!("/v1/images/debian/versions/1/artifacts/{artifact}"),
        ),
        (attachments.as_str(), attachment, format!("{attachments}/{}", first["id"].as_str().expect("an id"))),
    ] {
        let response = server.write("POST", path, Some(body)).await;
        assert_eq!((response.status, response.problem().as_str()), (StatusCode::CONFLICT, "name-taken"), "{path}");
        assert_eq!(response.json()["existing"]["url"], existing);
    }
}

#[tokio::test]
async fn an_architecture_has_one_artifact_however_it_is_spelled() {
    let server = TestServer::start().await;
    server.write("POST", "/v1/images", Some(json!({"name": "debian"}))).await;
    server.write("POST", "/v1/images/debian/versions", Some(json!({"version": "1"}))).await;
    let artifacts = "/v1/images/debian/versions/1/artifacts";
    let add = async |architecture: &str, os: &str, variant: &str| {
        let body = json!({"operating_system": os, "architecture": architecture, "variant": variant, "format": "raw",
            "primary_blob_digest": digest(b""), "primary_blob_size_bytes": 0, "primary_media_type": "a/b"});
        server.write("POST", artifacts, Some(body)).await
    };
    let first = add("X86_64", "debian", "default").await;
    assert_eq!((first.status, &first.json()["architecture"]), (StatusCode::CREATED, &json!("X86_64")));
    let id = first.json()["id"].as_str().expect("an id").to_owned();
    for (architecture, os) in [("amd64", "debian"), ("x86-64", "debian"), ("x64", "ubuntu"), ("x86_64", "debian")] {
        let refused = add(architecture, os, "default").await;
        assert_eq!(
            (refused.status, refused.problem().as_str()),
            (StatusCode::CONFLICT, "name-taken"),
            "{architecture}"
        );
        assert_eq!(refused.json()["existing"]["url"], format!("{artifacts}/{id}"));
        let detail = refused.json()["detail"].to_string();
        assert!(detail.contains("debian-1-X86_64.raw and debian-1-"), "{detail}");
        assert!(detail.contains("their architectures are the same"), "{detail}");
    }
    // Architectures that are not known are accepted as they are.
    for architecture in ["arm64", "Potato", "mips64", "mips64el"] {
        assert_eq!(add(architecture, "debian", "default").await.status, StatusCode::CREATED, "{architecture}");
    }
    assert_eq!(add("potato", "debian", "default").await.status, StatusCode::CONFLICT);
    assert_eq!(add("amd64", "debian", "cloud").await.status, StatusCode::CREATED);
    // An attachment cannot have the name of another artifact in any spelling.
    let attachment = json!({"name": "xz", "media_type": "a/b", "blob_digest": digest(b""), "blob_size_bytes": 0});
    let attached = server.write("POST", &format!("{artifacts}/{id}/attachments"), Some(attachment)).await;
    assert_eq!(attached.status, StatusCode::CREATED);
    let body = json!({"operating_system": "debian", "architecture": "amd64", "format": "raw.xz",
        "primary_blob_digest": digest(b""), "primary_blob_size_bytes": 0, "primary_media_type": "a/b"});
    assert_eq!(server.write("POST", artifacts, Some(body)).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn versions_and_aliases_of_an_image_share_no_name() {
    let server = TestServer::start().await;
    server.published("debian", "1", &qcow2(1)).await;
    server.draft("debian", "2", &qcow2(2)).await;
    let to = |version: &str| Some(json!({"version": version}));
    let taken = server.write("PUT", "/v1/images/debian/aliases/2", to("1")).await;
    assert_eq!(
        (taken.status, &taken.json()["existing"]["url"]),
        (StatusCode::CONFLICT, &json!("/v1/images/debian/versions/2"))
    );
    assert_eq!(server.write("PUT", "/v1/images/debian/aliases/stable", to("1")).await.status, StatusCode::OK);
    let taken = server.write("POST", "/v1/images/debian/versions", to("stable")).await;
    assert_eq!(
        (taken.status, &taken.json()["existing"]["url"]),
        (StatusCode::CONFLICT, &json!("/v1/images/debian/aliases/stable"))
    );
    let draft = server.write("PUT", "/v1/images/debian/aliases/latest", to("2")).await;
    assert_eq!((draft.status, draft.problem().as_str()), (StatusCode::PRECONDITION_FAILED, "version-not-published"));
    assert_eq!(server.write("PUT", "/v1/images/debian/aliases/latest", to("9")).await.status, StatusCode::NOT_FOUND);
    // A name can be reused once nothing has it.
    assert_eq!(server.write("DELETE", "/v1/images/debian/aliases/stable", None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.write("POST", "/v1/images/debian/versions", to("stable")).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn an_alias_keeps_its_id_and_changes_its_tag_when_it_moves() {
    let server = TestServer::start().await;
    server.published("debian", "1", &qcow2(1)).await;
    server.published("debian", "2", &qcow2(2)).await;
    let path = "/v1/images/debian/aliases/latest";
    let first = server.write("PUT", path, Some(json!({"version": "1"}))).await;
    let tag = first.header("etag").to_owned();
    assert_eq!(server.get(path).await.header("etag"), tag);
    let put = async |condition: (&str, &str), version: &str| {
        let request = axum::http::Request::builder()
            .method("PUT")
            .uri(path)
            .header("authorization", format!("Bearer {}", server.writer))
            .header("content-type", "application/json")
            .header(condition.0, condition.1);
        let body = json!({"version": version}).to_string();
        server.send(request.body(body.into()).expect("a request")).await
    };
    assert_eq!(put(("if-none-match", "*"), "2").await.problem(), "precondition-failed");
    let moved = put(("if-match", &tag), "2").await;
    assert_eq!((moved.status, &moved.json()["id"]), (StatusCode::OK, &first.json()["id"]));
    assert_ne!(moved.header("etag"), tag);
    assert_eq!(moved.header("etag"), server.get(path).await.header("etag"));
    assert_eq!(put(("if-match", &tag), "1").await.problem(), "precondition-failed");
    assert_eq!(put(("if-match", "*"), "1").await.status, StatusCode::OK);
}

#[tokio::test]
async fn concurrent_publish_requests_share_one_job() {
    let server = TestServer::start().await;
    server.draft("debian", "1", &qcow2(1)).await;
    let publish = || server.write("POST", "/v1/images/debian/versions/1/publish", None);
    let responses = tokio::join!(publish(), publish(), publish(), publish());
    let responses = [responses.0, responses.1, responses.2, responses.3];
    let first = responses[0].json()["job_id"].clone();
    assert!(responses.iter().all(|response| response.json()["job_id"] == first));
    assert_eq!(responses.iter().filter(|response| response.status == StatusCode::ACCEPTED).count(), 1);
}

#[tokio::test]
async fn one_of_many_concurrent_creations_succeeds() {
    let server = TestServer::start().await;
    let make = || server.write("POST", "/v1/images", Some(json!({"name": "debian"})));
    let responses = tokio::join!(make(), make(), make());
    let mut statuses = [responses.0.status, responses.1.status, responses.2.status];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::CREATED, StatusCode::CONFLICT, StatusCode::CONFLICT]);
}

#[tokio::test]
async fn lists_have_pages_with_links_and_cursors_that_fit_no_other_list() {
    let server = TestServer::start().await;
    for (at, name) in ["a", "b", "c"].into_iter().enumerate() {
        server.published(name, "1", &qcow2(at as u64)).await;
    }
    let mut path = "/v1/images?limit=2".to_owned();
    let mut names = Vec::new();
    loop {
        let response = server.get(&path).await;
        let body = response.json();
        names.extend(body["images"].as_array().expect("images").iter().map(|image| image["name"].clone()));
        let Some(cursor) = body["next_cursor"].as_str() else { break };
        assert_eq!(response.header("link"), format!("</v1/images?limit=2&cursor={cursor}>; rel=\"next\""));
        path = format!("/v1/images?limit=2&cursor={cursor}");
    }
    assert_eq!(names, ["a", "b", "c"]);
    let cursor = server.get("/v1/images?limit=1").await.json()["next_cursor"].as_str().expect("a cursor").to_owned();
    for foreign in [format!("/v1/images/a/versions?cursor={cursor}"), "/v1/images?cursor=nonsense".to_owned()] {
        let response = server.get(&foreign).await;
        assert_eq!((response.status, response.problem().as_str()), (StatusCode::BAD_REQUEST, "invalid-cursor"));
    }
    let unpublished = format!("/v1/images?include_unpublished=true&cursor={cursor}");
    assert_eq!(server.write("GET", &unpublished, None).await.problem(), "invalid-cursor");
}

#[tokio::test]
async fn versions_are_listed_newest_first_and_drafts_only_to_writers() {
    let server = TestServer::start().await;
    for (at, version) in ["1", "2"].into_iter().enumerate() {
        server.published("debian", version, &qcow2(at as u64)).await;
        server.clock.advance(std::time::Duration::from_secs(1));
    }
    server.draft("debian", "3", &qcow2(9)).await;
    let names = |body: Value| -> Vec<String> {
        let versions = body["versions"].as_array().expect("versions").clone();
        versions.iter().map(|version| version["version"].as_str().expect("a name").to_owned()).collect()
    };
    let path = "/v1/images/debian/versions";
    assert_eq!(names(server.get(path).await.json()), ["2", "1"]);
    assert_eq!(names(server.write("GET", &format!("{path}?state=all"), None).await.json()), ["3", "2", "1"]);
    assert_eq!(names(server.write("GET", &format!("{path}?state=draft"), None).await.json()), ["3"]);
    assert_eq!(server.get(&format!("{path}?state=draft")).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(server.get(&format!("{path}?state=odd")).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_failed_job_is_retried_from_its_failed_step_or_abandoned() {
    let server = TestServer::start().await;
    let bytes = qcow2(1);
    server.draft("debian", "1", &bytes).await;
    let requested = server.write("POST", "/v1/images/debian/versions/1/publish", None).await.json();
    let job = format!("/v1/publish-jobs/{}", requested["job_id"].as_str().expect("an id"));
    let early = server.write("POST", &format!("{job}/retry"), None).await;
    assert_eq!((early.status, early.problem().as_str()), (StatusCode::PRECONDITION_FAILED, "publish-job-state"));

    // The blob is damaged between the request and the job.
    for file in server.stored_files().iter().filter(|file| file.starts_with("cas/")) {
        std::fs::remove_file(server.storage().join(file)).expect("removed");
    }
    let damaged = server.write("GET", &format!("/v1/blobs/{}", digest(&bytes)), None).await;
    assert_eq!((damaged.status, damaged.problem().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "blob-quarantined"));
    server.settle().await;
    let failed = server.write("GET", &job, None).await.json();
    assert_eq!((&failed["state"], &failed["failed_step"]), (&json!("failed"), &json!("validate_catalog")));
    assert!(failed["reason"].as_str().expect("a reason").contains(&digest(&bytes)));

    server.blob(&bytes).await;
    assert_eq!(server.write("POST", &format!("{job}/retry"), None).await.status, StatusCode::ACCEPTED);
    server.settle().await;
    assert_eq!(server.write("GET", &job, None).await.json()["state"], "succeeded");
    assert_eq!(server.write("POST", &format!("{job}/abandon"), None).await.problem(), "publish-job-state");
}

#[tokio::test]
async fn publish_jobs_are_listed_by_state_and_image() {
    let server = TestServer::start().await;
    server.published("debian", "1", &qcow2(1)).await;
    server.draft("debian", "2", &qcow2(2)).await;
    server.draft("alpine", "3", &qcow2(3)).await;
    for path in ["debian/versions/2", "alpine/versions/3"] {
        server.write("POST", &format!("/v1/images/{path}/publish"), None).await;
    }
    let list = async |query: &str| server.write("GET", &format!("/v1/publish-jobs{query}"), None).await;
    let versions = async |query: &str| {
        let body = list(query).await.json();
        let jobs = body["jobs"].as_array().unwrap_or_else(|| panic!("{query}: {body}")).iter();
        jobs.map(|job| job["version"].as_str().expect("a version").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(versions("").await, ["3", "2", "1"]);
    assert_eq!(versions("?state=queued").await, ["3", "2"]);
    assert_eq!(versions("?state=succeeded,queued&image=debian").await, ["2", "1"]);
    assert_eq!(versions("?state=failed,running,abandoned").await, Vec::<String>::new());
    assert_eq!(versions("?image=fedora").await, Vec::<String>::new());

    let page = list("?state=queued&limit=1").await;
    let cursor = page.json()["next_cursor"].as_str().expect("a cursor").to_owned();
    assert!(page.header("link").contains(&format!("state=queued&limit=1&cursor={cursor}>; rel=\"next\"")));
    assert_eq!(versions(&format!("?state=queued&limit=1&cursor={cursor}")).await, ["2"]);
    assert_eq!(list(&format!("?state=failed&cursor={cursor}")).await.problem(), "invalid-cursor");
    for query in ["?state=", "?state=odd", "?state=failed,", "?image=NO", "?limit=0", "?cursor=x"] {
        assert_eq!(list(query).await.status, StatusCode::BAD_REQUEST, "{query}");
    }
    let first = list("?state=succeeded").await.json()["jobs"][0].clone();
    let read = server.write("GET", &format!("/v1/publish-jobs/{}", first["id"].as_str().expect("an id")), None).await;
    assert_eq!(first, read.json(), "an entry is the job");
    assert_eq!((&first["attempt_count"], first.get("next_attempt_at")), (&json!(1), None));

    assert_eq!(server.get("/v1/publish-jobs").await.status, StatusCode::UNAUTHORIZED);
    let manager = server.manage("GET", "/v1/publish-jobs", None).await;
    assert_eq!((manager.status, manager.problem().as_str()), (StatusCode::FORBIDDEN, "forbidden"));
}

#[tokio::test]
async fn an_abandoned_job_makes_its_version_a_draft_again() {
    let server = TestServer::start().await;
    let bytes = qcow2(1);
    let artifact = server.draft("debian", "1", &bytes).await;
    let requested = server.write("POST", "/v1/images/debian/versions/1/publish", None).await.json();
    let job = format!("/v1/publish-jobs/{}", requested["job_id"].as_str().expect("an id"));
    for file in server.stored_files().iter().filter(|file| file.starts_with("cas/")) {
        std::fs::remove_file(server.storage().join(file)).expect("removed");
    }
    server.write("GET", &format!("/v1/blobs/{}", digest(&bytes)), None).await;
    server.settle().await;
    assert_eq!(server.write("POST", &format!("{job}/abandon"), None).await.json()["state"], "abandoned");
    let version = "/v1/images/debian/versions/1";
    assert_eq!(server.write("GET", version, None).await.json()["version"]["state"], "draft");
    let removed = server.write("DELETE", &format!("{version}/artifacts/{artifact}"), None).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
    assert_eq!(server.write("DELETE", version, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.write("DELETE", "/v1/images/debian", None).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn each_metadata_field_of_an_image_changes_separately() {
    let server = TestServer::start().await;
    let new = json!({"name": "debian", "display_name": "Debian", "description": "An OS"});
    server.write("POST", "/v1/images", Some(new)).await;
    let patched = server.write("PATCH", "/v1/images/debian", Some(json!({"description": null}))).await.json();
    assert_eq!((&patched["display_name"], patched.get("description")), (&json!("Debian"), None));
}
