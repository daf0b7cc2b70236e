//! Mistakes in the project's files: how they are kept, collected and shown. Knows nothing of what the files mean.

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;

use crate::advice::{Advice, Blame};

/// A mistake in a file: where it is, what is wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Line and column, counted from 1, where known.
    pub at: Option<(usize, usize)>,
    /// What is wrong, one line, with the value.
    pub message: String,
    /// The line of the file that holds it, and the length of the marked part in characters.
    pub excerpt: Option<(String, usize)>,
    /// What would be right: `did you mean `image`?`.
    pub help: Option<String>,
}

impl Problem {
    /// Adds what would be right.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Shows the problem as a block of lines, as the Rust compiler shows its own. `severity` is `error` or `warning`.
    pub fn render(&self, severity: &str) -> String {
        let mut lines = vec![format!("{severity}: {}", self.message)];
        let gutter = self.at.map_or(1, |(line, _)| line.to_string().len());
        let place = match self.at {
            Some((line, column)) => format!("{}:{line}:{column}", self.file.display()),
            None => self.file.display().to_string(),
        };
        lines.push(format!("{:gutter$}--> {place}", ""));
        if let (Some((line, column)), Some((text, marked))) = (self.at, &self.excerpt) {
            // Tabs are repeated under the line so that the caret stands where the eye expects it.
            let indent: String = text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            lines.push(format!("{:gutter$} |", ""));
            lines.push(format!("{line:gutter$} | {text}"));
            lines.push(format!("{:gutter$} | {indent}{}", "", "^".repeat((*marked).max(1))));
        }
        if let Some(help) = &self.help {
            for (i, text) in help.lines().enumerate() {
                let lead = if i == 0 { "= help:" } else { "       " };
                lines.push(format!("{:gutter$} {lead} {text}", ""));
            }
        }
        lines.join("\n")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render("error"))
    }
}

/// Everything that is wrong with the project's files, in one go.
#[derive(Debug, thiserror::Error)]
#[error("{} in the project's files", count(.0.len()))]
pub struct Problems(pub Vec<Problem>);

impl Advice for Problems {
    fn blame(&self) -> Blame {
        Blame::Configuration
    }
}

fn count(n: usize) -> String {
    if n == 1 { "1 problem".to_owned() } else { format!("{n} problems") }
}

/// Collects problems from readers that all share it, so that reading goes on after a mistake.
#[derive(Debug, Default)]
pub(super) struct Sink(RefCell<Vec<Problem>>);

impl Sink {
    pub(super) fn push(&self, problem: Problem) {
        let mut problems = self.0.borrow_mut();
        // An alias of YAML shows the same mistake once for each place that uses it.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    pub(super) fn extend(&self, problems: Vec<Problem>) {
        for problem in problems {
            self.push(problem);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The problems in the order in which they were told.
    pub(super) fn into_told(self) -> Vec<Problem> {
        self.0.into_inner()
    }

    /// The problems, file by file in the order of first mention, and top to bottom in each.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let problems = self.0.into_inner();
        let mut files: Vec<PathBuf> = Vec::new();
        for problem in &problems {
            if !files.contains(&problem.file) {
                files.push(problem.file.clone());
            }
        }
        let mut sorted = problems;
        sorted.sort_by_key(|p| (files.iter().position(|f| *f == p.file), p.at));
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem() -> Problem {
        Problem {
            file: "compose/docker-compose.yml".into(),
            at: Some((7, 5)),
            message: "unknown key `imge`".to_owned(),
            excerpt: Some(("    imge: redis".to_owned(), 4)),
            help: Some("did you mean `image`?".to_owned()),
        }
    }

    #[test]
    fn a_problem_is_shown_as_the_compiler_shows_its_own() {
        insta::assert_snapshot!(problem(), @r"
        error: unknown key `imge`
         --> compose/docker-compose.yml:7:5
          |
        7 |     imge: redis
          |     ^^^^
          = help: did you mean `image`?
        ");
    }

    #[test]
    fn the_gutter_grows_with_the_line_number_and_tabs_keep_the_caret_in_place() {
        let problem = Problem {
            at: Some((1204, 2)),
            excerpt: Some(("\tx = 1".to_owned(), 1)),
            help: Some("first\nsecond".to_owned()),
            ..problem()
        };
        assert_eq!(
            problem.render("warning"),
            "warning: unknown key `imge`\n    --> compose/docker-compose.yml:1204:2\n     |\n1204 | \tx = 1\n     | \
             \t^\n     = help: first\n             second"
        );
    }

    #[test]
    fn a_problem_without_a_place_names_its_file() {
        let problem = Problem { at: None, excerpt: None, help: None, ..problem() };
        insta::assert_snapshot!(problem, @r"
        error: unknown key `imge`
         --> compose/docker-compose.yml
        ");
    }
}
