//! `imgsrv retention`.

use crate::{
    count::count,
    failure::Failure,
    options::Session,
    report::{Column, Report},
    retire::Confirmation,
};
use clap::{Args, Subcommand};
use imgsrv_client::api::{KeepRules, RetentionDecision, RetentionPolicy};
use serde_json::json;

#[derive(Debug, Subcommand)]
pub enum RetentionCommand {
    /// Set the retention policy of an image
    Set {
        /// Image, such as debian
        image: String,
        #[command(flatten)]
        policy: Box<PolicyOptions>,
    },
    /// Show the retention policy of an image
    Show {
        /// Image, such as debian
        image: String,
    },
    /// Delete the retention policy of an image
    Delete {
        /// Image, such as debian
        image: String,
    },
    /// Show which versions of an image its retention policy keeps, deprecates and removes, and why
    Preview {
        /// Image, such as debian
        image: String,
    },
    /// Deprecate and remove the versions of an image that its retention policy does not keep
    Apply {
        /// Image, such as debian
        image: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

#[derive(Debug, Args)]
pub struct PolicyOptions {
    /// Number of newest versions to keep
    #[arg(long, value_name = "COUNT", value_parser = count::<i64>(..))]
    newest: Option<i64>,
    /// Number of days (UTC) of each of which to keep the newest version
    #[arg(long, value_name = "COUNT", value_parser = count::<i64>(..))]
    daily: Option<i64>,
    /// Number of weeks (ISO 8601, UTC) of each of which to keep the newest version
    #[arg(long, value_name = "COUNT", value_parser = count::<i64>(..))]
    weekly: Option<i64>,
    /// Number of months (UTC) of each of which to keep the newest version
    #[arg(long, value_name = "COUNT", value_parser = count::<i64>(..))]
    monthly: Option<i64>,
    /// Keep versions that were published less than this ago, such as 30d
    #[arg(long, value_name = "DURATION")]
    younger_than: Option<String>,
    /// Keep versions that were fetched less than this ago, such as 90d
    #[arg(long, value_name = "DURATION")]
    fetched_within: Option<String>,
    /// Number of newest versions to keep whatever the rules say [default: 1]
    #[arg(long, value_name = "COUNT", value_parser = count::<i64>(..))]
    min_keep: Option<i64>,
    /// Time after publication after which versions that are not kept are deprecated, such as 30d or 0d
    #[arg(long, value_name = "DURATION")]
    deprecate_after: Option<String>,
    /// Time after publication after which versions that are not kept are removed, such as 90d or 0d
    #[arg(long, value_name = "DURATION")]
    remove_after: Option<String>,
    /// Apply the policy on demand only, not regularly
    #[arg(long)]
    disabled: bool,
}

impl PolicyOptions {
    fn policy(self) -> RetentionPolicy {
        let Self { newest, daily, weekly, monthly, younger_than, fetched_within, min_keep, .. } = self;
        RetentionPolicy {
            keep: KeepRules { newest, daily, weekly, monthly, younger_than, fetched_within },
            min_keep,
            action: None,
            deprecate_after: self.deprecate_after,
            remove_after: self.remove_after,
            enabled: !self.disabled,
        }
    }
}

pub(crate) async fn run(command: RetentionCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    match command {
        RetentionCommand::Set { image, policy } => {
            if policy.deprecate_after.is_none() && policy.remove_after.is_none() {
                return Err(Failure::usage("the policy does not say what happens to versions that are not kept")
                    .with_advice("Add --deprecate-after or --remove-after, such as --remove-after 0d."));
            }
            let policy = policy.policy();
            if policy.keep == KeepRules::default() {
                return Err(Failure::usage("the policy has no rule that keeps versions").with_advice(
                    "Add --newest, --daily, --weekly, --monthly, --younger-than or --fetched-within, such as --newest 5.",
                ));
            }
            let set = client.set_retention(&image, &policy).await.map_err(Failure::about(&image))?;
            report.step(&format!("imgsrv retention preview {image} shows what it does"));
            report.result(&format!("set the retention policy of {image}"), &set)
        }
        RetentionCommand::Show { image } => {
            let policy = client.retention(&image).await.map_err(Failure::about(&image))?;
            report.result(&describe(&policy), &policy)
        }
        RetentionCommand::Delete { image } => {
            client.delete_retention(&image).await.map_err(Failure::about(&image))?;
            let json = json!({"image": image, "deleted": true});
            report.result(&format!("deleted the retention policy of {image}"), &json)
        }
        RetentionCommand::Preview { image } => {
            let preview = client.preview_retention(&image).await.map_err(Failure::about(&image))?;
            if report.is_json() {
                return report.result("", &preview);
            }
            show(report, preview.decisions)
        }
        RetentionCommand::Apply { image, confirmation } => {
            let preview = client.preview_retention(&image).await.map_err(Failure::about(&image))?;
            let changes: Vec<_> =
                preview.decisions.iter().filter(|decision| decision.action != "keep").cloned().collect();
            if !changes.is_empty() {
                if !report.is_json() {
                    show(report, changes.clone())?;
                }
                confirmation.require(&format!("{} of {image} will be retired.", versions(changes.len())))?;
            }
            let applied = client.apply_retention(&image, &preview.revision).await.map_err(Failure::about(&image))?;
            if applied.remaining > 0 {
                report.note(&format!("{image} changed meanwhile; run the command again"));
            }
            report.result(&format!("retired {} of {image}", versions(applied.done.len())), &applied)
        }
    }
}

fn describe(policy: &RetentionPolicy) -> String {
    let KeepRules { newest, daily, weekly, monthly, younger_than, fetched_within } = &policy.keep;
    let counts = [("newest", newest), ("daily", daily), ("weekly", weekly), ("monthly", monthly)];
    let counts = counts.into_iter().filter_map(|(name, count)| count.map(|count| format!("{name} {count}")));
    let ages = [("younger than", younger_than), ("fetched within", fetched_within)];
    let ages = ages.into_iter().filter_map(|(name, age)| age.as_ref().map(|age| format!("{name} {age}")));
    let rules = counts.chain(ages).collect::<Vec<_>>().join(", ");
    let mut text = format!("keep: {}\n", if rules.is_empty() { "none" } else { &rules });
    let times = [
        ("keep at least", policy.min_keep.map(|count| count.to_string())),
        ("deprecate others after", policy.deprecate_after.clone()),
        ("remove others after", policy.remove_after.clone()),
    ];
    for (name, value) in times {
        text += &value.map(|value| format!("{name}: {value}\n")).unwrap_or_default();
    }
    text + "applied: " + if policy.enabled { "regularly" } else { "on demand only" }
}

fn show(report: &Report, decisions: Vec<RetentionDecision>) -> Result<(), Failure> {
    let head = [Column::name("VERSION"), Column::cut("ACTION"), Column::text("BECAUSE")];
    report.list("decisions", head, decisions, |decision| {
        // The name of the setting in the API.
        let because = decision.because.join(", ").replace("min_keep ", "at least ");
        [decision.version, decision.action, because]
    })
}

fn versions(count: usize) -> String {
    if count == 1 { "1 version".to_owned() } else { format!("{count} versions") }
}
