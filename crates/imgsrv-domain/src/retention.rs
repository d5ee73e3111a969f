//! Retention: which published versions of an image a policy keeps, deprecates or removes.
//!
//! The rules `newest`, `daily`, `weekly` and `monthly` apply in this order and have the meaning that Proxmox Backup Server
//! gives to `keep-last`, `keep-daily`, `keep-weekly` and `keep-monthly` (its documentation, "Prune Options"): a rule keeps
//! the newest version of each of its latest periods that has versions, and a period in which an earlier rule keeps a
//! version does not count towards its number.

mod decide;
mod policy;
mod span;
#[cfg(test)]
mod tests;

pub use decide::{Because, Candidate, Decision, RetentionAction};
pub use policy::{Disposal, InvalidPolicy, KeepRules, RetentionPolicy};
pub use span::{InvalidSpan, Span};
