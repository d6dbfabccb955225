//! What an administrator and a monitor are told when something is over, frozen or
//! named wrongly: each in time, with the right exit code, and never as health.

use std::time::Duration;

use tokio::time::Instant;
use triad_license::Day;
use triad_tests::cluster::{FEATURE, START_LIMIT};
use triad_tests::node::{Ended, run};
use triad_tests::{Cluster, Options, clock, licenses, site, wait};

/// What a command may take beyond the time it was given.
const SLACK: Duration = Duration::from_millis(1_500);

const DAY_MS: u64 = 86_400_000;

/// An address that swallows packets: a network set aside for documentation.
const BLACK_HOLE: &str = "192.0.2.1:27070";

/// P16: a feature whose license has ended lately is missed by every verdict, and by its
/// name, until another is in force. Its seats are still held.
#[tokio::test]
async fn a_license_that_ended_is_missed() {
    let cluster = Cluster::start(Options { nodes: 1, ..Options::default() }).await;
    let (mill, lathe) = (site::line("mill", 2, ""), site::line("lathe", 1, ""));
    cluster.license(&site::license(&cluster, 1, &(mill.clone() + &lathe))).await;
    let client = cluster.client().build().unwrap();
    let _held = client.checkout("mill", "", 1).await.unwrap();
    assert_eq!(cluster.triad("status").await.code(), 0);

    // Long ago, so that it may have been left to end; then lately.
    let ended = mill.replace("\"permanent\"", "2020-12-31") + &lathe;
    cluster.license(&site::license(&cluster, 2, &ended)).await;
    let status = cluster.triad("status").await;
    assert_eq!(status.code(), 0, "{status:?}");
    let what = "the license of mill has ended, last day 2020-12-31, and nothing in force";
    assert!(status.stdout.contains(&format!("\n  NOTE  {what}")), "{status:?}");

    let last_day = Day::in_utc(clock::now_ms() - 3 * DAY_MS).unwrap();
    let ended = mill.replace("\"permanent\"", &last_day.to_string()) + &lathe;
    cluster.license(&site::license(&cluster, 3, &ended)).await;
    let what = format!(
        "the license of mill has ended, last day {last_day}, and nothing in force replaces it"
    );
    let status = cluster.triad("status").await;
    assert_eq!(status.code(), 3, "{status:?}");
    assert!(status.stdout.starts_with("Degraded: 1 of 1 nodes, leader "), "{status:?}");
    assert!(status.stdout.contains(&format!("\n  ERR   {what}")), "{status:?}");
    let doctor = cluster.triad("doctor").await;
    assert_eq!(doctor.code(), 3, "{doctor:?}");
    assert!(doctor.stdout.contains(&format!("ERR   license       {what}")), "{doctor:?}");
    let checked = cluster.triad("check").await;
    assert_eq!(checked.code(), 1, "{checked:?}");
    assert!(checked.stdout.starts_with(&format!("TRIAD WARNING - {what}")), "{checked:?}");
    for wanted in ["check --features", "check --feature mill"] {
        let checked = cluster.triad(wanted).await;
        assert_eq!(checked.code(), 2, "{checked:?}");
        let begins = format!("TRIAD CRITICAL - mill: not licensed, last day {last_day}; ");
        assert!(checked.stdout.starts_with(&begins), "{checked:?}");
    }

    cluster.license(&site::license(&cluster, 4, &(ended + &mill))).await;
    let status = cluster.triad("status").await;
    assert_eq!(status.code(), 0, "{status:?}");
    assert!(!status.stdout.contains("mill"), "{status:?}");
    assert_eq!(cluster.triad("check --features").await.code(), 0);
}

/// Runs a command that has so long, and is not late.
async fn in_time(cluster: &Cluster, line: &str, given: Duration) -> Ended {
    let asked = Instant::now();
    let ended = cluster.triad(&format!("{line} --timeout {}ms", given.as_millis())).await;
    assert!(asked.elapsed() < given + SLACK, "{line}: {:?}", asked.elapsed());
    ended
}

