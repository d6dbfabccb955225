//! The rules about the text of single files.

use crate::rust_text::{code_of, has_word, names_path};
use crate::tree::{File, Manifest};

/// A file longer than this owns more than one thing; most have 80 to 300 lines.
const LINES_MAX: usize = 800;

/// The one command that checks the code, in README and CI alike.
const TEST_COMMAND: &str = "cargo test --workspace";

/// openraft and sled, wherever they are named but in triad-raft: in code, in
/// comments, in manifests. The rules themselves may.
pub fn consensus_named_outside_raft(sources: &[File], manifests: &[Manifest]) -> Vec<String> {
    let manifests = manifests.iter().map(|file| (&file.path, file.table.to_string()));
    let sources = sources.iter().map(|file| (&file.path, file.text.clone()));
    let outside = manifests.chain(sources).filter(|(path, _)| {
        !path.starts_with("crates/triad-raft/") && !path.starts_with("tests/tidy/")
    });
    let mut findings = Vec::new();
    for (path, text) in outside {
        for name in ["openraft", "sled"] {
            if has_word(&text, name) {
                findings.push(format!(
                    "{path} names {name}; only crates/triad-raft may, behind its own interface."
                ));
            }
        }
    }
    findings
}

/// What would make two ledgers differ, in the ledger's code.
pub fn impure_ledger(sources: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in sources.iter().filter(|file| file.path.starts_with("crates/triad-ledger/src/")) {
        let code = code_of(&file.text);
        let mut complain = |what: &str, instead: &str| {
            findings.push(format!("{} uses {what}; {instead}.", file.path));
        };
        for name in ["HashMap", "HashSet"] {
            if has_word(&code, name) {
                complain(name, "its order differs from node to node: take a BTreeMap or BTreeSet");
            }
        }
        for name in ["f32", "f64"] {
            if has_word(&code, name) {
                complain(name, "the ledger counts in integers");
            }
        }
        if names_path(&code, "std", "time") {
            complain("std::time", "time arrives as an argument, from the log");
        }
    }
    findings
}

/// `SystemTime::now` in any file that is not named clock.rs.
pub fn wall_clock_outside_clock(sources: &[File]) -> Vec<String> {
    let elsewhere = sources.iter().filter(|file| !file.path.ends_with("/clock.rs"));
    naming(elsewhere, "SystemTime", "now", "only a file named clock.rs reads the wall clock")
}

/// `tokio::net` in any crate's code but the one door to the world.
pub fn sockets_outside_net(sources: &[File]) -> Vec<String> {
    let elsewhere = sources.iter().filter(|file| {
        file.path.starts_with("crates/") && !file.path.starts_with("crates/triad-proto/src/net")
    });
    naming(elsewhere, "tokio", "net", "only crates/triad-proto/src/net opens sockets")
}

/// `thread::sleep`, anywhere.
pub fn sleeping(sources: &[File]) -> Vec<String> {
    naming(sources.iter(), "thread", "sleep", "wait for a state, with a limit")
}

fn naming<'a>(
    files: impl Iterator<Item = &'a File>,
    first: &str,
    second: &str,
    instead: &str,
) -> Vec<String> {
    files
        .filter(|file| names_path(&code_of(&file.text), first, second))
        .map(|file| format!("{} names {first}::{second}; {instead}.", file.path))
        .collect()
}

/// Files that do not begin by saying what they own.
pub fn without_first_line(sources: &[File]) -> Vec<String> {
    sources
        .iter()
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| format!("{} does not begin with `//! ` and what it owns.", file.path))
        .collect()
}

/// Files longer than [`LINES_MAX`].
pub fn too_long(sources: &[File]) -> Vec<String> {
    let lines = |file: &File| file.text.lines().count();
    sources
        .iter()
        .filter(|file| lines(file) > LINES_MAX)
        .map(|file| {
            format!("{} has {} lines of {LINES_MAX}; split it by noun.", file.path, lines(file))
        })
        .collect()
}

/// Macros that say "later" or "let me see".
pub fn unfinished(sources: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for file in sources {
        let code = code_of(&file.text);
        for name in ["todo", "unimplemented", "dbg"] {
            let call = format!("{name}!(");
            if has_word(&code, name) && code.contains(&call) {
                findings.push(format!("{} has a {call}...); finish it.", file.path));
            }
        }
    }
    findings
}

