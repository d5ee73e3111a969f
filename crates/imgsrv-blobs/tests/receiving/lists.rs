//! Lists of many pages.

use super::{memory::bucket, stub_s3::StubS3};
use imgsrv_domain::ids::UploadId;
use uuid::Uuid;

/// Time advances by itself while every task waits.
#[tokio::test(start_paused = true)]
async fn a_long_list_is_read_to_its_end_if_each_page_comes_in_time() {
    let stub = StubS3::start(0).await;
    let sessions = bucket(&stub).staged_sessions().await.expect("three pages of folders, and of uploads");
    assert_eq!(sessions, [1, 2, 3].map(|number| UploadId::new(Uuid::from_u128(number))));
}
