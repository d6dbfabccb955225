//! The command line of an administrator against three real nodes, well and ill.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;
use triad_license::Draft;
use triad_proto::v1::{ListFeaturesRequest, ListLicensesRequest, Reason, Refusal};
use triad_tests::cluster::{FEATURE, START_LIMIT};
use triad_tests::node::{Ended, run};
use triad_tests::program::repository;
use triad_tests::skip::skip;
use triad_tests::{Cluster, Holders, Options, licenses, wait};

/// What a command may take beyond the time it was given: a process starts, on a
/// machine that does other things besides.
const SLACK: Duration = Duration::from_millis(1_500);

/// An address that swallows packets: a network set aside for documentation.
const BLACK_HOLE: &str = "192.0.2.1:27070";

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// Every node says how it does; the leader says how far the others trail and how
/// far their clocks are off.
#[tokio::test]
async fn status_tells_how_each_node_does() {
    let cluster = Cluster::start(Options::default()).await;
    cluster.settled().await;
    let status = cluster.triad("status -o json").await;
    assert_eq!(status.code(), 0, "{status:?}");
    let status = json(&status);
    assert_eq!(status["verdict"], "HEALTHY", "{status}");
    // The tests' licenses end in two weeks; that makes no cluster less healthy.
    let concerns = status["concerns"].as_array().unwrap();
    assert_eq!(concerns.len(), 1, "{status}");
    assert_eq!(concerns[0]["severity"], "NOTE", "{status}");
    assert!(concerns[0]["what"].as_str().unwrap().starts_with("the license of solver ends in "));
    let nodes = status["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3, "{status}");
    let number = |value: &Value| value.as_str().map_or(0, |text| text.parse::<u64>().unwrap());
    for node in nodes {
        let vitals = &node["status"]["vitals"];
        let date_ms = number(&node["status"]["dateMs"]);
        assert!(number(&vitals["uptimeMs"]) > 0, "{vitals}");
        assert!(number(&vitals["certificateExpiresMs"]) > date_ms, "{vitals}");
        assert!(number(&vitals["diskFreeBytes"]) > 1 << 20, "{vitals}");
        // All clocks are this machine's.
        assert!(number(&vitals["wallMs"]).abs_diff(date_ms) < 5_000, "{vitals} {date_ms}");
    }
    let leads = |node: &&Value| node["status"]["leaderId"] == node["status"]["nodeId"];
    let leader = nodes.iter().find(leads).unwrap();
    for seen in leader["status"]["nodes"].as_array().unwrap() {
        let skew_ms: i64 = seen["clockSkewMs"].as_str().unwrap().parse().unwrap();
        assert!(skew_ms.abs() < 1_000, "{seen}");
    }
    let text = cluster.triad("status").await.stdout;
    assert!(text.starts_with("Healthy: 3 of 3 nodes, leader "), "{text}");
    for told in ["  LAG  CLOCK ", "  CERTIFICATE ", "  DISK FREE ", "  UPTIME ", " license"] {
        assert!(text.contains(told), "{told}: {text}");
    }
}

/// Two nodes are dead and a third address answers nothing. Whoever asks
/// is told so in time, with the remedy, and with an answer that says its age.
#[tokio::test]
async fn with_two_nodes_dead_status_is_stale_and_in_time() {
    let mut cluster = Cluster::start(Options::default()).await;
    let leader = cluster.settled().await;
    for dead in cluster.others(leader) {
        cluster.nodes[dead].kill9().await;
    }
    let servers = format!("{},{BLACK_HOLE}", cluster.servers());
    let asked = Instant::now();
    let mut command = cluster.command("status --timeout 3s");
    command.env("TRIAD_SERVERS", servers);
    let status = run(command, START_LIMIT).await;
    assert!(asked.elapsed() < Duration::from_secs(3) + SLACK, "{:?}", asked.elapsed());
    assert_eq!(status.code(), 4, "{status:?}");
    let text = &status.stdout;
    assert!(text.starts_with("No quorum: 1 of 3 nodes answers; checkouts are refused (STALE by "));
    assert_eq!(text.matches("\n  ERR   ").count(), 2, "{text}");
    assert!(text.contains("systemctl start triad"), "{text}");
}

/// A Python, whichever: what it runs needs nothing but the language.
async fn python() -> Option<&'static str> {
    let mut check = tokio::process::Command::new("python3");
    check.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    if check.status().await.is_ok_and(|status| status.success()) {
        return Some("python3");
    }
    skip("there is no python3");
    None
}

