//! Fields of the API, in the words of the command line.

use imgsrv_client::api::{FieldError, Problem};

/// Fields, and the options that set them.
const OPTIONS: &[(&str, &str)] = &[
    ("action", "--action"),
    ("actor", "--actor"),
    ("architecture", "--arch"),
    ("drain", "--drain"),
    ("end_of_life", "--end-of-life"),
    ("expires_at", "--expires-in"),
    ("format", "--format"),
    ("images", "--image"),
    ("incus.release", "--release"),
    ("lifecycle", "--lifecycle"),
    ("operating_system", "--os"),
    ("reason", "--reason"),
    ("replacement", "--replacement"),
    ("role_id", "role"),
    ("role_ids", "--role"),
    ("since", "--since"),
    ("state", "--state"),
    ("subject", "--subject"),
    ("until", "--until"),
    ("variant", "--variant"),
    // Of retention policies.
    ("daily", "--daily"),
    ("deprecate_after", "--deprecate-after"),
    ("fetched_within", "--fetched-within"),
    ("min_keep", "--min-keep"),
    ("monthly", "--monthly"),
    ("newest", "--newest"),
    ("remove_after", "--remove-after"),
    ("weekly", "--weekly"),
    ("younger_than", "--younger-than"),
];

/// What is wrong with the fields of a problem, by the options that set them; `None` if it names none.
pub(super) fn describe(problem: &Problem) -> Option<String> {
    let text = |FieldError { field, reason }: &FieldError| {
        let (field, reason) = (field_words(field), words(reason));
        if reason.starts_with(&format!("{field} ")) { reason } else { format!("{field}: {reason}") }
    };
    let texts: Vec<String> = problem.errors.iter().map(text).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// The option that sets a field, else its name in words.
fn field_words(field: &str) -> String {
    let path = field.split('[').next().unwrap_or(field);
    if let Some(alias) = path.strip_prefix("aliases.") {
        return format!("--alias {alias}");
    }
    let name = path.strip_prefix("keep.").unwrap_or(path);
    option(name).map_or_else(|| name.replace('_', " "), str::to_owned)
}

fn option(field: &str) -> Option<&'static str> {
    OPTIONS.iter().find(|(name, _)| *name == field).map(|(_, option)| *option)
}

/// A reason in which names of several words, such as `remove_after`, are those of options.
fn words(reason: &str) -> String {
    let word = |word: &str| {
        let name = word.trim_end_matches([',', ';', '.']);
        let option = Some(name).filter(|name| name.contains('_')).and_then(option);
        option.map_or_else(|| word.to_owned(), |option| word.replacen(name, option, 1))
    };
    reason.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_named_by_their_options() {
        for (field, reason, shown) in [
            ("end_of_life", "must be a day", "--end-of-life: must be a day"),
            ("keep.newest", "must be from 1", "--newest: must be from 1"),
            ("aliases.latest", "must not be empty", "--alias latest: must not be empty"),
            ("role_ids[1]", "must be a role", "--role: must be a role"),
            ("display_name", "must not be empty", "display name: must not be empty"),
            (
                "remove_after",
                "remove_after must be longer than deprecate_after",
                "--remove-after must be longer than --deprecate-after",
            ),
            ("name", "\"debian_12\" is not valid", "name: \"debian_12\" is not valid"),
        ] {
            let errors = json!([{"field": field, "reason": reason}]);
            let problem = json!({"type": "x", "title": "x", "status": 400, "detail": "x", "errors": errors});
            let problem: Problem = serde_json::from_value(problem).expect("a problem");
            assert_eq!(describe(&problem).as_deref(), Some(shown));
        }
    }
}
