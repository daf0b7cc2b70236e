//! A terminal on which live lines are as long as their text.
//!
//! indicatif fills each line with spaces up to the edge and lets the terminal wrap to the next. When such a terminal is
//! made narrower it breaks every one of these lines in two, and what was drawn before can no longer be found and taken
//! away. Here the filling becomes a line end.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::TermLike;

/// See the module.
#[derive(Debug)]
pub(super) struct Unpadded<T> {
    terminal: T,
    /// A line was drawn and its end was not: nothing may follow, and then the cursor stays in it.
    unended: AtomicBool,
}

impl<T: TermLike> Unpadded<T> {
    pub(super) fn new(terminal: T) -> Self {
        Self { terminal, unended: AtomicBool::new(false) }
    }

    /// The cursor goes elsewhere: the end of the last line is never drawn.
    fn moved(&self) -> &T {
        self.unended.store(false, Ordering::Relaxed);
        &self.terminal
    }
}

impl<T: TermLike> TermLike for Unpadded<T> {
    fn width(&self) -> u16 {
        self.terminal.width()
    }

    fn height(&self) -> u16 {
        self.terminal.height()
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.moved().move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.moved().move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.moved().move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.moved().move_cursor_left(n)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.moved().write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        if text.chars().all(|c| c == ' ') {
            self.unended.store(true, Ordering::Relaxed);
            return Ok(());
        }
        if self.unended.swap(false, Ordering::Relaxed) {
            self.terminal.write_line("")?;
        }
        self.terminal.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.moved().clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.terminal.flush()
    }
}
