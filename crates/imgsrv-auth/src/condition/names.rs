//! What a condition may name.

use cel::{
    IdedExpr,
    common::ast::{CallExpr, EntryExpr, Expr, operators},
};

/// The operators. They are calls of functions with names that nobody can write, or so it should be.
const OPERATORS: &[&str] = &[
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::ADD,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
];
/// The most additions: of texts, each copies all that was added before.
const MAX_ADDITIONS: usize = 32;

/// Functions beside the operators, and how many arguments they take, what they are called on included.
const FUNCTIONS: &[(&str, usize)] = &[
    ("size", 1),
    ("contains", 2),
    ("startsWith", 2),
    ("endsWith", 2),
    ("string", 1),
    ("int", 1),
    ("double", 1),
    ("hasToken", 2),
    ("hasAny", 2),
];
/// The functions that are called on a text.
const METHODS: &[&str] = &["size", "contains", "startsWith", "endsWith"];
const IDENTITY: &[&str] = &["issuer", "subject"];

/// Refuses a condition that names anything that does not exist, or adds without end.
pub(super) fn check(expression: &IdedExpr) -> Result<(), String> {
    let mut additions = 0;
    named(expression, &mut additions)?;
    if additions > MAX_ADDITIONS {
        return Err(format!("adds more than {MAX_ADDITIONS} times"));
    }
    Ok(())
}

fn named(expression: &IdedExpr, additions: &mut usize) -> Result<(), String> {
    match &expression.expr {
        Expr::Literal(_) => Ok(()),
        Expr::Ident(name) if name == "claims" => Ok(()),
        Expr::Ident(name) if name == "identity" => Err("identity has to be asked for .issuer or .subject".to_owned()),
        Expr::Ident(name) => Err(format!("{name} does not exist; there are claims and identity")),
        Expr::Select(select) => match &select.operand.expr {
            Expr::Ident(name) if name == "identity" => {
                let known = IDENTITY.contains(&select.field.as_str());
                if known { Ok(()) } else { Err(format!("identity.{} does not exist", select.field)) }
            }
            _ => named(&select.operand, additions),
        },
        Expr::Call(call) => called(call, additions),
        Expr::List(list) => list.elements.iter().try_for_each(|element| named(element, additions)),
        Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => named(&entry.key, additions).and_then(|()| named(&entry.value, additions)),
            EntryExpr::StructField(_) => Err("types do not exist here".to_owned()),
        }),
        Expr::Struct(made) => Err(format!("the type {} does not exist", made.type_name)),
        Expr::Comprehension(_) | Expr::Unspecified => Err("macros do not exist here".to_owned()),
    }
}

fn called(call: &CallExpr, additions: &mut usize) -> Result<(), String> {
    let name = call.func_name.as_str();
    *additions += usize::from(name == operators::ADD);
    // An operator is not called on anything; what is, is a name that looks like one.
    if !OPERATORS.contains(&name) || call.target.is_some() {
        let known = FUNCTIONS.iter().find(|(known, _)| *known == name);
        let (_, takes) = known.ok_or_else(|| format!("the function {name} does not exist"))?;
        if call.target.is_some() != METHODS.contains(&name) && name != "size" {
            let how = if call.target.is_some() { "is not called on a value" } else { "is called on a value" };
            return Err(format!("the function {name} {how}"));
        }
        let given = call.args.len() + usize::from(call.target.is_some());
        if given != *takes {
            return Err(format!("the function {name} takes {takes} values, not {given}"));
        }
    }
    call.target.iter().map(AsRef::as_ref).chain(&call.args).try_for_each(|part| named(part, additions))
}
