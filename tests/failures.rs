//! What a person reads when something goes wrong: the real binary on a real project, the whole message, the exit code,
//! and that nothing is left behind.
//!
//! Each test makes one thing go wrong and compares everything that devctl said with a snapshot in `failures/snapshots/`.
//! Read these as somebody who gets them on a Monday morning: what is wrong, where, which value, what to type.
#![cfg(unix)]

mod support;

#[path = "failures/databases.rs"]
mod databases;
#[path = "failures/disk.rs"]
mod disk;
#[path = "failures/docker.rs"]
mod docker;
#[path = "failures/files.rs"]
mod files;
#[path = "failures/message.rs"]
mod message;
#[path = "failures/ports.rs"]
mod ports;
#[path = "failures/proxy.rs"]
mod proxy;
#[path = "failures/services.rs"]
mod services;
#[path = "failures/stub.rs"]
mod stub;
