//! What a policy decides for the versions of an image.

use super::{Disposal, KeepRules, RetentionPolicy, Span};
use crate::{
    names::{AliasName, VersionName, string_enum},
    time::{Day, Timestamp},
};
use std::{collections::HashSet, fmt, num::NonZeroU32, time::Duration};

/// An active or deprecated version, as retention sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub version: VersionName,
    /// When it was published.
    pub published_at: Timestamp,
    /// Whether it is deprecated.
    pub deprecated: bool,
    /// The aliases that point to it.
    pub aliases: Vec<AliasName>,
    /// Whether it is on hold.
    pub held: bool,
    /// Whether another version names it, or an alias that points to it, as its replacement.
    pub is_replacement: bool,
    /// The day of its last known fetch, or the day since when fetches are recorded.
    pub last_fetched: Day,
}

string_enum! {
    /// What is done with a version.
    RetentionAction: "one of keep, deprecate, remove" {
        /// Nothing.
        Keep = "keep",
        /// It is deprecated.
        Deprecate = "deprecate",
        /// It is removed.
        Remove = "remove",
    }
}

/// Why a version is kept, or what nothing kept it from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// It is one of the newest by the rule `newest`.
    Newest(NonZeroU32),
    /// It is the newest of its day by the rule `daily`.
    Daily(NonZeroU32),
    /// It is the newest of its week by the rule `weekly`.
    Weekly(NonZeroU32),
    /// It is the newest of its month by the rule `monthly`.
    Monthly(NonZeroU32),
    /// It was published less than this ago.
    YoungerThan(Duration),
    /// It was fetched less than this ago.
    FetchedWithin(Duration),
    /// It is one of the newest, which every policy keeps.
    MinKeep(NonZeroU32),
    /// An alias points to it.
    Alias(AliasName),
    /// It is on hold.
    Held,
    /// It is the replacement of another version.
    Replacement,
    /// No rule keeps it.
    NoRule,
    /// No rule keeps it, but it is younger than the time after which something happens to it.
    NotDue(Duration),
    /// No rule keeps it, but it is deprecated already and the policy removes nothing.
    AlreadyDeprecated,
}

/// The name of the rule or of what needs the version, without naming any other image or version.
impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest(number) => write!(f, "newest {number}"),
            Self::Daily(number) => write!(f, "daily {number}"),
            Self::Weekly(number) => write!(f, "weekly {number}"),
            Self::Monthly(number) => write!(f, "monthly {number}"),
            Self::YoungerThan(span) => write!(f, "younger than {}", Span(*span)),
            Self::FetchedWithin(span) => write!(f, "fetched within {}", Span(*span)),
            Self::MinKeep(number) => write!(f, "min_keep {number}"),
            Self::Alias(name) => write!(f, "alias {name}"),
            Self::Held => f.write_str("held"),
            Self::Replacement => f.write_str("replacement of another version"),
            Self::NoRule => f.write_str("no rule keeps it"),
            Self::NotDue(after) => write!(f, "not due before {} after its publication", Span(*after)),
            Self::AlreadyDeprecated => f.write_str("already deprecated"),
        }
    }
}

/// What a policy decides for a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What is done.
    pub action: RetentionAction,
    /// Every reason for it, at least one.
    pub because: Vec<Because>,
}

impl RetentionPolicy {
    /// Decides for every active and deprecated version of an image, given in descending order of publication.
    pub fn decide(&self, candidates: &[Candidate], now: Timestamp) -> Vec<Decision> {
        let rules = self.keep().marks(candidates);
        let decide = |((at, candidate), rule): ((usize, &Candidate), Mark)| {
            let mut because: Vec<Because> = rule.reason(self.keep()).into_iter().collect();
            self.add_other_reasons(at, candidate, now, &mut because);
            if because.is_empty() {
                self.disposal.decide(candidate, now)
            } else {
                Decision { action: RetentionAction::Keep, because }
            }
        };
        candidates.iter().enumerate().zip(rules).map(decide).collect()
    }

