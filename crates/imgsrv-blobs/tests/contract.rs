//! The blob contract on the file system.

use imgsrv_blobs::FsBlobStore;
use imgsrv_contract::{
    Opening,
    blobs::{Fresh, run},
};
use std::sync::Arc;

fn open() -> Opening<Fresh> {
    Box::pin(async {
        let dir = tempfile::tempdir().expect("a scratch folder");
        let store = FsBlobStore::open(dir.path()).expect("a store");
        Fresh { store: Arc::new(store), guard: Box::new(dir) }
    })
}

fn main() {
    run(open)
}