/// What the readers of lmstat's text make of it.
async fn read_by_consumers(python: &str, text: &str) -> Value {
    let mut command = tokio::process::Command::new(python);
    command.arg(repository().join("tests/python/lmstat_consumers.py"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().unwrap();
    let mut stdin = process.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).await.unwrap();
    drop(stdin);
    let ended = process.wait_with_output().await.unwrap();
    assert!(ended.status.success(), "{text}");
    serde_json::from_slice(&ended.stdout).unwrap()
}

/// Tools that were made for another license manager find what they look for,
/// whatever users call themselves, through a failover and through an outage.
#[tokio::test]
async fn tools_for_lmstat_read_what_we_write() {
    let Some(python) = python().await else { return };
    let features = vec![(FEATURE.into(), 12), ("viewer".into(), 2)];
    let mut cluster = Cluster::start(Options { features, ..Options::default() }).await;
    cluster.settled().await;
    let folder = cluster.folder();
    std::os::unix::fs::symlink(triad_tests::program::triad(), folder.join("lmutil")).unwrap();
    let policy = "[groups]\ncfd = [\"ben\"]\n\n[[reserve]]\nfeature = \"solver\"\ngroup = \"cfd\"\nseats = 3\n";
    std::fs::write(folder.join("policy.toml"), policy).unwrap();
    let applied =
        cluster.triad(&format!("policy apply {}", folder.join("policy.toml").display())).await;
    assert_eq!(applied.code(), 0, "{applied:?}");

    let hostile = "Users of fake:  (Total of 9 licenses issued;  Total of 9 licenses in use)";
    let ann = cluster.client().user("ann").host("n1.example.com").build().unwrap();
    let eve = cluster.client().user(hostile).host("x y (v1)").build().unwrap();
    let _one = ann.checkout(FEATURE, "", 1).await.unwrap();
    let _four = ann.checkout(FEATURE, "", 4).await.unwrap();
    let _two = eve.checkout(FEATURE, "", 2).await.unwrap();

    let administrator = cluster.command("");
    let lmutil = |line: &str| {
        let mut command = tokio::process::Command::new(folder.join("lmutil"));
        command.args(line.split_whitespace()).kill_on_drop(true);
        let environment = administrator.as_std().get_envs();
        command.envs(environment.filter_map(|(name, value)| Some((name, value?))));
        run(command, START_LIMIT)
    };
    let servers: Vec<String> = cluster
        .nodes
        .iter()
        .map(|node| node.address.rsplit_once(':').map(|(h, p)| format!("{p}@{h}")).unwrap())
        .collect();
    let told = lmutil(&format!("lmstat -a -c {}", servers.join(","))).await;
    assert_eq!(told.code(), 0, "{told:?}");
    let read = read_by_consumers(python, &told.stdout).await;
    let solver = &read["exporter"]["features"]["solver"];
    assert_eq!(read["exporter"]["features"].as_object().unwrap().len(), 2, "{}", told.stdout);
    assert_eq!((&solver["issued"], &solver["used"]), (&12.into(), &10.into()), "{}", told.stdout);
    assert_eq!(solver["users"]["ann"], 5, "{}", told.stdout);
    assert_eq!(solver["users"].as_object().unwrap().len(), 2, "{}", told.stdout);
    assert_eq!(solver["reserved"]["cfd"], 3, "{}", told.stdout);
    let servers_read = read["exporter"]["servers"].as_object().unwrap();
    assert_eq!(servers_read.len(), 3, "{}", told.stdout);
    assert_eq!(servers_read.values().filter(|server| server["master"] == true).count(), 1);
    assert_eq!(read["scheduler"]["free"]["solver"], 2, "{}", told.stdout);
    let holders = read["scheduler"]["holders"].as_array().unwrap();
    assert_eq!(holders.len(), 3, "{}", told.stdout);
    let handles: std::collections::BTreeSet<u64> =
        holders.iter().map(|holder| holder[3].as_u64().unwrap()).collect();
    assert_eq!(handles.len(), 3, "{}", told.stdout);
    assert_eq!(read["monitor"]["state"], "OK", "{}", told.stdout);
    assert_eq!(read["splitter"]["used"]["solver"], serde_json::json!([12, 10]));

    assert_eq!(read["alarmist"]["state"], "OK", "{}", told.stdout);
    assert_eq!(read["portal"]["state"], "up", "{}", told.stdout);

    // The seat of four is taken back by its handle, as schedulers do: server, port
    // and handle as they are told, and no others.
    let four = told.stdout.lines().find(|line| line.ends_with(", 4 licenses")).unwrap();
    let (place, four) = four.split(['(', ')']).nth(3).unwrap().split_once(' ').unwrap();
    let (server, port) = place.split_once('/').unwrap();
    for wrong in [format!("wronghost {port}"), format!("{server} 1"), "wronghost 1".to_owned()] {
        let refused = lmutil(&format!("lmremove -h {FEATURE} {wrong} {four}")).await;
        assert_eq!(refused.code(), 256 - 41, "{refused:?}");
        assert!(refused.stderr.contains(" is no server of this cluster"), "{refused:?}");
    }
    let remove = format!("lmremove -h {FEATURE} {server} {port} {four}");
    let removed = lmutil(&remove).await;
    assert_eq!(removed.code(), 0, "{removed:?}");
    cluster.until_checkouts(2, START_LIMIT).await;
    let again = lmutil(&remove).await;
    assert_eq!(again.code(), 256 - 41, "{again:?}");

    // Two who are shown alike are not taken for one another.
    let on_n2 =
        |user: &str| cluster.client().user(user).host("n2").display("tty1").build().unwrap();
    let (plain, masked) = (on_n2("_cmd_x"), on_n2("=cmd|x"));
    let _plain = plain.checkout("viewer", "", 1).await.unwrap();
    let _masked = masked.checkout("viewer", "", 1).await.unwrap();
    let refused = lmutil("lmremove viewer _cmd_x n2 tty1").await;
    assert_eq!(refused.code(), 1, "{refused:?}");
    assert!(refused.stderr.contains("triad checkouts revoke NUMBER"), "{refused:?}");
    cluster.until_checkouts(4, START_LIMIT).await;
    let removed = lmutil("lmremove viewer =cmd|x n2 tty1").await;
    assert_eq!(removed.code(), 0, "{removed:?}");
    cluster.until_checkouts(3, START_LIMIT).await;

    let diagnosed = lmutil("lmdiag -n viewer").await;
    assert_eq!(diagnosed.code(), 0, "{diagnosed:?}");
    for part in [", vendor: ", ", expiry: ", "\nLicense server: ", "\nfloating license  starts: "] {
        assert!(diagnosed.stdout.contains(part), "{part}: {diagnosed:?}");
    }
    assert!(diagnosed.stdout.ends_with("\nThis license can be checked out\n\n"), "{diagnosed:?}");
    let _last = masked.checkout("viewer", "", 1).await.unwrap();
    // That all seats are taken is a diagnosis, too.
    let diagnosed = lmutil("lmdiag -n viewer").await;
    assert_eq!(diagnosed.code(), 0, "{diagnosed:?}");
    let taken = "\nThis license cannot be checked out because:\n";
    assert!(
        diagnosed.stdout.contains(taken) && diagnosed.stdout.contains(" (-4)\n"),
        "{diagnosed:?}"
    );
    let diagnosed = lmutil("lmdiag -n nothing").await;
    assert_eq!(diagnosed.code(), 251, "{diagnosed:?}");
    assert!(diagnosed.stdout.contains("No such feature exists. (-5)"), "{diagnosed:?}");
    let unsold = lmutil("lmstat -f nosuch").await;
    assert_eq!(unsold.code(), 251, "{unsold:?}");
    assert!(
        unsold.stdout.contains("\nUsers of nosuch:  Cannot get users of nosuch: "),
        "{unsold:?}"
    );
    assert_eq!(lmutil("lmdown").await.code(), 1);
    assert_eq!(lmutil("lmreread").await.code(), 0);
    assert!(lmutil("lmstat -v").await.stdout.starts_with("lmstat v"));
    let logged = cluster.triad("events --debug-log").await.stdout;
    assert_eq!(logged.matches(" OUT: \"solver\" ann@n1.example.com").count(), 2, "{logged}");
    assert_eq!(logged.matches(" IN: \"solver\" ann@n1.example.com (4 licenses)").count(), 1);

    let leader = cluster.settled().await;
    let others = cluster.others(leader);
    cluster.nodes[others[0]].kill9().await;
    let told = lmutil("lmstat -a").await;
    assert_eq!(told.code(), 0, "{told:?}");
    let read = read_by_consumers(python, &told.stdout).await;
    assert_eq!(read["monitor"]["state"], "WARNING", "{}", told.stdout);
    assert_eq!(read["alarmist"]["state"], "WARNING", "{}", told.stdout);
    assert_eq!(read["portal"]["state"], "up", "{}", told.stdout);
    let name = &cluster.nodes[others[0]].name;
    assert_eq!(read["exporter"]["servers"][name]["up"], false, "{}", told.stdout);
    cluster.nodes[others[1]].kill9().await;
    let told = lmutil("lmstat -a -t 3").await;
    assert_eq!(told.code(), 159, "{told:?}");
    let read = read_by_consumers(python, &told.stdout).await;
    assert_eq!(read["monitor"]["state"], "CRITICAL", "{}", told.stdout);
    assert_eq!(read["alarmist"]["state"], "CRITICAL", "{}", told.stdout);
    assert_eq!(read["portal"]["daemons_down"].as_array().unwrap().len(), 1, "{}", told.stdout);
    let up = read["exporter"]["servers"].as_object().unwrap().values();
    assert_eq!(up.filter(|server| server["up"] == true).count(), 1, "{}", told.stdout);
    // One node alone would grant it, and may not.
    let diagnosed = lmutil(&format!("lmdiag -n {FEATURE}")).await;
    assert_eq!(diagnosed.code(), 0, "{diagnosed:?}");
    assert!(!diagnosed.stdout.contains("can be checked out"), "{diagnosed:?}");
    assert!(
        diagnosed.stdout.contains("The desired vendor daemon is down. 1 of 3 "),
        "{diagnosed:?}"
    );
    cluster.nodes[leader].kill9().await;
    let told = lmutil("lmstat -a -t 3").await;
    assert_eq!(told.code(), 241, "{told:?}");
    let error = "Error getting status: Cannot connect to license server system. (-15)\n";
    assert_eq!(told.stdout, error, "{told:?}");
    assert!(!told.stderr.contains("error[") && !told.stderr.contains("Cannot"), "{told:?}");
    assert!(told.stderr.contains("  no server answers: "), "{told:?}");
}

/// Monitors, the doctor and the drill on one cluster: well, moved, and half dead.
#[tokio::test]
async fn a_cluster_is_checked_examined_and_drilled() {
    let mut cluster = Cluster::start(Options::default()).await;
    cluster.settled().await;
    let holders = Holders::seat(&cluster, 5).await;

    let checked = cluster.triad("check --features --warning 5 --critical 90").await;
    assert_eq!(checked.code(), 1, "{checked:?}");
    let line = checked.stdout.as_str();
    let begins = "TRIAD WARNING - solver: 5 of 100 seats in use; 3 of 3 nodes, leader ";
    assert!(line.starts_with(begins) && line.contains(" | nodes=3;;;0;3 sessions="), "{line}");
    assert!(line.ends_with(" seats_solver=5;5;90;0;100\n") && line.lines().count() == 1, "{line}");
    for wrong in ["check --nonsense", "check -w x", "check -w 95 -c 80", "check -o csv"] {
        let told = cluster.triad(wrong).await;
        assert_eq!(told.code(), 3, "{told:?}");
        assert!(told.stdout.starts_with("TRIAD UNKNOWN - "), "{told:?}");
        assert_eq!(told.stdout.lines().count(), 1, "{told:?}");
    }
    let misused = cluster.triad("features --nonsense").await;
    assert_eq!((misused.code(), misused.stdout.as_str()), (2, ""), "{misused:?}");
    let mut nowhere = cluster.command("check --timeout 1s");
    nowhere.env("TRIAD_SERVERS", BLACK_HOLE);
    let nowhere = run(nowhere, START_LIMIT).await;
    assert_eq!(nowhere.code(), 2, "{nowhere:?}");
    assert!(nowhere.stdout.starts_with("TRIAD CRITICAL - Unreachable: "), "{nowhere:?}");

    let config = cluster.nodes[0].config();
    let bundle = cluster.folder().join("support.tar");
    let doctor = cluster
        .triad(&format!("doctor --config {} --bundle {}", config.display(), bundle.display()))
        .await;
    assert_eq!(doctor.code(), 0, "{doctor:?}");
    assert!(doctor.stdout.ends_with("\nnothing is wrong\n"), "{doctor:?}");
    for about in ["config", "tls", "hostid", "data", "peers", "dns", "ports", "quorum", "clocks"] {
        assert!(doctor.stdout.contains(&format!("ok    {about:<12}  ")), "{about}: {doctor:?}");
    }
    // Whom to ask was said, and not how to trust them: that is no good health.
    let mut untrusting = cluster.command(&format!("doctor --config {}", config.display()));
    untrusting.env_remove("TRIAD_CA");
    let untrusting = run(untrusting, START_LIMIT).await;
    assert_eq!(untrusting.code(), 2, "{untrusting:?}");
    let in_vain = cluster.triad("drill --lab --dry-run").await;
    assert_eq!(in_vain.code(), 2, "{in_vain:?}");
    let archive = std::fs::read(&bundle).unwrap();
    let listed = tokio::process::Command::new("tar").arg("-tf").arg(&bundle).output().await;
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    for part in ["doctor.json", "status.json", "features.json", "triad.toml", "version.txt"] {
        assert!(listed.lines().any(|line| line == part), "{part}: {listed}");
    }
    let token = std::fs::read_to_string(cluster.folder().join("admin.token")).unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    let digest = text.lines().find_map(|line| line.strip_prefix("admin_token_sha256 = "));
    let secrets = [token.trim(), digest.unwrap().trim_matches('"'), "PRIVATE KEY"];
    for secret in secrets {
        let found = archive.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret} is in the archive");
    }
    let again = cluster.triad(&format!("doctor --bundle {}", bundle.display())).await;
    assert_eq!(again.code(), 1, "{again:?}");

    let asked = cluster.triad("drill").await;
    assert_eq!(asked.code(), 2, "{asked:?}");
    let plan = cluster.triad("drill --dry-run").await;
    assert!(plan.stdout.contains("5 checkouts: they keep their seats"), "{plan:?}");
    let before = cluster.settled().await;
    let drilled = cluster.triad("drill --yes -o json").await;
    assert_eq!(drilled.code(), 0, "{drilled:?}");
    let story = json(&drilled);
    assert_eq!(story["from"], cluster.nodes[before].name, "{story}");
    assert_ne!(story["to"], story["from"], "{story}");
    assert_eq!((&story["kept"], &story["before"]), (&5.into(), &5.into()), "{story}");
    assert!(story["gapMs"].as_u64().unwrap() < 3_000, "{story}");
    assert_ne!(cluster.settled().await, before);
    holders.assert_kept(&cluster).await;

    let leader = cluster.settled().await;
    let dead = cluster.others(leader)[0];
    cluster.nodes[dead].kill9().await;
    let checked = cluster.triad("check").await;
    assert_eq!(checked.code(), 1, "{checked:?}");
    let name = cluster.nodes[dead].name.clone();
    let begins = format!("TRIAD WARNING - {name}: no answer from ");
    assert!(checked.stdout.starts_with(&begins), "{checked:?}");
    assert!(checked.stdout.contains(&format!(" lag_{name}=U;;;0")), "{checked:?}");
    let row = ["unreachable", "-", "-"];
    wait::until("the leader misses it", START_LIMIT, async || {
        let listed = cluster.triad("node list").await.stdout;
        let mut rows = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        match rows.any(|cells| cells[1] == name && cells[2..5] == row) {
            true => Ok(()),
            false => Err(listed),
        }
    })
    .await;
    let doctor = cluster.triad("doctor").await;
    assert_eq!(doctor.code(), 3, "{doctor:?}");
    assert!(doctor.stdout.contains("ERR   ports         "), "{doctor:?}");
    assert!(doctor.stdout.contains("systemctl start triad"), "{doctor:?}");
    let refused = cluster.triad("drill --yes").await;
    assert_eq!(refused.code(), 2, "{refused:?}");
}

