//! Colours: which text gets which, and whether there are any at all.

use std::collections::BTreeMap;
use std::io;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

use crate::name::ServiceName;

pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(super) const WARN: Style = AnsiColor::Yellow.on_default();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const BOLD: Style = Style::new().bold();

/// Red and green are left out: they mean failed and ready.
const PREFIXES: [AnsiColor; 8] = [
    AnsiColor::Cyan,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::Yellow,
    AnsiColor::BrightCyan,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightBlue,
    AnsiColor::BrightYellow,
];

/// Puts colours on text, or leaves it alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    on: bool,
}

impl Paint {
    pub(super) fn new(on: bool) -> Self {
        Self { on }
    }

    /// Decides for standard output: what the user asked for, else `NO_COLOR`, `CLICOLOR_FORCE` and the terminal.
    pub(super) fn for_stdout(choice: ColorChoice) -> Self {
        Self::new(match choice {
            ColorChoice::Auto => AutoStream::choice(&io::stdout()) != ColorChoice::Never,
            ColorChoice::Always | ColorChoice::AlwaysAnsi => true,
            ColorChoice::Never => false,
        })
    }

    pub(super) fn is_on(self) -> bool {
        self.on
    }

    pub(super) fn paint(self, style: Style, text: &str) -> String {
        if self.on && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// A colour for each service: the same name has the same colour from run to run, unless two names of a stack collide.
pub(super) fn prefix_styles<'a>(services: impl IntoIterator<Item = &'a ServiceName>) -> BTreeMap<ServiceName, Style> {
    let mut taken = [false; PREFIXES.len()];
    let mut styles = BTreeMap::new();
    for service in services {
        let first = hash(service.as_str()) % PREFIXES.len();
        let slot =
            (0..PREFIXES.len()).map(|i| (first + i) % PREFIXES.len()).find(|slot| !taken[*slot]).unwrap_or(first);
        taken[slot] = true;
        styles.insert(service.clone(), PREFIXES[slot].on_default());
    }
    styles
}

/// FNV-1a: the standard library's hasher promises nothing from one version to the next.
fn hash(text: &str) -> usize {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    // The low bits of a short input are the weakest.
    usize::try_from(hash >> 8).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<ServiceName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn names_keep_their_colour_when_others_come_after_them() {
        let few = prefix_styles(&names(&["db", "redis"]));
        let many = prefix_styles(&names(&["db", "redis", "api", "gateway"]));
        for (name, style) in &few {
            assert_eq!(many.get(name), Some(style));
        }
    }

    #[test]
    fn no_two_of_eight_share_a_colour() {
        let styles = prefix_styles(&names(&["a", "b", "c", "d", "e", "f", "g", "h"]));
        let mut seen: Vec<String> = styles.values().map(|style| style.render().to_string()).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 8);
        assert_eq!(prefix_styles(&names(&["a", "b", "c", "d", "e", "f", "g", "h", "i"])).len(), 9);
    }
}
