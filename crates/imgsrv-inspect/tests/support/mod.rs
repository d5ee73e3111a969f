//! Sources of bytes that count what is read of them, and `qemu-img`.

#![allow(dead_code, reason = "each test uses a part")]

use futures::executor::block_on;
use imgsrv_inspect::{InspectError, Inspected, Source, inspect};
use std::{
    convert::Infallible,
    path::Path,
    process::{Command, Output},
    sync::atomic::{AtomicU64, Ordering},
};

/// Bytes in memory.
pub(crate) struct Bytes {
    bytes: Vec<u8>,
    read: AtomicU64,
}

impl Bytes {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, read: AtomicU64::new(0) }
    }

    /// Inspects the bytes; no reader reads more than documented.
    pub(crate) fn inspect(&self) -> Result<Inspected, InspectError<Infallible>> {
        let found = block_on(inspect(self));
        let read = self.read.swap(0, Ordering::Relaxed);
        assert!(read <= 131 << 20, "{read} bytes read");
        found
    }
}

impl Source for Bytes {
    type Error = Infallible;

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    async fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, Infallible> {
        let offset = usize::try_from(offset).expect("an offset");
        assert!(length <= 256 << 10, "{length} bytes at once");
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(self.bytes[offset..offset + length].to_vec())
    }
}

/// Runs `qemu-img` with `arguments`, which contain no spaces.
pub(crate) fn qemu_img(folder: &Path, arguments: &str) {
    let output = try_qemu_img(folder, arguments);
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) fn try_qemu_img(folder: &Path, arguments: &str) -> Output {
    Command::new("qemu-img").args(arguments.split(' ')).current_dir(folder).output().expect("qemu-img is installed")
}
