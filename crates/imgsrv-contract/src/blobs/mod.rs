//! What every blob store promises.

mod assembly;
mod parts;
mod session;
mod store;

use crate::{Case, Open, cases};
use imgsrv_domain::ports::BlobStore;
use std::{any::Any, sync::Arc};

/// A fresh store. What `guard` holds lives as long as the case runs.
pub struct Fresh {
    /// The store, empty.
    pub store: Arc<dyn BlobStore>,
    /// Whatever must outlive it.
    pub guard: Box<dyn Any + Send + Sync>,
}

/// Runs every case on fresh stores of each adapter.
pub fn run(adapters: &[(&str, Open<Fresh>)]) -> ! {
    crate::run(adapters, CASES)
}

const CASES: &[Case<Fresh>] = cases![
    parts::parts_in_order_are_hashed_as_they_arrive,
    parts::parts_out_of_order_are_hashed_at_promotion,
    parts::a_promotion_goes_on_from_a_saved_hash,
    parts::promoting_again_after_success_is_harmless,
    parts::bytes_of_another_digest_are_not_promoted,
    parts::staged_bytes_that_are_gone_are_reported,
    parts::a_replaced_part_is_promoted_with_its_new_bytes,
    parts::a_cut_body_leaves_nothing_and_spares_its_neighbours,
    parts::a_part_beyond_its_limit_is_refused,
    parts::a_wrong_checksum_is_refused,
    parts::a_right_checksum_of_a_later_part_is_accepted,
    parts::an_empty_blob_can_be_promoted,
    store::two_sessions_promote_one_digest_under_two_names,
    store::ranges_are_read_exactly,
    store::a_blob_of_another_size_is_damaged,
    store::removing_and_clearing_again_is_harmless,
    store::staged_sessions_are_listed,
    store::a_promoted_blob_outlives_its_staging,
    assembly::large_parts_in_order_are_not_read_again,
    assembly::large_parts_in_any_order_make_one_blob,
    assembly::a_replaced_part_among_large_ones_is_promoted_with_its_new_bytes,
    assembly::a_first_part_that_was_replaced_is_promoted_with_its_new_bytes,
    assembly::small_and_large_parts_make_one_blob,
    assembly::many_small_parts_make_one_blob,
    assembly::large_bytes_of_another_digest_are_not_promoted,
    assembly::a_large_body_that_is_cut_leaves_nothing_staged,
    store::a_cleared_session_places_nothing_any_more,
    assembly::a_tiny_last_part_makes_one_blob_with_large_ones,
    assembly::a_part_that_was_replaced_by_nothing_makes_one_blob_with_the_others,
    assembly::a_blob_outlives_a_worker_that_comes_late_and_knows_no_parts,
    parts::a_body_of_another_length_than_announced_is_refused,
    assembly::two_workers_may_promote_beside_one_another,
    assembly::two_workers_may_add_to_one_upload_beside_one_another,
    store::leftovers_of_an_unknown_session_are_cleared,
    store::a_store_is_somebodys_for_good,
    store::the_probe_succeeds,
];
