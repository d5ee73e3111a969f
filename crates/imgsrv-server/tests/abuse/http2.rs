//! A client that sends frames of HTTP/2 as they are (RFC 9113), to break the rules that a library would follow.

use std::io::{Read, Write};

pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// `SETTINGS_INITIAL_WINDOW_SIZE` of no bytes: the server may send no body.
pub(crate) const ZERO_WINDOW: &[u8] = &[0, 4, 0, 0, 0, 0];

/// A frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a length").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The fields of a GET request, each as a literal that is not indexed (RFC 7541, section 6.2.2).
pub(crate) fn get(path: &str) -> Vec<u8> {
    let literal =
        |name: u8, value: &str| [&[name, u8::try_from(value.len()).expect("a short value")], value.as_bytes()].concat();
    [&[0x82, 0x86][..], &literal(4, path), &literal(1, "x")].concat()
}

/// The connection to a server.
pub(crate) struct Connection<S> {
    stream: S,
}

/// A frame that the server sent: its kind, its flags and its stream.
pub(crate) type Received = (u8, u8, u32);

impl<S: Read + Write> Connection<S> {
    /// The connection that is open already.
    pub(crate) fn of(stream: S) -> Self {
        Self { stream }
    }

    /// Opens a connection with these settings.
    pub(crate) fn open(stream: S, settings: &[u8]) -> Self {
        let mut connection = Self { stream };
        let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, settings)[..]].concat();
        assert!(connection.send(&preface));
        connection
    }

    /// Sends frames; false once the server has closed the connection.
    pub(crate) fn send(&mut self, frames: &[u8]) -> bool {
        self.stream.write_all(frames).and_then(|()| self.stream.flush()).is_ok()
    }

    /// The next frame that the server sends, until it closes the connection.
    pub(crate) fn receive(&mut self) -> Option<Received> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).expect("a length")];
        self.stream.read_exact(&mut payload).ok()?;
        Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]])))
    }

    /// Receives until `count` streams got a response or were refused; returns how many got a response.
    pub(crate) fn responses(&mut self, count: usize) -> usize {
        let (mut responses, mut refused) = (0, 0);
        while responses + refused < count {
            match self.receive().expect("a frame") {
                (HEADERS, ..) => responses += 1,
                (RST_STREAM, ..) => refused += 1,
                _ => {}
            }
        }
        responses
    }
}
