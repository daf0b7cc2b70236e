//! What signals are called: numbers differ from one system to the next.

/// The name of a signal, with `SIG` in front, where this system has one of that number.
#[cfg(unix)]
pub fn signal_name(number: i32) -> Option<&'static str> {
    nix::sys::signal::Signal::try_from(number).ok().map(nix::sys::signal::Signal::as_str)
}

/// The name of a signal: none, Windows has no signals.
#[cfg(windows)]
pub fn signal_name(_: i32) -> Option<&'static str> {
    None
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names() {
        assert_eq!([9, 11, 15].map(signal_name), [Some("SIGKILL"), Some("SIGSEGV"), Some("SIGTERM")]);
        assert_eq!([0, 99].map(signal_name), [None, None]);
    }
}
