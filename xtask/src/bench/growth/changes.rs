//! Requests that change the catalog, garbage collection, and the start of the server.

use super::{
    catalogs::Filled,
    client::Client,
    reads::Target,
    rows::{Growth, timed},
};
use crate::{demo::digest, server::text, shell::Result};
use serde_json::{Value, json};
use std::{
    io::Read,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const DOCUMENT: &str = "/streams/v1/images.json";
/// Changes after which the document is requested.
const CHANGES: usize = 11;
/// The size of what is published.
const BYTES: usize = 4096;
/// Blobs that one collection deletes, and how many collections are measured.
const COLLECTED: u64 = 250;
const COLLECTIONS: u64 = 4;
/// Blobs of a batch of a collection.
const BATCH: u32 = 50;
/// When the first of the unreferenced blobs of a filled catalog was last referred to, in seconds since the Unix epoch, and
/// how many seconds later each following one was.
const UNREFERENCED: (u64, u64) = (1_600_000_000, 60);

/// Measures each of them.
pub(super) fn all(filled: &mut [Filled], requests: usize) -> Result<Vec<Growth>> {
    let mut rows = writes(filled, requests)?;
    rows.extend(starts(filled)?);
    Ok(rows)
}

fn writes(filled: &[Filled], requests: usize) -> Result<Vec<Growth>> {
    let targets: Vec<Target<'_>> = filled.iter().map(Target::of).collect::<Result<_>>()?;
    let tokens: Vec<&str> =
        filled.iter().map(|one| one.server().map(|server| &*server.token)).collect::<Result<_>>()?;
    let mut rows = vec![Growth::measure("alias move", filled, requests.min(45), |at, number| {
        // The first even version of an image that is not large is active, and not its latest one.
        let (shape, client) = (targets[at].filled.shape, &targets[at].client);
        let image = shape.large + 2 * u32::try_from(number)?;
        let first = filled[at].shape.first_version_of(image);
        let path = format!("/v1/images/image-{image:05}/aliases/latest");
        client.json("PUT", &path, tokens[at], Some(&json!({"version": format!("v{first}")}))).map(drop)
    })?];
    let mut blobs = Vec::new();
    for (at, one) in filled.iter().enumerate() {
        let bytes = random()?;
        let (digest, size) = digest(&bytes[..])?;
        one.server()?.upload(&digest, size, &bytes[..])?;
        for image in 0..20 {
            let image = json!({"name": format!("published-{image}")});
            targets[at].client.json("POST", "/v1/images", tokens[at], Some(&image))?;
        }
        blobs.push((digest, size));
    }
    rows.push(Growth::measure("publish of a known blob", filled, requests, |at, number| {
        let (digest, size) = &blobs[at];
        publish(&targets[at].client, tokens[at], &format!("published-{}", number % 20), number, digest, *size)
    })?);
    rows.push(Growth::measure("intake of 4 KiB, to published", filled, requests, |at, number| {
        intake(&targets[at].client, tokens[at], &format!("taken-in-{}", number % 20), number)
    })?);
    rows.extend(documents(&targets, &tokens, &blobs)?);
    Ok(rows)
}

/// The next document of Simple Streams after a change. Without its bytes: how long those take depends on their number.
fn documents(targets: &[Target<'_>], tokens: &[&str], blobs: &[(String, u64)]) -> Result<Vec<Growth>> {
    let document = |at: usize| targets[at].client.header(DOCUMENT, &[("accept-encoding", "gzip")], "etag").map(drop);
    // The document as of now, so that the next one differs by what is measured alone.
    (0..targets.len()).try_for_each(document)?;
    let (mut unlisted, mut moved) = (vec![Vec::new(); targets.len()], vec![Vec::new(); targets.len()]);
    for number in 0..CHANGES {
        for (at, target) in targets.iter().enumerate() {
            let (digest, size) = &blobs[at];
            publish(&target.client, tokens[at], "published-0", 100_000 + number, digest, *size)?;
            unlisted[at].push(timed(|| document(at))?);
            // Of ten versions, Simple Streams list the second.
            let version = 1 + 10 * u32::try_from(number)?;
            let image = target.filled.shape.image_of(version);
            let alias = format!("/v1/images/image-{image:05}/aliases/moved-{number}");
            target.client.json("PUT", &alias, tokens[at], Some(&json!({"version": format!("v{version}")})))?;
            moved[at].push(timed(|| document(at))?);
        }
    }
    Ok(vec![
        Growth::new("images.json after a publish that it does not list", unlisted).whole(),
        Growth::new("images.json after an alias of 1 product", moved).whole(),
    ])
}

/// Publishes a version with the blob, and waits until it is published.
fn publish(client: &Client, token: &str, image: &str, number: usize, digest: &str, size: u64) -> Result<()> {
    draft(client, token, image, number, digest, size)?;
    wait(client, token, &request_publish(client, token, image, number)?, "succeeded")
}

/// Creates a draft with an artifact.
pub(in crate::bench) fn draft(
    client: &Client,
    token: &str,
    image: &str,
    number: usize,
    digest: &str,
    size: u64,
) -> Result<()> {
    let versions = format!("/v1/images/{image}/versions");
    client.json("POST", &versions, token, Some(&json!({"version": format!("p{number}")})))?;
    let artifact = json!({"operating_system": "linux", "architecture": "amd64", "format": "raw",
        "primary_blob_digest": digest, "primary_blob_size_bytes": size,
        "primary_media_type": "application/octet-stream"});
    client.json("POST", &format!("{versions}/p{number}/artifacts"), token, Some(&artifact)).map(drop)
}

/// Requests the publication of such a draft; returns the path of its job.
pub(in crate::bench) fn request_publish(client: &Client, token: &str, image: &str, number: usize) -> Result<String> {
    let path = format!("/v1/images/{image}/versions/p{number}/publish");
    let requested = client.json("POST", &path, token, None)?;
    Ok(format!("/v1/publish-jobs/{}", text(&requested, "job_id")?))
}

/// Publishes new bytes with one request and one upload.
fn intake(client: &Client, token: &str, image: &str, number: usize) -> Result<()> {
    let bytes = random()?;
    let described = json!({"image": image, "version": format!("t{number}"), "operating_system": "linux",
        "architecture": "amd64", "format": "raw", "size_bytes": BYTES, "aliases": []});
    let created = client.json("POST", "/api/images", token, Some(&described))?;
    let id = text(&created, "upload_session_id")?;
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", &*bearer),
        ("tus-resumable", "1.0.0"),
        ("upload-offset", "0"),
        ("content-type", "application/offset+octet-stream"),
    ];
    client.send("PATCH", &format!("/api/uploads/tus/{id}"), &headers, &bytes)?;
    wait(client, token, &format!("/api/uploads/{id}"), "published")
}

/// Waits until the state of the resource at `path` is `end`; fails if that is `failed`.
pub(in crate::bench) fn wait(client: &Client, token: &str, path: &str, end: &str) -> Result<()> {
    loop {
        let body: Value = client.json("GET", path, token, None)?;
        match text(&body, "state")? {
            state if state == end => return Ok(()),
            "failed" => return Err(format!("{path} failed: {body}").into()),
            _ => thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Starts of the server, each followed by a collection of some of the blobs that nothing refers to.
fn starts(filled: &mut [Filled]) -> Result<Vec<Growth>> {
    let (mut started, mut collected) = (vec![Vec::new(); filled.len()], vec![Vec::new(); filled.len()]);
    for round in 1..=COLLECTIONS {
        for (at, one) in filled.iter_mut().enumerate() {
            let due = UNREFERENCED.0 + UNREFERENCED.1 * COLLECTED * round;
            started[at].push(one.restart(&format!("{}s", seconds_since_epoch()? - due))?);
            let (client, admin) = (Client::new(&one.server()?.url), &one.admin);
            let last_run = || -> Result<Value> {
                Ok(client.json("GET", "/v1/system/storage", admin, None)?["gc"]["last_run_at"].clone())
            };
            let took = timed(|| {
                client.json("POST", "/v1/system/gc", admin, Some(&json!({"dry_run": false})))?;
                while last_run()?.is_null() {
                    thread::sleep(Duration::from_millis(2));
                }
                Ok(())
            })?;
            collected[at].push(took * BATCH / u32::try_from(COLLECTED)?);
        }
    }
    Ok(vec![Growth::new("garbage collection, a batch of 50", collected), Growth::new("start to /readyz", started)])
}

#[expect(clippy::disallowed_methods, reason = "the server under test has the same clock")]
fn seconds_since_epoch() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

fn random() -> Result<Vec<u8>> {
    let mut bytes = vec![0; BYTES];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
