//! The demonstration, as a build server runs it.

use std::time::Duration;

use triad_tests::node::{command, run};

/// P2, P3, P5: `triad demo` kills a leader, and its exit code and JSON say that
/// nothing was lost and nothing was granted twice.
#[tokio::test]
async fn demo() {
    let mut demo = command();
    demo.args("demo --kill-leader-after 2s --duration 6s -o json".split(' '));
    let ended = run(demo, Duration::from_secs(50)).await;
    assert_eq!(ended.code(), 0, "{ended:?}");
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    println!("{report}");
    assert_eq!(report["seats_lost"], 0, "{report}");
    assert_eq!(report["granted_twice"], 0, "{report}");
    assert_eq!(report["seats_held"], 5, "{report}");
    assert_eq!(report["kills"], 1, "{report}");
    assert!(report["failover_ms"].as_f64().is_some_and(|ms| ms > 0.0 && ms < 2_500.0), "{report}");
    assert!(ended.stderr.contains("(leader) killed"), "{ended:?}");
}
