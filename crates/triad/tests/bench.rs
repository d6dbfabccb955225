//! Every workload of `triad bench`, small, on three nodes of its own: what it says
//! must be true of itself. How fast anything is, is nobody's business here.

// What fails here fails the test.
#![allow(clippy::unwrap_used)]

use std::fs::{self, DirEntry};
use std::path::Path;
use std::process::{Command, Stdio};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

const CLIENTS: u64 = 4;
const CYCLES: u64 = 5;
/// How often is looked whether three nodes have started, or gone: at all processes, which
/// takes a millisecond or more each time.
const LOOKS_MAX: u32 = 20_000;

/// `triad bench` with these options, and with no context of whoever runs the test.
fn command(line: &str) -> Command {
    let mut command = Command::new(cargo_bin("triad"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TRIAD_")) {
        command.env_remove(name);
    }
    command.env("TRIAD_CONFIG", "/nonexistent/triad/config.toml");
    command.arg("bench").args(line.split_whitespace());
    command
}

/// Runs it; the answer as JSON.
#[track_caller]
fn bench(line: &str, code: i32) -> (Vec<Value>, String) {
    let output = command(line).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{line}\n{stderr}");
    let mut report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let runs = report["runs"].take();
    (serde_json::from_value(runs).unwrap_or_default(), stderr)
}

/// The small form of a workload.
#[track_caller]
fn small(line: &str) -> Vec<Value> {
    let usual = "--local -o json --pools 20 --warm-up 50ms";
    bench(&format!("{usual} --clients {CLIENTS} --cycles {CYCLES} {line}"), 0).0
}

fn number(run: &Value, key: &str) -> f64 {
    run[key].as_f64().unwrap_or_else(|| panic!("no {key}: {run}"))
}

fn names(runs: &[Value]) -> Vec<String> {
    let name = |run: &Value| match run["part"].as_str() {
        Some(part) => format!("{} {part}", run["workload"].as_str().unwrap()),
        None => run["workload"].as_str().unwrap().to_owned(),
    };
    runs.iter().map(name).collect()
}

/// A latency of so many, in order.
#[track_caller]
fn latency(run: &Value, key: &str, count: u64) {
    let latency = &run[key];
    assert_eq!(latency["count"], count, "{key}: {run}");
    let all = ["p50_us", "p99_us", "p999_us", "max_us"].map(|key| number(latency, key));
    assert!(all[0] > 0.0 && all.is_sorted(), "{key}: {run}");
}

/// Asked to end, it leaves no node and no folder behind.
#[test]
fn a_bench_that_is_stopped_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command("--local --workload w2 --clients 4 --duration 10m");
    let mut bench = command.env("TMPDIR", folder.path()).stderr(Stdio::null()).spawn().unwrap();
    let until = |what: &str, look: &dyn Fn() -> bool| {
        assert!((0..LOOKS_MAX).any(|_| look()), "not within {LOOKS_MAX} looks: {what}");
    };
    until("three nodes run", &|| processes_of(folder.path()) == 3);
    let signalled = Command::new("kill").arg(bench.id().to_string()).status().unwrap();
    assert!(signalled.success());
    assert_eq!(bench.wait().unwrap().code(), Some(128 + 15));
    until("the nodes have gone", &|| processes_of(folder.path()) == 0);
    let left: Vec<_> = folder.path().read_dir().unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// How many nodes run whose files are below `folder`.
fn processes_of(folder: &Path) -> usize {
    let is_ours = |entry: &DirEntry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("serve") && line.contains(&*folder.to_string_lossy())
    };
    fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter(is_ours).count()
}

/// Nothing went wrong, and nobody's seats are left.
#[track_caller]
fn clean(run: &Value) {
    assert_eq!((&run["errors"], &run["seats_left"]), (&0.into(), &0.into()), "{run}");
    assert_eq!(run["errors_by_reason"], serde_json::json!({}), "{run}");
    assert!(number(run, "seconds") > 0.0, "{run}");
}

