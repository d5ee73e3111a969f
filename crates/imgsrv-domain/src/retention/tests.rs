//! The rules, and what keeps a version beside them.

use super::{
    decide::{PeriodOf, count},
    *,
};
use crate::names::AliasName;
use crate::time::{Day, Timestamp};
use proptest::prelude::*;
use std::{collections::HashSet, num::NonZeroU32, time::Duration};

type Reason = fn(NonZeroU32) -> Because;

const DAY: Duration = Duration::from_hours(24);

fn number(number: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(number)
}

fn candidate(published_at: Timestamp) -> Candidate {
    Candidate {
        version: "1".parse().expect("a name"),
        published_at,
        deprecated: false,
        aliases: Vec::new(),
        held: false,
        is_replacement: false,
        last_fetched: Day::of(published_at),
    }
}

fn removing(keep: KeepRules) -> RetentionPolicy {
    let disposal = Disposal::new(None, Some(Duration::ZERO)).expect("a disposal");
    RetentionPolicy::new(keep, NonZeroU32::MIN, disposal, true).expect("a policy")
}

fn at(raw: &str) -> Timestamp {
    raw.parse::<Day>().expect(raw).start()
}

/// The days of the versions that `keep` keeps by its own rules, of one version on each of `days`.
fn kept(keep: KeepRules, days: &[&str]) -> Vec<String> {
    let candidates: Vec<Candidate> = days.iter().map(|day| candidate(at(day))).collect();
    let decisions = removing(keep).decide(&candidates, at("2026-12-01"));
    days.iter().zip(decisions).filter(|(_, decision)| is_ruled(decision)).map(|(day, _)| day.to_string()).collect()
}

fn is_ruled(decision: &Decision) -> bool {
    decision.because.iter().any(|reason| !matches!(reason, Because::MinKeep(_) | Because::NoRule))
}

/// What `policy` decides for `version`, which is older than another.
fn decide(policy: RetentionPolicy, version: Candidate, now: Timestamp) -> Decision {
    let [_, decision] = &policy.decide(&[candidate(now), version], now)[..] else { panic!("two decisions") };
    decision.clone()
}

#[test]
fn a_period_that_an_earlier_rule_covers_does_not_count() {
    let days = [
        "2026-11-30",
        "2026-11-29",
        "2026-11-28",
        "2026-11-22",
        "2026-11-15",
        "2026-10-31",
        "2026-10-02",
        "2026-09-01",
    ];
    let daily = KeepRules { daily: number(2), ..KeepRules::default() };
    assert_eq!(kept(daily, &days), ["2026-11-30", "2026-11-29"]);
    // The weeks of the 30th and of the 29th are covered.
    let weekly = KeepRules { weekly: number(2), ..daily };
    assert_eq!(kept(weekly, &days), ["2026-11-30", "2026-11-29", "2026-11-22", "2026-11-15"]);
    let monthly = KeepRules { monthly: number(1), ..weekly };
    assert_eq!(kept(monthly, &days), ["2026-11-30", "2026-11-29", "2026-11-22", "2026-11-15", "2026-10-31"]);
    let newest = KeepRules { newest: number(1), daily: number(1), ..KeepRules::default() };
    assert_eq!(kept(newest, &days), ["2026-11-30", "2026-11-29"]);
}

#[test]
fn what_something_needs_is_kept_whatever_the_rules_say() {
    let old = candidate(at("2020-01-01"));
    let policy = removing(KeepRules { newest: number(1), ..KeepRules::default() });
    let reasons = |version: &Candidate| decide(policy, version.clone(), at("2026-12-01"));
    assert_eq!(reasons(&old), Decision { action: RetentionAction::Remove, because: vec![Because::NoRule] });
    let alias: AliasName = "latest".parse().expect("a name");
    let aliased = Candidate { aliases: vec![alias.clone()], held: true, is_replacement: true, ..old };
    let because = vec![Because::Alias(alias), Because::Held, Because::Replacement];
    assert_eq!(reasons(&aliased), Decision { action: RetentionAction::Keep, because });
}

#[test]
fn versions_fetched_on_the_last_day_of_the_span_are_kept() {
    let keep = KeepRules { fetched_within: Some(3 * DAY), ..KeepRules::default() };
    let action = |fetched: &str| {
        let last_fetched = fetched.parse().expect(fetched);
        let version = Candidate { last_fetched, ..candidate(at("2026-01-01")) };
        decide(removing(keep), version, at("2026-12-01")).action
    };
    assert_eq!(action("2026-11-28"), RetentionAction::Keep);
    assert_eq!(action("2026-11-27"), RetentionAction::Remove);
}

