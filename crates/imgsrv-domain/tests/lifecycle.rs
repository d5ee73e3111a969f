//! The whole table of lifecycle states and actions, and random histories.

use imgsrv_domain::{
    audit::AuditAction,
    lifecycle::{Changed, Drain, Lifecycle, LifecycleRefusal, LifecycleState, Removal, Words},
    time::Timestamp,
};
use proptest::prelude::*;
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);
const START: Timestamp = Timestamp::from_micros(1_000_000);

fn after(hours: u32) -> Timestamp {
    START.plus(HOUR * hours)
}

fn words(reason: &str) -> Words {
    Words { reason: Some(reason.parse().expect("a reason")), replacement: None }
}

fn drain() -> Drain {
    Drain::new(24 * HOUR).expect("long enough")
}

#[derive(Debug, Clone, Copy)]
enum Action {
    Deprecate,
    Revoke,
    Remove,
    Restore,
    Hold,
    Release,
    Entomb,
}

const ACTIONS: [Action; 7] =
    [Action::Deprecate, Action::Revoke, Action::Remove, Action::Restore, Action::Hold, Action::Release, Action::Entomb];

fn act(lifecycle: Lifecycle, action: Action, reason: &str, now: Timestamp) -> Result<Changed, LifecycleRefusal> {
    match action {
        Action::Deprecate => lifecycle.deprecate(words(reason), None, now),
        Action::Revoke => lifecycle.revoke(words(reason), now),
        Action::Remove => lifecycle.remove(words(reason), None, drain(), now),
        Action::Restore => lifecycle.restore(now),
        Action::Hold => lifecycle.hold(reason.parse().expect("a reason"), None, now),
        Action::Release => Ok(lifecycle.release(24 * HOUR, now)),
        Action::Entomb => Ok(lifecycle.clone().entomb(now).unwrap_or((lifecycle, None))),
    }
}

fn done(changed: Result<Changed, LifecycleRefusal>) -> Lifecycle {
    changed.expect("allowed").0
}

/// A lifecycle in each state, at a time at which it is in that state.
fn in_state(state: LifecycleState) -> (Lifecycle, Timestamp) {
    let active = Lifecycle::active(START);
    match state {
        LifecycleState::Active => (active, after(1)),
        LifecycleState::Deprecated => (done(active.deprecate(words("old"), None, START)), after(1)),
        LifecycleState::Revoked => (done(active.revoke(words("bad"), START)), after(1)),
        LifecycleState::Removed => (done(active.remove(words("gone"), None, drain(), START)), after(1)),
        LifecycleState::Tombstone => {
            let removed = done(active.remove(words("gone"), None, drain(), START));
            (removed.entomb(after(24)).expect("due").0, after(25))
        }
    }
}

#[test]
fn the_table_of_states_and_actions() {
    use LifecycleState::{Active, Deprecated, Removed, Revoked, Tombstone};
    // For each state, the state after deprecate, revoke, remove and restore; `None` is refused.
    let table = [
        (Active, [Some(Deprecated), Some(Revoked), Some(Removed), Some(Active)]),
        (Deprecated, [Some(Deprecated), Some(Revoked), Some(Removed), Some(Active)]),
        (Revoked, [None, Some(Revoked), Some(Removed), Some(Active)]),
        (Removed, [None, None, Some(Removed), Some(Active)]),
        (Tombstone, [None, None, Some(Tombstone), None]),
    ];
    for (state, expected) in table {
        for (action, expected) in ACTIONS.into_iter().zip(expected) {
            let (lifecycle, now) = in_state(state);
            assert_eq!(lifecycle.state(now), state);
            let changed = act(lifecycle, action, "other words", now);
            assert_eq!(changed.as_ref().map(|(after, _)| after.state(now)).ok(), expected, "{action:?} {state}");
            if let Err(refusal) = changed {
                let action = format!("{action:?}").to_lowercase();
                assert_eq!(refusal.to_string(), format!("cannot {action} a version that is {}", state.in_words()));
            }
        }
    }
}

