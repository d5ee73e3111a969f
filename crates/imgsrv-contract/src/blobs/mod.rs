//! Contract of the blob store port.

mod assembly;
mod parts;
mod session;
mod store;

use crate::{Case, Open, cases};
use imgsrv_domain::ports::BlobStore;
use std::{any::Any, sync::Arc};

/// A fresh store.
pub struct Fresh {
    /// The store, empty.
    pub store: Arc<dyn BlobStore>,
    /// Resources that must outlive it, such as its folder.
    pub guard: Box<dyn Any + Send + Sync>,
}

/// Runs every case on fresh stores of each adapter.
pub fn run(adapters: &[(&str, Open<Fresh>)]) -> ! {
    crate::run(adapters, CASES)
}

const CASES: &[Case<Fresh>] = cases![
    parts::parts_in_order_are_hashed_on_arrival,
    parts::parts_out_of_order_are_hashed_at_ingest,
    parts::ingest_resumes_from_a_saved_hash,
    parts::ingest_is_idempotent,
    parts::wrong_digest_is_a_mismatch,
    parts::missing_staged_bytes_are_reported,
    parts::replaced_part_is_ingested_with_its_new_bytes,
    parts::truncated_body_leaves_nothing_and_spares_other_parts,
    parts::dropped_receipt_spares_the_parts_before_it,
    parts::part_over_its_limit_is_rejected,
    parts::wrong_checksum_is_rejected,
    parts::checksum_of_a_later_part_is_accepted,
    parts::empty_blob_is_ingested,
    store::two_sessions_ingest_one_digest_under_two_names,
    store::ranges_are_read_exactly,
    store::blob_of_another_size_is_damaged,
    store::remove_discard_and_clear_are_idempotent,
    store::staged_sessions_are_listed,
    store::blob_survives_the_clearing_of_its_staging,
    assembly::large_parts_in_order_are_not_read_again,
    assembly::large_parts_in_any_order_make_one_blob,
    assembly::replaced_large_part_is_ingested_with_its_new_bytes,
    assembly::replaced_first_part_is_ingested_with_its_new_bytes,
    assembly::small_and_large_parts_make_one_blob,
    assembly::many_small_parts_make_one_blob,
    assembly::wrong_digest_of_large_bytes_is_a_mismatch,
    assembly::truncated_large_body_leaves_nothing_staged,
    store::cleared_session_cannot_place_its_blob,
    assembly::tiny_last_part_makes_one_blob_with_large_ones,
    assembly::part_replaced_by_an_empty_one_makes_one_blob_with_the_others,
    assembly::late_worker_without_parts_does_not_harm_the_blob,
    parts::body_of_another_size_than_declared_is_rejected,
    assembly::concurrent_workers_make_one_blob,
    assembly::concurrent_workers_add_to_one_upload,
    store::unknown_session_is_cleared_without_its_name,
    store::owner_of_a_store_never_changes,
    store::probe_succeeds,
];
