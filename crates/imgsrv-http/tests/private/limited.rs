//! A token that is limited to images uses no bytes that other tokens of its principal have sent, and learns nothing of
//! them; and nobody reads what it has sent once it may not send any more.

use crate::support::{Team, shown};
use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use imgsrv_testkit::{TestResponse, TestServer, digest};
use serde_json::{Value, json};

/// Sent, and in a draft or nowhere.
const SENT: &[u8] = b"bytes that the principal sent";
/// In a private image.
const PRIVATE: &[u8] = b"bytes of a private image, so ";
const ABSENT: &[u8] = b"bytes that nobody has at all ";

/// A token of the same principal that is limited as `limits` says.
async fn narrowed(server: &TestServer, team: &Team, limits: Value) -> Team {
    let mut body = json!({"name": "narrow", "expires_at": "2099-01-01T00:00:00Z"});
    body.as_object_mut().expect("an object").extend(limits.as_object().expect("an object").clone());
    let issued = server.manage("POST", &format!("{}/api-tokens", team.principal), Some(body)).await.json();
    let token = issued["plaintext"].as_str().expect("a token").to_owned();
    Team { images: limits.to_string(), principal: team.principal.clone(), token }
}

/// The response without what differs between any two uploads or drafts.
fn answer(response: &TestResponse, bytes: &[u8], version: &str) -> (u16, Value) {
    let (status, _, text) = shown(response);
    let text = text.replace(&digest(bytes), "DIGEST").replace(&format!("/{version}"), "/VERSION");
    let mut body: Value = serde_json::from_str(&text).unwrap_or_default();
    for field in ["id", "upload_session_id", "tus", "created_at", "updated_at", "expires_at"] {
        body[field] = Value::Null;
    }
    (status, body)
}

async fn keyed(server: &TestServer, team: &Team, bytes: &[u8]) -> TestResponse {
    let body = json!({"expected_digest": digest(bytes), "expected_size_bytes": bytes.len()});
    let request = Request::builder()
        .method("POST")
        .uri("/v1/uploads")
        .header("authorization", format!("Bearer {}", team.token))
        .header("content-type", "application/json")
        .header("idempotency-key", "nightly");
    server.send(request.body(Body::from(body.to_string())).expect("a request")).await
}

#[tokio::test]
async fn a_limited_token_is_answered_as_if_its_principal_had_sent_nothing() {
    for server in [TestServer::start().await, TestServer::start_on_postgres().await] {
        let wide = Team::with(&server, "content-admin", "team-*").await;
        let low = narrowed(&server, &wide, json!({"images": ["team-low"]})).await;
        wide.image(&server, "team-high", "private", PRIVATE).await;
        wide.upload(&server, SENT).await;
        low.done(&server, "POST", "/v1/images", Some(json!({"name": "team-low"}))).await;
        // Somebody else who may publish in that image.
        let other = Team::with(&server, "content-writer", "team-low").await;

        let mut answers = Vec::new();
        for (at, bytes) in [SENT, PRIVATE, ABSENT].into_iter().enumerate() {
            let version = format!("{at}");
            low.cite(&server, "team-low", &version, bytes).await;
            let publish = format!("/v1/images/team-low/versions/{version}/publish");
            let intake = json!({"image": "team-low", "version": "9", "operating_system": "debian",
                "architecture": "amd64", "format": "raw", "size_bytes": 1, "expected_digest": digest(bytes)});
            let mut of_bytes = Vec::new();
            for response in [
                low.call(&server, "POST", &publish, None).await,
                // Citing gives nothing to others either.
                other.call(&server, "POST", &publish, None).await,
                low.open(&server, bytes, bytes.len()).await,
                low.open(&server, bytes, 1).await,
                low.call(&server, "POST", "/api/images", Some(intake)).await,
                low.get(&server, &format!("/v1/blobs/{}", digest(bytes))).await,
                low.call(&server, "HEAD", &format!("/v1/blobs/{}", digest(bytes)), None).await,
            ] {
                of_bytes.push(answer(&response, bytes, &version));
            }
            answers.push(of_bytes);
        }
        let statuses: Vec<_> = answers[2].iter().map(|(status, _)| *status).collect();
        assert_eq!(statuses, [412, 412, 201, 201, 201, 404, 404], "{answers:?}");
        assert_eq!((&answers[0], &answers[1]), (&answers[2], &answers[2]));

        // A token that may use the bytes publishes the same draft, and so does the limited one what that has added.
        wide.publish(&server, "team-low", "0").await;
        wide.cite(&server, "team-low", "added", PRIVATE).await;
        low.publish(&server, "team-low", "added").await;
    }
}