#[test]
fn asking_for_the_present_state_changes_nothing() {
    for (state, action, reason) in [
        (LifecycleState::Deprecated, Action::Deprecate, "old"),
        (LifecycleState::Revoked, Action::Revoke, "bad"),
        (LifecycleState::Removed, Action::Remove, "gone"),
        (LifecycleState::Tombstone, Action::Remove, "other words"),
        (LifecycleState::Active, Action::Restore, ""),
        (LifecycleState::Active, Action::Release, ""),
    ] {
        let (lifecycle, now) = in_state(state);
        assert_eq!(act(lifecycle.clone(), action, reason, now), Ok((lifecycle, None)), "{state} {action:?}");
    }
    // A removal without words keeps those that it has.
    let (removed, now) = in_state(LifecycleState::Removed);
    assert_eq!(removed.clone().remove(Words::default(), None, drain(), now), Ok((removed, None)));
}

#[test]
fn other_words_replace_the_present_ones_and_keep_the_times() {
    let (removed, now) = in_state(LifecycleState::Removed);
    let before = removed.removal.clone().expect("removed");
    let (edited, action) = removed.remove(words("a secret"), None, drain(), now).expect("allowed");
    assert_eq!(action, Some(AuditAction::VersionRemoved));
    let Removal { notice, available_until, .. } = edited.removal.clone().expect("removed");
    assert_eq!((notice.at, available_until), (before.notice.at, before.available_until));
    assert_eq!(edited.reason().map(ToString::to_string).as_deref(), Some("a secret"));
    assert_eq!(edited.changed_at, now);
}

#[test]
fn a_repeated_removal_only_lengthens_the_drain() {
    let (removed, now) = in_state(LifecycleState::Removed);
    let Removal { notice, available_until, .. } = removed.removal.clone().expect("removed");
    let remove = |lifecycle: &Lifecycle, hours: u64, now| {
        let wanted = Drain::new(Duration::from_hours(hours)).expect("a drain");
        lifecycle.clone().remove(Words::default(), Some(wanted), drain(), now).expect("allowed")
    };
    let end = |lifecycle: &Lifecycle| lifecycle.removal.clone().expect("removed").available_until;
    let (longer, action) = remove(&removed, 1000, now);
    assert_eq!(action, Some(AuditAction::VersionRemoved));
    assert_eq!(end(&longer), notice.at.plus(Duration::from_hours(1000)));
    assert!(end(&longer) > available_until);
    let later = now.plus(Duration::from_mins(5));
    assert_eq!(remove(&longer, 1000, later), (longer.clone(), None), "the same request");
    assert_eq!(remove(&longer, 2, later), (longer.clone(), None), "a shorter drain");
    let ended = end(&longer);
    assert_eq!(remove(&longer, 2000, ended), (longer, None), "the drain has ended");
}

#[test]
fn each_restore_undoes_one_step_with_its_words() {
    let active = Lifecycle::active(START);
    let deprecated = done(active.clone().deprecate(words("old"), Some("2027-06-30".parse().expect("a day")), after(1)));
    let revoked = done(deprecated.clone().revoke(words("bad"), after(2)));
    let removed = done(revoked.clone().remove(Words::default(), None, drain(), after(3)));
    assert_eq!(removed.reason().map(ToString::to_string).as_deref(), Some("bad"), "the words below show through");
    assert!(removed.is_revoked());
    let mut now = removed;
    for expected in [revoked, deprecated, active] {
        now = done(now.restore(after(4)));
        let words = |lifecycle: &Lifecycle| {
            let record = (**lifecycle).clone();
            (record.deprecation, record.revocation, record.removal)
        };
        assert_eq!(words(&now), words(&expected));
    }
}

