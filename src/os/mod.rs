//! The operating system: clock, environment, files, signals, processes and ports. Code for one platform lives here and
//! in the drivers, behind `cfg`, and nowhere else.

pub mod apart;
pub mod background;
pub mod boot;
pub mod census;
pub mod clock;
pub mod console;
pub mod env;
pub mod file_id;
pub mod files;
pub mod foreground;
pub mod forest;
pub mod handover;
#[cfg(unix)]
mod keys;
pub mod launcher;
pub mod pipe;
pub mod ports;
pub mod private_file;
pub mod process;
pub mod pty;
pub mod signal_name;
pub mod signals;
pub mod socket;
pub mod spawn;
pub mod terminal;
pub mod tree;
pub mod usage;
pub mod user;
