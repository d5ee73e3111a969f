//! Settings of what the server keeps: garbage collection, verification and lifecycles.

use crate::options::{Given, bytes, duration, optional_duration, value};
use clap::Args;
use imgsrv_app::{CollectionSettings, ScrubSettings};
use imgsrv_domain::{lifecycle::Drain, retention::RetentionPolicy};
use std::{num::NonZeroU64, time::Duration};

#[derive(Debug, Args)]
#[command(next_help_heading = "Garbage collection and retention")]
pub(crate) struct CollectionOptions {
    /// Interval of garbage collections. 0 means only on demand
    #[arg(long, env = "IMGSRV_GC_INTERVAL", default_value = "1h", value_name = "DURATION", value_parser = optional_duration)]
    gc_interval: Duration,
    /// Time for which a blob is kept after nothing refers to it any more, such as 7d. 0 means no time
    #[arg(long, env = "IMGSRV_GC_GRACE", default_value = "7d", value_name = "DURATION", value_parser = optional_duration)]
    gc_grace: Duration,
    /// Time for which ended uploads, abandoned publish jobs and computed fingerprints are kept. The last job of every
    /// version is kept. 0 means no limit
    #[arg(long, env = "IMGSRV_HISTORY_RETENTION", default_value = "30d", value_name = "DURATION", value_parser = optional_duration)]
    history_retention: Duration,
    /// Time for which rows of the audit log are kept, such as 365d. 0 means no limit
    #[arg(long, env = "IMGSRV_AUDIT_RETENTION", default_value = "0", value_name = "DURATION", value_parser = optional_duration)]
    audit_retention: Duration,
    /// Time after which a draft that does not change is deleted, such as 90d. 0 means never
    #[arg(long, env = "IMGSRV_DRAFT_RETENTION", default_value = "0", value_name = "DURATION", value_parser = optional_duration)]
    draft_retention: Duration,
    /// Time after which a principal that a provisioning rule created and that is not seen is deleted, such as 180d. 0
    /// means never
    #[arg(long, env = "IMGSRV_PRINCIPAL_RETENTION", default_value = "0", value_name = "DURATION", value_parser = optional_duration)]
    principal_retention: Duration,
}

impl CollectionOptions {
    pub(crate) fn settings(&self) -> CollectionSettings {
        let unless_zero = |time: Duration| Some(time).filter(|time| !time.is_zero());
        CollectionSettings {
            interval: unless_zero(self.gc_interval),
            grace: self.gc_grace,
            history: unless_zero(self.history_retention),
            audit: unless_zero(self.audit_retention),
            drafts: unless_zero(self.draft_retention),
            principals: unless_zero(self.principal_retention),
        }
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Verification")]
pub(crate) struct ScrubOptions {
    /// Maximum number of bytes of stored blobs that are verified in a second, such as 16MiB. 0 turns regular verification
    /// off; every read is still verified
    #[arg(long, env = "IMGSRV_SCRUB_RATE", default_value = "16MiB", value_name = "SIZE", value_parser = bytes)]
    scrub_rate: u64,
    /// Time within which every stored blob is verified, as far as the rate allows, such as 30d
    #[arg(long, env = "IMGSRV_SCRUB_CYCLE", default_value = "30d", value_name = "DURATION", value_parser = scrub_cycle)]
    scrub_cycle: Duration,
}

impl ScrubOptions {
    pub(crate) fn settings(&self) -> ScrubSettings {
        ScrubSettings { rate: NonZeroU64::new(self.scrub_rate), cycle: self.scrub_cycle }
    }
}

fn scrub_cycle(raw: &str) -> Result<Duration, String> {
    let cycle = optional_duration(raw)?;
    if cycle.is_zero() { Err("must not be 0; --scrub-rate 0 turns it off".to_owned()) } else { Ok(cycle) }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Retired versions")]
pub(crate) struct LifecycleOptions {
    /// Time for which the files of a removed version are served, unless the request states another. At least 2h
    #[arg(long, env = "IMGSRV_REMOVAL_DRAIN", default_value = "24h", value_name = "DURATION", value_parser = removal_drain)]
    pub(crate) removal_drain: Drain,
    /// Time for which the hold of a version stays in force after its release
    #[arg(long, env = "IMGSRV_HOLD_COOLDOWN", default_value = "24h", value_name = "DURATION", value_parser = duration)]
    pub(crate) hold_cooldown: Duration,
    /// Retention policy of images without one of their own, in JSON, such as
    /// `{"keep": {"newest": 5}, "action": "remove", "enabled": true}` [default: such images keep every version]
    #[arg(long, env = "IMGSRV_DEFAULT_RETENTION", value_name = "JSON", value_parser = default_retention)]
    default_retention: Option<Given<RetentionPolicy>>,
    /// Interval at which enabled retention policies are applied
    #[arg(long, env = "IMGSRV_RETENTION_INTERVAL", default_value = "1h", value_name = "DURATION", value_parser = duration)]
    pub(crate) retention_interval: Duration,
}

impl LifecycleOptions {
    pub(crate) fn default_retention(&self) -> Option<RetentionPolicy> {
        value(self.default_retention.as_ref())
    }
}

fn default_retention(raw: &str) -> Result<Given<RetentionPolicy>, String> {
    Ok(Given(if raw.is_empty() { None } else { Some(imgsrv_http::parse_retention(raw)?) }))
}

fn removal_drain(raw: &str) -> Result<Drain, String> {
    Drain::new(duration(raw)?).map_err(|invalid| invalid.to_string())
}
