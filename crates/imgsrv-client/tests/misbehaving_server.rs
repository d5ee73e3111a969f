//! How a client handles errors of server and network: a scripted server sends the responses.

use futures::TryStreamExt;
use imgsrv_client::{
    ByteSize, Client, Error, Format, NewArtifact, Publication, RetryPolicy, Source,
    api::{CreateImage, CreateUpload, ProblemCode},
};
use imgsrv_testkit::digest;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// A server that sends one scripted response to each connection, in order, and closes it.
struct Script {
    url: String,
    /// The heads of the requests.
    heads: Arc<Mutex<Vec<String>>>,
}

impl Script {
    async fn start(responses: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&heads);
        tokio::spawn(async move {
            for response in responses {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).await.is_ok() {
                    head.push(byte[0]);
                }
                seen.lock().expect("heads").push(String::from_utf8_lossy(&head).to_lowercase());
                let _ = stream.write_all(&response).await;
            }
        });
        Self { url, heads }
    }

    fn client(&self) -> Client {
        let retry = RetryPolicy::default().with_delays(Duration::from_millis(1), Duration::from_millis(10));
        Client::builder(&self.url).token("secret-token").retry(retry).build().expect("a client")
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().expect("heads").clone()
    }
}

fn response(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} x\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}").into_bytes()
}

fn problem(code: ProblemCode, headers: &str) -> Vec<u8> {
    let status = code.status();
    let body = format!(
        r#"{{"type": "{}", "title": "{}", "status": {status}, "detail": "this time", "later": 1}}"#,
        code.urn(),
        code.title()
    );
    response(status, &format!("content-type: application/problem+json\r\n{headers}"), &body)
}

const IMAGE: &str = r#"{"id": "1", "name": "debian", "created_at": "", "updated_at": "", "later": true}"#;

#[tokio::test]
async fn transient_errors_are_retried_and_unknown_fields_are_ignored() {
    let script = Script::start(vec![
        response(502, "", "<html>"),
        problem(ProblemCode::Unavailable, "retry-after: 1\r\n"),
        Vec::new(),
        b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_vec(),
        response(200, "", IMAGE),
    ])
    .await;
    let began = tokio::time::Instant::now();
    let image = script.client().image("debian").await.expect("the image");
    assert_eq!((&*image.name, script.heads().len()), ("debian", 5));
    assert!(began.elapsed() >= Duration::from_secs(1), "as long as the server asks for");
}

#[tokio::test]
async fn creation_is_retried_only_if_the_server_cannot_have_processed_it() {
    let new = CreateImage { name: "debian".to_owned(), display_name: None, description: None, visibility: None };
    let script =
        Script::start(vec![problem(ProblemCode::TooManyFailures, ""), Vec::new(), response(200, "", IMAGE)]).await;
    let lost = script.client().create_image(&new).await;
    assert!(matches!(lost, Err(Error::Unreachable(_))), "{lost:?}");
    assert_eq!(script.heads().len(), 2, "the refusal is retried, the lost response is not");
}

#[tokio::test]
async fn retries_of_an_upload_session_have_its_idempotency_key() {
    let session = r#"{"id": "1", "expected_digest": "", "expected_size_bytes": 1, "state": "created", "expires_at": "",
        "created_at": "", "updated_at": ""}"#;
    let script = Script::start(vec![
        Vec::new(),
        problem(ProblemCode::Unavailable, ""),
        response(201, "", session),
        response(201, "", session),
    ])
    .await;
    let new = CreateUpload {
        expected_digest: digest(b"x"),
        expected_size_bytes: 1,
        media_type_hint: None,
        filename_hint: None,
    };
    for _ in 0..2 {
        script.client().create_upload(&new).await.expect("a session");
    }
    let key = |head: &String| {
        let line = head.lines().find_map(|line| line.strip_prefix("idempotency-key: "));
        line.expect("a key").to_owned()
    };
    let keys: Vec<String> = script.heads().iter().map(key).collect();
    assert!(keys[0].len() == 38 && keys[0].starts_with('"') && keys[0].ends_with('"'), "a UUID in quotes: {keys:?}");
    assert!(keys[..3].iter().all(|key| *key == keys[0]), "each retry has the key of the first request: {keys:?}");
    assert_ne!(keys[3], keys[0], "another session has another key");
}

