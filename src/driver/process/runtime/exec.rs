//! A command, run as it is: there is nothing to build.

use std::path::PathBuf;

/// Builds nothing.
pub(super) fn build() -> Option<PathBuf> {
    None
}
