//! Series about the machine of the node: the free space on its disks, and the end of its certificate.

use super::encoding::{gauge, single};
use crate::tls::Tls;
use imgsrv_app::{Adapters, Services};
use imgsrv_domain::time::Timestamp;
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};
use std::{fmt, sync::Arc};

/// What is measured at every scrape.
pub(crate) struct MachineMetrics {
    /// The free space below which uploads are refused; 0 for no limit.
    pub(crate) min_free_bytes: u64,
    /// The certificate of the API; absent without TLS.
    pub(crate) tls: Option<Arc<Tls>>,
}

/// What was measured.
#[derive(Debug)]
pub(super) struct Measured {
    free_bytes: Vec<(&'static str, u64)>,
    min_free_bytes: u64,
    certificate_ends_at: Option<Timestamp>,
}

/// The free space on the disks of the catalog and of the blob store, as far as they are disks of this node.
pub(crate) async fn free_bytes(Adapters { catalog, blobs, .. }: &Adapters) -> Vec<(&'static str, u64)> {
    let catalog = catalog.free_bytes().await.ok().flatten();
    let blobs = blobs.free_bytes().await.ok().flatten();
    [("catalog", catalog), ("blobs", blobs)].into_iter().filter_map(|(disk, free)| Some((disk, free?))).collect()
}

impl MachineMetrics {
    pub(super) async fn measure(&self, services: &Services) -> Measured {
        let certificate = self.tls.as_ref().and_then(|tls| tls.certificate());
        Measured {
            free_bytes: free_bytes(services.adapters()).await,
            min_free_bytes: self.min_free_bytes,
            certificate_ends_at: certificate.map(|certificate| certificate.ends_at),
        }
    }
}

impl Collector for Measured {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Self { free_bytes, min_free_bytes, certificate_ends_at } = self;
        let encoder = &mut encoder;
        let help = "Free space on the disks of the catalog and of the blob store; absent where they are not disks of the node.";
        let samples = free_bytes.iter().map(|(disk, free)| ([("disk", *disk)], *free));
        gauge(encoder, "imgsrv_disk_free_bytes", help, samples)?;
        let help = "Free space below which uploads are refused.";
        single(encoder, "imgsrv_disk_min_free_bytes", help, Some(*min_free_bytes))?;
        let help = "Time when the certificate of the API ends; absent without TLS.";
        let time = certificate_ends_at.map(|time| time.since(Timestamp::from_micros(0)).as_secs_f64());
        single(encoder, "imgsrv_tls_certificate_expiry_timestamp_seconds", help, time)
    }
}