#[test]
fn a_removed_version_is_restored_only_before_its_drain_ends() {
    let (removed, _) = in_state(LifecycleState::Removed);
    assert_eq!(removed.state(after(23)), LifecycleState::Removed);
    assert_eq!(removed.clone().entomb(after(23)), None);
    assert_eq!(removed.state(after(24)), LifecycleState::Tombstone);
    assert_eq!(removed.stored_state(), LifecycleState::Removed, "until a worker records it");
    assert!(removed.clone().restore(after(24)).is_err());
    let (tombstone, action) = removed.entomb(after(24)).expect("due");
    assert_eq!(action, Some(AuditAction::VersionTombstoned));
    assert_eq!(tombstone.clone().entomb(after(25)), None);
    assert_eq!(tombstone.stored_state(), LifecycleState::Tombstone);
}

#[test]
fn a_drain_is_at_least_two_hours_and_has_an_end_that_can_be_shown() {
    assert!(Drain::new(2 * HOUR).is_ok());
    assert!(Drain::new(Drain::MAX).is_ok());
    assert!(Drain::new(Duration::from_secs(7199)).is_err());
    assert!(Drain::new(Drain::MAX + Duration::from_secs(1)).is_err());
}

#[test]
fn a_held_version_is_neither_revoked_nor_removed_nor_entombed() {
    let reason = || "evidence".parse().expect("a reason");
    let held = done(Lifecycle::active(START).hold(reason(), None, START));
    for action in [Action::Revoke, Action::Remove] {
        let refused = act(held.clone(), action, "x", after(1));
        assert!(matches!(refused, Err(LifecycleRefusal::Held(_))), "{action:?}");
    }
    assert_eq!(done(held.clone().deprecate(words("old"), None, after(1))).state(after(1)), LifecycleState::Deprecated);

    let released = held.release(24 * HOUR, after(1)).0;
    assert!(act(released.clone(), Action::Revoke, "x", after(24)).is_err(), "during the cooldown");
    assert!(act(released.clone(), Action::Revoke, "x", after(25)).is_ok(), "after the cooldown");
    assert_eq!(
        released.clone().release(24 * HOUR, after(10)),
        (released.clone(), None),
        "the cooldown does not restart"
    );
    let again = done(released.hold(reason(), None, after(2)));
    assert!(act(again, Action::Revoke, "x", after(100)).is_err(), "holding again undoes the release");

    let removed = done(Lifecycle::active(START).remove(words("gone"), None, drain(), START));
    let held = done(removed.hold(reason(), Some(after(48)), after(1)));
    assert_eq!(held.state(after(24)), LifecycleState::Tombstone, "readers were promised no more");
    assert_eq!(held.clone().entomb(after(47)), None);
    let longer = done(held.clone().hold(reason(), Some(after(96)), after(47)));
    assert_eq!(longer.clone().entomb(after(95)), None, "also lengthened after the drain");
    assert!(longer.hold(reason(), None, after(96)).is_err(), "but not once it has ended");
    assert!(held.entomb(after(48)).is_some());
}

#[test]
fn a_hold_is_only_lengthened() {
    let reason = || "evidence".parse().expect("a reason");
    let held = done(Lifecycle::active(START).hold(reason(), Some(after(10)), START));
    assert_eq!(held.clone().hold(reason(), Some(after(9)), after(1)), Err(LifecycleRefusal::ShorterHold));
    assert_eq!(held.clone().hold(reason(), Some(after(10)), after(1)), Ok((held.clone(), None)));
    let longer = done(held.hold(reason(), None, after(1)));
    assert_eq!(longer.hold(reason(), Some(after(99)), after(1)), Err(LifecycleRefusal::ShorterHold));
    let past = Lifecycle::active(START).hold(reason(), Some(START), after(1));
    assert_eq!(past, Err(LifecycleRefusal::HoldInPast));
}

