//! How an API token can be exposed.

/// How an API token was sent so that others may have read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exposure {
    /// It came over plaintext HTTP.
    #[error("sent without TLS")]
    InClear,
    /// It is in the URL of a remote for `/streams/`, from which clients send it in plaintext for every file.
    #[error("sent with Basic for /streams/, so a client also sends it without TLS")]
    StreamsBasic,
    /// It is in the URL of a private remote, which clients store and show, and may do more than read.
    #[error("used in the URL of an Incus remote, though it may do more than read")]
    RemoteUrl,
}
