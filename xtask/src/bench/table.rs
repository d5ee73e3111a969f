//! The rows of the benchmark: medians, spread and ratios of alternating rounds, as a table and as JSON.

use crate::shell::Result;
use serde_json::{Value, json};

/// What is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Better {
    /// A rate: more is better.
    More,
    /// A duration or an amount: less is better.
    Less,
}

/// A unit of figures, and which of them are better.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unit {
    pub(super) name: &'static str,
    pub(super) better: Better,
    /// Digits after the point.
    pub(super) digits: usize,
}

pub(super) const MIB_PER_SECOND: Unit = Unit { name: "MiB/s", better: Better::More, digits: 0 };
pub(super) const PER_SECOND: Unit = Unit { name: "1/s", better: Better::More, digits: 0 };
pub(super) const CPU_PER_GIB: Unit = Unit { name: "CPU s/GiB", better: Better::Less, digits: 2 };
pub(super) const MILLISECONDS: Unit = Unit { name: "ms", better: Better::Less, digits: 1 };
pub(super) const MIB: Unit = Unit { name: "MiB", better: Better::Less, digits: 0 };

/// What a row is compared with.
#[derive(Debug)]
pub(super) enum Target {
    /// A peer, and the least ratio to it: above 1 is better than the peer.
    Peer(&'static str, f64),
    /// An absolute figure.
    Limit(f64),
}

/// One figure that was measured in several rounds, and the same of a peer.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) what: String,
    pub(super) unit: Unit,
    pub(super) ours: Vec<f64>,
    /// As many as ours; none without a peer.
    pub(super) peer: Vec<f64>,
    pub(super) target: Target,
}

/// The middle of sorted figures, and the distance between the least and the greatest as a part of it.
fn summary(figures: &[f64]) -> (f64, f64) {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    let spread = sorted.last().zip(sorted.first()).map_or(f64::NAN, |(last, first)| last - first);
    (median, spread / median)
}

impl Row {
    /// The ratio to the peer: the median of those of the rounds, because the two of a round ran under the same load.
    fn ratio(&self) -> Option<f64> {
        let ratios = self.ours.iter().zip(&self.peer).map(|(ours, peer)| match self.unit.better {
            Better::More => ours / peer,
            Better::Less => peer / ours,
        });
        let ratios: Vec<f64> = ratios.collect();
        (!ratios.is_empty()).then(|| summary(&ratios).0)
    }

    fn is_met(&self) -> bool {
        match self.target {
            Target::Peer(_, least) => self.ratio().is_some_and(|ratio| ratio >= least),
            Target::Limit(limit) => match self.unit.better {
                Better::More => summary(&self.ours).0 >= limit,
                Better::Less => summary(&self.ours).0 <= limit,
            },
        }
    }

    fn cells(&self) -> [String; 7] {
        let digits = self.unit.digits;
        let figure = |figures: &[f64]| match figures {
            [] => String::new(),
            figures => format!("{:.digits$}", summary(figures).0),
        };
        let spread = |figures: &[f64]| match figures {
            [] | [_] => String::new(),
            figures => format!("{:.0} %", summary(figures).1 * 100.0),
        };
        let (peer, target) = match &self.target {
            Target::Peer(peer, least) => (format!("{} {peer}", figure(&self.peer)), format!(">= {least}")),
            Target::Limit(limit) => {
                let sign = if self.unit.better == Better::More { ">=" } else { "<=" };
                (String::new(), format!("{sign} {limit} {}", self.unit.name))
            }
        };
        [
            self.what.clone(),
            format!("{} {}", figure(&self.ours), self.unit.name),
            spread(&self.ours),
            peer,
            self.ratio().map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
            target,
            if self.is_met() { "yes" } else { "no" }.to_owned(),
        ]
    }

    fn json(&self) -> Value {
        let (median, spread) = summary(&self.ours);
        let mut row = json!({"row": self.what, "unit": self.unit.name, "median": median, "spread": spread,
            "rounds": self.ours, "met": self.is_met()});
        match &self.target {
            Target::Peer(name, least) => {
                let (median, spread) = summary(&self.peer);
                row["peer"] = json!({"name": name, "median": median, "spread": spread, "rounds": self.peer});
                row["ratio"] = json!(self.ratio());
                row["target_ratio"] = json!(least);
            }
            Target::Limit(limit) => row["limit"] = json!(limit),
        }
        row
    }
}

/// The rows as a table in Markdown.
pub(super) fn markdown(rows: &[Row]) -> String {
    let head = ["row", "imgsrv", "spread", "peer", "ratio", "target", "met"].map(str::to_owned);
    let line = |cells: [String; 7]| format!("| {} |\n", cells.join(" | "));
    let rule = std::array::from_fn(|_| "---".to_owned());
    [head, rule].into_iter().chain(rows.iter().map(Row::cells)).map(line).collect()
}

/// The rows and the machine as JSON.
pub(super) fn json(rows: &[Row], machine: &Value) -> Result<String> {
    let rows: Vec<Value> = rows.iter().map(Row::json).collect();
    Ok(serde_json::to_string_pretty(&json!({"machine": machine, "rows": rows}))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(unit: Unit, ours: &[f64], peer: &[f64], target: Target) -> Row {
        Row { what: "a row".to_owned(), unit, ours: ours.to_vec(), peer: peer.to_vec(), target }
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds() {
        let rate = row(PER_SECOND, &[10.0, 40.0, 30.0], &[20.0, 40.0, 20.0], Target::Peer("nginx", 1.0));
        assert_eq!((rate.ratio(), rate.is_met()), (Some(1.0), true));
        let time = row(MILLISECONDS, &[2.0, 4.0, 3.0], &[1.0, 2.0, 3.0], Target::Peer("curl", 0.6));
        assert_eq!((time.ratio(), time.is_met()), (Some(0.5), false));
    }

    #[test]
    fn a_limit_depends_on_what_is_better() {
        assert!(row(MILLISECONDS, &[9.0, 11.0, 8.0], &[], Target::Limit(10.0)).is_met());
        assert!(!row(PER_SECOND, &[9.0, 11.0, 8.0], &[], Target::Limit(10.0)).is_met());
    }
}