    /// Reasons that keep a version beside those of the rules that count.
    fn add_other_reasons(&self, at: usize, candidate: &Candidate, now: Timestamp, because: &mut Vec<Because>) {
        let KeepRules { younger_than, fetched_within, .. } = self.keep();
        let age = now.since(candidate.published_at);
        let fetched_end = candidate.last_fetched.end();
        because.extend(younger_than.filter(|span| age < *span).map(Because::YoungerThan));
        because.extend(fetched_within.filter(|span| now < fetched_end.plus(*span)).map(Because::FetchedWithin));
        because.extend((at < count(Some(self.min_keep))).then_some(Because::MinKeep(self.min_keep)));
        because.extend(candidate.aliases.iter().cloned().map(Because::Alias));
        because.extend(candidate.held.then_some(Because::Held));
        because.extend(candidate.is_replacement.then_some(Because::Replacement));
    }
}

impl Disposal {
    /// Decides for a version that nothing keeps.
    fn decide(&self, candidate: &Candidate, now: Timestamp) -> Decision {
        let age = now.since(candidate.published_at);
        let deprecate_after = self.deprecate_after().filter(|_| !candidate.deprecated);
        let is_due = |after: Option<Duration>| after.is_some_and(|after| age >= after);
        let (action, because) = if is_due(self.remove_after()) {
            (RetentionAction::Remove, Because::NoRule)
        } else if is_due(deprecate_after) {
            (RetentionAction::Deprecate, Because::NoRule)
        } else {
            let next = deprecate_after.or(self.remove_after());
            (RetentionAction::Keep, next.map_or(Because::AlreadyDeprecated, Because::NotDue))
        };
        Decision { action, because: vec![because] }
    }
}

/// What the rules that count say of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// No rule has considered it.
    None,
    Newest,
    Daily,
    Weekly,
    Monthly,
    /// It is not the newest of a period that a rule counts, so later rules do not consider it.
    PassedOver,
}

impl Mark {
    const fn keeps(self) -> bool {
        !matches!(self, Self::None | Self::PassedOver)
    }

    fn reason(self, keep: &KeepRules) -> Option<Because> {
        match self {
            Self::None | Self::PassedOver => None,
            Self::Newest => keep.newest.map(Because::Newest),
            Self::Daily => keep.daily.map(Because::Daily),
            Self::Weekly => keep.weekly.map(Because::Weekly),
            Self::Monthly => keep.monthly.map(Because::Monthly),
        }
    }
}

/// The number of the period that a day is in.
pub(super) type PeriodOf = fn(Day) -> i64;

pub(super) fn count(number: Option<NonZeroU32>) -> usize {
    number.map_or(0, |number| usize::try_from(number.get()).unwrap_or(usize::MAX))
}

impl KeepRules {
    /// Applies the rules that count, one after the other, each to all versions, as `mark_selections` of Proxmox Backup
    /// Server does.
    fn marks(&self, candidates: &[Candidate]) -> Vec<Mark> {
        let mut marks = vec![Mark::None; candidates.len()];
        marks.iter_mut().take(count(self.newest)).for_each(|mark| *mark = Mark::Newest);
        let periods: [(Option<NonZeroU32>, PeriodOf, Mark); 3] = [
            (self.daily, Day::number, Mark::Daily),
            (self.weekly, Day::iso_week, Mark::Weekly),
            (self.monthly, Day::month, Mark::Monthly),
        ];
        for (number, period, kept) in periods {
            let period = |candidate: &Candidate| period(Day::of(candidate.published_at));
            let covered: HashSet<i64> = candidates
                .iter()
                .zip(&marks)
                .filter(|(_, mark)| mark.keeps())
                .map(|(version, _)| period(version))
                .collect();
            let mut counted = HashSet::new();
            for (candidate, mark) in candidates.iter().zip(&mut marks) {
                let period = period(candidate);
                if *mark != Mark::None || covered.contains(&period) {
                    continue;
                }
                if counted.contains(&period) {
                    *mark = Mark::PassedOver;
                } else if counted.len() < count(number) {
                    counted.insert(period);
                    *mark = kept;
                } else {
                    break;
                }
            }
        }
        marks
    }
}