#[test]
fn a_released_hold_can_be_given_an_end_that_is_later_than_its_cooldown() {
    let reason = || "evidence".parse().expect("a reason");
    let held = done(Lifecycle::active(START).hold(reason(), None, START));
    let released = held.release(24 * HOUR, after(1)).0;
    let earlier = released.clone().hold(reason(), Some(after(24)), after(2));
    assert_eq!(earlier, Err(LifecycleRefusal::ShorterHold));
    let later = done(released.hold(reason(), Some(after(30)), after(2)));
    assert!(act(later.clone(), Action::Revoke, "x", after(29)).is_err(), "the release is undone");
    assert!(act(later, Action::Revoke, "x", after(30)).is_ok());
}

#[test]
fn a_purged_version_is_a_tombstone_at_once() {
    let purged = |lifecycle: Lifecycle, hour| lifecycle.purge(words("a secret"), after(hour)).expect("allowed");
    for state in [LifecycleState::Active, LifecycleState::Deprecated, LifecycleState::Revoked] {
        let steps = purged(in_state(state).0, 30);
        let states: Vec<_> = steps.iter().map(Lifecycle::stored_state).collect();
        assert_eq!(states, [LifecycleState::Removed, LifecycleState::Tombstone], "{state}");
        assert_eq!(steps[1].revision.get(), steps[0].revision.get() + 1);
        let removal = steps[1].removal.clone().expect("removed");
        assert_eq!((removal.available_until, removal.tombstone_at), (after(30), Some(after(30))));
        assert!(steps[1].clone().restore(after(30)).is_err(), "it cannot be restored");
    }
    let draining = in_state(LifecycleState::Removed).0;
    let steps = purged(draining, 10);
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0].reason().map(ToString::to_string).as_deref(), Some("a secret"));
    assert_eq!(steps[0].removal.as_ref().map(|removal| removal.available_until), Some(after(10)), "the drain ends");
    assert!(purged(in_state(LifecycleState::Tombstone).0, 50).is_empty(), "there is nothing to store");
    let held = done(Lifecycle::active(START).hold("evidence".parse().expect("a reason"), None, START));
    assert!(matches!(held.purge(words("a secret"), after(1)), Err(LifecycleRefusal::Held(_))));
}

proptest! {
    /// However a lifecycle came about: what it was is back after as many restores as there were steps, a version is never
    /// entombed before its drain has ended or while it is held, and nothing leaves a tombstone.
    #[test]
    fn no_history_breaks_a_promise(history in prop::collection::vec((0_usize..7, 0_u32..30), 0..25)) {
        let (mut lifecycle, mut hours) = (Lifecycle::active(START), 0);
        for (action, wait) in history {
            hours += wait;
            let (now, before) = (after(hours), lifecycle.clone());
            let Ok((next, audited)) = act(before.clone(), ACTIONS[action], "words", now) else { continue };
            prop_assert_eq!(audited.is_none(), next == before);
            if before.stored_state() == LifecycleState::Tombstone {
                prop_assert_eq!(next.stored_state(), LifecycleState::Tombstone);
            }
            let is_entombed = |lifecycle: &Lifecycle| lifecycle.stored_state() == LifecycleState::Tombstone;
            if is_entombed(&next) && !is_entombed(&before) {
                prop_assert!(before.removal.as_ref().is_some_and(|removal| removal.available_until <= now));
                prop_assert!(before.hold_in_force(now).is_none());
            }
            let is_retired = |lifecycle: &Lifecycle| matches!(
                lifecycle.stored_state(), LifecycleState::Revoked | LifecycleState::Removed);
            if is_retired(&next) && !is_retired(&before) {
                prop_assert!(before.hold_in_force(now).is_none());
            }
            if let (Some(old), Some(new)) = (&before.removal, &next.removal) {
                prop_assert_eq!(old.available_until, new.available_until);
            }
            lifecycle = next;
        }
        let now = after(hours);
        if lifecycle.state(now) != LifecycleState::Tombstone {
            for _ in 0..3 {
                lifecycle = done(lifecycle.restore(now));
            }
            prop_assert_eq!(lifecycle.state(now), LifecycleState::Active);
        }
    }
}
