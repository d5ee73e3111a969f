//! Output for people and machines: the result on standard output, progress and errors on standard error.

use crate::failure::{Failure, with_causes};
use clap::Args;
use imgsrv_client::{Error, Progress, Stage};
use indicatif::{
    BinaryBytes, HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};
use serde::Serialize;
use std::{
    array,
    collections::HashMap,
    fmt,
    io::{self, IsTerminal, Write},
    iter,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

/// Between lines about one transfer, where no bar can be drawn.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Between lines about retries: parts that fail together are reported once.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// The progress bars of this process.
static DRAWN: OnceLock<MultiProgress> = OnceLock::new();

/// Removes the bars for good, so that the last lines are not mixed with them.
pub(crate) fn clear_bars() {
    if let Some(bars) = DRAWN.get() {
        let _ = bars.clear();
        bars.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// Columns of a terminal below which a bar is drawn without its name.
const NARROW: u16 = 96;

/// How the result is printed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputOptions {
    /// Print JSON: an object, or one a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Tell nothing of progress
    #[arg(long, short)]
    quiet: bool,
}

/// Prints results and progress. Clones share their state.
#[derive(Clone)]
pub(crate) struct Report(Arc<Shared>);

struct Shared {
    is_json: bool,
    is_quiet: bool,
    bars: Option<MultiProgress>,
    transfers: Mutex<HashMap<String, Transfer>>,
    last_retry: Mutex<Option<Instant>>,
}

/// A transfer whose progress is shown.
struct Transfer {
    bar: Option<ProgressBar>,
    stage: Stage,
    started: Instant,
    started_at: u64,
    last_line: Instant,
}

impl Transfer {
    /// Progress, speed and time left.
    fn line(&self, name: &str, progress: Progress, now: Instant) -> String {
        let Progress { stage, done, total, .. } = progress;
        let micros = u64::try_from(now.duration_since(self.started).as_micros()).unwrap_or(u64::MAX).max(1);
        let rate = done.saturating_sub(self.started_at).saturating_mul(1_000_000) / micros;
        let left = seconds(Duration::from_secs(total.saturating_sub(done) / rate.max(1)));
        format!("{name}: {} {} of {}, {}/s, {left} left", verb(stage), bytes(done), bytes(total), bytes(rate))
    }
}

impl Report {
    pub(crate) fn new(output: &OutputOptions) -> Self {
        let (is_json, is_quiet) = (output.json, output.quiet || output.json);
        let bars = (!is_quiet && io::stderr().is_terminal()).then(|| DRAWN.get_or_init(MultiProgress::new).clone());
        let (transfers, last_retry) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Shared { is_json, is_quiet, bars, transfers, last_retry }))
    }

    /// Prints a result: `text` for people, `json` for machines.
    pub(crate) fn result(&self, text: &str, json: &impl Serialize) -> Result<(), Failure> {
        let line = if self.0.is_json {
            serde_json::to_string(json).map_err(|error| Failure::other(error.to_string()))?
        } else {
            text.trim_end().to_owned()
        };
        match writeln!(io::stdout().lock(), "{line}") {
            // The reader has closed the pipe.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|error| Failure::other(format!("the outcome could not be written: {error}"))),
        }
    }

    /// Prints rows: as a table for people, as one JSON object a line for machines.
    pub(crate) fn rows<T: Serialize, const N: usize>(
        &self,
        head: [&str; N],
        rows: Vec<T>,
        cells: impl Fn(T) -> [String; N],
    ) -> Result<(), Failure> {
        if self.0.is_json {
            return rows.iter().try_for_each(|row| self.result("", row));
        }
        self.result(&table(head, rows.into_iter().map(cells)), &())
    }

    /// Prints a step that is done, unless quiet.
    pub(crate) fn step(&self, line: &str) {
        if !self.0.is_quiet {
            self.line(line);
        }
    }

    /// Prints what a person should see, also if quiet.
    pub(crate) fn note(&self, line: &str) {
        self.line(&format!("imgsrv: {line}"));
    }

    fn line(&self, line: &str) {
        let _ = match &self.0.bars {
            Some(bars) => bars.println(line),
            None => writeln!(io::stderr().lock(), "{line}"),
        };
    }

    /// Prints an error that is retried.
    pub(crate) fn retrying(&self, error: &Error, delay: Duration) {
        if self.0.is_json {
            return;
        }
        let mut last = self.0.last_retry.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= RETRY_INTERVAL) {
            *last = Some(Instant::now());
            let why = with_causes(error.to_string(), error);
            self.note(&format!("{why}; trying again in {}", seconds(delay)));
        }
    }

    /// Shows the progress of the transfer of `name`.
    pub(crate) fn progress(&self, name: &str, progress: Progress) {
        if self.0.is_quiet {
            return;
        }
        let mut transfers = self.0.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(transfer) = transfers.get_mut(name).filter(|transfer| transfer.stage == progress.stage) {
            match &transfer.bar {
                Some(bar) => bar.set_position(progress.done),
                None if now.duration_since(transfer.last_line) >= LINE_INTERVAL => {
                    transfer.last_line = now;
                    self.line(&transfer.line(name, progress, now));
                }
                None => {}
            }
            return;
        }
        let bar = transfers.remove(name).and_then(|transfer| transfer.bar);
        let bar = bar.or_else(|| self.0.bars.as_ref().map(|bars| bars.add(bar_for(name, progress.total))));
        let Progress { stage, done, total, .. } = progress;
        if let Some(bar) = &bar {
            bar.set_message(verb(stage));
            bar.set_length(total);
            bar.set_position(done);
            bar.reset_elapsed();
            bar.reset_eta();
        } else if total > 0 {
            self.line(&format!("{name}: {} {}", verb(stage), bytes(total)));
        }
        transfers.insert(name.to_owned(), Transfer { bar, stage, started: now, started_at: done, last_line: now });
    }

    /// Ends the transfer of `name` with `line`.
    pub(crate) fn transferred(&self, name: &str, line: &str) {
        let transfer = self.0.transfers.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        if let Some(bar) = transfer.and_then(|transfer| transfer.bar) {
            bar.finish_and_clear();
        }
        self.step(line);
    }
}

