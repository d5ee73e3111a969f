//! The thread that compiles and evaluates conditions, and the channel to it.

use super::program::Language;
use async_trait::async_trait;
use imgsrv_domain::{
    oidc::{Claims, Condition, ForwardedClaims, OidcIdentity},
    ports::{ConditionEngine, ConditionError},
};
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};
use tokio::sync::{mpsc, oneshot};

/// Stack of the thread. The parser and the evaluator need less than an eighth of it for the worst conditions within
/// bounds, as a test shows; untouched pages take no memory.
pub(super) const STACK: usize = 32 << 20;
/// Most queued tasks; further callers wait before they enqueue theirs.
const MAX_QUEUED: usize = 64;

/// Work for the thread.
type Task = Box<dyn FnOnce(&Language) + Send>;

/// Evaluates conditions in CEL, one at a time, on its own thread, which ends with the engine.
pub struct CelEngine {
    tasks: mpsc::Sender<Task>,
}

impl CelEngine {
    /// Starts the engine's thread.
    pub fn start() -> io::Result<Self> {
        let (tasks, mut queue) = mpsc::channel::<Task>(MAX_QUEUED);
        let serve = move || {
            let language = Language::new();
            while let Some(task) = queue.blocking_recv() {
                task(&language);
            }
        };
        thread::Builder::new().name("conditions".to_owned()).stack_size(STACK).spawn(serve)?;
        Ok(Self { tasks })
    }

    /// Runs `work` on the engine's thread.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Language) -> Result<T, ConditionError> + Send + 'static,
    ) -> Result<T, ConditionError> {
        let ended = || ConditionError("conditions cannot be evaluated".to_owned());
        let (reply, replied) = oneshot::channel();
        let task = Box::new(move |language: &Language| {
            let panicked = |_| Err(ConditionError("it cannot be evaluated".to_owned()));
            let result = catch_unwind(AssertUnwindSafe(|| work(language))).unwrap_or_else(panicked);
            // The caller may have been cancelled.
            let _ = reply.send(result);
        });
        self.tasks.send(task).await.map_err(|_| ended())?;
        replied.await.map_err(|_| ended())?
    }
}

#[async_trait]
impl ConditionEngine for CelEngine {
    #[tracing::instrument(name = "condition.check", level = "debug", skip_all, err(level = "debug"))]
    async fn check(&self, condition: &Condition, forwarded: &ForwardedClaims) -> Result<(), ConditionError> {
        let (condition, forwarded) = (condition.clone(), forwarded.clone());
        self.run(move |language| language.check(&condition, &forwarded)).await
    }

    #[tracing::instrument(name = "condition.evaluate", level = "debug", skip_all, err(level = "debug"))]
    async fn holds(
        &self,
        condition: &Condition,
        identity: &OidcIdentity,
        claims: Claims,
    ) -> Result<bool, ConditionError> {
        let (condition, identity) = (condition.clone(), identity.clone());
        self.run(move |language| language.evaluate(&condition, &identity, claims)).await
    }
}
