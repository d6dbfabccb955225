//! Tests that cannot run on this machine say so aloud, or fail where nothing may
//! be skipped.

use std::io::Write;

/// `all`: what cannot be tested here is a failure, as in `.ci/run`.
const REQUIRE_VARIABLE: &str = "TRIAD_REQUIRE";

/// Says that this test is not done, and why. The caller returns.
///
/// # Panics
///
/// If `TRIAD_REQUIRE=all` is set: then everything has to be there.
pub fn skip(reason: &str) {
    let required = std::env::var(REQUIRE_VARIABLE).is_ok_and(|what| what == "all");
    assert!(!required, "{reason}, and {REQUIRE_VARIABLE}=all is set");
    // Past the capture of the test runner, which shows a passed test's words to nobody.
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIP: {test}: {reason}");
}
