//! Lists of many pages.

use super::{
    memory::bucket,
    stub_s3::{Behavior, StubS3},
};
use imgsrv_domain::ids::UploadId;
use uuid::Uuid;

/// Time advances by itself while every task waits.
#[tokio::test(start_paused = true)]
async fn a_long_list_is_read_completely_if_each_page_arrives_in_time() {
    let stub = StubS3::start(Behavior::default()).await;
    let sessions = bucket(&stub).staged_sessions().await.expect("three pages of folders, and of uploads");
    assert_eq!(sessions, [1, 2, 3].map(|number| UploadId::new(Uuid::from_u128(number))));
}

#[tokio::test(start_paused = true)]
async fn what_an_upload_has_staged_is_deleted_a_thousand_objects_at_once() {
    for lacks_bulk_delete in [false, true] {
        let stub = StubS3::start(Behavior { objects: 700, lacks_bulk_delete, ..Behavior::default() }).await;
        let (store, session) = (bucket(&stub), UploadId::new(Uuid::from_u128(7)));
        for _ in 0..2 {
            store.clear_staging(session, None).await.expect("cleared");
        }
        let requests = stub.requests.lock().expect("not poisoned");
        let bulk = requests.iter().filter(|request| request.contains("?delete")).count();
        // That of its folder is one more.
        let folder = format!("DELETE /bucket/staging/{session}");
        let is_object = |request: &str| request.starts_with("DELETE /bucket/staging/") && !request.starts_with(&folder);
        let single = requests.iter().filter(|request| is_object(request)).count();
        if lacks_bulk_delete {
            // Tried once for all uploads, with the client's retries.
            assert!(matches!((bulk, single), (1..=5, 4200)), "{bulk} bulk requests, {single} others");
        } else {
            assert_eq!((bulk, single), (2 * 3, 0));
        }
    }
}
