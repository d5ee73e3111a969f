//! Valid qcow2 images, without QEMU.

/// An empty qcow2 image (version 3, 64 KiB clusters) of 1 MiB virtual size. Each `salt` gives a different digest. The
/// layout follows QEMU's `docs/interop/qcow2.txt`.
pub fn qcow2(salt: u64) -> Vec<u8> {
    const CLUSTER: usize = 65536;
    let mut image = vec![0; 5 * CLUSTER];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"QFI\xfb");
    put(4, &3_u32.to_be_bytes());
    put(20, &16_u32.to_be_bytes());
    put(24, &(1_u64 << 20).to_be_bytes());
    put(36, &1_u32.to_be_bytes());
    put(40, &(3 * CLUSTER as u64).to_be_bytes());
    put(48, &(CLUSTER as u64).to_be_bytes());
    put(56, &1_u32.to_be_bytes());
    put(96, &4_u32.to_be_bytes());
    put(100, &104_u32.to_be_bytes());
    // The refcount table points to one block, which counts the header, itself, the block, the L1 table and the salt.
    put(CLUSTER, &(2 * CLUSTER as u64).to_be_bytes());
    for cluster in 0..5 {
        put(2 * CLUSTER + 2 * cluster, &1_u16.to_be_bytes());
    }
    put(4 * CLUSTER, &salt.to_be_bytes());
    image
}
