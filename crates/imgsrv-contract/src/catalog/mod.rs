//! The contract of every catalog.

mod auth;
mod blobs;
mod blocks;
mod browse;
mod collection;
mod content;
mod intakes;
mod lifecycles;
mod links;
mod manifests;
mod nodes;
mod private;
mod publishing;
mod retention;
mod rules;
mod samples;
mod streams;
mod transactions;
mod undecodable;
mod uploads;
mod verification;
mod work;

use crate::{Case, Open, Opening, cases};
use imgsrv_domain::{
    page::{Page, PageRequest},
    ports::{Catalog, CatalogError, CatalogTx, Conflict},
};
use std::{any::Any, fmt::Debug, sync::Arc, time::Duration};

/// Runs hand-written SQL, as an operator with a shell on the database would; returns whether it was refused.
pub type HandWritten = Box<dyn Fn(&str) -> Opening<bool> + Send + Sync>;

/// A fresh catalog. `guard` lives as long as the case runs.
pub struct Fresh {
    /// The catalog, migrated and empty.
    pub catalog: Arc<dyn Catalog>,
    /// Advances its clock.
    pub advance: Box<dyn Fn(Duration) + Send + Sync>,
    /// Runs a statement on a separate connection.
    pub sql: HandWritten,
    /// Statements of this dialect that must be refused on a catalog with a published version.
    pub forbidden: &'static [&'static str],
    /// Resources that must outlive the catalog.
    pub guard: Box<dyn Any + Send + Sync>,
}

impl Fresh {
    async fn begin(&self) -> Box<dyn CatalogTx> {
        self.catalog.begin().await.unwrap()
    }

    /// Commits what `write` does.
    async fn write<T>(&self, write: impl AsyncFnOnce(&mut dyn CatalogTx) -> T) -> T {
        let mut tx = self.begin().await;
        let written = write(&mut *tx).await;
        tx.commit().await.unwrap();
        written
    }

    /// Whether hand-written SQL is in PostgreSQL's dialect, or else in SQLite's.
    fn is_postgres(&self) -> bool {
        self.forbidden.iter().any(|statement| statement.starts_with("TRUNCATE"))
    }

    /// The conflict that `write` breaks in a transaction of its own.
    async fn refused<T: Debug>(
        &self,
        write: impl AsyncFnOnce(&mut dyn CatalogTx) -> Result<T, CatalogError>,
    ) -> Conflict {
        conflict(write(&mut *self.begin().await).await)
    }
}

/// The conflict that a refused write broke.
#[track_caller]
fn conflict<T: Debug>(written: Result<T, CatalogError>) -> Conflict {
    match written {
        Err(CatalogError::Conflict(conflict)) => conflict,
        other => panic!("no conflict: {other:?}"),
    }
}

/// The items of all pages of a list, each of which has at most `limit`.
async fn all_pages<T>(
    limit: i64,
    mut list: impl AsyncFnMut(&PageRequest) -> Result<Option<Page<T>>, CatalogError>,
) -> Option<Vec<T>> {
    let mut page = PageRequest { limit: limit.try_into().unwrap(), after: None };
    let mut items = Vec::new();
    loop {
        let found = list(&page).await.unwrap()?;
        assert!(found.items.len() <= page.limit.get().into());
        items.extend(found.items);
        page.after = found.next;
        if page.after.is_none() {
            return Some(items);
        }
    }
}

/// Runs every case on fresh catalogs of each adapter.
pub fn run(adapters: &[(&str, Open<Fresh>)]) -> ! {
    crate::run(adapters, CASES)
}