/// The test command is in README's section of commands, and CI runs that one.
pub fn test_command_untold(readme: &str, ci: &str) -> Vec<String> {
    let heading = |line: &str| line.starts_with('#') && line.to_lowercase().contains("command");
    let section = readme.lines().skip_while(|line| !heading(line)).skip(1);
    let mut section = section.take_while(|line| !line.starts_with("## "));
    let mut findings = Vec::new();
    if !section.any(|line| line.contains(TEST_COMMAND)) {
        findings.push(format!("README.md has no section of commands that names {TEST_COMMAND}."));
    }
    if !ci.lines().any(|line| !line.starts_with('#') && line.contains(TEST_COMMAND)) {
        findings.push(format!(".ci/run does not run README's test command, {TEST_COMMAND}."));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> [File; 1] {
        [File { path: path.into(), text: text.into() }]
    }

    #[test]
    fn the_store_is_found_in_code_and_manifest() {
        let source = file("crates/triad-server/src/node.rs", "//! Over sled.\nuse openraft::Raft;");
        assert_eq!(consensus_named_outside_raft(&source, &[]).len(), 2);
        let table = "[dependencies]\nsled = '1'".parse().unwrap();
        let manifest = Manifest { path: "crates/triad/Cargo.toml".into(), table };
        assert_eq!(consensus_named_outside_raft(&[], &[manifest]).len(), 1);
        let source = file("crates/triad-raft/src/lib.rs", "use openraft::Raft;");
        assert!(consensus_named_outside_raft(&source, &[]).is_empty());
    }

    #[test]
    fn an_impure_ledger_is_found() {
        let path = "crates/triad-ledger/src/pool.rs";
        for code in [
            "use std::collections::HashMap;",
            "use std::collections::{BTreeMap, HashSet};",
            "fn share() -> f64 { 0.5 }",
            "use std::time::Instant;",
            "use std::{fmt, time::Duration};",
        ] {
            assert_eq!(impure_ledger(&file(path, code)).len(), 1, "{code}");
        }
        assert!(impure_ledger(&file(path, "// No HashMap, no f64.\nuse core::fmt;")).is_empty());
        assert!(impure_ledger(&file("crates/triad-raft/src/a.rs", "f64")).is_empty());
    }

    #[test]
    fn a_clock_read_outside_clock_rs_is_found() {
        let code = "let now = std::time::SystemTime::now();";
        assert_eq!(wall_clock_outside_clock(&file("crates/a/src/node.rs", code)).len(), 1);
        assert!(wall_clock_outside_clock(&file("crates/a/src/clock.rs", code)).is_empty());
    }

    #[test]
    fn a_socket_outside_net_is_found() {
        let code = "use tokio::{net::TcpListener, sync::mpsc};";
        assert_eq!(sockets_outside_net(&file("crates/triad/src/serve.rs", code)).len(), 1);
        for path in ["crates/triad-proto/src/net.rs", "crates/triad-proto/src/net/tcp.rs"] {
            assert!(sockets_outside_net(&file(path, code)).is_empty());
        }
    }

    #[test]
    fn a_sleep_is_found() {
        let code = "fn wait() { std::thread::sleep(LONG) }";
        assert_eq!(sleeping(&file("tests/cluster/kill.rs", code)).len(), 1);
        let code = "fn wait() { \"thread::sleep\"; park() }";
        assert!(sleeping(&file("tests/cluster/kill.rs", code)).is_empty());
    }

    #[test]
    fn a_file_without_a_first_line_is_found() {
        assert_eq!(without_first_line(&file("a.rs", "use std::fmt;\n//! Late.")).len(), 1);
        assert_eq!(without_first_line(&file("a.rs", "")).len(), 1);
        assert!(without_first_line(&file("a.rs", "//! The seats.\n")).is_empty());
    }

    #[test]
    fn a_long_file_is_found() {
        assert_eq!(too_long(&file("a.rs", &"\n".repeat(LINES_MAX + 1))).len(), 1);
        assert!(too_long(&file("a.rs", &"\n".repeat(LINES_MAX))).is_empty());
    }

    #[test]
    fn what_is_left_unfinished_is_found() {
        for code in ["todo!()", "unimplemented!(\"soon\")", "dbg!(seats)"] {
            assert_eq!(unfinished(&file("a.rs", code)).len(), 1, "{code}");
        }
        assert!(unfinished(&file("a.rs", "// dbg!(seats)\nlet todo = 1;")).is_empty());
    }

    #[test]
    fn an_untold_test_command_is_found() {
        let readme = format!("# Triad\n\n## Commands\n\n    {TEST_COMMAND}\n\n## More\n");
        assert!(test_command_untold(&readme, &format!("step tests {TEST_COMMAND}")).is_empty());
        assert_eq!(test_command_untold("# Triad\n", &format!("# {TEST_COMMAND}")).len(), 2);
        let elsewhere = format!("## Commands\n\n## More\n{TEST_COMMAND}\n");
        assert_eq!(test_command_untold(&elsewhere, TEST_COMMAND).len(), 1);
    }
}
