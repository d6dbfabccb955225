//! The site of the table: one license and one policy, with something for every
//! row, and the later versions of both.

use triad_license::PublisherKey;

/// How long a seat of `linger-short` stays taken.
pub const LINGER_SHORT_MS: u64 = 6_000;
/// How long a seat of `idle-short` may lie idle.
pub const IDLE_SHORT_MS: u64 = 8_000;

/// The license, with so many seats of `license` and of `license-raised`.
pub struct Seats {
    pub serial: u64,
    pub lowered: u32,
    pub raised: u32,
}

/// As it begins.
pub const SEATS_FIRST: Seats = Seats { serial: 1, lowered: 3, raised: 1 };
/// The second: fewer of the one, more of the other.
pub const SEATS_SECOND: Seats = Seats { serial: 2, lowered: 1, raised: 2 };
/// The third: as many again.
pub const SEATS_THIRD: Seats = Seats { serial: 3, lowered: 3, raised: 2 };

/// The license document, signed.
pub fn license(cluster_id: &str, seats: &Seats, key: &PublisherKey) -> String {
    let Seats { serial, lowered, raised } = seats;
    let mut text = format!(
        "license = \"site\"\npublisher = \"Triad tests\"\nserial = {serial}\n\n\
         [binding]\ncluster = \"{cluster_id}\"\n"
    );
    let mut line = |feature: &str, seats: u32, terms: &str| {
        text.push_str(&format!(
            "\n[[feature]]\nname = \"{feature}\"\nversion = \"1\"\nexpires = \"permanent\"\n\
             seats = {seats}\n{terms}\n"
        ));
    };
    line("checkout", 4, "");
    line("several-a", 3, "");
    line("several-b", 1, "");
    line("queue", 1, "");
    line("queue-wide", 2, "");
    line("queue-unheard", 1, "");
    line("borrow", 3, "borrow = \"168h\"");
    line("borrow-long", 1, "borrow = \"168h\"");
    line("borrow-short", 1, "borrow = \"168h\"");
    line("return", 1, "borrow = \"168h\"");
    line("return-before", 1, "borrow = \"168h\"");
    line("reserve", 5, "");
    line("max", 9, "");
    line("linger", 1, "linger = \"10m\"");
    line("linger-short", 1, "");
    line("dup", 2, "dup_group = \"UH\"");
    line("overdraft", 1, "overdraft = 2");
    line("tokens", 7, "");
    line("mesher", 9, "consumes = { feature = \"tokens\", tokens = 3 }");
    line("viewer", 9, "consumes = { feature = \"tokens\", tokens = 2 }");
    line("suite", 2, "");
    line("idle", 2, "");
    line("idle-short", 2, "");
    line("policy", 4, "");
    line("license", *lowered, "");
    line("license-raised", *raised, "");
    text.push_str(
        "\n[[package]]\nname = \"suite\"\nversion = \"1\"\nsuite = true\n\
         components = [{ feature = \"word\" }, { feature = \"calc\" }]\n",
    );
    triad_license::issue(&text, &[key]).expect("the tests write good licenses")
}

/// The policy, in its versions 1 to 3. They differ in the row `policy` alone, and
/// in no line number.
pub fn policy(version: u64) -> String {
    let (max, excluded) = match version {
        1 => (2, "nobody"),
        2 => (1, "nobody"),
        _ => (1, "ben"),
    };
    format!(
        r#"# Version {version} of the table's policy.
[groups]
cfd = ["ann", "ben"]

[[priority]]
feature = "queue"
user = "eve"
level = 10

[[max_borrow]]
feature = "borrow-long"
period = "72h"

[[borrow_lowwater]]
feature = "borrow"
seats = 2

[[exclude_borrow]]
feature = "borrow"
user = "dan"

[[reserve]]
feature = "reserve"
group = "cfd"
seats = 2

[[max]]
feature = "max"
group = "cfd"
seats = 2

[[linger]]
feature = "linger-short"
period = "{LINGER_SHORT_MS}ms"

[[max_overdraft]]
feature = "overdraft"
seats = 1

[[timeout]]
feature = "idle"
after = "1h"

[[timeout]]
feature = "idle-short"
after = "{IDLE_SHORT_MS}ms"

[[max]]
feature = "policy"
user = "ann"
seats = {max}

[[exclude]]
feature = "policy"
user = "{excluded}"
"#
    )
}

/// The rule that stands in this line, as `[[max]] of policy`, and its number.
pub fn rule_in(line: u32) -> (u32, String) {
    let text = policy(1);
    let (mut number, mut table) = (0, "");
    for (n, written) in (1..).zip(text.lines()) {
        if written.starts_with("[[") {
            number += 1;
            table = written;
        }
        let feature = written.strip_prefix("feature = ");
        if n >= line
            && let Some(feature) = feature
        {
            return (number, format!("{table} of {}", feature.trim_matches('"')));
        }
    }
    panic!("no rule stands in line {line}")
}
