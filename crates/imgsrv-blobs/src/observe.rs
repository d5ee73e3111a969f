//! Telling how a store's operations went, for metrics.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name in metrics.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// What a store does, object by object. File systems do not know all of them.
    Operation {
        /// Reading bytes.
        Get = "get",
        /// Looking at an object without reading it.
        Head = "head",
        /// Writing an object.
        Put = "put",
        /// Writing a piece of an object.
        PutPart = "put_part",
        /// Taking a piece of an object from another one, inside the store.
        CopyPart = "copy_part",
        /// Copying an object, inside the store.
        Copy = "copy",
        /// Beginning an object of pieces.
        CreateMultipart = "create_multipart",
        /// Making an object of its pieces.
        CompleteMultipart = "complete_multipart",
        /// Giving up an object of pieces.
        AbortMultipart = "abort_multipart",
        /// Deleting.
        Delete = "delete",
        /// Listing.
        List = "list",
    }
}

words! {
    /// How an operation ended.
    Outcome {
        /// As it should.
        Success = "success",
        /// There is no such object.
        NotFound = "not_found",
        /// A condition did not hold.
        Conflict = "conflict",
        /// There is such an object already.
        AlreadyExists = "already_exists",
        /// The store does not take the request.
        Invalid = "invalid",
        /// Nobody waited for the end.
        Canceled = "canceled",
        /// The store failed, or did not answer.
        Error = "error",
    }
}

words! {
    /// Where bytes go.
    Direction {
        /// From the store.
        Read = "read",
        /// To the store.
        Write = "write",
    }
}

/// Is told of every operation.
pub trait Observer: Send + Sync {
    /// An operation ended.
    fn operation(&self, operation: Operation, outcome: Outcome, took: Duration);
    /// Bytes went through an operation.
    fn bytes(&self, operation: Operation, direction: Direction, bytes: u64);
}

/// Does not care.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn operation(&self, _: Operation, _: Outcome, _: Duration) {}
    fn bytes(&self, _: Operation, _: Direction, _: u64) {}
}

/// An operation under way. Dropping it before its end tells that it was canceled.
pub(crate) struct Watch {
    observer: Arc<dyn Observer>,
    operation: Operation,
    started: Instant,
    outcome: Outcome,
}

impl Watch {
    pub(crate) fn begin(observer: &Arc<dyn Observer>, operation: Operation) -> Self {
        Self { observer: Arc::clone(observer), operation, started: Instant::now(), outcome: Outcome::Canceled }
    }

    pub(crate) fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.observer.operation(self.operation, self.outcome, self.started.elapsed());
    }
}
