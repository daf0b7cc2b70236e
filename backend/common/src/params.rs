//! Query parameters, checked strictly: unknown, repeated and malformed ones are all named in one answer.

use crate::problem::{FieldError, Problem};

/// The parameters of one request while they are read, with the mistakes found so far.
#[derive(Debug)]
pub struct Params {
    given: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Params {
    /// Takes the parameters of a request that knows these names.
    pub fn new(given: Vec<(String, String)>, known: &[&str]) -> Self {
        let mut errors = Vec::new();
        for (index, (name, _)) in given.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let message = format!("`{name}` is unknown here; known are {}", known.join(", "));
                errors.push(FieldError::query(name, "unknown", message));
            } else if given[..index].iter().any(|(earlier, _)| earlier == name) {
                errors.push(FieldError::query(name, "repeated", format!("`{name}` is given more than once")));
            }
        }
        Self { given, errors }
    }

    /// Reads a parameter; what `parse` dislikes becomes a mistake of kind `invalid`.
    pub fn read<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let (_, value) = self.given.iter().find(|(given, _)| given == name)?;
        match parse(value) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.errors.push(FieldError::query(name, "invalid", format!("`{name}` {reason}")));
                None
            }
        }
    }

    /// Notes a mistake that shows otherwise, such as a parameter that is missing.
    pub fn blame(&mut self, name: &str, code: &'static str, message: &str) {
        self.errors.push(FieldError::query(name, code, message));
    }

    /// Ends the reading.
    pub fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::validation(self.errors)) }
    }
}
