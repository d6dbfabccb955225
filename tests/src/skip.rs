//! Tests that cannot run on this machine say so aloud, or fail where nothing may
//! be skipped.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `all`: what cannot be tested here is a failure, as in `.ci/run`.
const REQUIRE_VARIABLE: &str = "TRIAD_REQUIRE";

static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// How often something was skipped in this process.
pub fn skipped() -> usize {
    SKIPPED.load(Ordering::Relaxed)
}

/// Says that this test is not done, and why. The caller returns.
///
/// # Panics
///
/// If `TRIAD_REQUIRE=all` is set: then everything has to be there.
pub fn skip(reason: &str) {
    let required = std::env::var(REQUIRE_VARIABLE).is_ok_and(|what| what == "all");
    assert!(!required, "{reason}, and {REQUIRE_VARIABLE}=all is set");
    SKIPPED.fetch_add(1, Ordering::Relaxed);
    // Past the capture of the test runner, which shows a passed test's words to nobody.
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIP: {test}: {reason}");
}
