//! Descriptors in tokio's reactor.

use std::io;
use std::os::fd::AsRawFd;

use tokio::io::unix::AsyncFd;

/// Has tokio watch a descriptor. Needs a tokio runtime.
///
/// # Errors
/// The reactor does not take it.
#[expect(deprecated, reason = "its successor is unsafe: that `inner` keeps its descriptor is for us to see")]
pub fn watch<T: AsRawFd>(inner: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::new(inner)
}
