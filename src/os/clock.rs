//! The clock. Decisions get the time handed in; this is where it comes from.

use std::time::Instant;

/// The monotonic clock.
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock, for stamps that people read.
pub fn timestamp() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// The wall clock here, for dates and times that people type and read.
pub fn local() -> jiff::Zoned {
    jiff::Zoned::now()
}