/// Two of three nodes are stopped: they take connections, and say nothing. What the
/// third knows is told in the time given and called stale; what needs a quorum is
/// refused as that; and nothing is said to be granted.
#[tokio::test]
async fn two_frozen_nodes_are_no_quorum_and_no_timeout() {
    let cluster = Cluster::start(Options::default()).await;
    let leader = cluster.settled().await;
    let holder = cluster.client().build().unwrap();
    let _held = holder.checkout(FEATURE, "", 1).await.unwrap();
    let granted = cluster.triad("explain solver").await;
    assert_eq!(granted.code(), 0, "{granted:?}");
    let [one, other] = cluster.others(leader);
    cluster.nodes[one].sigstop();
    cluster.nodes[other].sigstop();
    let look = async || match cluster.look(leader).await {
        Ok(seen) if !seen.has_quorum => Ok(()),
        seen => Err(format!("{seen:?}")),
    };
    wait::until("the third has no quorum", START_LIMIT, look).await;

    let short = Duration::from_secs(2);
    for line in ["features", "checkouts", "node list", "sessions"] {
        let ended = in_time(&cluster, line, short).await;
        assert_eq!(ended.code(), 0, "{line}: {ended:?}");
        assert!(ended.stderr.contains("STALE by "), "{line}: {ended:?}");
    }
    for line in ["events", "report peak", "report denials", "report idle"] {
        let ended = cluster.triad(line).await;
        assert_eq!(ended.code(), 0, "{line}: {ended:?}");
        assert_eq!(ended.stderr.matches("STALE by ").count(), 1, "{line}: {ended:?}");
    }
    let license = cluster.folder().join("again.toml");
    std::fs::write(&license, licenses::document(&cluster.draft(), &cluster.publisher)).unwrap();
    for line in [format!("license apply {}", license.display()), "leader transfer".to_owned()] {
        let ended = in_time(&cluster, &line, short).await;
        assert_eq!(ended.code(), 4, "{line}: {ended:?}");
    }
    let denied = cluster.triad("explain solver").await;
    assert_eq!(denied.code(), 4, "{denied:?}");
    assert!(denied.stdout.starts_with("solver would be denied to "), "{denied:?}");
    assert!(denied.stdout.contains("\nDECIDES  quorum "), "{denied:?}");
    assert!(denied.stdout.contains("\nmore: triad explain TRD-1002\n"), "{denied:?}");
    let diagnosed = cluster.triad("lmutil lmdiag -n solver").await;
    assert!(!diagnosed.stdout.contains("can be checked out"), "{diagnosed:?}");
}

/// A context that a flag names goes before the environment, and one that is not there
/// is no reason to ask another cluster.
#[tokio::test]
async fn a_context_that_was_typed_is_the_one_that_is_asked() {
    let cluster = Cluster::start(Options { nodes: 1, ..Options::default() }).await;
    let file = cluster.folder().join("contexts.toml");
    let servers = cluster.servers();
    let kept = format!("config set prod --servers {servers} --ca {}", cluster.ca().display());
    let asked = async |line: &str, variables: &[(&str, &str)]| {
        let mut command = cluster.command(line);
        command.env("TRIAD_CONFIG", &file).envs(variables.iter().copied());
        run(command, START_LIMIT).await
    };
    let elsewhere = ("TRIAD_SERVERS", BLACK_HOLE);
    assert_eq!(asked(&kept, &[]).await.code(), 0);

    let status = asked("status --context prod --timeout 5s", &[elsewhere]).await;
    assert_eq!(status.code(), 0, "{status:?}");
    // Encryption is not what a variable for another cluster turns off.
    let status = asked("status --context prod", &[elsewhere, ("TRIAD_TLS", "off")]).await;
    assert_eq!(status.code(), 0, "{status:?}");
    let view = asked("config view --show-origin --context prod -o csv", &[elsewhere]).await;
    assert!(view.stdout.contains("servers,") && !view.stdout.contains(BLACK_HOLE), "{view:?}");

    let typed = format!("status --timeout 1s --context prod --servers {BLACK_HOLE}");
    assert_eq!(asked(&typed, &[]).await.code(), 5, "a flag goes before a context");
    let variables = [elsewhere, ("TRIAD_CONTEXT", "prod")];
    let status = asked("status --timeout 1s", &variables).await;
    assert_eq!(status.code(), 5, "variables go before a context that one of them names");

    for line in ["status --context prdo", "leader transfer --context prdo", "check --context prdo"]
    {
        let wrong = asked(line, &[]).await;
        let code = if line.starts_with("check") { 3 } else { 2 };
        assert_eq!(wrong.code(), code, "{line}: {wrong:?}");
        let told = format!("{}{}", wrong.stdout, wrong.stderr);
        assert!(told.contains("there is no context \"prdo\""), "{line}: {wrong:?}");
        assert!(code == 3 || told.contains("did you mean prod?"), "{line}: {wrong:?}");
    }
    let wrong = asked("status", &[("TRIAD_CONTEXT", "prdo")]).await;
    assert_eq!(wrong.code(), 2, "{wrong:?}");
}
