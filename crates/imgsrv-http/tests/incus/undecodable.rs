//! Rows that cannot be decoded are left out of lists; only a request for one of them fails.

use crate::support::{alias, images, machine, released};
use axum::http::StatusCode;
use imgsrv_testkit::{TestServer, qcow2};
use serde_json::Value;

/// The values of `field` in the list of that name.
fn listed(list: &Value, name: &str, field: &str) -> Vec<String> {
    let items = list[name].as_array().unwrap_or_else(|| panic!("no {name} in {list}"));
    items.iter().map(|item| item[field].as_str().unwrap_or_default().to_owned()).collect()
}

fn counted(server: &TestServer, kind: &str) -> u64 {
    server.services.adapters().catalog.undecodable_rows()[kind]
}

#[tokio::test]
async fn an_image_that_cannot_be_decoded_fails_alone() {
    let server = TestServer::start().await;
    released(&server, "debian", "1", &qcow2(1)).await;
    released(&server, "ubuntu", "1", &qcow2(2)).await;
    server.sql("UPDATE images SET display_name = 'a' || char(1) WHERE name = 'debian'").await;
    let images_list = server.get("/v1/images").await;
    assert_eq!(images_list.status, StatusCode::OK, "{images_list:?}");
    assert_eq!(listed(&images_list.json(), "images", "name"), ["ubuntu"]);
    assert_eq!(counted(&server, "image"), 1);
    let found = images(&server).await;
    assert!(machine(&found, "ubuntu/1").is_some() && machine(&found, "debian/1").is_none());
    assert_eq!(server.get("/images/ubuntu/1/").await.status, StatusCode::OK);
    let alone = server.get("/v1/images/debian").await;
    assert_eq!((alone.status, alone.problem().as_str()), (StatusCode::INTERNAL_SERVER_ERROR, "internal"));
    assert_eq!(server.get("/v1/images/ubuntu").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_alias_that_cannot_be_decoded_fails_alone() {
    let server = TestServer::start().await;
    released(&server, "debian", "1", &qcow2(1)).await;
    alias(&server, "debian", "latest", "1").await;
    server
        .sql(
            "INSERT INTO aliases (id, image_id, name, version_id, created_at, updated_at, revision)
            SELECT randomblob(16), image_id, 'b' || char(1), version_id, created_at, updated_at, 1 FROM aliases",
        )
        .await;
    let aliases = server.get("/v1/images/debian/aliases").await;
    assert_eq!(aliases.status, StatusCode::OK, "{aliases:?}");
    assert_eq!(listed(&aliases.json(), "aliases", "alias"), ["latest"]);
    assert_eq!(machine(&images(&server).await, "debian/latest").map(|image| image.release.as_str()), Some("1"));
    for path in [
        "/v1/images",
        "/v1/images/debian",
        "/v1/images/debian/versions/1",
        "/images/debian/1/",
        "/images/debian/latest/",
    ] {
        assert_eq!(server.get(path).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn principals_whose_rows_or_ids_cannot_be_decoded_are_left_out() {
    let server = TestServer::start().await;
    for _ in 0..3 {
        server.token_with("content-writer").await;
    }
    let all = server.manage("GET", "/v1/auth/principals", None).await.json();
    let ids = listed(&all, "principals", "id");
    let blob = |at: usize| format!("x'{}'", ids[at].replace('-', ""));
    server.sql(&format!("UPDATE principals SET display_name = char(127) WHERE id = {}", blob(2))).await;
    // Too short for an id: no cursor can continue after it.
    server.sql(&format!("UPDATE principals SET id = x'ff' WHERE id = {}", blob(3))).await;
    let healthy: Vec<_> =
        ids.iter().enumerate().filter(|(at, _)| !matches!(at, 2 | 3)).map(|(_, id)| id.clone()).collect();
    for limit in [1, 2, 100] {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = server.manage("GET", &format!("/v1/auth/principals?limit={limit}{cursor}"), None).await;
            assert_eq!(page.status, StatusCode::OK, "{page:?}");
            found.extend(listed(&page.json(), "principals", "id"));
            let Some(next) = page.json()["next_cursor"].as_str().map(str::to_owned) else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(found, healthy, "pages of {limit}");
    }
    assert!(counted(&server, "principal") > 0);
    let alone = server.manage("GET", &format!("/v1/auth/principals/{}", ids[2]), None).await;
    assert_eq!(alone.status, StatusCode::INTERNAL_SERVER_ERROR);
}
