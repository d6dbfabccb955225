//! The verbs of rules and history, typed at a real node: what an administrator
//! sees from the first policy to the last report.

// What fails here fails the test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

/// A node is up within a second; each look takes a few milliseconds.
const LOOKS_MAX: usize = 2_000;

/// The follower is there before the second; on a busy machine some more.
const CHECKOUTS_MAX: usize = 100;

const POLICY: &str = "\
[groups]
cfd = [\"ben\"]

[[reserve]]
feature = \"solver\"
group = \"cfd\"
seats = 1

[[exclude]]
feature = \"viewer\"
user = \"mallory\"
";

/// A cluster of one node with a license, below a directory that is removed.
struct Site {
    home: tempfile::TempDir,
    server: String,
    node: Child,
}

/// A seat that is held by `triad checkout` in a process of its own.
struct Holder(Child);

impl Site {
    fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        // Free now; the kernel does not give them to anybody else soon.
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [clients, peers] = ports.map(|port| port.local_addr().unwrap().port());
        let server = format!("localhost:{clients}");
        let triad = |line: &str| {
            let mut command = Command::new(cargo_bin("triad"));
            let output = command.args(words(line)).current_dir(home.path()).output().unwrap();
            assert!(output.status.success(), "{line}: {output:?}");
        };
        triad("license keygen --out acme");
        triad(&format!(
            "init --dir lab --node a={server}/{peers} --publisher-key acme/publisher.public"
        ));
        let config = fs::read_to_string(home.path().join("lab/a/triad.toml")).unwrap();
        let cluster = config.split('"').find(|word| word.starts_with("tc-")).unwrap();
        let terms = format!(
            "license = \"acme\"\npublisher = \"Acme\"\nserial = 1\n[binding]\ncluster = \
             {cluster:?}\n[[feature]]\nname = \"solver\"\nversion = \"2026.1\"\nseats = 3\noverdraft \
             = 1\nexpires = \"permanent\"\n[[feature]]\nname = \"viewer\"\nversion = \"3\"\nseats = \
             2\nexpires = \"permanent\"\n"
        );
        fs::write(home.path().join("terms.toml"), terms).unwrap();
        fs::write(home.path().join("policy.toml"), POLICY).unwrap();
        triad("license issue --key acme/publisher.secret terms.toml --out acme.lic");
        let node = Command::new(cargo_bin("triad"))
            .args(words("serve --config lab/a/triad.toml"))
            .current_dir(home.path())
            .stderr(fs::File::create(home.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let site = Site { home, server, node };
        let is_up = |_| site.command("status").output().unwrap().status.code() != Some(5);
        assert!((0..LOOKS_MAX).any(is_up), "the node did not come up");
        site
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(cargo_bin("triad"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TRIAD_")) {
            command.env_remove(name);
        }
        command
            .args(words(line))
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .env("USER", "root")
            .env("TRIAD_SERVERS", &self.server)
            .env("TRIAD_CA", "lab/ca/ca.pem")
            .env("TRIAD_TOKEN_FILE", "lab/admin.token");
        command
    }

    /// Runs a line as a user, and expects this exit code.
    #[track_caller]
    fn run_as(&self, user: &str, line: &str, code: i32) -> (String, String) {
        let Output { status, stdout, stderr } =
            self.command(line).env("USER", user).output().unwrap();
        let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8(text).unwrap());
        assert_eq!(status.code(), Some(code), "{line}\n{stdout}\n{stderr}");
        (stdout, stderr)
    }

    #[track_caller]
    fn run(&self, line: &str, code: i32) -> (String, String) {
        self.run_as("root", line, code)
    }

    #[track_caller]
    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.run(&format!("{line} -o json"), 0).0).unwrap()
    }

    /// Takes a seat as a user and keeps it; gives the number of the checkout.
    fn hold(&self, user: &str, feature: &str) -> (Holder, u64) {
        let mut command = self.command(&format!("checkout {feature} -o jsonl"));
        command.env("USER", user).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let grant: Value = serde_json::from_str(&line).unwrap();
        let id = grant["checkoutId"].as_str().unwrap().parse().unwrap();
        (Holder(child), id)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(Path::new(self.home.path()).join(name), text).unwrap();
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The words of a line; `_` stands for a blank inside a word.
fn words(line: &str) -> impl Iterator<Item = String> {
    line.split_whitespace().map(|word| word.replace('_', " "))
}

#[test]
fn a_policy_from_its_first_check_to_a_denial() {
    let site = Site::start();
    let added = "+ license acme\n+ solver: 3 (+1) seats, version 2026.1, permanent\n";
    let (text, _) = site.run("license apply acme.lic --dry-run", 0);
    assert!(text.starts_with(added) && text.contains("nothing was applied"), "{text}");
    assert!(site.json("license list")["licenses"].is_null());
    let (text, _) = site.run("doctor", 3);
    assert!(text.contains("WARN  license       none is in force: nothing is granted\n"), "{text}");
    let (text, _) = site.run("check --features", 1);
    assert!(text.starts_with("TRIAD WARNING - no license is in force; "), "{text}");
    let (text, _) = site.run("license apply acme.lic", 0);
    assert!(text.starts_with(added) && text.ends_with("acme, serial 1: in force\n"), "{text}");
    assert_eq!(site.run("license diff acme.lic", 0).0, "no change\n");

    let (text, hint) = site.run("policy show", 0);
    assert!(text.is_empty() && hint.starts_with("no policy was ever applied"), "{hint}");
    let (text, _) = site.run("policy check policy.toml --online", 0);
    assert_eq!(text, "policy.toml: no mistakes found; compared with what is licensed\n");
    site.write("typo.toml", &POLICY.replace("\"solver\"", "\"slover\""));
    let (text, _) = site.run("policy check typo.toml", 0);
    assert!(text.contains("warning[not-licensed]: no license grants \"slover\"\n"), "{text}");
    assert!(text.contains("--> typo.toml:5:11\n") && text.contains("did you mean \"solver\"?"));

    let changes = "+ group cfd: ben\n+ reserve solver group cfd: 1 seat\n+ exclude viewer user \
                   mallory\n";
    let (text, _) = site.run("policy apply policy.toml --dry-run", 0);
    assert_eq!(text, format!("{changes}nothing was applied: this was a rehearsal\n"));
    assert_eq!(site.run("policy diff policy.toml", 0).0, changes);
    let (text, _) = site.run("policy apply policy.toml", 0);
    assert_eq!(text, format!("{changes}policy version 1: in force on all nodes\n"));
    assert_eq!(site.run("policy show", 0).0, POLICY);
    let (text, _) = site.run("policy apply policy.toml", 0);
    assert_eq!(text, "policy version 1: was in force already\n");
    site.write("late.toml", "case = \"ignore\"\n");
    let (_, error) = site.run("policy apply late.toml --base-version 0", 1);
    assert!(error.starts_with("error[TRD-5007]"), "{error}");
    site.run("policy apply late.toml --base-version 0 --dry-run", 1);

    let (_, error) = site.run_as("mallory", "checkout viewer", 7);
    assert!(error.starts_with("error[TRD-2007]: viewer: "), "{error}");
    assert!(error.contains("  rule: number 2 of the policy, line 9;"), "{error}");
    assert!(error.contains("  why:  triad explain viewer --user mallory --host "), "{error}");
    let (text, _) = site.run("explain viewer --user mallory --host n1", 7);
    assert!(text.starts_with("viewer would be denied to mallory@n1: "), "{text}");
    let row = text.lines().find(|line| line.starts_with("DECIDES")).unwrap();
    assert!(row.ends_with("2, line 9: exclude viewer user mallory"), "{text}");
    let (text, _) = site.run("explain viewer --user ann --host n1", 0);
    assert!(text.starts_with("viewer would be granted to ann@n1\n"), "{text}");

    let (_first, _) = site.hold("ann", "solver");
    let (_second, _) = site.hold("ann", "solver");
    let (_third, _) = site.hold("eve", "solver");
    let (_, error) = site.run_as("eve", "checkout solver", 6);
    assert!(error.starts_with("error[TRD-2010]: solver: "), "{error}");
    assert!(error.contains("  seats: 3 of 4 in use, 1 kept for others\n"), "{error}");
    assert!(error.contains("  longest holder: ann@"), "{error}");
    site.run("explain solver --user ben --host n1", 0);
    let simulate = "policy simulate --feature solver --user eve --host n1";
    site.run(simulate, 6);
    let (text, _) = site.run(&format!("{simulate} --policy late.toml"), 0);
    assert!(text.contains("judged by a policy that is not in force\n"), "{text}");

    let meant = "warning: no license in force names \"solvr\"; did you mean \"solver\"?\n";
    for line in [
        "features solvr",
        "features --feature solvr",
        "checkouts --feature solvr",
        "queue --feature solvr",
        "borrow list --feature solvr",
        "events --feature solvr",
        "report peak --feature solvr",
        "report denials --feature solvr",
        "report idle --feature solvr",
        "report overdraft --feature solvr",
    ] {
        assert_eq!(site.run(line, 0).1, meant, "{line}");
        assert_eq!(site.run(&line.replace("solvr", "viewer"), 0).1, "", "{line}");
    }
    let (text, _) = site.run("explain solvr", 7);
    assert!(text.contains("\nnext: did you mean \"solver\"? "), "{text}");
    let (text, _) = site.run("explain mill", 7);
    assert!(!text.contains("did you mean"), "{text}");

    let pools = site.json("features solver");
    assert_eq!(pools["pools"][0]["reservations"][0]["subject"], "group cfd");
    let (csv, _) = site.run("checkouts --feature solver -o csv", 0);
    assert_eq!(csv.lines().count(), 4, "{csv}");
    assert!(csv.lines().nth(1).unwrap().contains(",solver,2026.1,1,ann,"), "{csv}");
    let (csv, _) = site.run("checkouts --feature solver --user EVE -o csv", 0);
    assert_eq!(csv.lines().count(), 2, "{csv}");
    assert_eq!(site.run("queue -o jsonl", 0).0, "");
    assert_eq!(site.run("borrow list -o csv", 0).0.lines().count(), 1);
}

#[test]
fn seats_are_taken_back_only_on_demand_and_with_reason() {
    let site = Site::start();
    site.run("license apply acme.lic", 0);
    let (mut holder, id) = site.hold("ann", "solver");
    let revoke = format!("checkouts revoke {id} --reason gone_home --block 10m");
    let (text, _) = site.run(&format!("{revoke} --dry-run"), 0);
    assert!(text.starts_with(&format!("takes back checkout {id} of ann@")), "{text}");
    assert!(text.contains("is not granted solver again for 10 min\n"), "{text}");
    site.run(&revoke, 2);
    let held = site.json("checkouts");
    assert_eq!(held["checkouts"].as_array().unwrap().len(), 1);

    let (text, plan) = site.run(&format!("{revoke} --yes"), 0);
    assert_eq!(text, format!("checkout {id} was taken back\n"));
    assert!(plan.contains("1 seat of solver 2026.1"), "{plan}");
    let stderr = holder.0.stderr.take().unwrap();
    assert_eq!(holder.0.wait().unwrap().code(), Some(1));
    let told: Vec<_> = BufReader::new(stderr).lines().map(Result::unwrap).collect();
    assert!(told[0].contains("the seat of solver was lost: ") && told[0].contains("gone home"));
    let (_, error) = site.run_as("ann", "checkout solver", 7);
    assert!(error.starts_with("error[TRD-2014]"), "{error}");

    let (_, error) = site.run(&format!("checkouts revoke {id} --yes"), 1);
    assert!(error.starts_with("error[TRD-3005]"), "{error}");
    let (_second, id) = site.hold("bob", "viewer");
    let (_, error) = site.run(&format!("borrow lost {id} --yes"), 1);
    assert!(error.starts_with("error[TRD-3007]"), "{error}");
}

#[test]
fn what_happened_is_told_counted_and_proven() {
    let site = Site::start();
    site.run("license apply acme.lic", 0);
    site.run("policy apply policy.toml", 0);
    let holders = ["ann", "ann", "ben", "ben"].map(|user| site.hold(user, "solver"));
    for _ in 0..2 {
        site.run_as("eve", "checkout solver", 6);
    }
    site.run_as("mallory", "checkout viewer", 7);
    let (_, last) = &holders[3];
    site.run(&format!("checkouts revoke {last} --yes --reason enough"), 0);

    let (text, _) = site.run("events", 0);
    for told in [
        "license acme serial 1 in force, by founding",
        "was denied 1 of viewer",
        "enough, by founding",
    ] {
        assert!(text.contains(told), "{told}\n{text}");
    }
    let events = site.json("events --since 1h");
    let events = events["events"].as_array().unwrap();
    assert_eq!(events.len(), text.lines().count());
    let numbers: Vec<u64> =
        events.iter().map(|event| event["sequence"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    let (csv, _) = site.run("events --kind denied,revoked --feature viewer -o csv", 0);
    assert_eq!(csv.lines().count(), 2, "{csv}");
    assert!(csv.contains(",denied,mallory,") && csv.contains(",EXCLUDED,"), "{csv}");
    assert_eq!(site.run("events --until 2020-01-01", 0).0, "");
    for verb in ["events", "report peak", "report denials", "report idle", "report overdraft"] {
        let (_, error) = site.run(&format!("{verb} --since 1h --until 2h"), 2);
        assert!(error.starts_with("error: --until is before --since: "), "{verb}: {error}");
        let (_, error) = site.run(&format!("{verb} --since 2199-01-01"), 2);
        assert!(error.starts_with("error: --since is in the future: "), "{verb}: {error}");
    }

    let (text, _) = site.run("report denials", 0);
    let line = "3 requests were denied: 2 LICENSES_EXHAUSTED, 1 EXCLUDED; 2 users\n";
    assert!(text.contains(line), "{text}");
    let peak = site.json("report peak --feature solver");
    let row = &peak["features"][0];
    assert_eq!((&row["peakSeats"], &row["seatsLicensed"]), (&4.into(), &3.into()), "{peak}");
    assert_eq!(peak["days"][0]["peakSeats"], 4, "{peak}");
    let (csv, _) = site.run("report overdraft -o csv", 0);
    assert!(csv.lines().nth(1).unwrap().starts_with("solver,3,1,1,"), "{csv}");
    let (text, _) = site.run("report idle --since 1h", 0);
    assert!(text.ends_with("no seat is held unused now; none was taken back for idleness\n"));
    let (_, warning) = site.run("report peak --since 2020-01-01 --until 2020-02-01", 0);
    assert!(warning.contains("the history that is kept begins at "), "{warning}");

    let (text, _) = site.run("audit verify", 0);
    assert!(text.starts_with("Sound: 1 of 1 histories are whole, "), "{text}");
    let proof = site.json("audit verify");
    assert_eq!(proof["nodes"][0]["name"], "a", "{proof}");
}

#[test]
fn a_benchmark_takes_only_what_is_licensed_for_it() {
    let site = Site::start();
    site.run("license apply acme.lic", 0);
    let (_, error) = site.run("bench --workload w2", 2);
    assert!(error.contains("bench-0000 and bench-hot are not licensed"), "{error}");
    assert!(error.contains("triad bench --license-terms > bench.toml"), "{error}");

    let (terms, _) = site.run("bench --license-terms --pools 20", 0);
    site.write("bench.toml", &terms);
    site.run("license issue --key acme/publisher.secret bench.toml --out bench.lic", 0);
    site.run("license apply bench.lic", 0);
    let line = "bench --workload w2,w3b,w4a,w6 --clients 3 --warm-up 50ms --cycles 5 --lease 3s";
    let report = site.json(line);
    for run in report["runs"].as_array().unwrap() {
        assert_eq!((&run["errors"], &run["seats_left"]), (&0.into(), &0.into()), "{run}");
        assert_eq!(run["local"], false);
        // They are not ours to look at.
        assert_eq!(run["nodes"], serde_json::json!([]), "{run}");
    }
    assert_eq!(report["runs"][0]["cycles"], 15, "{report}");
    assert_eq!(report["runs"][2]["beats"], 15, "{report}");

    let events = site.json("events --feature solver");
    let events = events["events"].as_array().unwrap();
    assert_eq!(events.len(), 1, "the license, and nothing since: {events:?}");
}

#[test]
fn whoever_follows_sees_what_happens_from_now_on() {
    let site = Site::start();
    site.run("license apply acme.lic", 0);
    let mut follower = site.command("events --follow -o jsonl");
    let mut follower = Holder(follower.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(follower.0.stdout.take().unwrap()).lines();
    // Events come until one is seen: from when on it follows nobody knows.
    let seen = std::thread::spawn(move || lines.next().unwrap().unwrap());
    let happened = (0..CHECKOUTS_MAX).any(|_| {
        drop(site.hold("ann", "viewer"));
        seen.is_finished()
    });
    assert!(happened, "{CHECKOUTS_MAX} checkouts, and no event was seen");
    let event: Value = serde_json::from_str(&seen.join().unwrap()).unwrap();
    assert_ne!(event["kind"], "EVENT_KIND_LICENSE", "{event}");
    assert_eq!(event["holder"]["user"], "ann", "{event}");
}