#[tokio::test]
async fn refusals_are_typed_and_permanent_and_other_responses_are_unexpected() {
    let script = Script::start(vec![
        problem(ProblemCode::VersionNotDraft, ""),
        response(404, "content-type: text/html\r\n", "<html>"),
        response(302, "location: http://elsewhere.example/\r\n", ""),
        response(200, "", "nothing"),
    ])
    .await;
    let client = script.client();
    let refused = client.delete_version("debian", "1").await.expect_err("a refusal");
    assert_eq!((refused.code(), refused.status()), (Some(ProblemCode::VersionNotDraft), Some(412)));
    assert_eq!(refused.to_string(), "this time");
    for status in [404, 302] {
        let result = client.image("debian").await;
        assert!(matches!(result, Err(Error::UnexpectedResponse { status: seen, .. }) if seen == status), "{result:?}");
    }
    assert!(matches!(client.image("debian").await, Err(Error::InvalidResponse(_))));
    assert!(script.heads().iter().all(|head| head.contains("authorization: bearer secret-token")));
    assert!(!format!("{client:?}").contains("secret-token"));
}

/// The network loses the first response to each creation.
#[tokio::test]
async fn a_publication_survives_lost_responses_to_creations() {
    let artifact = format!(
        r#"{{"id": "a", "version_id": "v", "variant": "default", "operating_system": "linux", "architecture": "amd64",
        "format": "raw", "primary_blob_digest": "{}", "primary_blob_size_bytes": 0,
        "primary_media_type": "application/octet-stream", "created_at": "", "updated_at": ""}}"#,
        digest(b"")
    );
    let version = |state: &str| {
        format!(
            r#"{{"id": "v", "image_id": "1", "version": "1", "state": "{state}", "created_at": "", "updated_at": ""}}"#
        )
    };
    let manifest = |state: &str, entries: &str| {
        let body = format!(r#"{{"image": {IMAGE}, "version": {}, "artifacts": [{entries}]}}"#, version(state));
        response(200, "", &body)
    };
    let entry = format!(r#"{{"artifact_id": "a", "artifact": {artifact}, "attachments": []}}"#);
    let session = |state: &str| {
        let body = format!(
            r#"{{"id": "u", "expected_digest": "{}", "expected_size_bytes": 0, "state": "{state}", "expires_at": "",
            "created_at": "", "updated_at": ""}}"#,
            digest(b"")
        );
        response(200, "", &body)
    };
    let requested = version("publishing").replace('}', r#", "job_id": "j"}"#);
    let job = r#"{"id": "j", "version_id": "v", "image_name": "debian", "version": "1", "state": "succeeded",
        "created_at": "", "updated_at": "", "steps": []}"#;
    let nothing = || response(200, "", r#"{"uploads": []}"#);
    let missing = || problem(ProblemCode::NotFound, "");
    let taken = || problem(ProblemCode::NameTaken, "");
    let lost = Vec::new;
    let script = Script::start(vec![
        // The drafts of the image, uploads, the version, an alias of that name.
        missing(),
        nothing(),
        missing(),
        missing(),
        // The upload: nothing is open, and the digest is trusted.
        nothing(),
        session("ready"),
        // Image, version and artifact are created, but the responses are lost.
        lost(),
        taken(),
        lost(),
        taken(),
        manifest("draft", ""),
        lost(),
        taken(),
        manifest("draft", &entry),
        manifest("draft", &entry),
        lost(),
        response(202, "", &requested),
        response(200, "", job),
        manifest("published", &entry),
    ])
    .await;
    let empty = NewArtifact::new(Source::Bytes(Vec::new().into()), Format::Raw, "amd64");
    let published = script.client().publish(Publication::new("debian", "1", [empty])).run().await.expect("published");
    assert_eq!((&*published.version.state, published.blobs[0].already_stored), ("published", true));
}

