//! The size of tests that show how costs grow.

use crate::services::variable;
use std::{fs, time::Duration};

/// How long a statement may take at full scale, on a machine without other load.
const STATEMENT_LIMIT: Duration = Duration::from_millis(100);

/// How many records a test has: few, so that it can run each time, or as many as `IMGSRV_TEST_SCALE` says.
///
/// ```
/// let scale = imgsrv_testkit::Scale::or(5_000);
/// assert!(scale.records > 0);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// The number of records.
    pub records: usize,
    /// Whether the environment gives it, so that times are checked as well.
    pub is_full: bool,
}

impl Scale {
    /// As many as the environment says, or else `records`.
    pub fn or(records: usize) -> Self {
        match variable("IMGSRV_TEST_SCALE") {
            Some(raw) => Self { records: raw.parse().expect("IMGSRV_TEST_SCALE is a number"), is_full: true },
            None => Self { records, is_full: false },
        }
    }

    /// Prints the number of statements, the time of all and the slowest one. At full scale, none may be slow.
    #[expect(clippy::print_stdout, reason = "measurements, shown with --nocapture")]
    pub fn check(&self, what: &str, statements: &[(String, Duration)]) {
        let total: Duration = statements.iter().map(|(_, duration)| *duration).sum();
        let Some((sql, slowest)) = statements.iter().max_by_key(|(_, duration)| *duration) else { return };
        let (count, records) = (statements.len(), self.records);
        println!("{what} of {records}: {count} statements in {total:?}, the slowest in {slowest:?}: {sql:.60}");
        assert!(!self.is_full || *slowest < STATEMENT_LIMIT, "{what}: {slowest:?} for {sql}");
    }
}

/// The most memory that this process has used since the last call, in bytes.
pub fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the status of the process");
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    fs::write("/proc/self/clear_refs", "5").expect("the peak is forgotten");
    peak.expect("a number") * 1024
}
