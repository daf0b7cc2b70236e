//! What commands print on standard output.

use std::io::{self, Write as _};

use anstream::{AutoStream, ColorChoice};

use crate::error::Error;

/// Prints text on standard output, without its colours where these are not wanted. A reader that went away
/// (`devctl config | head`) has seen enough.
pub(super) fn print(text: &str, color: ColorChoice) -> Result<Printed, Error> {
    let mut stdout = AutoStream::new(io::stdout(), color);
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Printed::All),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Printed::ReaderGone),
        Err(error) => Err(Error::io("cannot write to standard output", error)),
    }
}

/// Prints text on standard output to the byte: nothing that looks like a colour is taken out of it.
pub(super) fn print_data(text: &str) -> Result<Printed, Error> {
    print(text, ColorChoice::AlwaysAnsi)
}

/// Whether anybody still reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Printed {
    All,
    ReaderGone,
}

/// Says something on standard error that is no error.
pub(super) fn note(text: &str, color: ColorChoice) -> Result<(), Error> {
    complain(text, color)
}

/// Prints text on standard error as it is.
pub(super) fn complain(text: &str, color: ColorChoice) -> Result<(), Error> {
    let mut stderr = AutoStream::new(io::stderr(), color);
    stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush())
        .map_err(|error| Error::io("cannot write to standard error", error))
}
