//! An error and its causes in one line.

use std::error::Error;

/// The texts of the error and of its causes, from the outermost to the first, separated by `: `.
///
/// A text that its cause repeats at its end is not written twice: errors of other libraries often contain their source.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let next = source.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: io::Error,
    }

    #[test]
    fn causes_follow_and_repetitions_do_not() {
        let layer = |text| Layer { text, source: io::Error::other("refused") };
        assert_eq!(chain(&layer("connect")), "connect: refused");
        assert_eq!(chain(&layer("connect: refused")), "connect: refused");
    }
}
