//! How large a condition may be. The parser and the evaluator recurse, so this bounds their stack as well.

/// How deep brackets may nest.
const MAX_DEPTH: usize = 32;
/// The most tokens. A list of several hundred repositories fits.
const MAX_TOKENS: usize = 1024;

/// Refuses what is too deep or too long to be parsed. It counts tokens of anything that looks like CEL, and at
/// least as many and as deep as the parser would.
pub(super) fn check(source: &str) -> Result<(), String> {
    let (mut depth, mut tokens) = (0_usize, 0_usize);
    let mut rest = source.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            _ if c.is_whitespace() => continue,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '"' | '\'' => skip_text(c, &mut rest),
            _ if is_word(c) => while rest.next_if(|next| is_word(*next)).is_some() {},
            _ => {}
        }
        tokens += 1;
        if depth > MAX_DEPTH {
            return Err(format!("nests deeper than {MAX_DEPTH} brackets"));
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

/// Skips to the end of a text on its line. What follows an unclosed quote is counted as symbols by the next call,
/// so that no quote hides what the parser would see.
fn skip_text(quote: char, rest: &mut std::iter::Peekable<std::str::Chars<'_>>) {
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
        for deep in
            ["(".repeat(33), "a[".repeat(33), format!("'\n{}", "(".repeat(33)), "!".repeat(1025), "a+".repeat(513)]
        {
            assert!(check(&deep).is_err(), "{deep:.40}");
        }
    }
}
