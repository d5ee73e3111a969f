//! The thread that compiles and evaluates conditions, and the channel to it.

use super::program::Language;
use async_trait::async_trait;
use cel::Program;
use imgsrv_domain::{
    oidc::{Claims, Condition, ForwardedClaims, OidcIdentity},
    ports::{ConditionEngine, ConditionError},
};
use std::{
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};
use tokio::sync::{mpsc, oneshot};

/// Stack of the thread. The parser and the evaluator need less than an eighth of it for the worst conditions within
/// bounds, as a test shows; untouched pages take no memory.
pub(super) const STACK: usize = 32 << 20;
/// Most queued requests; further callers wait before they enqueue theirs.
const MAX_QUEUED: usize = 64;
/// Most compiled conditions that are cached; one more empties the cache.
const MAX_CACHED: usize = 256;

enum Task {
    Check(ForwardedClaims),
    Evaluate(OidcIdentity, Claims),
}

struct Request {
    condition: Condition,
    task: Task,
    reply: oneshot::Sender<Result<bool, ConditionError>>,
}

/// Evaluates conditions in CEL, one at a time, on its own thread, which ends with the engine.
pub struct CelEngine {
    requests: mpsc::Sender<Request>,
}

impl CelEngine {
    /// Starts the engine's thread.
    pub fn start() -> io::Result<Self> {
        let (requests, queue) = mpsc::channel(MAX_QUEUED);
        thread::Builder::new().name("conditions".to_owned()).stack_size(STACK).spawn(move || serve(queue))?;
        Ok(Self { requests })
    }

    async fn request(&self, condition: &Condition, task: Task) -> Result<bool, ConditionError> {
        let ended = || ConditionError("conditions cannot be evaluated".to_owned());
        let (reply, replied) = oneshot::channel();
        let request = Request { condition: condition.clone(), task, reply };
        self.requests.send(request).await.map_err(|_| ended())?;
        replied.await.map_err(|_| ended())?
    }
}

fn serve(mut queue: mpsc::Receiver<Request>) {
    let language = Language::new();
    let mut cache: HashMap<Condition, Program> = HashMap::new();
    while let Some(Request { condition, task, reply }) = queue.blocking_recv() {
        let result = catch_unwind(AssertUnwindSafe(|| run(&language, &mut cache, condition, task)));
        let result = result.unwrap_or_else(|_| {
            cache.clear();
            Err(ConditionError("it cannot be evaluated".to_owned()))
        });
        // The request may have been cancelled.
        let _ = reply.send(result);
    }
}

fn run(
    language: &Language,
    cache: &mut HashMap<Condition, Program>,
    condition: Condition,
    task: Task,
) -> Result<bool, ConditionError> {
    match task {
        Task::Check(forwarded) => {
            let program = language.compile(condition.as_str())?;
            language.check_with_samples(condition.as_str(), &program, &forwarded).map(|()| true)
        }
        Task::Evaluate(identity, claims) => {
            if let Some(program) = cache.get(&condition) {
                return language.evaluate(condition.as_str(), program, &identity, claims);
            }
            let program = language.compile(condition.as_str())?;
            let result = language.evaluate(condition.as_str(), &program, &identity, claims);
            if cache.len() >= MAX_CACHED {
                cache.clear();
            }
            cache.insert(condition, program);
            result
        }
    }
}

#[async_trait]
impl ConditionEngine for CelEngine {
    async fn check(&self, condition: &Condition, forwarded: &ForwardedClaims) -> Result<(), ConditionError> {
        self.request(condition, Task::Check(forwarded.clone())).await.map(drop)
    }

    async fn holds(
        &self,
        condition: &Condition,
        identity: &OidcIdentity,
        claims: Claims,
    ) -> Result<bool, ConditionError> {
        self.request(condition, Task::Evaluate(identity.clone(), claims)).await
    }
}
