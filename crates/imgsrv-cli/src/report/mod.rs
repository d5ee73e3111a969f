//! Output for people and machines: the result on standard output, progress and errors on standard error.

mod progress;
mod table;
mod text;
mod wrap;

pub(crate) use progress::clear_bars;
pub(crate) use table::Column;
pub(crate) use text::{bytes, date, indent, server_of, size, state_in_words};
pub(crate) use wrap::for_stderr;
pub use wrap::for_stdout;

use crate::failure::{Failure, with_causes};
use clap::Args;
use imgsrv_client::{Error, Progress};
use progress::Transfers;
use serde::Serialize;
use serde_json::{Map, Value};
use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Between lines about retries: parts that fail together are reported once.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// How the result is printed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputOptions {
    /// Print the result as one JSON object on standard output, and an error as a problem object on standard error
    #[arg(long)]
    pub(crate) json: bool,
    /// Do not print progress and hints
    #[arg(long, short)]
    quiet: bool,
}

/// Prints results and progress. Clones share their state.
#[derive(Clone)]
pub(crate) struct Report(Arc<Shared>);

struct Shared {
    is_json: bool,
    is_quiet: bool,
    transfers: Transfers,
    last_retry: Mutex<Option<Instant>>,
}

impl Report {
    pub(crate) fn new(output: &OutputOptions) -> Self {
        let (is_json, is_quiet) = (output.json, output.quiet || output.json);
        let transfers = Transfers::new(!is_quiet && io::stderr().is_terminal());
        Self(Arc::new(Shared { is_json, is_quiet, transfers, last_retry: Mutex::default() }))
    }

    /// Prints a result: `text` for people, `json` for machines, in which `null` is left out.
    pub(crate) fn result(&self, text: &str, json: &impl Serialize) -> Result<(), Failure> {
        let line = if self.0.is_json {
            let json = serde_json::to_value(json).map_err(|error| Failure::other(error.to_string()))?;
            without_nulls(json).to_string()
        } else {
            text.trim_end().to_owned()
        };
        match writeln!(io::stdout().lock(), "{line}") {
            // The reader has closed the pipe.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|error| Failure::other(format!("cannot write to standard output: {error}"))),
        }
    }

    /// Prints a result like [`Report::result`], with long lines of the text broken between words on a terminal.
    pub(crate) fn prose(&self, text: &str, json: &impl Serialize) -> Result<(), Failure> {
        self.result(&wrap::for_stdout(text), json)
    }

    /// Prints a list: as a table for people, as an object with an array under `key` for machines.
    pub(crate) fn list<T: Serialize, const N: usize>(
        &self,
        key: &str,
        head: [Column; N],
        rows: Vec<T>,
        cells: impl Fn(T) -> [String; N],
    ) -> Result<(), Failure> {
        if self.0.is_json {
            let rows = serde_json::to_value(rows).map_err(|error| Failure::other(error.to_string()))?;
            return self.result("", &Map::from_iter([(key.to_owned(), rows)]));
        }
        if rows.is_empty() {
            self.step(&format!("no {}", key.replace('_', " ")));
            return Ok(());
        }
        self.result(&table::table(head, rows.into_iter().map(cells), wrap::width(&io::stdout())), &())
    }

    /// Prints one of several results at once; with `--json`, [`Report::result`] prints all of them at the end.
    pub(crate) fn part(&self, text: &str) -> Result<(), Failure> {
        if self.0.is_json { Ok(()) } else { self.result(text, &()) }
    }

    /// What to do next, unless it is not wanted.
    pub(crate) fn hints(&self, text: &str) -> Result<(), Failure> {
        if self.0.is_quiet { Ok(()) } else { self.result(text, &()) }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.0.is_json
    }

    /// Prints a step that is done, unless quiet.
    pub(crate) fn step(&self, line: &str) {
        if !self.0.is_quiet {
            self.0.transfers.line(line);
        }
    }

    /// Prints what a person should see, also if quiet.
    pub(crate) fn note(&self, line: &str) {
        self.0.transfers.line(&format!("{}{line}", wrap::PREFIX));
    }

    /// Prints an error that is retried.
    pub(crate) fn retrying(&self, error: &Error, delay: Duration) {
        if self.0.is_json {
            return;
        }
        let mut last = self.0.last_retry.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= RETRY_INTERVAL) {
            *last = Some(Instant::now());
            self.note(&format!("{}; retrying in {}", with_causes(error), text::seconds(delay)));
        }
    }

    /// Shows the progress of the transfer of `name`.
    pub(crate) fn progress(&self, name: &str, progress: Progress) {
        if !self.0.is_quiet {
            self.0.transfers.progress(name, progress);
        }
    }

    /// Ends the transfer of `name` with `line`.
    pub(crate) fn transferred(&self, name: &str, line: &str) {
        self.0.transfers.end(name);
        self.step(line);
    }
}

/// The value without members that are `null`: what is absent is left out.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let present = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(present.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        value => value,
    }
}
