//! The keywords of options files: which become rules, and why the others are
//! not missed.

use crate::suggest::nearest;

/// Keywords that have no meaning here, and why nothing is lost without them.
pub(super) const IGNORED: [(&str, &str); 14] = [
    ("ACTIVATION_EXPIRY_DAYS", NO_TRUSTED_STORAGE),
    ("ACTIVATION_LOWWATER", NO_TRUSTED_STORAGE),
    (
        "AUTOMATIC_REREAD",
        "a policy comes into force on all nodes when it is applied, never by time",
    ),
    ("AUTO_ROLLOVER", "logs are rotated by the system that keeps them"),
    ("DAEMON_SELECT_TIMEOUT", "there is no such loop to tune"),
    ("DEBUGLOG", "each node logs to its standard error; its configuration says how much"),
    ("EXCLUDEALL_ENTITLEMENT", NO_TRUSTED_STORAGE),
    ("EXCLUDE_ENTITLEMENT", NO_TRUSTED_STORAGE),
    ("INCLUDEALL_ENTITLEMENT", NO_TRUSTED_STORAGE),
    ("INCLUDE_ENTITLEMENT", NO_TRUSTED_STORAGE),
    ("LOGFORMAT", "the history is read as text, CSV or JSON, whatever it is asked for"),
    ("MAX_CONNECTIONS", "how many may connect is a matter of the configuration of each node"),
    ("NOLOG", "the history keeps each outcome once; leave some out where you read it"),
    ("REPORTLOG", "the history of use is always kept, on every node; see `triad report`"),
];
const NO_TRUSTED_STORAGE: &str = "licenses are not activated into a trusted storage here";

/// Keywords that become part of the policy.
const CARRIED: [&str; 19] = [
    "BORROW_LOWWATER",
    "EXCLUDE",
    "EXCLUDEALL",
    "EXCLUDE_BORROW",
    "FQDN_MATCHING",
    "GROUP",
    "GROUPCASEINSENSITIVE",
    "HOST_GROUP",
    "INCLUDE",
    "INCLUDEALL",
    "INCLUDE_BORROW",
    "LINGER",
    "MAX",
    "MAX_BORROW_HOURS",
    "MAX_OVERDRAFT",
    "RESERVE",
    "TIMEOUT",
    "TIMEOUTALL",
    "USER_GROUP",
];

pub(super) const TYPES: [&str; 7] =
    ["USER", "HOST", "DISPLAY", "INTERNET", "PROJECT", "GROUP", "HOST_GROUP"];

/// Why a line with this keyword is not understood.
pub(super) fn unknown(keyword: &str) -> String {
    let known = CARRIED.into_iter().chain(IGNORED.iter().map(|(ignored, _)| *ignored));
    match nearest(keyword, known) {
        Some(name) => format!("unknown keyword; did you mean {name}?"),
        None => "unknown keyword; is the line above it to be continued with a backslash?".into(),
    }
}