#[test]
fn versions_are_deprecated_first_and_removed_later() {
    let disposal = Disposal::new(Some(30 * DAY), Some(90 * DAY)).expect("a disposal");
    let keep = KeepRules { newest: number(1), ..KeepRules::default() };
    let policy = RetentionPolicy::new(keep, NonZeroU32::MIN, disposal, true).expect("a policy");
    let now = at("2026-12-01");
    let decide = |days: u32, deprecated: bool| {
        let published_at =
            Timestamp::from_micros(now.micros() - i64::try_from((days * DAY).as_micros()).expect("fits"));
        let Decision { action, because } =
            self::decide(policy, Candidate { deprecated, ..candidate(published_at) }, now);
        (action, because)
    };
    assert_eq!(decide(29, false), (RetentionAction::Keep, vec![Because::NotDue(30 * DAY)]));
    assert_eq!(decide(30, false).0, RetentionAction::Deprecate);
    assert_eq!(decide(30, true), (RetentionAction::Keep, vec![Because::NotDue(90 * DAY)]));
    assert_eq!(decide(90, true).0, RetentionAction::Remove);
    assert_eq!(Disposal::new(Some(DAY), Some(DAY)), Err(InvalidPolicy::RemovedBeforeDeprecated));
    assert_eq!(Disposal::new(None, None), Err(InvalidPolicy::NoAction));
    assert_eq!(RetentionPolicy::new(KeepRules::default(), NonZeroU32::MIN, disposal, true), Err(InvalidPolicy::NoRule));
}

#[test]
fn a_version_that_a_rule_passed_over_is_not_kept_by_a_later_rule() {
    // The 30th of June is a Tuesday, in the week of the 1st of July.
    let keep = KeepRules { weekly: number(4), monthly: number(2), ..KeepRules::default() };
    assert_eq!(kept(keep, &["2026-07-01", "2026-06-30"]), ["2026-07-01"]);
}

proptest! {
    #[test]
    fn no_rule_keeps_more_than_its_number_nor_two_versions_of_a_period(
        rules in prop::array::uniform4(0_u32..5),
        mut hours in prop::collection::vec(0_i64..24 * 200, 0..60),
    ) {
        hours.sort_unstable_by(|a, b| b.cmp(a));
        let [newest, daily, weekly, monthly] = rules.map(NonZeroU32::new);
        let keep = KeepRules { newest, daily, weekly, monthly, ..KeepRules::default() };
        prop_assume!(keep != KeepRules::default());
        let start = at("2026-01-01").micros();
        let candidates: Vec<Candidate> =
            hours.iter().map(|hours| candidate(Timestamp::from_micros(start + hours * 3_600_000_000))).collect();
        let decisions = removing(keep).decide(&candidates, at("2027-01-01"));
        let kept_by = |reason: Reason, number: Option<NonZeroU32>| -> Vec<Day> {
            let is_kept = |decision: &Decision| number.is_some_and(|number| decision.because.contains(&reason(number)));
            let kept = candidates.iter().zip(&decisions).filter(|(_, decision)| is_kept(decision));
            kept.map(|(candidate, _)| Day::of(candidate.published_at)).collect()
        };
        prop_assert_eq!(kept_by(Because::Newest, newest).len(), candidates.len().min(count(newest)));
        let rules: [(_, Reason, PeriodOf); 3] = [
            (daily, Because::Daily, Day::number),
            (weekly, Because::Weekly, Day::iso_week),
            (monthly, Because::Monthly, Day::month),
        ];
        for (number, reason, period) in rules {
            let kept = kept_by(reason, number);
            let periods: HashSet<i64> = kept.iter().map(|day| period(*day)).collect();
            prop_assert_eq!(periods.len(), kept.len());
            prop_assert!(kept.len() <= count(number));
        }
        // Applied again to what was kept, the same rules keep all of it.
        let (left, _): (Vec<_>, Vec<_>) = candidates.into_iter().zip(decisions).filter(|(_, decision)| is_ruled(decision)).unzip();
        prop_assert!(removing(keep).decide(&left, at("2027-01-01")).iter().all(is_ruled));
    }
}
