//! What the routes share in reading requests and writing answers.

/// JSON bodies, checked.
pub(crate) mod body;
/// The document that describes the routes, and the page that shows it.
pub(crate) mod docs;
/// Versions of things in headers.
pub(crate) mod etag;
/// Limits on bodies, time and concurrency.
pub(crate) mod limits;
/// Figures for a monitoring system.
pub(crate) mod metrics;
/// Lists in pages.
pub(crate) mod page;
/// Ids in paths.
pub(crate) mod path;
