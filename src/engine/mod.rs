//! The engine: brings a plan about, keeps it up and takes it down again.
//!
//! Its heart is [`machine::Machine`], a pure function of inputs and time; [`runtime`] is the one loop around it that
//! touches drivers, probes, timers and signals.

pub mod backoff;
pub mod command;
pub mod machine;
pub mod node;
pub mod runtime;
