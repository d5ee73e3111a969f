//! Rows as both databases return them, and the records that they are decoded into.

mod auth;
mod blobs;
mod content;
mod decode;
mod intakes;
mod jobs;
mod manifests;
mod statistics;
mod streams;
mod time;
mod timed;
mod uploads;
mod work;

pub(crate) use auth::{
    AdmissionRow, AuditRow, PrincipalRow, RuleRow, StoredTokenRow, TokenRow, attributes_json, forwarded_json,
};
pub(crate) use blobs::BlobRow;
pub(crate) use content::{AliasRow, ArtifactRow, AttachmentRow, ImageRow, UntrustedRow, VersionRow};
pub(crate) use decode::Corrupt;
pub(crate) use intakes::IntakeRow;
pub(crate) use jobs::{JobReportRow, JobStepRow, job, job_report};
pub(crate) use manifests::{EntryRow, ResolvedRow, manifest_entries};
pub(crate) use statistics::{WaitRow, statistics};
pub(crate) use streams::{FingerprintRow, StreamImageRow, StreamIndexRow, stream_images};
pub(crate) use time::SqlTime;
pub(crate) use timed::TimedRow;
pub(crate) use uploads::{PartRow, UploadRow, UploadStateColumns, hash_columns};
pub(crate) use work::LeasedRow;
