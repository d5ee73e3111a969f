//! Compiling and evaluating one condition. Runs on the engine's thread, whose stack is large enough.

use super::{names, shape, values};
use cel::{Context, Env, ExecutionError, Program, Value};
use imgsrv_domain::{
    oidc::{ClaimValue, Claims, Condition, ForwardedClaims, OidcIdentity},
    ports::ConditionError,
};
use moka::sync::Cache;
use std::sync::Arc;

/// Value of every forwarded claim when a condition is checked before it is saved.
const SAMPLE: &str = "sample";

/// Most compiled conditions that are cached.
const MAX_CACHED: u64 = 256;

/// The environment in which conditions are compiled and evaluated, and the compiled ones.
pub(super) struct Language {
    environment: Arc<Env>,
    compiled: Cache<Condition, Arc<Program>>,
}

impl Language {
    /// The standard library, without macros, optional values, times and regular expressions.
    pub(super) fn new() -> Self {
        let environment = Arc::new(Env::default().with_optional_support(false).with_stdlib());
        Self { environment, compiled: Cache::new(MAX_CACHED) }
    }

    /// Compiles a condition that is within bounds and uses known names only.
    fn compile(&self, condition: &Condition) -> Result<Arc<Program>, ConditionError> {
        let compile = || {
            shape::check(condition.as_str())?;
            let program = self.environment.compile(condition.as_str()).map_err(|errors| first_line(&errors))?;
            names::check(program.expression())?;
            Ok(Arc::new(program))
        };
        self.compiled.try_get_with_by_ref(condition, compile).map_err(|why| ConditionError(Arc::unwrap_or_clone(why)))
    }

    /// Evaluates a condition; a result other than true or false is an error.
    pub(super) fn evaluate(
        &self,
        condition: &Condition,
        identity: &OidcIdentity,
        claims: Claims,
    ) -> Result<bool, ConditionError> {
        let program = self.compile(condition)?;
        let identity = values::identity(identity.issuer.as_str(), identity.subject.as_str());
        boolean(self.execute(&program, identity, claims), condition)
    }

    /// Checks that a condition is true or false for sample claims. One that uses a claim that is not forwarded is
    /// accepted: it admits nobody.
    pub(super) fn check(&self, condition: &Condition, forwarded: &ForwardedClaims) -> Result<(), ConditionError> {
        let program = self.compile(condition)?;
        let claims = forwarded.names().map(|name| (name.as_str().to_owned(), ClaimValue::Text(SAMPLE.to_owned())));
        let identity = values::identity("https://issuer.example", SAMPLE);
        match self.execute(&program, identity, claims.collect()) {
            Err(ExecutionError::NoSuchKey(_)) => Ok(()),
            result => boolean(result, condition).map(drop).map_err(|ConditionError(why)| {
                ConditionError(format!(
                    "{why} for sample claims, of which every forwarded one is the text \"{SAMPLE}\""
                ))
            }),
        }
    }

    fn execute(&self, program: &Program, identity: Value, claims: Claims) -> Result<Value, ExecutionError> {
        let mut context = Context::with_env(Arc::clone(&self.environment));
        context.add_variable_from_value("claims", values::claims(claims));
        context.add_variable_from_value("identity", identity);
        let declared = context
            .add_function("hasToken", values::has_token)
            .and_then(|()| context.add_function("hasAny", values::has_any));
        declared.map_err(|error| ExecutionError::InternalError(error.to_string()))?;
        program.execute(&context)
    }
}

fn boolean(result: Result<Value, ExecutionError>, condition: &Condition) -> Result<bool, ConditionError> {
    match result {
        Ok(Value::Bool(holds)) => Ok(holds),
        Ok(other) => Err(ConditionError(format!("it is a {}, not true or false,", other.type_of()))),
        Err(error) => Err(ConditionError(format!("it fails ({})", redacted(&error, condition.as_str())))),
    }
}

/// The error without values of claims, which belong to other people: a key is shown only if the condition contains it.
fn redacted(error: &ExecutionError, source: &str) -> String {
    match error {
        ExecutionError::NoSuchKey(name) if source.contains(name.as_str()) => format!("there is no claim or key {name}"),
        ExecutionError::NoSuchKey(_) => "there is no such claim or key".to_owned(),
        ExecutionError::NoSuchOverload(overload) => overload.to_string(),
        ExecutionError::FunctionError { function, message } => format!("{function}: {message}"),
        ExecutionError::InvalidArgumentCount { .. } => "a function was given too many or too few values".to_owned(),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "a division by zero".to_owned(),
        ExecutionError::Overflow(..) => "a number that is too large".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "a list is not that long".to_owned(),
        _ => "the values are of kinds that do not go together".to_owned(),
    }
}

fn first_line(errors: &impl std::fmt::Display) -> String {
    let text = errors.to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.trim_start_matches("ERROR: <input>:");
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::engine::STACK, *};

    /// The worst conditions within bounds, by shape.
    fn worst() -> Vec<String> {
        let wrapped = |open: &str, inner: &str, close: &str, n| format!("{}{inner}{}", open.repeat(n), close.repeat(n));
        let nested = [("(", ")"), ("int(", ")"), ("!(", ")"), ("-(", ")"), ("[", "]"), ("{1:", "}")];
        let nested = nested.map(|(open, close)| wrapped(open, "1", close, 32));
        let flat = [
            wrapped("", "1", "==1", 341),
            wrapped("", "1", "*1", 511),
            wrapped("", "1", "-1", 511),
            wrapped("", "claims.a", "[0]", 254),
            wrapped("", "true", "&&true", 341),
            wrapped("", "true", "||true", 341),
            wrapped("", "claims", ".a", 511),
            wrapped("", "claims.a", ".size()", 255),
            wrapped("! ", "true", "", 1022),
            wrapped("- ", "1", "", 1022),
            wrapped("true?true:", "true", "", 80),
            format!("1 in [{}]", vec!["1"; 500].join(",")),
        ];
        // A flat one inside a nested one.
        let both = wrapped("(", &wrapped("", "1", "==1", 320), ")", 31);
        nested.into_iter().chain(flat).chain([both]).collect()
    }

    #[test]
    fn an_eighth_of_the_stack_suffices_for_the_worst_conditions() {
        let thread = std::thread::Builder::new().stack_size(STACK / 8).spawn(|| {
            let language = Language::new();
            let identity =
                OidcIdentity { issuer: "https://i".parse().expect("valid"), subject: "s".parse().expect("valid") };
            for source in worst() {
                shape::check(&source).unwrap_or_else(|why| panic!("it {why}: {source}"));
                let condition = source.parse().expect("a condition");
                let _ = language.evaluate(&condition, &identity, Claims::new());
            }
        });
        thread.expect("a thread").join().expect("nothing overflows");
    }
}
