//! Reports operations of a store for metrics.

use std::time::{Duration, Instant};

/// An enum whose values are metric labels.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The label in metrics.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)*
                }
            }
        }
    };
}

labels! {
    /// An operation on an object. The folder store has no multipart operations.
    Operation {
        /// Read an object.
        Get = "get",
        /// Read the metadata of an object.
        Head = "head",
        /// Write an object.
        Put = "put",
        /// Write a part of a multipart upload.
        PutPart = "put_part",
        /// Copy a part of a multipart upload from another object, inside the store.
        CopyPart = "copy_part",
        /// Copy an object, inside the store.
        Copy = "copy",
        /// Create a multipart upload.
        CreateMultipart = "create_multipart",
        /// Complete a multipart upload.
        CompleteMultipart = "complete_multipart",
        /// Abort a multipart upload.
        AbortMultipart = "abort_multipart",
        /// Delete an object.
        Delete = "delete",
        /// List objects or multipart uploads.
        List = "list",
    }
}

labels! {
    /// How an operation ended.
    Outcome {
        /// It succeeded.
        Success = "success",
        /// The object does not exist.
        NotFound = "not_found",
        /// A precondition failed.
        Conflict = "conflict",
        /// The object already exists.
        AlreadyExists = "already_exists",
        /// The request is invalid.
        Invalid = "invalid",
        /// It was dropped before its end.
        Canceled = "canceled",
        /// The store failed, or did not respond.
        Error = "error",
    }
}

impl Operation {
    /// The label in metrics of the direction in which it transfers bytes.
    pub const fn direction(self) -> &'static str {
        match self {
            Self::Get | Self::Head | Self::List => "read",
            _ => "write",
        }
    }
}

/// Receives a report of every operation.
pub trait Observer: Send + Sync {
    /// An operation ended.
    fn operation(&self, operation: Operation, outcome: Outcome, took: Duration);
    /// An operation transferred `bytes`.
    fn bytes(&self, operation: Operation, bytes: u64);
}

/// Ignores every report.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn operation(&self, _: Operation, _: Outcome, _: Duration) {}
    fn bytes(&self, _: Operation, _: u64) {}
}

/// Runs an operation and reports how it ended; dropped before its end, it is reported as canceled.
pub(crate) async fn observed<T, E>(
    observer: &dyn Observer,
    operation: Operation,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E>
where
    for<'a> Outcome: From<&'a E>,
{
    let mut watch = Watch { observer, operation, started: Instant::now(), outcome: Outcome::Canceled };
    let done = work.await;
    watch.outcome = done.as_ref().map_or_else(Outcome::from, |_| Outcome::Success);
    done
}

struct Watch<'a> {
    observer: &'a dyn Observer,
    operation: Operation,
    started: Instant,
    outcome: Outcome,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.observer.operation(self.operation, self.outcome, self.started.elapsed());
    }
}
