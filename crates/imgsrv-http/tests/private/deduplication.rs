//! Deduplication tells nothing and gives nothing: bytes that a principal may not read are received and published as if
//! nobody had stored them, and stored once all the same.

use crate::support::{Team, shown};
use axum::http::StatusCode;
use imgsrv_testkit::{TestServer, digest};
use serde_json::{Value, json};

const SECRET: &[u8] = b"the secret bytes of alpha";
const ABSENT: &[u8] = b"bytes that nobody has, so";

/// What a publish request of a draft that cites `bytes` says, without the digest.
async fn refusal(server: &TestServer, team: &Team, image: &str, version: &str, bytes: &[u8]) -> (u16, String) {
    let refused = team.call(server, "POST", &format!("/v1/images/{image}/versions/{version}/publish"), None).await;
    let (status, _, text) = shown(&refused);
    let text = text.replace(&digest(bytes), "DIGEST").replace(&format!("{image}/{version}"), "VERSION");
    (status, text.replace(&format!("versions/{version}"), "VERSION"))
}

/// An opened upload, without what differs between any two.
fn opened(session: &Value) -> Value {
    let mut session = session.clone();
    for field in ["id", "expected_digest", "created_at", "updated_at", "expires_at"] {
        session[field] = Value::Null;
    }
    session
}

