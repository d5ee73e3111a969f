//! The blob contract on the file system and on two S3-compatible stores.

use imgsrv_blobs::{FsBlobStore, S3BlobStore, S3Settings, Unobserved};
use imgsrv_contract::{
    Opening,
    blobs::{Fresh, run},
};
use imgsrv_testkit::services::S3;
use std::sync::Arc;

fn folder() -> Opening<Fresh> {
    Box::pin(async {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let store = FsBlobStore::open(dir.path(), Arc::new(Unobserved)).expect("a store");
        Fresh { store: Arc::new(store), guard: Box::new(dir) }
    })
}

fn garage() -> Opening<Fresh> {
    Box::pin(async { bucket(S3::shared().await).await })
}

fn seaweedfs() -> Opening<Fresh> {
    Box::pin(async { bucket(S3::seaweedfs().await).await })
}

/// A store in a new bucket.
async fn bucket(s3: &S3) -> Fresh {
    let settings = S3Settings {
        endpoint: Some(s3.endpoint.clone()),
        bucket: s3.bucket().await,
        region: Some(s3.region.clone()),
        access_key_id: Some(s3.access_key_id.clone()),
        secret_access_key: Some(s3.secret_access_key.clone()),
        session_token: None,
        tls: false,
        path_style: true,
    };
    let store = S3BlobStore::new(&settings, Arc::new(Unobserved)).expect("a store");
    Fresh { store: Arc::new(store), guard: Box::new(()) }
}

fn main() {
    run(&[("fs", folder), ("s3", garage), ("seaweedfs", seaweedfs)])
}
