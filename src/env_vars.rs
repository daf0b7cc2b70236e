//! Every variable that devctl reads or sets, documented once.

/// Set for every process of a run: the run's id, by which processes that escaped their session are found again.
pub const RUN: &str = "DEVCTL_RUN";

/// Set for every process of a run: the service it belongs to.
pub const SERVICE: &str = "DEVCTL_SERVICE";

/// Read: the folder of the cache for embedded servers; the user's cache folder otherwise.
pub const CACHE_DIR: &str = "DEVCTL_CACHE_DIR";
