//! The lab of `deploy/compose`, started for real: clients hold seats while the
//! leader is killed, and while the next one is cut off from the network.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use triad_tests::program::repository;
use triad_tests::wait;

use crate::docker::Docker;
use crate::tools::{PACKAGERS, have, output, packages, run};

const LIMIT: Duration = Duration::from_secs(60);
/// The lease of a session that asks for none.
const LEASE_MS: u64 = 30_000;
const CLIENTS: usize = 3;

/// What the administrator sees.
struct Seen {
    sentence: String,
    leader: String,
    date_ms: u64,
    checkouts: BTreeSet<String>,
}

struct ComposeLab {
    docker: Docker,
    folder: PathBuf,
}

impl ComposeLab {
    /// Starts the lab as its README says.
    async fn start() -> Option<ComposeLab> {
        if !have(&PACKAGERS) {
            return None;
        }
        let docker = Docker::start().await?;
        let folder = docker.folder().join("compose");
        std::fs::create_dir(&folder).unwrap();
        for file in ["compose.yaml", "Dockerfile", "lab.sh", ".env", ".dockerignore"] {
            let from = repository().join("deploy/compose").join(file);
            std::fs::copy(from, folder.join(file)).unwrap();
        }
        std::fs::copy(&packages().deb, folder.join("triad.deb")).unwrap();
        let lab = ComposeLab { docker, folder };
        run(lab.compose().args(["up", "--build", "--detach"]));
        Some(lab)
    }

    fn compose(&self) -> Command {
        self.docker.compose(&self.folder)
    }

    /// A command of `triad` in one of the clients' containers.
    fn triad(&self, line: &str) -> Result<String, String> {
        let mut docker = self.docker.docker();
        docker.args(["exec", "triad-lab_client_1", "triad"]).args(line.split(' '));
        // 3 is degraded: it is an answer.
        let output = docker.output().map_err(|error| error.to_string())?;
        let (told, said) = crate::tools::both(&output);
        match output.status.code() {
            Some(0 | 3) => Ok(told),
            code => Err(format!("triad {line}: {code:?} {told}{said}")),
        }
    }

    fn look(&self) -> Result<Seen, String> {
        let json = |line: &str| -> Result<Value, String> {
            serde_json::from_str(&self.triad(line)?).map_err(|error| error.to_string())
        };
        let status = json("status -o json --timeout 3s")?;
        let list = json("checkouts -o json --timeout 3s")?;
        if list["freshness"]["linearizable"] != true {
            return Err(format!("stale: {list}"));
        }
        let sentence = status["sentence"].as_str().unwrap_or_default().to_owned();
        let (_, leader) = sentence.split_once("leader ").ok_or_else(|| sentence.clone())?;
        let leader = leader.split(';').next().unwrap_or_default().to_owned();
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let dates = nodes.iter().filter_map(|node| node["status"]["dateMs"].as_str()?.parse().ok());
        let checkouts = list["checkouts"].as_array().cloned().unwrap_or_default();
        let seat = |seat: &Value| format!("{} of {}", seat["checkoutId"], seat["sessionId"]);
        let live = checkouts.iter().filter(|seat| seat["state"] == "CHECKOUT_STATE_LIVE");
        Ok(Seen {
            leader,
            sentence,
            date_ms: dates.max().unwrap_or(0),
            checkouts: live.map(seat).collect(),
        })
    }

    /// Waits until the verdict begins like this, another node than `not` leads,
    /// and everybody holds a seat.
    async fn until(&self, verdict: &str, not: &str) -> Seen {
        let look = async || {
            let seen = self.look()?;
            let is_so = seen.sentence.starts_with(verdict) && seen.leader != not;
            match is_so && seen.checkouts.len() == CLIENTS {
                true => Ok(seen),
                false => Err(format!("{}; live: {:?}", seen.sentence, seen.checkouts)),
            }
        };
        wait::until(&format!("{verdict}, another leader than {not:?}"), LIMIT, look).await
    }
}

/// P5: in containers, the leader is killed and the next one is cut off from the
/// network, and nobody loses a seat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_keep_their_seats_when_containers_are_killed_and_cut_off() {
    let Some(lab) = ComposeLab::start().await else { return };
    let apply = async || {
        output(lab.compose().args(["run", "--rm", "-T", "cli", "license", "apply", "lab.lic"]))
    };
    wait::until("the license is in force", LIMIT, apply).await;
    let mut clients = lab.compose();
    run(clients.args(["--profile", "client", "up", "--detach", "--scale"]).arg("client=3"));
    let before = lab.until("Healthy: 3 of 3", "").await;
    assert_eq!(before.checkouts.len(), CLIENTS);

    // A death that the others' kernels tell of.
    run(lab.compose().args(["kill", &before.leader]));
    let killed = lab.until("Degraded: 2 of 3", &before.leader).await;
    assert_eq!(killed.checkouts, before.checkouts);
    lab.triad("run --feature solver -- true").unwrap();
    run(lab.compose().args(["start", &before.leader]));
    let healed = lab.until("Healthy: 3 of 3", "").await;

    // A death that nobody tells of: its packets are gone. Every client must find
    // the next leader within its lease, so a whole lease is waited for.
    let container = format!("triad-lab_{}_1", healed.leader);
    let network = |verb: &str, more: &[&str]| {
        let mut docker = lab.docker.docker();
        docker.args(["network", verb]).args(more).args(["triad-lab_default", &container]);
        run(&mut docker);
    };
    network("disconnect", &[]);
    let cut = lab.until("Degraded: 2 of 3", &healed.leader).await;
    lab.triad("run --feature solver -- true").unwrap();
    let a_lease_later = async || match lab.look()? {
        seen if seen.date_ms > cut.date_ms + LEASE_MS => Ok(seen),
        seen => Err(format!("{} at {}", seen.sentence, seen.date_ms)),
    };
    let later = wait::until("a lease has passed", LIMIT, a_lease_later).await;
    assert_eq!(later.checkouts, before.checkouts);
    network("connect", &["--alias", &healed.leader]);
    let after = lab.until("Healthy: 3 of 3", "").await;
    assert_eq!(after.checkouts, before.checkouts);

    // Whoever lost a seat would have been told, and its container would have ended.
    let up = ["ps", "--quiet", "--filter", "name=client", "--filter", "status=running"];
    assert_eq!(run(lab.docker.docker().args(up)).lines().count(), CLIENTS);
    let events = lab.triad("events -o jsonl").unwrap();
    let granted = events.lines().filter(|line| line.contains("EVENT_KIND_GRANTED")).count();
    // Three that stayed, and the two short runs above.
    assert_eq!(granted, CLIENTS + 2, "{events}");
}
