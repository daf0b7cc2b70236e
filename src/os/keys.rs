//! Single keys of the terminal on standard input: the mode that they are read in, and the way back out of it.
//!
//! Signals stay on and output is processed as ever, so that Ctrl+C, Ctrl+Z and everything that is printed mean what they
//! always mean. The terminal is changed only from its foreground: in the background it is the shell's.

use std::io;

use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};

/// Whether this process group is in the foreground of the terminal on standard input; `None` where that is not the
/// terminal that controls this session.
pub(super) fn in_foreground() -> Option<bool> {
    tcgetpgrp(io::stdin()).ok().map(|group| group == getpgrp())
}

/// What the terminal was, as far as [`KeyMode`] changes it. Nothing else is ever put back: a window may have been
/// resized, and the user may have typed `stty`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Before {
    flags: u8,
    min: u8,
    time: u8,
}

/// The flags that are changed. Without `NOFLSH` the kernel throws away unread output on Ctrl+C, which would cut the live
/// lines in the middle.
const FLAGS: [LocalFlags; 3] = [LocalFlags::ICANON, LocalFlags::ECHO, LocalFlags::NOFLSH];

const MIN: usize = SpecialCharacterIndices::VMIN as usize;
const TIME: usize = SpecialCharacterIndices::VTIME as usize;

impl Before {
    fn of(now: &Termios) -> Self {
        let bit = |(i, flag): (usize, LocalFlags)| u8::from(now.local_flags.contains(flag)) << i;
        Self {
            flags: FLAGS.into_iter().enumerate().map(bit).sum(),
            min: now.control_chars[MIN],
            time: now.control_chars[TIME],
        }
    }

    /// For another process.
    pub(super) fn to_bytes(self) -> [u8; 3] {
        [self.flags, self.min, self.time]
    }

    /// From another process.
    pub(super) fn from_bytes([flags, min, time]: [u8; 3]) -> Self {
        Self { flags, min, time }
    }

    fn put_into(self, now: &mut Termios) {
        for (i, flag) in FLAGS.into_iter().enumerate() {
            now.local_flags.set(flag, self.flags & (1 << i) != 0);
        }
        now.control_chars[MIN] = self.min;
        now.control_chars[TIME] = self.time;
    }

    /// Puts it back, unless the terminal is somebody else's by now.
    pub(super) fn restore(self) {
        if in_foreground() == Some(true)
            && let Ok(mut now) = tcgetattr(io::stdin())
        {
            self.put_into(&mut now);
            // Fails only where the terminal is gone.
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &now);
        }
    }
}

/// The terminal in the mode in which keys are read. Dropping it restores what was.
pub(super) struct KeyMode {
    before: Before,
    ours: Termios,
}

impl KeyMode {
    /// Enters the mode, and tells `announce` before that what the terminal was. `None` where this is not the foreground
    /// of a terminal.
    pub(super) fn enter(announce: impl FnOnce(Before)) -> Option<Self> {
        if in_foreground() != Some(true) {
            return None;
        }
        let mut ours = tcgetattr(io::stdin()).ok()?;
        let before = Before::of(&ours);
        announce(before);
        ours.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        ours.local_flags.insert(LocalFlags::NOFLSH);
        ours.control_chars[MIN] = 1;
        ours.control_chars[TIME] = 0;
        tcsetattr(io::stdin(), SetArg::TCSANOW, &ours).ok()?;
        // What the kernel made of it is what it is recognised by.
        let ours = tcgetattr(io::stdin()).ok()?;
        Some(Self { before, ours })
    }
}

impl KeyMode {
    /// Enters the mode once more, which somebody may have changed; answers whether the terminal is in it.
    pub(super) fn again(&self) -> bool {
        in_foreground() == Some(true) && tcsetattr(io::stdin(), SetArg::TCSANOW, &self.ours).is_ok()
    }
}

impl Drop for KeyMode {
    fn drop(&mut self) {
        self.before.restore();
        // The launcher was killed, and a shell that does not care for modes has the terminal: it gets back what we
        // changed, and is left alone where it has changed anything itself.
        if in_foreground() == Some(false)
            && let Ok(mut now) = tcgetattr(io::stdin())
            && now == self.ours
        {
            self.before.put_into(&mut now);
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_survives_the_way_to_another_process() {
        for flags in 0..8 {
            let before = Before { flags, min: 1, time: 2 };
            assert_eq!(Before::from_bytes(before.to_bytes()), before);
        }
    }

    #[test]
    fn what_was_is_what_is_put_back() {
        let pty = nix::pty::openpty(None, None).expect("the system has pseudo-terminals");
        let cooked = tcgetattr(&pty.slave).expect("it is a terminal");
        let before = Before::of(&cooked);
        let mut changed = cooked.clone();
        changed.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        changed.local_flags.insert(LocalFlags::NOFLSH);
        changed.control_chars[MIN] = 7;
        assert_ne!(changed, cooked);
        before.put_into(&mut changed);
        assert_eq!(changed, cooked);
    }
}
