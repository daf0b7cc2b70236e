//! The verbs that work on a service's data.

pub mod shell;
