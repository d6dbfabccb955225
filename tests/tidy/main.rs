//! The rules that hold for the repository's own text: which crate may name
//! which, where clocks and sockets may be touched, and how a file begins.
//! Each rule has a second test, in which it fires.

mod arrows;
mod rules;
mod rust_text;
mod tree;

use tree::Tree;

/// Fails with all findings, one sentence each.
#[track_caller]
fn expect_none(findings: Vec<String>) {
    assert!(findings.is_empty(), "\n  {}\n", findings.join("\n  "));
}

#[test]
fn crates_import_along_the_arrows() {
    expect_none(arrows::broken(&Tree::read().manifests));
}

#[test]
fn only_triad_raft_names_the_consensus_and_the_store() {
    let tree = Tree::read();
    expect_none(rules::consensus_named_outside_raft(&tree.sources, &tree.manifests));
}

#[test]
fn the_ledger_has_no_clock_no_floats_and_no_hash_order() {
    expect_none(rules::impure_ledger(&Tree::read().sources));
}

#[test]
fn the_wall_clock_is_read_in_clock_rs_alone() {
    expect_none(rules::wall_clock_outside_clock(&Tree::read().sources));
}

#[test]
fn sockets_are_opened_in_triad_proto_net_alone() {
    expect_none(rules::sockets_outside_net(&Tree::read().sources));
}

#[test]
fn each_file_says_what_it_owns() {
    expect_none(rules::without_first_line(&Tree::read().sources));
}

#[test]
fn no_file_is_too_long() {
    expect_none(rules::too_long(&Tree::read().sources));
}

#[test]
fn nothing_is_left_unfinished() {
    expect_none(rules::unfinished(&Tree::read().sources));
}

#[test]
fn nothing_sleeps() {
    expect_none(rules::sleeping(&Tree::read().sources));
}

#[test]
fn the_readme_and_ci_name_the_test_command() {
    let tree = Tree::read();
    expect_none(rules::test_command_untold(&tree.readme, &tree.ci));
}

/// The page of evidence names the tests that are there, and each promise has one.
#[test]
fn the_page_of_evidence_is_up_to_date() {
    let checked =
        std::process::Command::new(env!("CARGO_BIN_EXE_evidence")).arg("--check").output();
    let checked = checked.expect("it can be started");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

/// `cargo run -- demo`, as the README says it, must know which program is meant.
#[test]
fn cargo_run_runs_triad() {
    let tree = Tree::read();
    let triad = tree.manifests.iter().find(|file| file.path.ends_with("crates/triad/Cargo.toml"));
    let package = triad.and_then(|file| file.table.get("package"));
    let program = package.and_then(|package| package.get("default-run"));
    assert_eq!(program.and_then(toml::Value::as_str), Some("triad"), "see README.md");
}