/// A terminal that nobody sits at.
struct Pane {
    socket: String,
}

impl Pane {
    async fn tmux(&self, arguments: &[&str]) -> Option<String> {
        let mut command = tokio::process::Command::new("tmux");
        command.args(["-L", &self.socket, "-f", "/dev/null"]).args(arguments);
        let ended = command.stdin(Stdio::null()).output().await.ok()?;
        ended.status.success().then(|| String::from_utf8_lossy(&ended.stdout).into_owned())
    }

    /// Waits until the terminal shows this.
    async fn until(&self, told: &str) -> String {
        let look = async || {
            let shown = self.tmux(&["capture-pane", "-p"]).await.unwrap_or_default();
            if shown.contains(told) { Ok(shown) } else { Err(shown) }
        };
        wait::until(&format!("the terminal shows {told:?}"), START_LIMIT, look).await
    }
}

impl Drop for Pane {
    fn drop(&mut self) {
        let mut command = std::process::Command::new("tmux");
        let _ = command.args(["-L", &self.socket, "kill-server"]).stderr(Stdio::null()).status();
    }
}

/// The screen of `top` in a real terminal: it shows the cluster, obeys keys, follows
/// a failover, and survives a window of hardly any size.
#[tokio::test]
async fn top_on_a_real_terminal() {
    let pane = Pane { socket: format!("triad-tests-{}", std::process::id()) };
    if pane.tmux(&["-V"]).await.is_none() {
        return skip("there is no tmux; run tests/setup.sh");
    }
    let mut cluster = Cluster::start(Options::default()).await;
    let leader = cluster.settled().await;
    let _holders = Holders::seat(&cluster, 3).await;
    let top = cluster.command("top --interval 300ms");
    let program = top.as_std().get_program().to_str().unwrap().to_owned();
    let mut line = String::from("LANG=C.UTF-8 NO_COLOR=1");
    for (name, value) in top.as_std().get_envs() {
        if let (Some(name), Some(value)) = (name.to_str(), value.and_then(|v| v.to_str())) {
            line.push_str(&format!(" {name}='{value}'"));
        }
    }
    line.push_str(&format!(" {program} top --interval 300ms; echo ended $?; exec cat"));
    let started = pane.tmux(&["new-session", "-d", "-x", "110", "-y", "30", &line]).await;
    assert!(started.is_some(), "tmux does not start");
    let shown = pane.until("3 of 100").await;
    let healthy = format!("Healthy: 3 of 3 nodes, leader {}", cluster.nodes[leader].name);
    assert!(shown.contains(&healthy), "{shown}");
    assert!(shown.contains("[Features]") && shown.contains("█"), "{shown}");
    pane.tmux(&["send-keys", "Tab"]).await;
    let shown = pane.until("[Checkouts]").await;
    assert_eq!(shown.matches("1 seat of solver").count(), 3, "{shown}");
    pane.tmux(&["send-keys", "BTab", "BTab"]).await;
    pane.until("[Events]").await;
    pane.tmux(&["send-keys", "Tab", "p"]).await;
    pane.until("PAUSED").await;
    pane.tmux(&["send-keys", "p"]).await;
    pane.tmux(&["resize-window", "-x", "2", "-y", "1"]).await;
    pane.tmux(&["resize-window", "-x", "110", "-y", "30"]).await;
    pane.until("[Features]").await;
    cluster.nodes[leader].kill9().await;
    let shown = pane.until("Degraded: 2 of 3 nodes").await;
    assert!(shown.contains("3 of 100"), "{shown}");
    pane.tmux(&["send-keys", "q"]).await;
    pane.until("ended 0").await;
}

