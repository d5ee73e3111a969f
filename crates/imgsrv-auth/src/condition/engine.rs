//! The thread that conditions are compiled and asked on, and the way to it.

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

/// The stack of the thread. What the parser and the evaluator need at their worst for conditions within bounds is
/// less than an eighth of it, as a test shows; pages that are not touched take no memory.
pub(super) const STACK: usize = 32 << 20;
/// Questions that wait; whoever asks further ones waits to ask.
const MAX_WAITING: usize = 64;
/// Compiled conditions that are kept. When there are more, all are compiled again.
const MAX_KEPT: usize = 256;

enum Question {
    MayBeSaved(ForwardedClaims),
    Holds(OidcIdentity, Claims),
}

struct Asked {
    condition: Condition,
    question: Question,
    answer: oneshot::Sender<Result<bool, ConditionError>>,
}

/// Asks conditions in CEL, one at a time, on a thread of its own that ends with the engine.
pub struct CelEngine {
    asked: mpsc::Sender<Asked>,
}

impl CelEngine {
    /// Starts the engine's thread.
    pub fn start() -> io::Result<Self> {
        let (asked, questions) = mpsc::channel(MAX_WAITING);
        thread::Builder::new().name("conditions".to_owned()).stack_size(STACK).spawn(move || answer(questions))?;
        Ok(Self { asked })
    }

    async fn put(&self, condition: &Condition, question: Question) -> Result<bool, ConditionError> {
        let gone = || ConditionError("conditions cannot be asked".to_owned());
        let (answer, answered) = oneshot::channel();
        let asked = Asked { condition: condition.clone(), question, answer };
        self.asked.send(asked).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

fn answer(mut questions: mpsc::Receiver<Asked>) {
    let language = Language::new();
    let mut kept: HashMap<Condition, Program> = HashMap::new();
    while let Some(Asked { condition, question, answer }) = questions.blocking_recv() {
        let said = catch_unwind(AssertUnwindSafe(|| decide(&language, &mut kept, condition, question)));
        let said = said.unwrap_or_else(|_| {
            kept.clear();
            Err(ConditionError("it cannot be evaluated".to_owned()))
        });
        // Whoever asked may be gone.
        let _ = answer.send(said);
    }
}

fn decide(
    language: &Language,
    kept: &mut HashMap<Condition, Program>,
    condition: Condition,
    question: Question,
) -> Result<bool, ConditionError> {
    match question {
        Question::MayBeSaved(forwarded) => {
            let program = language.compile(condition.as_str())?;
            language.sample(condition.as_str(), &program, &forwarded).map(|()| true)
        }
        Question::Holds(identity, claims) => {
            if let Some(program) = kept.get(&condition) {
                return language.ask(condition.as_str(), program, &identity, claims);
            }
            let program = language.compile(condition.as_str())?;
            let said = language.ask(condition.as_str(), &program, &identity, claims);
            if kept.len() >= MAX_KEPT {
                kept.clear();
            }
            kept.insert(condition, program);
            said
        }
    }
}

#[async_trait]
impl ConditionEngine for CelEngine {
    async fn check(&self, condition: &Condition, forwarded: &ForwardedClaims) -> Result<(), ConditionError> {
        self.put(condition, Question::MayBeSaved(forwarded.clone())).await.map(drop)
    }

    async fn holds(
        &self,
        condition: &Condition,
        identity: &OidcIdentity,
        claims: Claims,
    ) -> Result<bool, ConditionError> {
        self.put(condition, Question::Holds(identity.clone(), claims)).await
    }
}
