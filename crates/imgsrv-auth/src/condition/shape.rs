//! Bounds on the size and the depth of a condition, and with them on the stack of the recursive parser and evaluator.

/// Deepest nesting of brackets.
const MAX_DEPTH: usize = 32;
/// Most tokens; enough for a list of several hundred repositories.
const MAX_TOKENS: usize = 1024;

/// Refuses what is too deep or too long to be parsed safely. Counts at least as many tokens, and as much depth, as the
/// parser would. That requires knowing where strings end, so strings that end by other rules are refused: raw and byte
/// strings, and strings in triple quotes.
pub(super) fn check(source: &str) -> Result<(), String> {
    let (mut depth, mut tokens) = (0_usize, 0_usize);
    let mut rest = source.chars().peekable();
    let mut before = ' ';
    while let Some(c) = rest.next() {
        let previous = std::mem::replace(&mut before, c);
        match c {
            _ if c.is_whitespace() => continue,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '"' | '\'' if is_word(previous) => {
                return Err("contains a string directly after a word, such as r'a'".to_owned());
            }
            '"' | '\'' if previous == c => {
                return Err("contains two strings without an operator between them".to_owned());
            }
            '"' | '\'' => skip_string(c, &mut rest),
            _ if is_word(c) => {
                while let Some(next) = rest.next_if(|next| is_word(*next)) {
                    before = next;
                }
            }
            _ => {}
        }
        tokens += 1;
        if depth > MAX_DEPTH {
            return Err(format!("has more than {MAX_DEPTH} nested brackets"));
        }
        if tokens > MAX_TOKENS {
            return Err(format!("has more than {MAX_TOKENS} words and symbols"));
        }
    }
    Ok(())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Skips to the end of a string on its line. What follows an unclosed quote is counted like everything else, so that it
/// hides nothing.
fn skip_string(quote: char, rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    let mut ahead = rest.clone();
    while let Some(c) = ahead.next() {
        match c {
            '\\' => drop(ahead.next()),
            '\n' | '\r' => return,
            _ if c == quote => {
                *rest = ahead;
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_and_length_are_bounded() {
        let repositories = (0..400).map(|n| format!("\"acme/repository-{n}\"")).collect::<Vec<_>>().join(", ");
        assert_eq!(check(&format!("claims.repository in [{repositories}]")), Ok(()));
        assert_eq!(check(&format!("{}1{}", "(".repeat(32), ")".repeat(32))), Ok(()));
        assert_eq!(check("claims.a == \"(((((((((((((((((((((((((((((((((((((((\""), Ok(()));
        for other in ["r\"\\\" == a", "b'a'", "rb'a'", "'''a'b'''", "\"\"\"a\"\"\"", "'a''b'", "x in'a'"] {
            assert!(check(other).is_err(), "{other}");
        }
        assert_eq!(check("claims.a == '' && claims.b == \"'\" + '\\''"), Ok(()));
        for deep in
            ["(".repeat(33), "a[".repeat(33), format!("'\n{}", "(".repeat(33)), "!".repeat(1025), "a+".repeat(513)]
        {
            assert!(check(&deep).is_err(), "{deep:.40}");
        }
    }
}