/// Every command that asks a server, with two nodes dead and an address that
/// swallows packets: each ends in time, with the code that scripts decide by.
#[tokio::test]
async fn with_two_nodes_dead_every_command_ends_in_time() {
    let mut cluster = Cluster::start(Options::default()).await;
    let leader = cluster.settled().await;
    for dead in cluster.others(leader) {
        cluster.nodes[dead].kill9().await;
    }
    let folder = cluster.folder();
    let policy = folder.join("policy.toml");
    std::fs::write(&policy, "case = \"ignore\"\n").unwrap();
    let policy = policy.display();
    let license = folder.join("none.lic");
    std::fs::write(&license, "no license\n").unwrap();
    let seen = [
        ("status", 4),
        ("features", 0),
        ("sessions", 0),
        ("checkouts", 0),
        ("queue", 0),
        ("borrow list", 0),
        ("node list", 0),
        ("license list", 0),
        ("policy show", 0),
        ("events", 0),
        ("report peak", 0),
        ("report denials", 0),
        ("report idle", 0),
        ("audit verify", 3),
        ("explain solver", 4),
        ("check", 2),
        ("doctor", 4),
        ("lmstat -a", 159),
        ("drill --yes", 2),
        ("leader transfer", 4),
        ("checkouts revoke 1 --yes", 4),
        ("node remove a --yes", 4),
        ("run --feature solver -- true", 4),
        ("checkout solver", 4),
    ];
    let policies = [(format!("policy apply {policy}"), 4), (format!("policy diff {policy}"), 0)];
    let seen = seen.map(|(line, code)| (line.to_owned(), code));
    let servers = format!("{},{BLACK_HOLE}", cluster.servers());
    for (line, code) in seen.into_iter().chain(policies) {
        let asked = Instant::now();
        // Options after `--` would be the child's, and lmstat has words of its own.
        let mut command = cluster.command(&format!("--timeout 4s {line}"));
        command.env("TRIAD_SERVERS", &servers);
        let ended = run(command, START_LIMIT).await;
        let took = asked.elapsed();
        // `doctor` tries names and ports first, and others ask two questions, each
        // within the time.
        assert!(took < Duration::from_secs(2 + 2 * 4) + SLACK, "{line}: {took:?}");
        assert_eq!(ended.code(), code, "{line}: {ended:?}");
    }
    let nowhere = ["status", "features", "checkouts", "events", "leader transfer", "lmstat -a"];
    for line in nowhere {
        let asked = Instant::now();
        let mut command = cluster.command(&format!("--timeout 1s {line}"));
        command.env("TRIAD_SERVERS", BLACK_HOLE);
        let ended = run(command, START_LIMIT).await;
        assert!(asked.elapsed() < Duration::from_secs(1) + SLACK, "{line}: {:?}", asked.elapsed());
        let code = if line.starts_with("lmstat") { 241 } else { 5 };
        assert_eq!(ended.code(), code, "{line}: {ended:?}");
    }
}

