//! What every catalog promises.

mod auth;
mod content;
mod findings;
mod intakes;
mod manifests;
mod rules;
mod samples;
mod transactions;
mod uploads;

use crate::{Case, Open, Opening, cases};
use imgsrv_domain::ports::Catalog;
use std::{any::Any, sync::Arc, time::Duration};

/// Runs SQL that was written by hand, as an operator with a shell on the database would; says whether it was refused.
pub type HandWritten = Box<dyn Fn(&str) -> Opening<bool> + Send + Sync>;

/// A fresh catalog. What `guard` holds lives as long as the case runs.
pub struct Fresh {
    /// The catalog, migrated and empty.
    pub catalog: Arc<dyn Catalog>,
    /// Moves its clock on.
    pub advance: Box<dyn Fn(Duration) + Send + Sync>,
    /// Runs a statement on a connection of its own.
    pub sql: HandWritten,
    /// Statements that only this dialect has and that must be refused on a catalog with a published version.
    pub forbidden: &'static [&'static str],
    /// Whatever must outlive it.
    pub guard: Box<dyn Any + Send + Sync>,
}

/// Runs every case on fresh catalogs of each adapter.
pub fn run(adapters: &[(&str, Open<Fresh>)]) -> ! {
    crate::run(adapters, CASES)
}

const CASES: &[Case<Fresh>] = cases![
    transactions::dropped_transactions_leave_no_trace,
    transactions::commit_after_an_error_is_refused,
    transactions::a_stale_revision_is_refused,
    transactions::of_two_racing_writers_one_wins,
    transactions::a_catalog_is_bound_to_one_store,
    transactions::times_come_back_to_the_microsecond,
    content::an_image_name_is_taken_once,
    content::an_image_with_versions_is_not_deleted,
    content::versions_and_aliases_share_a_namespace,
    content::artifacts_clash_by_key_and_by_file,
    content::attachments_clash_by_name,
    content::a_manifest_comes_back_in_its_order,
    content::a_draft_is_deleted_with_its_manifest,
    content::an_alias_points_only_to_published_versions_of_its_image,
    content::a_published_version_cannot_be_changed,
    content::hand_written_sql_cannot_break_the_guarantees,
    content::only_what_is_published_is_visible_to_all,
    content::lists_page_through_everything_once,
    content::cursors_belong_to_their_list,
    content::a_version_has_one_live_job,
    content::jobs_are_claimed_by_one_and_reclaimed_after_expiry,
    findings::findings_come_and_go_while_a_version_is_publishing,
    findings::artifacts_that_streams_could_not_tell_apart_clash,
    findings::a_pair_is_hashed_once,
    findings::streams_tell_what_has_changed,
    findings::a_file_is_found_by_its_names,
    manifests::a_version_is_resolved_by_name_and_by_alias,
    manifests::entries_are_read_with_attachments_inspections_and_warnings,
    manifests::a_quarantined_blob_is_not_located_and_changes_the_revision,
    intakes::a_stream_learns_its_digest_from_its_last_byte,
    intakes::of_two_attempts_at_a_stream_only_the_newer_is_recorded,
    intakes::intakes_come_back_whole_and_change_by_revision,
    intakes::intakes_that_wait_for_nothing_more_are_listed,
    intakes::bytes_on_their_way_are_summed_as_they_were_announced,
    uploads::sessions_and_parts_come_back_whole,
    uploads::a_principals_open_sessions_are_listed_newest_first,
    uploads::a_replaced_part_keeps_its_number,
    uploads::ingests_are_claimed_when_due_and_reclaimed_after_expiry,
    uploads::a_lost_lease_cannot_finish,
    uploads::unfinished_sessions_expire,
    uploads::ended_sessions_wait_to_be_cleared,
    uploads::a_digest_is_trusted_once,
    uploads::a_quarantined_blob_is_not_trusted_until_healed,
    uploads::untrusted_digests_of_a_manifest_are_listed,
    auth::principals_come_back_with_their_roles,
    auth::roles_are_granted_and_revoked_once,
    auth::credentials_are_found_by_key,
    auth::a_live_manager_needs_role_and_token,
    auth::token_use_only_moves_forward,
    auth::the_audit_trail_cannot_be_rewritten,
    auth::the_audit_trail_is_read_by_what_is_wanted,
    auth::a_barred_manager_is_not_a_live_one,
    rules::rules_come_back_and_change_by_revision,
    rules::an_identity_is_one_principal,
    rules::grants_are_undone_exactly,
];
