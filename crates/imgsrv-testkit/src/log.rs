//! The log of a test.

use serde_json::Value;
use std::{
    io::{self, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What a subscriber has logged.
#[derive(Debug, Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a subscriber writes to.
    pub fn writer(&self) -> impl Fn() -> Self + Send + Sync + 'static {
        let log = self.clone();
        move || log.clone()
    }

    /// Whether it contains `text`.
    pub fn has(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.bytes()).contains(text)
    }

    /// Its events, if they are one JSON object per line.
    pub fn events(&self) -> Vec<Value> {
        let bytes = self.bytes();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect()
    }

    /// The only event with `message`.
    pub fn event(&self, message: &str) -> Value {
        let mut events = self.events().into_iter().filter(|event| event["fields"]["message"] == message);
        let event = events.next().unwrap_or_else(|| panic!("no {message:?} in {:?}", self.events()));
        assert!(events.next().is_none(), "{event}");
        event
    }

    /// The names of the spans of the events with `message`, outermost first.
    pub fn spans(&self, message: &str) -> Vec<Vec<String>> {
        let events = self.events().into_iter().filter(|event| event["fields"]["message"] == message);
        let name = |span: &Value| span["name"].as_str().expect("a name").to_owned();
        events.map(|event| event["spans"].as_array().into_iter().flatten().map(name).collect()).collect()
    }
}
