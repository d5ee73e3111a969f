//! What checks of a server found, and what to do about it.

use serde_json::{Value, json};

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It is as it should be.
    Ok,
    /// It works, and an operator should know something.
    Note,
    /// It does not work.
    Problem,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Problem => "problem",
        }
    }
}

/// One check and its outcome.
#[derive(Debug, Clone)]
struct Check {
    part: &'static str,
    outcome: Outcome,
    detail: String,
}

/// What several checks found, in their order.
#[derive(Debug, Clone, Default)]
pub struct Diagnosis(Vec<Check>);

impl Diagnosis {
    fn add(&mut self, part: &'static str, outcome: Outcome, detail: impl Into<String>) {
        self.0.push(Check { part, outcome, detail: detail.into() });
    }

    /// A part is as it should be.
    pub fn ok(&mut self, part: &'static str, detail: impl Into<String>) {
        self.add(part, Outcome::Ok, detail);
    }

    /// A part works, but there is something to know.
    pub fn note(&mut self, part: &'static str, detail: impl Into<String>) {
        self.add(part, Outcome::Note, detail);
    }

    /// A part does not work.
    pub fn problem(&mut self, part: &'static str, detail: impl Into<String>) {
        self.add(part, Outcome::Problem, detail);
    }

    /// How many parts do not work.
    pub fn problems(&self) -> usize {
        self.0.iter().filter(|check| check.outcome == Outcome::Problem).count()
    }

    /// One line a check, for people.
    pub fn text(&self) -> String {
        let width = self.0.iter().map(|check| check.part.len()).max().unwrap_or_default();
        let line =
            |Check { part, outcome, detail }: &Check| format!("{:7}  {part:width$}  {detail}\n", outcome.as_str());
        self.0.iter().map(line).collect()
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let shown = |Check { part, outcome, detail }: &Check| json!({"part": part, "outcome": outcome.as_str(), "detail": detail});
        json!({"ok": self.problems() == 0, "checks": self.0.iter().map(shown).collect::<Vec<_>>()})
    }
}
