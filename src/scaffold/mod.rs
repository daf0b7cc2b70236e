//! What devctl writes into a project when something is missing there.

pub mod env_file;