fn bar_for(name: &str, total: u64) -> ProgressBar {
    let is_narrow = rustix::termios::tcgetwinsize(io::stderr()).is_ok_and(|size| size.ws_col < NARROW);
    let template = if is_narrow {
        "{msg} {wide_bar} {bytes}/{total_bytes} {left}"
    } else {
        "{prefix:<25!} {msg:<9} {wide_bar} {bytes:>10} of {total_bytes}, {left}"
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = style.with_key("left", |state: &ProgressState, text: &mut dyn fmt::Write| {
        let _ = match whole(state.per_sec()) {
            0 => write!(text, "waiting"),
            rate => write!(text, "{}/s, {:#} left", BinaryBytes(rate), HumanDuration(state.eta())),
        };
    });
    ProgressBar::new(total).with_style(style.progress_chars("=> ")).with_prefix(name.to_owned())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate, which casts saturate")]
const fn whole(rate: f64) -> u64 {
    rate as u64
}

const fn verb(stage: Stage) -> &'static str {
    match stage {
        Stage::Hashing => "hashing",
        Stage::Sending => "sending",
        Stage::Verifying => "verifying",
        Stage::Receiving => "receiving",
        _ => "working",
    }
}

/// `2.0 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    BinaryBytes(count).to_string()
}

/// `2.0 GiB`, for a size on the wire.
pub(crate) fn size(count: i64) -> String {
    bytes(u64::try_from(count).unwrap_or(0))
}

fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0 => "a moment".to_owned(),
        secs @ 1..=119 => format!("{secs} s"),
        secs @ 120..=7199 => format!("{} min", secs / 60),
        secs => format!("{} h", secs / 3600),
    }
}

/// A table whose columns are as wide as their widest cell.
fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let lines: Vec<[String; N]> = iter::once(head.map(str::to_owned)).chain(rows).collect();
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = array::from_fn(width);
    let line = |cells: &[String; N]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["debian".to_owned(), "1".to_owned()], ["x".to_owned(), String::new()]];
        assert_eq!(table(["NAME", "V"], rows), "NAME    V\ndebian  1\nx\n");
    }
}
