//! The names that a condition may use.

use cel::{
    IdedExpr,
    common::ast::{CallExpr, EntryExpr, Expr, operators},
};

/// Operators, which the parser represents as calls of functions with reserved names.
const OPERATORS: &[&str] = &[
    "_?_:_", "_&&_", "_||_", "!_", "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_+_", "_-_", "_*_", "_/_", "_%_",
    "-_", "_[_]", "@in",
];
/// Most additions: each addition of strings copies the result so far.
const MAX_ADDITIONS: usize = 32;

/// Functions beside the operators, by their number of arguments, the receiver included.
const UNARY: &[&str] = &["size", "string", "int", "double"];
const BINARY: &[&str] = &["contains", "startsWith", "endsWith", "hasToken", "hasAny"];
/// Functions that are called as methods of a string.
const METHODS: &[&str] = &["size", "contains", "startsWith", "endsWith"];
const IDENTITY: &[&str] = &["issuer", "subject"];

/// Refuses a condition that uses an unknown name, or too many additions.
pub(super) fn check(expression: &IdedExpr) -> Result<(), String> {
    let mut additions = 0;
    check_names(expression, &mut additions)?;
    if additions > MAX_ADDITIONS {
        return Err(format!("contains more than {MAX_ADDITIONS} additions"));
    }
    Ok(())
}

fn check_names(expression: &IdedExpr, additions: &mut usize) -> Result<(), String> {
    match &expression.expr {
        Expr::Literal(_) => Ok(()),
        Expr::Ident(name) if name == "claims" => Ok(()),
        Expr::Ident(name) if name == "identity" => {
            Err("identity can be used only as identity.issuer or identity.subject".to_owned())
        }
        Expr::Ident(name) => Err(format!("{name} does not exist; the variables are claims and identity")),
        Expr::Select(select) => match &select.operand.expr {
            Expr::Ident(name) if name == "identity" => {
                let known = IDENTITY.contains(&select.field.as_str());
                if known { Ok(()) } else { Err(format!("identity.{} does not exist", select.field)) }
            }
            _ => check_names(&select.operand, additions),
        },
        Expr::Call(call) => check_call(call, additions),
        Expr::List(list) => list.elements.iter().try_for_each(|element| check_names(element, additions)),
        Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => {
                check_names(&entry.key, additions).and_then(|()| check_names(&entry.value, additions))
            }
            EntryExpr::StructField(_) => Err("types are not supported".to_owned()),
        }),
        Expr::Struct(made) => Err(format!("the type {} does not exist", made.type_name)),
        Expr::Comprehension(_) | Expr::Unspecified => Err("macros are not supported".to_owned()),
    }
}

fn check_call(call: &CallExpr, additions: &mut usize) -> Result<(), String> {
    let name = call.func_name.as_str();
    *additions += usize::from(name == operators::ADD);
    // An operator has no receiver; a call with one uses a function whose name looks like an operator's.
    if !OPERATORS.contains(&name) || call.target.is_some() {
        let takes = match name {
            _ if UNARY.contains(&name) => 1,
            _ if BINARY.contains(&name) => 2,
            _ => return Err(format!("the function {name} does not exist")),
        };
        if call.target.is_some() != METHODS.contains(&name) && name != "size" {
            let how =
                if call.target.is_some() { "must not be called as a method" } else { "must be called as a method" };
            return Err(format!("the function {name} {how}"));
        }
        let given = call.args.len() + usize::from(call.target.is_some());
        if given != takes {
            return Err(format!("the function {name} takes {takes} arguments, not {given}"));
        }
    }
    call.target.iter().map(AsRef::as_ref).chain(&call.args).try_for_each(|part| check_names(part, additions))
}