const CASES: &[Case<Fresh>] = cases![
    transactions::dropping_a_transaction_rolls_back,
    transactions::commit_after_an_error_is_refused,
    transactions::a_stale_revision_is_refused,
    transactions::of_two_racing_writers_one_wins,
    transactions::a_catalog_is_bound_to_one_store,
    transactions::times_are_stored_to_the_microsecond,
    content::an_image_name_is_taken_once,
    content::images_are_found_with_what_they_are_bound_to,
    content::an_image_with_versions_is_not_deleted,
    content::versions_and_aliases_share_a_namespace,
    content::artifacts_conflict_by_key_and_by_file_name,
    content::attachments_conflict_by_name,
    content::manifest_entries_are_read_in_order,
    content::a_draft_is_deleted_with_its_manifest,
    content::an_alias_points_only_to_published_versions_of_its_image,
    content::an_alias_moves_forward_in_time,
    content::a_published_version_cannot_be_changed,
    content::hand_written_sql_cannot_break_the_guarantees,
    content::unpublished_content_is_hidden,
    private::private_content_is_hidden,
    private::blobs_are_readable_through_images_and_by_those_who_sent_them,
    private::digests_that_nobody_responsible_may_read_are_listed,
    content::lists_page_through_everything_once,
    content::cursors_belong_to_their_list,
    manifests::a_version_is_resolved_by_name_and_by_alias,
    manifests::entries_are_read_with_attachments_inspections_and_warnings,
    blobs::a_digest_is_trusted_once,
    blobs::a_quarantined_blob_is_not_trusted_until_replaced,
    blobs::untrusted_digests_of_a_manifest_are_listed,
    blobs::a_quarantined_blob_is_not_located_and_changes_the_revision,
    blocks::a_purged_digest_is_blocked_and_its_blob_leaves_an_orphan,
    blocks::a_digest_is_blocked_in_one_image_or_everywhere,
    blocks::a_version_that_is_being_published_keeps_a_digest_and_a_draft_does_not,
    blocks::the_empty_digest_is_neither_purged_nor_blocked,
    blocks::no_blob_of_a_blocked_digest_is_stored,
    blocks::a_reference_and_a_purge_at_the_same_time_exclude_each_other,
    blocks::uploads_of_blocked_digests_are_listed,
    blocks::versions_are_found_by_a_digest,
    blocks::published_versions_are_counted_by_lifecycle,
    verification::block_checksums_belong_to_the_stored_bytes,
    verification::the_blob_that_was_verified_least_recently_is_next,
    verification::quarantined_blobs_are_listed_and_restored,
    browse::images_are_found_by_every_filter,
    browse::the_current_version_is_latest_or_the_newest_offered_one,
    browse::an_image_is_read_with_its_aliases_and_versions,
    browse::feeds_and_the_surroundings_of_a_version_leave_out_what_is_not_offered,
    browse::a_series_is_superseded_by_newer_listed_versions,
    collection::an_unreferenced_blob_is_deleted_after_the_grace_and_leaves_an_orphan,
    collection::every_kind_of_reference_keeps_a_blob,
    collection::the_grace_starts_with_the_last_reference_or_reuse,
    collection::a_blob_that_was_referenced_before_it_was_stored_is_marked_by_its_publication,
    collection::hand_written_deletions_start_the_grace,
    collection::the_last_of_concurrent_releases_starts_the_grace,
    collection::a_replaced_blob_leaves_an_orphan,
    collection::a_blob_is_explained_by_its_references,
    collection::ended_uploads_are_deleted_unless_something_needs_them,
    collection::abandoned_jobs_are_deleted_but_the_last_of_each_version,
    collection::fingerprints_and_audit_rows_are_retained_for_a_time,
    collection::unseen_principals_are_deleted_unless_somebody_decided_about_them,
    lifecycles::a_lifecycle_is_stored_and_fenced_by_revision,
    lifecycles::a_replacement_is_shown_while_it_is_another_offered_version,
    lifecycles::the_catalog_refuses_what_a_lifecycle_does_not_allow,
    lifecycles::no_alias_points_to_a_revoked_or_removed_version,
    lifecycles::versions_are_listed_by_lifecycle,
    lifecycles::retired_content_is_hidden,
    lifecycles::stream_changes_report_lifecycles,
    lifecycles::drained_versions_are_listed_unless_they_are_held,
    retention::a_policy_is_stored_replaced_and_deleted,
    retention::images_with_an_enabled_policy_are_listed,
    retention::what_needs_a_version_is_read_in_descending_order,
    retention::the_last_fetch_is_kept_by_day,
    publishing::a_version_has_one_live_job,
    publishing::jobs_are_listed_newest_first_by_state_and_image,
    publishing::a_job_shows_its_next_attempt_or_that_it_is_parked,
    publishing::publish_results_change_only_while_a_version_is_publishing,
    streams::artifacts_conflict_by_product_key,
    streams::a_known_fingerprint_never_changes,
    streams::stream_changes_since_a_revision_are_read,
    streams::many_stream_changes_are_read_in_batches,
    intakes::the_digest_of_an_append_upload_is_computed,
    intakes::only_the_latest_attempt_at_an_append_is_recorded,
    intakes::intakes_are_stored_and_updated_by_revision,
    intakes::staged_bytes_are_the_sum_of_expected_sizes,
    uploads::sessions_and_parts_are_stored,
    uploads::a_principals_open_sessions_are_listed_newest_first,
    uploads::a_session_is_found_by_the_key_of_its_principal,
    uploads::a_replaced_part_keeps_its_number,
    uploads::an_ingest_is_stored_and_fenced_by_revision,
    uploads::expired_sessions_are_listed_by_id,
    uploads::the_parts_of_an_ended_session_are_deleted,
    undecodable::a_list_leaves_out_rows_that_cannot_be_decoded,
    undecodable::a_page_is_not_cut_short_by_undecodable_rows,
    undecodable::uploads_and_audit_rows_that_cannot_be_decoded_are_left_out,
    undecodable::jobs_that_cannot_be_decoded_are_left_out,
    undecodable::streams_leave_out_images_aliases_and_rows,
    undecodable::a_part_of_a_whole_that_cannot_be_decoded_fails_the_whole,
    work::items_are_acquired_once_longest_due_first_and_by_kind,
    work::an_expired_lease_is_reclaimed_and_then_void,
    work::an_item_that_is_enqueued_again_after_its_end_is_another_one,
    work::an_item_can_be_leased_from_the_start,
    work::failures_are_counted_until_the_work_advances,
    work::work_that_recurs_is_due_after_its_interval,
    work::a_parked_item_waits_until_it_is_enqueued_again,
    work::an_item_that_cannot_be_decoded_is_parked_and_delays_no_other,
    work::an_upload_that_cannot_be_decoded_fails,
    work::work_that_is_due_beyond_every_delay_is_due,
    work::ten_thousand_items_are_each_done_once_by_eight_workers,
    work::a_discarded_item_is_gone_only_if_it_is_parked,
    nodes::a_node_is_live_then_gone_then_forgotten,
    nodes::a_restart_replaces_the_earlier_run_once_that_is_gone,
    auth::principals_are_stored_with_their_roles,
    auth::roles_are_granted_and_revoked_once,
    auth::roles_are_granted_on_some_images_or_on_all,
    auth::credentials_are_found_by_key,
    auth::a_live_manager_needs_role_and_token,
    auth::token_use_only_moves_forward_unless_the_clock_was_set_back,
    auth::a_token_expires_when_it_is_set_to_unless_it_is_revoked,
    links::the_first_key_is_kept_until_it_is_replaced,
    links::a_file_is_found_with_the_generation_of_its_image,
    links::a_token_is_found_by_its_id_with_its_principal,
    links::a_principal_is_found_with_the_rules_that_admit_it,
    auth::the_audit_log_is_append_only,
    auth::the_audit_log_is_filtered_and_paged,
    auth::a_deactivated_manager_is_not_live,
    rules::rules_are_stored_and_updated_by_revision,
    rules::an_identity_is_one_principal,
    rules::reconciling_ends_exactly_the_grants_of_a_rule,
];
