//! What the policy says of leases and heartbeats is what clients are told.

use triad_tests::{Cluster, Options, RawSession, raw, site};

/// Within the policy's bounds a lease is given as asked for and heartbeats come
/// as configured; but whatever the policy says, a lease has three of them.
#[tokio::test]
async fn the_policy_bounds_leases_and_heartbeats() {
    // Configured: a lease of 20 s, a heartbeat every 500 ms.
    let cluster = Cluster::start(Options::default()).await;
    let leader = cluster.leader().await;
    for (n, policy, lease_ms, heartbeat_ms) in [
        (1, "", 20_000, 500),
        (2, "[heartbeat]\nmin = \"2s\"\nmax = \"10s\"\n", 20_000, 2_000),
        (3, "[heartbeat]\nmin = \"100ms\"\nmax = \"200ms\"\n", 20_000, 200),
        (4, "[lease]\nmin = \"1s\"\nmax = \"6s\"\n", 6_000, 500),
        (
            5,
            "[lease]\nmin = \"1s\"\nmax = \"6s\"\n[heartbeat]\nmin = \"5s\"\nmax = \"9s\"\n",
            6_000,
            2_000,
        ),
    ] {
        if !policy.is_empty() {
            site::apply_policy(&cluster, policy).await;
        }
        let session = RawSession::open(cluster.channel(leader), raw::open([n; 16], false)).await;
        let opened = session.unwrap().opened;
        let told = (opened.lease_ms, opened.heartbeat_interval_ms);
        assert_eq!(told, (lease_ms, heartbeat_ms), "{policy}");
    }
}
