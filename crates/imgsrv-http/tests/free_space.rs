//! The space that must stay free does so while parts are received at the same time.

use axum::{
    body::{Body, Bytes},
    http::{Request, StatusCode},
};
use futures::{StreamExt, future::join_all, stream};
use imgsrv_testkit::{TestResponse, TestServer};
use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

const MIB: u64 = 1 << 20;
/// Bytes of the disk, and those that must stay free.
const CAPACITY: u64 = 100 * MIB;
const LEAST: u64 = 50 * MIB;
/// Size of each part.
const PART: usize = 20;

async fn server() -> TestServer {
    let server = TestServer::start_with(|settings| settings.min_free_bytes = Some(LEAST)).await;
    server.blobs.limit(CAPACITY);
    server
}

/// The most bytes that were used at a time at which a frame was taken.
type Most = Arc<AtomicU64>;

/// A body of [`PART`] MiB, whose size only its end tells.
fn undeclared(server: &TestServer, number: u8, most: &Most) -> Body {
    let (storage, most) = (server.storage(), Arc::clone(most));
    let frames = stream::iter(0..PART).then(move |_| {
        let (storage, most) = (storage.clone(), Arc::clone(&most));
        async move {
            tokio::task::yield_now().await;
            most.fetch_max(imgsrv_testkit::used_bytes(&storage), Ordering::SeqCst);
            Ok::<_, std::io::Error>(Bytes::from(vec![number; 1 << 20]))
        }
    });
    Body::from_stream(frames)
}

/// Opens the uploads: none is opened while parts reserve space.
async fn open(server: &TestServer, numbers: Range<u8>) -> Vec<(u8, String)> {
    let mut uploads = Vec::new();
    for number in numbers {
        let digest = imgsrv_testkit::digest(&vec![number; PART << 20]);
        let session = serde_json::json!({"expected_digest": digest, "expected_size_bytes": PART << 20});
        let upload = server.write("POST", "/v1/uploads", Some(session)).await.json();
        let Some(id) = upload["id"].as_str() else { panic!("no space for a session: {upload}") };
        uploads.push((number, id.to_owned()));
    }
    uploads
}

async fn send(server: &TestServer, upload: &str, body: Body, declared: Option<usize>) -> TestResponse {
    let mut request = Request::builder()
        .method("PUT")
        .uri(format!("/v1/uploads/{upload}/parts/1"))
        .header("authorization", format!("Bearer {}", server.writer));
    if let Some(declared) = declared {
        request = request.header("content-length", declared);
    }
    server.send(request.body(body).expect("a request")).await
}

fn check(server: &TestServer, responses: &[TestResponse], most: &Most) {
    most.fetch_max(imgsrv_testkit::used_bytes(&server.storage()), Ordering::SeqCst);
    let used = most.load(Ordering::SeqCst);
    assert!(used <= CAPACITY - LEAST, "{} MiB were used", used / MIB);
    let refused: Vec<_> = responses.iter().filter(|response| response.status != StatusCode::OK).collect();
    assert!(!refused.is_empty());
    for response in refused {
        assert_eq!(response.status, StatusCode::INSUFFICIENT_STORAGE, "{response:?}");
    }
}

#[tokio::test]
async fn parts_of_undeclared_size_leave_the_space_that_must_stay_free() {
    let (server, most) = (server().await, Most::default());
    let send_all = async |numbers| {
        let uploads = open(&server, numbers).await;
        join_all(uploads.iter().map(|(number, id)| send(&server, id, undeclared(&server, *number, &most), None))).await
    };
    let responses = send_all(0..12).await;
    check(&server, &responses, &most);
    // What was refused takes no space, and no promise of it is left.
    server.blobs.limit(CAPACITY + 300 * MIB);
    let responses = send_all(20..24).await;
    assert!(responses.iter().all(|response| response.status == StatusCode::OK));
}

#[tokio::test]
async fn parts_of_declared_size_leave_the_space_that_must_stay_free() {
    let (server, most) = (server().await, Most::default());
    let uploads = open(&server, 0..12).await;
    let sending =
        uploads.iter().map(|(number, id)| send(&server, id, undeclared(&server, *number, &most), Some(PART << 20)));
    let responses = join_all(sending).await;
    check(&server, &responses, &most);
    assert!(responses.iter().any(|response| response.status == StatusCode::OK));
}
