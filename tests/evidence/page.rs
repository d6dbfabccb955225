//! The text of docs/evidence.md.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::figures::figures;
use crate::scan::{Guard, guards};

#[derive(Deserialize)]
struct Promises {
    promise: Vec<Promise>,
}

#[derive(Deserialize)]
struct Promise {
    id: String,
    name: String,
    text: String,
    not_covered: String,
}

const HEAD: &str = "\
# Evidence

What Triad promises, what holds it to that, and what does not. This page is written by
`cargo run -p triad-tests --bin evidence`: the tests are found in the code, the figures are those
that the last long runs wrote.

";

const LAYERS: &str = "\
## How it is tested

| what | how | where | run it |
|---|---|---|---|
| the ledger alone | random histories against naive models, three replicas, restarts at any point; examples of every rule page | `crates/triad-ledger` | `cargo test -p triad-ledger` |
| the whole system, simulated | three nodes and their clients in one thread, on a network, disks and clocks that are made up; seeded, the same to the byte each time; an oracle outside | `tests/simulation` | [how](how-to/simulate.md) |
| real processes | three nodes on one machine, real sockets, TLS and disks | `tests/cluster`, `tests/features` | `cargo test -p triad-tests` |
| real faults | kills, freezes, partitions, loss, delay, power cuts on ext4, full, slow and failing disks, clocks | `tests/faults` | [how](how-to/faults.md) |
| damage | bits, sectors, lengths and foreign files of everything a node keeps | `tests/damage` | `cargo test -p triad-tests --test damage` |
| hostile clients | attacks on both ports while honest clients work | `tests/hostile` | `cargo test -p triad-tests --test hostile` |
| any bytes | every decoder, the documents, the options files | `tests/fuzz` | `bash tests/fuzz/run.sh 60` |
| what administrators install | packages in a copy of the system and on hosts with systemd, containers that are killed and cut off, the commands of the book as they stand there | `tests/deploy` | `cargo test -p triad-tests --test deploy` |
| the order of answers | what clients were told, against the committed log by an independent model, and small histories by a search that knows nothing of the log | `tests/src/history` | in the simulation and the faults |

";

/// The page.
pub fn page(root: &Path) -> String {
    let promises = fs::read_to_string(root.join("tests/evidence/promises.toml")).unwrap();
    let promises: Promises = toml::from_str(&promises).unwrap();
    let guards = guards(root);
    let mut text = HEAD.to_owned();
    text += LAYERS;
    text += &figures(root);
    text += "## Promise by promise\n\n";
    for promise in &promises.promise {
        text += &section(promise, &guards);
    }
    text += &bugs(root);
    text += &fs::read_to_string(root.join("tests/evidence/found.md")).unwrap();
    text
}

fn section(promise: &Promise, guards: &[Guard]) -> String {
    let number: u32 = promise.id[1..].parse().unwrap();
    let mut text = format!("### {} {}\n\n{}\n\n", promise.id, promise.name, promise.text);
    let guarding: Vec<_> = guards.iter().filter(|g| g.promises.contains(&number)).collect();
    assert!(!guarding.is_empty(), "no test names {}", promise.id);
    for guard in guarding {
        writeln!(text, "- `{}` `{}`: {}", guard.file, guard.test, guard.sentence).unwrap();
    }
    match promise.not_covered.as_str() {
        "" => {}
        what => write!(text, "\n*Not covered:* {what}\n").unwrap(),
    }
    text.push('\n');
    text
}

/// The bugs that can be put in, from the test that finds them.
fn bugs(root: &Path) -> String {
    let source = fs::read_to_string(root.join("tests/simulation/tests.rs")).unwrap();
    let mut text = "## Bugs that are put in, and found\n\n\
                    A check that finds nothing proves little unless it finds what is there. Each of \
                    these is\nput into the product by a test, which fails unless the simulation \
                    finds it within so many seeds.\n\n| bug | faults | found by seed | must be found within |\n\
                    |---|---|---|---|\n"
        .to_owned();
    for name in ["const BUGS", "const AIMED_BUGS"] {
        let list = source.split_once(name).map(|(_, rest)| rest).unwrap();
        let list = list.split_once("];\n").map(|(list, _)| list).unwrap();
        for line in list.lines().filter(|line| line.trim_start().starts_with("(\"")) {
            let fields: Vec<_> = line.trim().trim_matches(['(', ')', ',']).split(", ").collect();
            let (name, faults, first, within) = match &fields[..] {
                [name, first, within] => (name, "any", first, within),
                [name, faults, first, within] => (name, faults.trim_matches('"'), first, within),
                _ => panic!("{line}"),
            };
            let name = name.trim_matches('"');
            writeln!(text, "| `{name}` | {faults} | {first} | {within} seeds |").unwrap();
        }
    }
    text.push('\n');
    text
}
