//! docs/reference/output.md: made of the tables themselves, so that it is true.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::table::Table;
use crate::{bench, checkouts, events, lists, queue};

/// Set, the page is written instead of compared.
const BLESS_VARIABLE: &str = "TRIAD_BLESS";

const HEAD: &str = "\
# Output for programs

Made of the program's own tables by a test of `crates/triad/src/schema.rs`; written anew with
`TRIAD_BLESS=1 cargo test -p triad schema`.

| `-o` | |
|---|---|
| `table` | for people: columns of blanks, never wrapped, a dash for nothing |
| `wide` | the same with all columns |
| `json` | one document: proto3 JSON of the message that is named below. Numbers of 64 bits are strings, fields without a value are left out |
| `jsonl` | one row on each line, in the same form |
| `csv` | all columns, RFC 4180, the names below as the first line. Instants are RFC 3339, lengths milliseconds. What a spreadsheet would take for a formula begins with `'` |

`--columns feature,in_use` takes these columns of a table or of CSV, in this order, by either name.
`--no-headers` leaves the first line out. `--watch[=2s]` asks again and again: on a terminal the screen
is drawn anew, elsewhere answers follow each other; it ends without an error when nobody reads any
more. What verbs without rows answer is in [The command line](command-line.md#json).
";

fn page() -> String {
    let lists: [(&str, &str, &str, Table); 6] = [
        ("features", "ListFeaturesResponse", "pools: Pool", lists::feature_table(&[])),
        (
            "checkouts",
            "ListCheckoutsResponse",
            "checkouts: CheckoutInfo",
            checkouts::checkout_table(&[]),
        ),
        ("queue", "ListQueueResponse", "entries: QueueEntry", queue::queue_table(&[])),
        ("sessions", "ListSessionsResponse", "sessions: SessionInfo", lists::session_table(&[])),
        ("node list", "StatusResponse", "nodes: NodeStatus", lists::node_table(&[])),
        ("events", "{events}", "events: HistoryEvent", events::event_table(&[])),
    ];
    let mut page = HEAD.to_owned();
    for (verb, message, rows, table) in lists {
        let _ = write!(
            page,
            "\n## `triad {verb}`\n\nJSON: `{message}`, its rows `{rows}`, of `proto/triad/v1/admin.proto`.\n\n\
             | column | CSV | | shown |\n|---|---|---|---|\n{}",
            table.described()
        );
    }
    page + &benchmarks()
}

/// What is no message of the wire.
fn benchmarks() -> String {
    let columns = bench::table(&[]).described();
    let keys = bench::KEYS.iter().map(|(key, what)| format!("| `{key}` | {what} |\n"));
    format!(
        "\n## `triad bench`\n\nJSON: `{{runs: [...]}}`, with `-o jsonl` one run on each line. Keys \
         that a workload does not measure are left out. A latency is `{{count, p50_us, p99_us, \
         p999_us, max_us}}`, so that `jq .runs[0].checkout.p99_us` is a number of microseconds. \
         Tables and CSV have a row for each latency; `cpu_us` is `server_cpu_us_per_cycle`, `client_cpu_us` the other.\n\n\
         | key | |\n|---|---|\n{}\n| column | CSV | | shown |\n|---|---|---|---|\n{columns}",
        keys.collect::<String>(),
    )
}

#[test]
fn the_page_of_output_is_that_of_the_tables() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/output.md");
    let page = page();
    if std::env::var_os(BLESS_VARIABLE).is_some() {
        fs::write(&file, &page).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(kept, page, "write it anew: {BLESS_VARIABLE}=1 cargo test -p triad schema");
}