/// More features and licenses than fit one answer: nobody is told less than all, in
/// order, and a page asks for no more than it may.
#[tokio::test]
async fn long_lists_are_told_page_by_page() {
    let features: Vec<_> = (0..1_203).map(|n| (format!("feature-{n:04}"), 1)).collect();
    let cluster = Cluster::start(Options { nodes: 1, features, ..Options::default() }).await;
    let listed = cluster.triad("features -o json").await;
    assert_eq!(listed.code(), 0, "{}", listed.stderr);
    let pools = json(&listed)["pools"].as_array().unwrap().clone();
    let names: Vec<_> = pools.iter().map(|pool| pool["feature"].as_str().unwrap()).collect();
    let expected: Vec<_> = (0..1_203).map(|n| format!("feature-{n:04}")).collect();
    assert_eq!(names, expected);

    let mut admin = cluster.admin(0);
    let all = admin.list_features(ListFeaturesRequest::default()).await.unwrap().into_inner();
    assert_eq!(all.pools.len(), 1_000, "an answer is bounded");
    assert!(!all.next_page_token.is_empty());
    let request = ListFeaturesRequest { page_token: "x".into(), ..Default::default() };
    let refused = Refusal::from_status(&admin.list_features(request).await.unwrap_err());
    assert_eq!(refused.reason(), Reason::InvalidRequest);

    for n in 0..2 {
        let line = (format!("other-{n}"), 1);
        let draft =
            Draft { license: format!("other-{n}"), ..licenses::draft(cluster.id(), &[line]) };
        cluster.license(&licenses::document(&draft, &cluster.publisher)).await;
    }
    let request = ListLicensesRequest { page_size: 2, ..Default::default() };
    let first = admin.list_licenses(cluster.authorized(request)).await.unwrap().into_inner();
    assert_eq!((first.licenses.len(), first.next_page_token.is_empty()), (2, false));
    let page_token = first.next_page_token;
    let request = cluster.authorized(ListLicensesRequest { page_size: 2, page_token });
    let second = admin.list_licenses(request).await.unwrap().into_inner();
    assert_eq!((second.licenses.len(), second.next_page_token.is_empty()), (1, true));
    let listed = cluster.triad("license list -o json").await;
    assert_eq!(json(&listed)["licenses"].as_array().unwrap().len(), 3, "{listed:?}");
}