/// Another client replaces a part between each listing and the completion with what was listed.
#[tokio::test]
async fn an_upload_is_abandoned_if_its_part_list_never_matches() {
    let session = format!(
        r#"{{"id": "u", "expected_digest": "{}", "expected_size_bytes": 4, "state": "created", "expires_at": "",
        "created_at": "", "updated_at": ""}}"#,
        digest(b"abcd")
    );
    let part = |etag: usize| format!(r#"{{"part_number": 1, "etag": "{etag}", "size_bytes": 4}}"#);
    let mut responses = vec![response(200, "", r#"{"uploads": []}"#)];
    for _ in 0..3 {
        responses.push(response(201, "", &session));
        responses.push(response(200, "", &part(0)));
        for try_number in 0..3 {
            responses.push(response(200, "", &format!(r#"{{"parts": [{}]}}"#, part(try_number))));
            responses.push(problem(ProblemCode::PartListMismatch, ""));
        }
    }
    let expected = responses.len();
    let script = Script::start(responses).await;
    let refused = script.client().upload(Source::Bytes(b"abcd".to_vec().into())).send().await;
    let refused = refused.expect_err("the upload is abandoned");
    assert_eq!((refused.code(), script.heads().len()), (Some(ProblemCode::PartListMismatch), expected));
}

#[tokio::test]
async fn without_retries_the_first_error_is_returned() {
    let refused = Client::builder("http://127.0.0.1:1").retry(RetryPolicy::none()).build().expect("a client");
    assert!(matches!(refused.image("debian").await, Err(Error::Unreachable(_))));
}

#[tokio::test]
async fn calls_can_be_spawned() {
    fn spawnable(_: impl Future + Send + 'static) {}
    let client = Client::builder("http://127.0.0.1:1").build().expect("a client");
    spawnable(client.publish(Publication::new("debian", "1", [])).run());
    spawnable(client.upload("disk").send());
    spawnable(async move { client.move_alias("debian", "latest", "1", "2").await });
}

#[tokio::test]
async fn all_pages_of_a_list_are_fetched() {
    let page = |names: &[&str], next: &str| {
        let images: Vec<String> = names.iter().map(|name| IMAGE.replace("debian", name)).collect();
        response(200, "", &format!(r#"{{"images": [{}]{next}}}"#, images.join(",")))
    };
    let script = Script::start(vec![page(&["a", "b"], r#", "next_cursor": "a b&c""#), page(&["c"], "")]).await;
    let images: Vec<_> = script.client().images(true).try_collect().await.expect("images");
    assert_eq!(images.iter().map(|image| &*image.name).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(script.heads()[1].starts_with("get /v1/images?include_unpublished=true&cursor=a+b%26c http"));
}

#[tokio::test]
async fn a_download_resumes_after_a_broken_connection_and_refuses_other_bytes() {
    let bytes = b"0123456789";
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123".to_vec();
    let rest = b"HTTP/1.1 206 x\r\nconnection: close\r\ncontent-range: bytes 4-9/10\r\ncontent-length: 6\r\n\r\n456789";
    let script = Script::start(vec![cut.clone(), rest.to_vec(), cut, response(200, "", "0123456789")]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("disk");
    let client = script.client();
    let (expected, size) = (digest(bytes).parse().expect("a digest"), ByteSize::try_from(10_u64).expect("a size"));
    client.download_blob(expected, size).to_file(&file).await.expect("a download");
    assert_eq!(std::fs::read(&file).expect("the file"), bytes);
    let second = &script.heads()[1];
    assert!(second.contains("range: bytes=4-\r\n") && second.contains(&format!("if-range: \"{}\"", digest(bytes))));

    // A proxy ignores the range and sends everything.
    let mut out = Vec::new();
    client.download_blob(expected, size).to_writer(&mut out).await.expect("a download");
    assert_eq!(out, bytes);

    let script = Script::start(vec![response(200, "", "0123456780")]).await;
    let damaged = script.client().download_blob(expected, size).to_file(folder.path().join("other")).await;
    assert!(matches!(damaged, Err(Error::DigestMismatch { .. })), "{damaged:?}");
    let names: Vec<_> = std::fs::read_dir(folder.path()).expect("the folder").collect();
    assert_eq!(names.len(), 1, "damaged bytes are deleted");
}
