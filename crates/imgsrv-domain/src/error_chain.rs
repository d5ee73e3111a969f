//! Errors with their causes.

use std::{error::Error, iter::successors};

/// The error and its causes, outermost first.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&error| error.source())
}

/// The messages of the error and its causes as one line, separated by colons. A cause that the message before it already
/// contains is left out.
pub fn text(error: &(dyn Error + 'static)) -> String {
    let mut messages: Vec<String> = Vec::new();
    for message in chain(error).map(ToString::to_string) {
        if messages.last().is_none_or(|previous| !previous.contains(&message)) {
            messages.push(message);
        }
    }
    messages.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fmt, io};

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<dyn Error>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref()
        }
    }

    #[test]
    fn causes_follow_their_error_unless_its_message_contains_them() {
        let refused = || Some(Box::new(io::Error::other("connection refused")) as Box<dyn Error>);
        assert_eq!(text(&Layer("no connection", refused())), "no connection: connection refused");
        let repeated = Layer("cannot connect: connection refused", refused());
        assert_eq!(text(&repeated), "cannot connect: connection refused");
        assert_eq!(text(&Layer("outer", Some(Box::new(repeated)))), "outer: cannot connect: connection refused");
    }
}