/// Names of features and nodes are completed from the cluster.
#[tokio::test]
async fn a_shell_is_told_features_and_nodes() {
    let features = vec![(FEATURE.into(), 3), ("viewer".into(), 1)];
    let cluster = Cluster::start(Options { features, ..Options::default() }).await;
    cluster.settled().await;
    let complete = async |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let mut command = cluster.command("");
        command
            .env("TRIAD_COMPLETE", "bash")
            .env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
        command
            .env("_CLAP_IFS", "\n")
            .env("_CLAP_COMPLETE_COMP_TYPE", "9")
            .env("_CLAP_COMPLETE_SPACE", "true");
        command.arg("--").args(words);
        run(command, START_LIMIT).await.stdout
    };
    assert_eq!(complete("triad features so").await.trim(), "solver");
    let nodes = complete("triad leader transfer --to ").await;
    let nodes: Vec<&str> = nodes.split_whitespace().collect();
    assert_eq!(nodes, ["a", "b", "c"]);
    assert_eq!(complete("triad stat").await.trim(), "status");

    // What is named by a number or an id is offered, too.
    let seat = cluster.client().user("ann").build().unwrap();
    let seat = seat.checkout(FEATURE, "", 1).await.unwrap();
    let revoked = complete("triad checkouts revoke ").await;
    assert_eq!(revoked.lines().next(), Some(&*seat.id().to_string()));
    let lost = complete("triad borrow lost ").await;
    assert!(lost.starts_with("--"), "nothing is borrowed: {lost}");
    let tokens = json(&cluster.triad("token list -o json").await);
    let token = tokens["tokens"][0]["tokenId"].as_str().unwrap().to_owned();
    assert!(complete("triad token revoke ").await.contains(&token), "{tokens}");
    assert_eq!(complete("triad explain so").await.trim(), FEATURE);
    assert_eq!(complete("triad explain TRD-2001").await.trim(), "TRD-2001");
}

/// Whoever misspells a feature is told which one is meant, by the command that lists
/// them and by the node that denies it.
#[tokio::test]
async fn a_misspelt_feature_is_recognised() {
    let features = vec![(FEATURE.into(), 3), ("viewer".into(), 1)];
    let cluster = Cluster::start(Options { nodes: 1, features, ..Options::default() }).await;
    cluster.settled().await;
    let meant = format!("did you mean {FEATURE:?}?");
    for (line, code) in [("features solvr", 0), ("run --feature solvr -- true", 7)] {
        let told = cluster.triad(line).await;
        assert_eq!(told.code(), code, "{told:?}");
        assert!(told.stderr.contains(&meant), "{told:?}");
    }
    let told = cluster.triad("run --feature nothing-like-it -- true").await;
    assert!(!told.stderr.contains("did you mean"), "{told:?}");
}