#[tokio::test]
async fn unreadable_bytes_are_received_and_published_as_if_nobody_had_them() {
    for server in [TestServer::start().await, TestServer::start_on_postgres().await] {
        let alpha = Team::with(&server, "content-admin", "alpha-*").await;
        let beta = Team::with(&server, "content-admin", "beta-*").await;
        alpha.image(&server, "alpha-vm", "private", SECRET).await;
        beta.done(&server, "POST", "/v1/images", Some(json!({"name": "beta-vm"}))).await;

        // Citing is allowed, and publishing says the same of both.
        beta.cite(&server, "beta-vm", "1", SECRET).await;
        beta.cite(&server, "beta-vm", "2", ABSENT).await;
        let of_secret = refusal(&server, &beta, "beta-vm", "1", SECRET).await;
        assert_eq!(of_secret, refusal(&server, &beta, "beta-vm", "2", ABSENT).await);
        assert!(of_secret.1.contains("has not been uploaded"), "{of_secret:?}");

        // The short-circuit and the size say the same of both as well.
        let (secret, absent) =
            (beta.open(&server, SECRET, SECRET.len()).await, beta.open(&server, ABSENT, ABSENT.len()).await);
        assert_eq!((secret.status, opened(&secret.json())), (absent.status, opened(&absent.json())));
        assert_eq!(secret.json()["state"], "created");
        let (secret_size, absent_size) = (beta.open(&server, SECRET, 1).await, beta.open(&server, ABSENT, 1).await);
        assert_eq!(
            (secret_size.status, opened(&secret_size.json())),
            (absent_size.status, opened(&absent_size.json()))
        );
        // A principal that has the bytes learns about them.
        assert_eq!(alpha.open(&server, SECRET, SECRET.len()).await.json()["state"], "ready");
        assert_eq!(alpha.open(&server, SECRET, 1).await.problem(), "digest-size-conflict");

        // A partly sent or wrong upload gives nothing; the whole one does.
        let wrong = beta.open(&server, SECRET, SECRET.len()).await.json();
        let wrong = beta.send(&server, wrong["id"].as_str().expect("an id"), ABSENT).await;
        assert_eq!(wrong, "failed");
        assert_eq!(refusal(&server, &beta, "beta-vm", "1", SECRET).await, of_secret);
        let url = format!("/v1/blobs/{}", digest(SECRET));
        assert_eq!(beta.get(&server, &url).await.status, StatusCode::NOT_FOUND);
        let stored = server.stored_files().into_iter().filter(|file| file.starts_with("cas/")).count();
        let id = secret.json()["id"].as_str().expect("an id").to_owned();
        assert_eq!(beta.send(&server, &id, SECRET).await, "ready");
        let stored_then = server.stored_files().into_iter().filter(|file| file.starts_with("cas/")).count();
        assert_eq!(stored_then, stored, "the same bytes are stored once");
        let own = beta.get(&server, &url).await;
        assert_eq!((own.status, own.body.as_slice()), (StatusCode::OK, SECRET));
        beta.publish(&server, "beta-vm", "1").await;
        assert_eq!(server.get(&url).await.status, StatusCode::OK, "it is public now, through beta");
        let private = server.get("/v1/images/alpha-vm").await;
        assert_eq!(private.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_token_that_is_limited_to_images_reads_no_other_bytes_that_its_principal_sent() {
    for server in [TestServer::start().await, TestServer::start_on_postgres().await] {
        let alpha = Team::with(&server, "content-admin", "alpha-*").await;
        alpha.image(&server, "alpha-vm", "private", SECRET).await;
        alpha.upload(&server, ABSENT).await;
        let body = json!({"name": "limited", "expires_at": "2099-01-01T00:00:00Z", "images": ["alpha-other"]});
        let issued = server.manage("POST", &format!("{}/api-tokens", alpha.principal), Some(body)).await.json();
        let limited = issued["plaintext"].as_str().expect("a token").to_owned();
        for bytes in [SECRET, ABSENT] {
            let url = format!("/v1/blobs/{}", digest(bytes));
            assert_eq!(alpha.get(&server, &url).await.status, StatusCode::OK);
            assert_eq!(server.call(Some(&limited), "GET", &url, None).await.status, StatusCode::NOT_FOUND);
        }
    }
}

#[tokio::test]
async fn the_date_of_bytes_does_not_tell_that_others_had_them_before() {
    let server = TestServer::start().await;
    let alpha = Team::with(&server, "content-admin", "alpha-*").await;
    let beta = Team::with(&server, "content-admin", "beta-*").await;
    alpha.image(&server, "alpha-vm", "private", SECRET).await;
    server.clock.advance(std::time::Duration::from_hours(48));
    let url = format!("/v1/blobs/{}", digest(SECRET));
    beta.upload(&server, SECRET).await;
    let sent = beta.get(&server, &url).await.header("last-modified").to_owned();
    beta.image(&server, "beta-vm", "public", SECRET).await;
    let published = server.get(&url).await.header("last-modified").to_owned();
    let before = alpha.get(&server, "/v1/images/alpha-vm/versions/1").await.json();
    assert!(!before["version"]["published_at"].as_str().expect("a time").is_empty());
    for date in [sent, published] {
        assert!(date.contains("Jan 2026"), "{date}");
        assert!(date.starts_with("Sat, 03 Jan"), "{date}");
    }
}

#[tokio::test]
async fn a_version_is_published_when_its_publisher_or_who_has_added_the_digest_may_read_it() {
    for server in [TestServer::start().await, TestServer::start_on_postgres().await] {
        let alpha = Team::with(&server, "content-admin", "alpha-*").await;
        alpha.image(&server, "alpha-vm", "private", SECRET).await;
        // Two writers of one image: one has the bytes, the other not.
        let [sender, other] = [
            Team::with(&server, "content-writer", "beta-*").await,
            Team::with(&server, "content-writer", "beta-*").await,
        ];
        sender.done(&server, "POST", "/v1/images", Some(json!({"name": "beta-vm"}))).await;
        sender.upload(&server, SECRET).await;
        other.cite(&server, "beta-vm", "1", SECRET).await;
        assert_eq!(refusal(&server, &other, "beta-vm", "1", SECRET).await.0, 412, "neither may read it");
        sender.publish(&server, "beta-vm", "1").await;

        sender.upload(&server, b"another secret").await;
        sender.cite(&server, "beta-vm", "2", b"another secret").await;
        other.publish(&server, "beta-vm", "2").await;

        // A reader of a private image may publish its bytes, as long as it is one.
        let both = Team::with(&server, "content-writer", "beta-*").await;
        let grant = json!({"images": ["alpha-*"]});
        server.manage("PUT", &format!("{}/roles/content-reader", both.principal), Some(grant)).await;
        alpha.image(&server, "alpha-two", "private", b"of the second").await;
        both.cite(&server, "beta-vm", "3", b"of the second").await;
        other.publish(&server, "beta-vm", "3").await;
        alpha.image(&server, "alpha-six", "private", b"of the third").await;
        both.cite(&server, "beta-vm", "4", b"of the third").await;
        let revoked = server.manage("DELETE", &format!("{}/roles/content-reader", both.principal), None).await;
        assert_eq!(revoked.status, StatusCode::NO_CONTENT);
        assert_eq!(refusal(&server, &other, "beta-vm", "4", b"of the third").await.0, 412);
        assert_eq!(refusal(&server, &both, "beta-vm", "4", b"of the third").await.0, 412);
        // Who may write everywhere may publish all that is stored.
        let done = server.write("POST", "/v1/images/beta-vm/versions/4/publish", None).await;
        assert_eq!(done.status, StatusCode::ACCEPTED, "{done:?}");
    }
}

#[tokio::test]
async fn intakes_and_tus_take_bytes_that_others_have_as_if_nobody_had_them() {
    let server = TestServer::start().await;
    let alpha = Team::with(&server, "content-admin", "alpha-*").await;
    let beta = Team::with(&server, "content-admin", "beta-*").await;
    alpha.image(&server, "alpha-vm", "private", SECRET).await;
    let create = |version: &str, bytes: &[u8], size: usize| {
        json!({"image": "beta-vm", "version": version, "operating_system": "debian", "architecture": "amd64",
            "format": "raw", "size_bytes": size, "expected_digest": digest(bytes)})
    };
    let mut answers = Vec::new();
    for (version, bytes) in [("1", SECRET), ("2", ABSENT)] {
        for size in [bytes.len(), 1] {
            let made = beta.call(&server, "POST", "/api/images", Some(create(version, bytes, size))).await;
            answers.push((made.status, made.headers.contains_key("location")));
        }
    }
    assert_eq!(answers[..2], answers[2..]);
}