#[tokio::test]
async fn a_limited_token_neither_sees_nor_continues_the_uploads_of_others_of_its_principal() {
    for server in [TestServer::start().await, TestServer::start_on_postgres().await] {
        let wide = Team::with(&server, "content-admin", "team-*").await;
        let low = narrowed(&server, &wide, json!({"images": ["team-low"]})).await;
        let own = keyed(&server, &wide, SENT).await;
        assert_eq!(own.status, StatusCode::CREATED);
        let id = own.json()["id"].as_str().expect("an id").to_owned();
        let [url, absent] = [id.as_str(), "00000000-0000-7000-8000-000000000000"].map(|id| format!("/v1/uploads/{id}"));
        for (method, end, body) in [
            ("GET", "", None),
            ("GET", "/parts", None),
            ("PUT", "/parts/1", None),
            ("POST", "/complete", Some(json!({"parts": []}))),
            ("POST", "/abort", None),
        ] {
            let of_own = low.call(&server, method, &format!("{url}{end}"), body.clone()).await;
            let of_nothing = low.call(&server, method, &format!("{absent}{end}"), body).await;
            let text =
                |response: &TestResponse| shown(response).2.replace(&id, absent.rsplit('/').next().expect("an id"));
            assert_eq!((of_own.status, text(&of_own)), (of_nothing.status, text(&of_nothing)), "{method} {end}");
            assert_eq!(of_own.status, StatusCode::NOT_FOUND, "{method} {end}");
        }
        assert_eq!(low.get(&server, "/v1/uploads").await.json()["uploads"], json!([]));
        // A key that another token has used says nothing of what that was used for.
        let same = keyed(&server, &low, SENT).await;
        let other = keyed(&server, &low, ABSENT).await;
        assert_eq!((same.status, same.problem()), (other.status, other.problem()));
        assert_eq!(same.problem(), "idempotency-key-reused");
        let listed = wide.get(&server, "/v1/uploads").await.json();
        assert_eq!(listed["uploads"].as_array().map(Vec::len), Some(1));
        assert_eq!(keyed(&server, &wide, SENT).await.json()["id"], json!(id));

        // What the limited token opens, the other may continue; then it is its own.
        let opened = low.open(&server, ABSENT, ABSENT.len()).await.json();
        let opened = opened["id"].as_str().expect("an id");
        assert_eq!(wide.send(&server, opened, ABSENT).await, "ready");
        assert_eq!(low.get(&server, &format!("/v1/uploads/{opened}")).await.status, StatusCode::NOT_FOUND);
        let blob = format!("/v1/blobs/{}", digest(ABSENT));
        assert_eq!(low.get(&server, &blob).await.status, StatusCode::NOT_FOUND, "it has not sent the bytes");
        assert_eq!(wide.get(&server, &blob).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn what_a_limited_token_has_sent_is_used_by_tokens_that_leave_no_fewer_images() {
    for server in [TestServer::start().await, TestServer::start_on_postgres().await] {
        let wide = Team::with(&server, "content-admin", "*").await;
        let low = narrowed(&server, &wide, json!({"images": ["team-low", "t_am*"]})).await;
        low.upload(&server, SENT).await;
        for (images, expected) in [
            (json!(["team-low", "t_am*"]), 200),
            (json!(["team-*", "t_am*", "other"]), 200),
            (json!(["t*"]), 200),
            (json!(["*"]), 200),
            (json!(["team-low"]), 404),
            (json!(["team-low", "t_am"]), 404),
            (json!(["team-low", "t_a*x"]), 404),
            (json!(["t_am*", "team-lo"]), 404),
            (json!(["team-l*", "tea*"]), 404),
        ] {
            let again = narrowed(&server, &wide, json!({"images": images})).await;
            let blob = again.get(&server, &format!("/v1/blobs/{}", digest(SENT))).await;
            assert_eq!(blob.status, expected, "{images}");
            let state = again.open(&server, SENT, SENT.len()).await.json()["state"].clone();
            assert_eq!(state == "ready", expected == 200, "{images}");
        }
    }
}

#[tokio::test]
async fn what_was_sent_is_read_only_while_its_principal_may_send() {
    for server in [TestServer::start().await, TestServer::start_on_postgres().await] {
        let team = Team::with(&server, "content-writer", "team-*").await;
        let reader = narrowed(&server, &team, json!({"role_ids": ["content-reader"]})).await;
        team.upload(&server, SENT).await;
        let blob = format!("/v1/blobs/{}", digest(SENT));
        let status = async |who: &Team| who.get(&server, &blob).await.status.as_u16();
        assert_eq!(status(&team).await, 200);
        assert_eq!(status(&reader).await, 404, "a token that may only read has sent nothing");
        let role = |role: &str| format!("{}/roles/{role}", team.principal);
        let manage = async |method: &str, url: &str| {
            let done = server.manage(method, url, Some(json!({"images": ["team-*"]}))).await;
            assert!(done.status.is_success(), "{done:?}");
        };
        let revoke = async |url: &str| {
            let done = server.manage("DELETE", url, None).await;
            assert!(done.status.is_success(), "{done:?}");
        };
        revoke(&role("content-writer")).await;
        assert_eq!(status(&team).await, 404, "no role");
        manage("PUT", &role("content-reader")).await;
        assert_eq!(status(&team).await, 404, "it may read published versions");
        manage("PUT", &role("content-writer")).await;
        assert_eq!(status(&team).await, 200);
        let done = server.manage("POST", &format!("{}/deactivate", team.principal), None).await;
        assert!(done.status.is_success(), "{done:?}");
        assert_eq!(status(&team).await, 403);
    }
}
