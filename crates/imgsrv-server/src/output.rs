//! Output of operators' commands.

use crate::error::StartError;
use imgsrv_cli::for_stdout;
use imgsrv_domain::time::Timestamp;
use serde_json::Value;
use std::io::{self, Write};

/// A time for people.
pub(crate) fn time(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.micros())
        .map(|time| time.round(jiff::Unit::Second).unwrap_or(time))
        .unwrap_or_default()
        .to_string()
}

/// Prints the result of a command: for people a text, or one JSON object.
pub(crate) fn print_result(json: bool, text: &str, value: &Value) -> Result<(), StartError> {
    print(&if json { format!("{value}\n") } else { for_stdout(text) })
}

/// Prints the result of a command.
pub(crate) fn print(text: &str) -> Result<(), StartError> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        // The reader closed the pipe, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(StartError::Output),
    }
}
