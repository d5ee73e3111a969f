//! Kills with SIGKILL at many moments of upload, ingest and publish.

use crate::victim::{Victim, image, text};
use imgsrv_testkit::digest;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn acknowledged_parts_survive_a_kill_and_the_upload_can_be_completed() {
    let mut victim = Victim::start().await;
    for round in 0..8 {
        let bytes = image(round);
        let new = json!({"expected_digest": digest(&bytes), "expected_size_bytes": bytes.len()});
        let upload = text(&victim.call(Method::POST, "/v1/uploads", new).await, "id").to_owned();
        let chunks: Vec<Vec<u8>> = bytes.chunks(bytes.len() / 4 + 1).map(<[u8]>::to_vec).collect();
        let mut acknowledged = vec![victim.put_part(&upload, 1, chunks[0].clone()).await.expect("the first part")];
        // Killed during the other parts, a little later each round.
        let rest = victim
            .killed_after(Duration::from_millis(round * 4), async |victim| {
                let mut parts = Vec::new();
                for (at, chunk) in chunks.iter().enumerate().skip(1) {
                    match victim.put_part(&upload, at + 1, chunk.clone()).await {
                        Ok(part) => parts.push(part),
                        Err(_) => break,
                    }
                }
                Ok(parts)
            })
            .await;
        acknowledged.extend(rest.expect("the acknowledged parts"));
        let listed = victim.get(&format!("/v1/uploads/{upload}/parts")).await;
        let listed = listed["parts"].as_array().expect("parts").clone();
        for part in &acknowledged {
            assert!(listed.iter().any(|listed| listed["etag"] == part["etag"]), "lost {part} of {listed:?}");
        }
        for (at, chunk) in chunks.iter().enumerate() {
            if listed.iter().all(|part| part["part_number"] != at + 1) {
                victim.put_part(&upload, at + 1, chunk.clone()).await.expect("a retried part");
            }
        }
        finish(&victim, &upload).await;
        let blob = victim.http.get(format!("{}/v1/blobs/{}", victim.process.url, digest(&bytes)));
        let read = blob.bearer_auth(&victim.token).send().await.expect("a response").bytes().await.expect("a body");
        assert!(read == bytes, "round {round}");
    }
    victim.staging_is_cleared().await;
}

/// Completes the upload with the parts that the server lists, and waits until it is ready.
async fn finish(victim: &Victim, upload: &str) {
    let listed = victim.get(&format!("/v1/uploads/{upload}/parts")).await;
    let part =
        |part: &Value| json!({"number": part["part_number"], "etag": part["etag"], "size_bytes": part["size_bytes"]});
    let parts: Vec<Value> = listed["parts"].as_array().expect("parts").iter().map(part).collect();
    victim.call(Method::POST, &format!("/v1/uploads/{upload}/complete"), json!({"parts": parts})).await;
    victim.reaches(&format!("/v1/uploads/{upload}"), "ready").await;
}

#[tokio::test]
async fn completed_uploads_and_requested_publishes_converge_after_a_kill() {
    let mut victim = Victim::start().await;
    victim.call(Method::POST, "/v1/images", json!({"name": "debian"})).await;
    for round in 0..10 {
        let bytes = image(1000 + round);
        let new = json!({"expected_digest": digest(&bytes), "expected_size_bytes": bytes.len()});
        let upload = text(&victim.call(Method::POST, "/v1/uploads", new).await, "id").to_owned();
        // Out of order on every other round, so that the ingest has something to read.
        let half = bytes.len() / 2;
        let order = if round % 2 == 0 { [1, 2] } else { [2, 1] };
        let mut parts = Vec::new();
        for number in order {
            let chunk = if number == 1 { bytes[..half].to_vec() } else { bytes[half..].to_vec() };
            parts.push((number, victim.put_part(&upload, number, chunk).await.expect("a part")));
        }
        parts.sort_by_key(|(number, _)| *number);
        let listed: Vec<Value> = parts
            .iter()
            .map(|(number, part)| json!({"number": number, "etag": part["etag"], "size_bytes": part["size_bytes"]}))
            .collect();
        let complete = format!("/v1/uploads/{upload}/complete");
        let completed = victim
            .killed_after(Duration::from_millis(round), async |victim| {
                victim.send(Method::POST, &complete, Some(json!({"parts": listed}))).await
            })
            .await;
        if completed.is_none() {
            // The response was lost; repeating the request is harmless either way.
            victim.call(Method::POST, &complete, json!({"parts": listed})).await;
        }
        victim.reaches(&format!("/v1/uploads/{upload}"), "ready").await;

        let version = format!("/v1/images/debian/versions/{round}");
        victim.call(Method::POST, "/v1/images/debian/versions", json!({"version": round.to_string()})).await;
        let artifact = json!({"operating_system": "debian", "architecture": "amd64", "format": "qcow2",
            "primary_blob_digest": digest(&bytes), "primary_blob_size_bytes": bytes.len(), "primary_media_type": "a/b"});
        let artifact = victim.call(Method::POST, &format!("{version}/artifacts"), artifact).await;
        let publish = format!("{version}/publish");
        let first = victim
            .killed_after(Duration::from_millis(round), async |victim| victim.send(Method::POST, &publish, None).await)
            .await;
        let (_, requested) = victim.send(Method::POST, &publish, None).await.expect("a response");
        if let Some((status, acknowledged)) = first {
            assert!(status.is_success(), "{acknowledged}");
            assert_eq!(acknowledged["job_id"], requested["job_id"], "an acknowledged job was lost");
        }
        let job = victim.reaches(&format!("/v1/publish-jobs/{}", text(&requested, "job_id")), "succeeded").await;
        assert_eq!(job["version"], round.to_string());
        let download = format!("{}{version}/artifacts/{}/download", victim.process.url, text(&artifact, "id"));
        let read = reqwest::get(download).await.expect("a response").bytes().await.expect("a body");
        assert!(read == bytes, "round {round}");
    }
    let versions = victim.get("/v1/images/debian/versions").await;
    assert_eq!(versions["versions"].as_array().expect("versions").len(), 10);
    victim.staging_is_cleared().await;
}
