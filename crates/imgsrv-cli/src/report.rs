//! Output for people and machines: the result on standard output, progress and errors on standard error.

use crate::failure::Failure;
use imgsrv_client::{Error, Progress, Stage};
use indicatif::{
    BinaryBytes, HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};
use serde::Serialize;
use std::{
    collections::HashMap,
    fmt,
    io::{self, IsTerminal, Write},
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

/// The form of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Prints results and progress. Clones share their state.
#[derive(Clone)]
pub(crate) struct Report(Arc<Shared>);

struct Shared {
    style: Style,
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

impl Report {
    pub(crate) fn new(style: Style, is_quiet: bool) -> Self {
        let bars = (!is_quiet && io::stderr().is_terminal()).then(|| DRAWN.get_or_init(MultiProgress::new).clone());
        let (transfers, last_retry) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Shared { style, is_quiet, bars, transfers, last_retry }))
    }

    /// Prints a result: `text` for people, `json` for machines.
    pub(crate) fn result(&self, text: &str, json: &impl Serialize) -> Result<(), Failure> {
        let line = match self.0.style {
            Style::Text if text.is_empty() => return Ok(()),
            Style::Text => text.trim_end().to_owned(),
            Style::Json => serde_json::to_string(json).map_err(|error| Failure::other(error.to_string()))?,
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
        rows: &[T],
        cells: impl Fn(&T) -> [String; N],
    ) -> Result<(), Failure> {
        match self.0.style {
            Style::Json => rows.iter().try_for_each(|row| self.result("", row)),
            Style::Text => self.result(&table(head, &rows.iter().map(cells).collect::<Vec<_>>()), &()),
        }
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
        match &self.0.bars {
            Some(bars) => {
                let _ = bars.println(line);
            }
            None => {
                let _ = writeln!(io::stderr().lock(), "{line}");
            }
        }
    }

    /// Prints an error that is retried.
    pub(crate) fn retrying(&self, error: &Error, delay: Duration) {
        if self.0.style == Style::Json {
            return;
        }
        let mut last = self.0.last_retry.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if last.is_some_and(|last| now.duration_since(last) < RETRY_INTERVAL) {
            return;
        }
        *last = Some(now);
        let why = Failure::brief(error);
        self.note(&format!("{why}; trying again in {}", seconds(delay)));
    }

    /// Shows the progress of the transfer of `name`.
    pub(crate) fn progress(&self, name: &str, progress: Progress) {
        if self.0.is_quiet {
            return;
        }
        let mut transfers = self.0.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_new = transfers.get(name).is_none_or(|transfer| transfer.stage != progress.stage);
        if is_new {
            let bar = transfers.remove(name).and_then(|transfer| transfer.bar);
            let bar = bar.or_else(|| self.0.bars.as_ref().map(|bars| bars.add(bar_for(name, progress.total))));
            if let Some(bar) = &bar {
                bar.set_message(verb(progress.stage));
                bar.set_length(progress.total);
                bar.set_position(progress.done);
                bar.reset_elapsed();
                bar.reset_eta();
            } else if progress.total > 0 {
                self.line(&format!("{name}: {} {}", verb(progress.stage), bytes(progress.total)));
            }
            let (stage, started_at) = (progress.stage, progress.done);
            let transfer = Transfer { bar, stage, started: now, started_at, last_line: now };
            transfers.insert(name.to_owned(), transfer);
            return;
        }
        let Some(transfer) = transfers.get_mut(name) else { return };
        match &transfer.bar {
            Some(bar) => bar.set_position(progress.done),
            None if now.duration_since(transfer.last_line) >= LINE_INTERVAL => {
                transfer.last_line = now;
                let rate =
                    rate(progress.done.saturating_sub(transfer.started_at), now.duration_since(transfer.started));
                let left = (progress.total - progress.done.min(progress.total)) / rate.max(1);
                self.line(&format!(
                    "{name}: {} {} of {}, {}/s, {} left",
                    verb(progress.stage),
                    bytes(progress.done),
                    bytes(progress.total),
                    bytes(rate),
                    seconds(Duration::from_secs(left))
                ));
            }
            None => {}
        }
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

fn rate(bytes: u64, time: Duration) -> u64 {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1);
    bytes.saturating_mul(1_000_000) / micros
}

/// `2.0 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
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
fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).chain([head[at].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    std::iter::once(line(head.to_vec()))
        .chain(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["debian".to_owned(), "1".to_owned()], ["x".to_owned(), String::new()]];
        assert_eq!(table(["NAME", "V"], &rows), "NAME    V\ndebian  1\nx\n");
    }
}