/// Three nodes of which one led, with what they used.
#[track_caller]
fn nodes(run: &Value) {
    let nodes = run["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3, "{run}");
    assert_eq!(nodes.iter().filter(|node| node["leader"] == true).count(), 1, "{run}");
    for node in nodes {
        assert!(number(node, "rss_kib") > 1_000.0 && number(node, "data_bytes") > 0.0, "{run}");
    }
}

#[track_caller]
fn cycles(run: &Value) {
    clean(run);
    nodes(run);
    let cycles = CYCLES * run["clients"].as_u64().unwrap();
    assert_eq!(run["cycles"], cycles, "{run}");
    latency(run, "checkout", cycles);
    latency(run, "checkin", cycles);
    let rate = cycles as f64 / number(run, "seconds");
    assert!((number(run, "cycles_per_s") - rate).abs() <= 0.1, "{run}");
    assert_eq!(number(run, "fairness"), 1.0, "each had its {CYCLES}: {run}");
    // Every cycle is written by every node.
    let leader = run["nodes"].as_array().unwrap().iter().find(|node| node["leader"] == true);
    assert!(number(leader.unwrap(), "written_bytes") > 0.0, "{run}");
}

#[test]
fn cycles_are_counted_the_same_in_every_way() {
    let runs = small("--workload w1,w2,w3a,w3b,w3c,w3d,w9 --tls off");
    let expected = ["w1", "w2", "w3a", "w3b", "w3c", "w3d", "w9 serial", "w9 clients"];
    assert_eq!(names(&runs), expected);
    for run in &runs {
        cycles(run);
        assert_eq!((&run["tls"], &run["local"]), (&false.into(), &true.into()));
        let is_tight = run["workload"] == "w3b";
        assert!(is_tight || run["denials"] == 0, "{run}");
    }
    assert_eq!(runs[0]["clients"], 1);
    assert_eq!(runs[1]["clients"], CLIENTS);
}

#[test]
fn connections_are_shared_and_encrypted_as_asked_and_calls_are_counted() {
    let runs = small("--workload w2 --conns 2 --tls both --syscalls");
    let tls: Vec<_> = runs.iter().map(|run| run["tls"].as_bool().unwrap()).collect();
    assert_eq!(tls, [false, true]);
    for run in &runs {
        cycles(run);
        assert_eq!(run["connections"], 2);
        let Some(calls) = run["syscalls_per_cycle"].as_object() else {
            let is_demanded = std::env::var("TRIAD_REQUIRE").is_ok_and(|it| it == "all");
            assert!(!is_demanded, "strace counted nothing");
            eprintln!("skipped: strace is not there or may not look");
            continue;
        };
        // An answer waits for a disk, be it with others.
        let synced = calls.get("fdatasync").and_then(Value::as_f64).unwrap();
        let all = calls["total"].as_f64().unwrap();
        assert!(synced > 0.0 && synced < all, "{run}");
    }
}

#[test]
fn heartbeats_are_answered_and_silence_frees_seats() {
    let mut runs = small("--workload w4a --tls off");
    runs.extend(small("--workload w4b --tls off --beat 100ms --duration 1s"));
    // With all the pools there are: more than one answer of a node lists.
    let line = format!("--local -o json --clients {CLIENTS} --workload w6 --tls off --lease 3s");
    runs.extend(bench(&line, 0).0);
    assert_eq!(names(&runs), ["w4a", "w4b", "w6"]);
    for run in &runs[..2] {
        clean(run);
        nodes(run);
        latency(run, "beat", run["beats"].as_u64().unwrap());
    }
    assert_eq!(runs[0]["beats"], CLIENTS * CYCLES, "{}", runs[0]);
    let idle = &runs[1];
    assert_eq!(idle["sessions_lost"], 0, "{idle}");
    // Each is heard once in 100 ms, so ten times in the window at most, or nearly.
    assert!((1..=11 * CLIENTS).contains(&idle["beats"].as_u64().unwrap()), "{idle}");
    clean(&runs[2]);
    latency(&runs[2], "freed", 1);
    assert!(number(&runs[2], "seconds") >= 2.9, "{}", runs[2]);
}

#[test]
fn failovers_lose_nothing_and_are_timed() {
    let runs = small("--workload w5-kill,w5-freeze,w5-stop,morning --rounds 1 --tls off");
    assert_eq!(names(&runs), ["w5-kill", "w5-freeze", "w5-stop", "morning"]);
    for run in &runs {
        clean(run);
        assert_eq!((&run["seats_lost"], &run["seats_twice"]), (&0.into(), &0.into()), "{run}");
    }
    runs[..3].iter().for_each(|run| latency(run, "failover", 1));
    latency(&runs[3], "resumed", CLIENTS);
}

#[test]
fn others_hold_seats_meanwhile_and_keep_them_through_restarts() {
    let runs = small("--workload w7,w8,w3b --outstanding 30 --tls off");
    assert_eq!(names(&runs), ["w7 serial", "w7 clients", "w8", "w3b"]);
    for run in [&runs[0], &runs[1], &runs[3]] {
        cycles(run);
        assert_eq!(run["outstanding"], 30);
    }
    clean(&runs[2]);
    assert_eq!(runs[2]["seats_lost"], 0, "{}", runs[2]);
    for restart in ["restart", "restart_behind", "cold_start"] {
        latency(&runs[2], restart, 1);
    }
}

#[test]
fn what_cannot_be_is_refused_with_a_way_out() {
    for workload in ["w5-kill", "w5-freeze", "w5-stop", "w7", "w8", "w9", "morning"] {
        let (_, error) = bench(&format!("--workload w2,{workload}"), 2);
        assert!(error.contains(&format!("error: {workload} kills nodes or looks")), "{error}");
        assert!(error.contains("  hint: add --local"), "{error}");
    }
    let (_, error) = bench("--local --clients 65 --conns 1", 2);
    assert!(error.contains("65 clients do not fit on 1 connections"), "{error}");
    assert!(error.contains("  hint: give --conns 2"), "{error}");
    let (_, error) = bench("--tls both", 2);
    assert!(error.contains("a cluster speaks TLS or it does not"), "{error}");
    let (_, error) = bench("--workload w2", 2);
    assert!(error.contains("no servers are named"), "{error}");
    let (_, error) = bench("--local --workload w2,w4a --outstanding 5", 2);
    assert!(error.contains("--outstanding is not for w4a"), "{error}");
    let (_, error) = bench("--local --workload w8 --syscalls", 2);
    assert!(error.contains("--syscalls is not for w8"), "{error}");
    bench("--syscalls", 2);
    bench("--local --clients 0", 2);
    bench("--local --workload w99", 2);
}
