//! Operating a server: its settings, its health from inside and outside, its metrics, its log and its end.

mod alerts;
mod config;
mod doctor;
mod existing;
mod log;
mod stopping;

use std::process::{Command, Output};

const BINARY: &str = env!("CARGO_BIN_EXE_imgsrv");

/// What a command printed, and its exit code.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn imgsrv(arguments: &[&str]) -> Ran {
    ran(Command::new(BINARY).args(arguments).output().expect("the binary runs"))
}

fn ran(Output { status, stdout, stderr }: Output) -> Ran {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: status.code(), out: text(&stdout), err: text(&stderr) }
}
