//! Crashes at each point of a purge. Afterwards, a repeated request completes it: the content is gone, and its digest is
//! blocked.

use crate::{
    publication::{Publication, Way},
    victim::{Victim, text},
};
use imgsrv_testkit::services::{Postgres, S3};
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::time::{Duration, Instant};

const POINTS: [&str; 5] = ["purge.committing", "purge.committed", "gc.removed", "gc.forgotten", "purge.deleted"];
const DEADLINE: Duration = Duration::from_mins(1);

/// Grants `content-admin` to the principal of the victim's token.
async fn promote(victim: &Victim) {
    let manager = victim.process.bootstrap.clone().expect("a bootstrap token");
    let whoami = victim.get("/v1/auth/whoami").await;
    let url =
        format!("{}/v1/auth/principals/{}/roles/content-admin", victim.process.url, text(&whoami["principal"], "id"));
    let granted = victim.http.put(url).bearer_auth(manager).send().await.expect("a response");
    assert!(granted.status().is_success(), "{granted:?}");
}

async fn crash_everywhere(mut victim: Victim, stored: impl AsyncFn(&Victim) -> Vec<String>) {
    promote(&victim).await;
    for (number, point) in (0..).zip(POINTS) {
        let mut publication = Publication::new(Way::Upload, number);
        publication.run(&victim).await.expect("published");
        let manifest = victim.get(&format!("/v1/images/debian/versions/{number}")).await;
        let digest = text(&manifest["artifacts"][0]["artifact"], "primary_blob_digest").to_owned();
        let size = manifest["artifacts"][0]["artifact"]["primary_blob_size_bytes"].clone();

        victim.restart_with(&format!("{point}=return")).expect("nothing is to be deleted yet");
        let path = format!("/v1/images/debian/versions/{number}/remove");
        let body = json!({"purge": true, "reason": "contains a private key"});
        let interrupted = victim.send(Method::POST, &path, Some(body.clone())).await;
        assert!(interrupted.is_err(), "{point}: {interrupted:?}");
        victim.crashes().await;
        victim.restart();

        let purged = victim.call(Method::POST, &path, body).await;
        assert_eq!((&purged["purged"], &purged["kept"]), (&json!([digest]), &json!([])), "{point}");
        let began = Instant::now();
        let hex = digest.trim_start_matches("sha256:");
        while stored(&victim).await.iter().any(|name| name.contains(hex)) {
            assert!(began.elapsed() < DEADLINE, "{point}: {digest} is still stored\n{}", victim.process.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let new = json!({"expected_digest": digest, "expected_size_bytes": size});
        let (status, refused) = victim.send(Method::POST, "/v1/uploads", Some(new)).await.expect("a response");
        assert_eq!(status, StatusCode::PRECONDITION_FAILED, "{point}: {refused}");
        assert_eq!(text(&refused, "type"), "urn:imgsrv:problem:digest-blocked");
        let (status, _) = victim.send(Method::GET, &format!("/v1/blobs/{digest}"), None).await.expect("a response");
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
    let blocked = victim.get("/v1/system/blocked-digests").await;
    assert_eq!(blocked["blocked_digests"].as_array().map(Vec::len), Some(POINTS.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_crashes_anywhere_is_completed_on_sqlite_and_files() {
    crash_everywhere(Victim::start().await, async |victim| {
        let (mut folders, mut files) = (vec![victim.folder().join("storage/cas")], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() { folders.push(path) } else { files.push(path.display().to_string()) }
            }
        }
        files
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_that_crashes_anywhere_is_completed_on_postgres_and_a_bucket() {
    let (url, s3) = (Postgres::shared().await.database().await, S3::shared().await);
    let bucket = s3.bucket().await;
    let environment = [
        ("POSTGRES_URL", url),
        ("S3_ENDPOINT", s3.endpoint.clone()),
        ("S3_BUCKET", bucket.clone()),
        ("S3_ACCESS_KEY_ID", s3.access_key_id.clone()),
        ("S3_SECRET_ACCESS_KEY", s3.secret_access_key.clone()),
        ("S3_REGION", s3.region.clone()),
        ("S3_PATH_STYLE", "true".to_owned()),
    ];
    let environment = environment.map(|(name, value)| (format!("IMGSRV_{name}"), value)).to_vec();
    let victim = Victim::start_on(environment, &[]).await;
    crash_everywhere(victim, async |_| s3.keys(&bucket).await).await;
}
