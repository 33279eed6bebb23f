//! Colours: an addition, never the only carrier of a meaning.

use std::fmt::Display;
use std::io::IsTerminal;

/// Whether to colour, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// No colour at all.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { on: false }
    }

    /// For stdout: colours on a terminal, unless NO_COLOR is set or the terminal knows none.
    pub(crate) fn stdout() -> Self {
        Self { on: std::io::stdout().is_terminal() && wanted() }
    }

    /// For stderr, likewise.
    pub(crate) fn stderr() -> Self {
        Self { on: std::io::stderr().is_terminal() && wanted() }
    }

    pub(crate) fn is_on(self) -> bool {
        self.on
    }

    pub(crate) fn bold(self, text: impl Display) -> String {
        self.paint("1", &text)
    }

    pub(crate) fn dim(self, text: impl Display) -> String {
        self.paint("2", &text)
    }

    pub(crate) fn good(self, text: impl Display) -> String {
        self.paint("32", &text)
    }

    pub(crate) fn bad(self, text: impl Display) -> String {
        self.paint("31", &text)
    }

    pub(crate) fn notice(self, text: impl Display) -> String {
        self.paint("33", &text)
    }

    fn paint(self, code: &str, text: &dyn Display) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

fn wanted() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    !refused && !dumb
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_the_text_stays_as_it_is() {
        assert_eq!(Paint::plain().bad("halted"), "halted");
        assert_eq!(Paint { on: true }.bad("halted"), "\x1b[31mhalted\x1b[0m");
    }
}
