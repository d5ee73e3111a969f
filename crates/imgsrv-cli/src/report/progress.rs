//! Progress of transfers: bars on a terminal, lines elsewhere.

use super::{
    text::{bytes, seconds},
    wrap,
};
use imgsrv_client::{Progress, Stage};
use indicatif::{
    BinaryBytes, HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};
use std::{
    collections::HashMap,
    fmt,
    io::{self, Write},
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

/// Between lines about one transfer, where no bar can be drawn.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The progress bars of this process.
static DRAWN: OnceLock<MultiProgress> = OnceLock::new();

/// Removes the bars permanently, so that the last lines are not mixed with them.
pub(crate) fn clear_bars() {
    if let Some(bars) = DRAWN.get() {
        let _ = bars.clear();
        bars.set_draw_target(ProgressDrawTarget::hidden());
    }
}

/// Columns of a terminal below which a bar is drawn without its name.
const NARROW: u16 = 96;

/// The transfers of this process.
pub(super) struct Transfers {
    bars: Option<MultiProgress>,
    running: Mutex<HashMap<String, Transfer>>,
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

impl Transfers {
    /// No transfers; with bars if `on_terminal`.
    pub(super) fn new(on_terminal: bool) -> Self {
        let bars = on_terminal.then(|| DRAWN.get_or_init(MultiProgress::new).clone());
        Self { bars, running: Mutex::default() }
    }

    /// Prints a line above the bars.
    pub(super) fn line(&self, line: &str) {
        let line = wrap::for_stderr(line);
        let _ = match &self.bars {
            Some(bars) => bars.println(&line),
            None => writeln!(io::stderr().lock(), "{line}"),
        };
    }

    /// Shows the progress of the transfer of `name`.
    pub(super) fn progress(&self, name: &str, progress: Progress) {
        let mut transfers = self.running.lock().unwrap_or_else(PoisonError::into_inner);
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
        let bar = bar.or_else(|| self.bars.as_ref().map(|bars| bars.add(bar_for(name, progress.total))));
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

    /// Ends the transfer of `name`.
    pub(super) fn end(&self, name: &str) {
        let transfer = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        if let Some(bar) = transfer.and_then(|transfer| transfer.bar) {
            bar.finish_and_clear();
        }
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
