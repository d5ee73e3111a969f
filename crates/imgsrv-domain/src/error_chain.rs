//! Errors with their causes, as one line of text.

use std::{error::Error, iter::successors};

/// The error and its causes, outermost first, separated by colons; a cause that the message before it already contains
/// is left out.
pub fn text(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut previous = text.clone();
    for cause in successors(error.source(), |&cause| cause.source()) {
        let message = cause.to_string();
        if !previous.contains(&message) {
            text = format!("{text}: {message}");
            previous = message;
        }
    }
    text
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
