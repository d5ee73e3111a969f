//! `imgsrv admin config show`: every setting, its value and its origin.

use crate::{config::ServeOptions, error::StartError, output::print};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, builder::Resettable, parser::ValueSource};
use serde_json::json;

/// A setting as it is shown. It never has the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    flag: String,
    variable: String,
    value: Option<String>,
    origin: &'static str,
}

/// The settings of a server, as the command line and the environment have them.
#[derive(Debug, Clone)]
pub(crate) struct ShownSettings {
    settings: Vec<Setting>,
    json: bool,
}

impl Setting {
    fn of(argument: &Arg, matches: &ArgMatches) -> Option<Self> {
        let flag = argument.get_long()?.to_owned();
        let variable = argument.get_env()?.to_string_lossy().into_owned();
        let id = argument.get_id().as_str();
        let raw = matches
            .get_raw(id)
            .map(|values| values.map(|value| value.to_string_lossy().into_owned()).collect::<Vec<_>>().join(","));
        let origin = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => "command line",
            Some(ValueSource::EnvVariable) => "environment",
            Some(_) | None => "default",
        };
        let is_secret = argument.is_hide_env_values_set();
        let value = raw.filter(|value| !value.is_empty());
        Some(Self {
            flag,
            variable,
            value: value.map(|value| if is_secret { "(hidden)".to_owned() } else { value }),
            origin,
        })
    }
}

impl FromArgMatches for ShownSettings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        // Values that a server would refuse are refused here as well.
        ServeOptions::from_arg_matches(matches)?;
        let command = ServeOptions::augment_args(Command::new("settings"));
        let settings = command.get_arguments().filter_map(|argument| Setting::of(argument, matches)).collect();
        Ok(Self { settings, json: matches.get_flag("json") })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for ShownSettings {
    fn augment_args(command: Command) -> Command {
        let json = Arg::new("json").long("json").help("Print one JSON object").action(clap::ArgAction::SetTrue);
        let about = (command.get_about().cloned(), command.get_long_about().cloned());
        ServeOptions::augment_args(command.arg(json))
            .about(Resettable::from(about.0))
            .long_about(Resettable::from(about.1))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Prints the settings.
pub(crate) fn run(ShownSettings { settings, json }: &ShownSettings) -> Result<(), StartError> {
    if *json {
        let shown = settings.iter().map(|Setting { flag, variable, value, origin }| {
            let mut shown = json!({"flag": format!("--{flag}"), "variable": variable, "origin": origin});
            if let Some(value) = value {
                shown["value"] = value.as_str().into();
            }
            shown
        });
        return print(&format!("{}\n", json!({"settings": shown.collect::<Vec<_>>()})));
    }
    let width = |of: fn(&Setting) -> usize| settings.iter().map(of).max().unwrap_or_default();
    let (flags, origins) = (width(|setting| setting.flag.len()), width(|setting| setting.origin.len()));
    let line = |Setting { flag, value, origin, .. }: &Setting| {
        format!("--{flag:flags$}  {origin:origins$}  {}\n", value.as_deref().unwrap_or_default()).trim_end().to_owned()
            + "\n"
    };
    print(&settings.iter().map(line).collect::<String>())
}
