//! `triad demo`: three real nodes, five clients, and a leader to kill.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use triad_client::{Checkout, Client, State};
use triad_server::init::TlsMode;

use crate::args::DemoArguments;
use crate::duration::until;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::holding::failure;
use crate::keys::{Key, Keys};
use crate::local::{Feature, LocalCluster};
use crate::settings::Settings;

/// The feature that everybody in the demo wants.
const FEATURE: &str = "solver";
const SEATS: u32 = 10;
/// How long a failover may take before the demo gives it up.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(30);
/// A demo without a terminal and without a duration stops by itself.
const DURATION_DEFAULT: Duration = Duration::from_secs(20);

/// What happened, for `-o json`.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// Who leads at the end.
    elected: String,
    /// From the kill until the surviving nodes followed a new leader; the
    /// longest of all kills.
    elected_ms: f64,
    /// From the kill until a checkout that was started after it succeeded; the
    /// longest of all kills.
    failover_ms: f64,
    /// From the kill until every client's stream was resumed; the longest.
    resumed_ms: f64,
    kills: u32,
    clients: usize,
    seats_held: usize,
    seats_lost: usize,
    granted_twice: usize,
}

/// A client that holds one seat.
struct Holder {
    user: String,
    client: Client,
    seat: Checkout,
}

struct Demo<'a> {
    settings: &'a Settings,
    cluster: LocalCluster,
    holders: Vec<Holder>,
    probe: Client,
    report: Report,
    began: Instant,
    /// The node killed last and not restarted.
    down: Vec<usize>,
}

/// Runs the demo.
pub async fn run(settings: &Settings, arguments: &DemoArguments) -> Result<Exit, Failure> {
    let began = Instant::now();
    let features =
        [Feature { name: FEATURE.into(), seats: SEATS }, Feature { name: "cad".into(), seats: 3 }];
    let cluster = LocalCluster::start("demo", TlsMode::On, &features).await?;
    let mut holders = Vec::new();
    for n in 1..=arguments.clients {
        let user = format!("user{n}");
        let client = cluster.client().user(&user).application("triad demo").build();
        let client = client.map_err(failure)?;
        let seat = client.checkout(FEATURE, "2026.1", 1).await.map_err(failure)?;
        holders.push(Holder { user, client, seat });
    }
    let probe = cluster.client().user("probe").application("triad demo").build();
    let probe = probe.map_err(failure)?;
    let clients = holders.len();
    let report = Report { clients, ..Report::default() };
    let mut demo = Demo { settings, cluster, holders, probe, report, began, down: Vec::new() };
    demo.introduce().await?;
    let keys = Keys::read();
    let outcome = demo.play(arguments, keys).await;
    demo.finish(outcome).await
}

impl Demo<'_> {
    /// Lines for people go to stderr when the answer is JSON.
    fn say(&self, line: &str) -> Result<(), Failure> {
        if self.settings.output.is_json() {
            self.settings.output.notice(&format!("{line}\n"));
            return Ok(());
        }
        // While a key is awaited the terminal does not return the carriage.
        let end = if std::io::stdout().is_terminal() { "\r\n" } else { "\n" };
        self.settings.output.text(&format!("{line}{end}"))
    }

    /// One thing that happened, and when.
    fn tell(&self, mark: &str, what: &str, took_ms: Option<f64>) -> Result<(), Failure> {
        let when = took_ms.map_or(String::new(), |took| format!("t+{took:.0} ms"));
        self.say(format!("{mark:<2} {what:<46} {when:>9}").trim_end())
    }

    async fn introduce(&mut self) -> Result<(), Failure> {
        let leader = self.leader_name().await?;
        self.say(&format!(
            "ok three nodes with TLS in {} ({:.1} s): {}, leader {leader}",
            self.cluster.folder().display(),
            self.began.elapsed().as_secs_f64(),
            self.names(),
        ))?;
        self.say(&format!(
            "ok {} clients hold a seat of {FEATURE} each ({} of {SEATS})",
            self.holders.len(),
            self.holders.len(),
        ))?;
        let pages = self.cluster.nodes.iter().map(|node| format!("https://{}", node.http_address));
        self.say(&format!("   pages of the nodes: {}", pages.collect::<Vec<_>>().join(" ")))?;
        self.say(&format!(
            "   sign in there with the token in {}",
            self.cluster.token_file().display()
        ))?;
        self.say("   look at it from another terminal:")?;
        self.say(&format!(
            "   export TRIAD_SERVERS={} TRIAD_CA={} TRIAD_TOKEN_FILE={}",
            self.cluster.servers(),
            self.cluster.ca().display(),
            self.cluster.token_file().display(),
        ))?;
        self.say("   triad status; triad checkouts; triad run --feature solver -- sleep 5")
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.cluster.nodes.iter().map(|node| node.name.as_str()).collect();
        names.join(", ")
    }

    async fn leader_name(&self) -> Result<String, Failure> {
        let leader = self.cluster.leader(FAILOVER_TIMEOUT).await?.leader;
        let n = self.cluster.position(leader).expect("a leader is one of the nodes");
        Ok(self.cluster.nodes[n].name.clone())
    }

    async fn play(
        &mut self,
        arguments: &DemoArguments,
        mut keys: Option<Keys>,
    ) -> Result<(), Failure> {
        let start = Instant::now();
        let kill_at = arguments.kill_leader_after.map(|after| start + after);
        let unattended = keys.is_none() || kill_at.is_some();
        let end_at = match arguments.duration {
            Some(duration) => Some(start + duration),
            None => unattended.then(|| start + DURATION_DEFAULT),
        };
        let mut kill_due = kill_at;
        if keys.is_some() {
            self.say("   next: [k] kill the leader  [r] restart what was killed  [q] quit")?;
        }
        loop {
            tokio::select! {
                () = until(kill_due) => {
                    kill_due = None;
                    self.kill_leader().await?;
                }
                () = until(end_at) => return Ok(()),
                key = next_key(&mut keys) => match key {
                    Some(Key::Kill) => self.kill_leader().await?,
                    Some(Key::Restart) => self.restart().await?,
                    Some(Key::Quit) => return Ok(()),
                    None => keys = None,
                },
            }
        }
    }

    /// Kills the leader's process and watches what becomes of everybody.
    async fn kill_leader(&mut self) -> Result<(), Failure> {
        if self.down.len() == 1 {
            return self.say("-- one node is down already: [r] restarts it first");
        }
        let leader = self.cluster.leader(FAILOVER_TIMEOUT).await?.leader;
        let n = self.cluster.position(leader).expect("a leader is one of the nodes");
        let name = self.cluster.nodes[n].name.clone();
        let resumed = self.watch_clients();
        let killed = Instant::now();
        self.cluster.kill(n).await?;
        self.down.push(n);
        self.report.kills += 1;
        self.tell("x", &format!("{name} (leader) killed"), Some(0.0))?;

        let elected = async {
            let sighting = self.cluster.leader(FAILOVER_TIMEOUT).await;
            (sighting, ms(killed.elapsed()))
        };
        let served = async {
            let seat = self.probe.checkout(FEATURE, "", 1).await;
            let took = ms(killed.elapsed());
            (seat, took)
        };
        let ((sighting, elected_ms), (seat, failover_ms)) = tokio::join!(elected, served);
        let sighting = sighting?;
        drop(seat.map_err(failure)?);
        let new = self.cluster.position(sighting.leader).expect("a leader is one of the nodes");
        let new = self.cluster.nodes[new].name.clone();
        let term = sighting.term;
        // Whoever grants is elected: it may have been seen before it was asked who leads.
        let elected_ms = elected_ms.min(failover_ms);
        self.tell("ok", &format!("{new} elected, term {term}"), Some(elected_ms))?;
        self.tell("ok", "a new checkout succeeds", Some(failover_ms))?;

        let resumed_ms = resumed.wait(killed, self.holders.len()).await;
        let kept = self.holders.iter().filter(|holder| holds(holder)).count();
        let twice = self.granted_twice().await?;
        let all = self.holders.len();
        let what = format!("{kept} of {all} clients resumed, {kept} seats kept, {twice} twice");
        self.tell(if kept == all && twice == 0 { "ok" } else { "!!" }, &what, resumed_ms)?;
        self.report.elected = new;
        self.report.elected_ms = self.report.elected_ms.max(elected_ms);
        self.report.failover_ms = self.report.failover_ms.max(failover_ms);
        self.report.resumed_ms = self.report.resumed_ms.max(resumed_ms.unwrap_or(f64::NAN));
        Ok(())
    }

    async fn restart(&mut self) -> Result<(), Failure> {
        let Some(n) = self.down.pop() else {
            return self.say("-- every node runs");
        };
        let began = Instant::now();
        self.cluster.spawn(n)?;
        self.cluster.leader(FAILOVER_TIMEOUT).await?;
        let name = &self.cluster.nodes[n].name;
        self.tell("ok", &format!("{name} is back and follows"), Some(ms(began.elapsed())))
    }

    /// Notices when each client's stream is open again.
    fn watch_clients(&self) -> Resumed {
        let (done, resumed) = mpsc::channel(self.holders.len().max(1));
        for holder in &self.holders {
            let mut states = holder.client.states();
            let done = done.clone();
            tokio::spawn(async move {
                let broken = states.wait_for(|state| !matches!(state, State::Held)).await.is_ok();
                if broken && states.wait_for(|state| matches!(state, State::Held)).await.is_ok() {
                    let _ = done.send(Instant::now()).await;
                }
            });
        }
        Resumed(resumed)
    }

    /// Seats that the ledger counts for a client beyond the one it holds.
    async fn granted_twice(&self) -> Result<usize, Failure> {
        let checkouts = self.cluster.checkouts().await?;
        let seats = |user: &str| -> usize {
            let own =
                checkouts.iter().filter(|c| c.holder.as_ref().is_some_and(|h| h.user == user));
            own.flat_map(|c| &c.items).map(|item| item.seats as usize).sum()
        };
        Ok(self.holders.iter().map(|holder| seats(&holder.user).saturating_sub(1)).sum())
    }

    async fn finish(mut self, outcome: Result<(), Failure>) -> Result<Exit, Failure> {
        outcome?;
        let checkouts = self.cluster.checkouts().await?;
        let known = |holder: &Holder| checkouts.iter().any(|c| c.checkout_id == holder.seat.id());
        let held = self.holders.iter().filter(|holder| holds(holder) && known(holder)).count();
        self.report.seats_held = held;
        self.report.seats_lost = self.holders.len() - held;
        self.report.granted_twice = self.granted_twice().await?;
        self.report.elected = self.leader_name().await?;
        let report = &self.report;
        self.settings.output.answer(report, || {
            let mut text = String::new();
            let _ = writeln!(
                text,
                "{} of {} seats held, {} lost, {} granted twice, {} leader kills",
                report.seats_held,
                report.clients,
                report.seats_lost,
                report.granted_twice,
                report.kills,
            );
            if report.kills > 0 {
                let _ = writeln!(
                    text,
                    "elected {} after {:.0} ms, failover seen by a client {:.0} ms",
                    report.elected, report.elected_ms, report.failover_ms,
                );
            }
            text
        })?;
        let good = report.seats_lost == 0 && report.granted_twice == 0;
        Ok(if good { Exit::Ok } else { Exit::Error })
    }
}

/// Tells when clients have resumed.
struct Resumed(mpsc::Receiver<Instant>);

impl Resumed {
    /// How long after `since` the last of `clients` was back; `None` if one
    /// never was.
    async fn wait(mut self, since: Instant, clients: usize) -> Option<f64> {
        let mut last = since;
        for _ in 0..clients {
            let resumed = timeout(FAILOVER_TIMEOUT, self.0.recv()).await.ok()??;
            last = last.max(resumed);
        }
        Some(ms(last - since))
    }
}

fn holds(holder: &Holder) -> bool {
    !matches!(holder.seat.state(), State::Lost { .. })
}

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e4).round() / 10.0
}

async fn next_key(keys: &mut Option<Keys>) -> Option<Key> {
    match keys {
        Some(keys) => keys.next().await,
        None => std::future::pending().await,
    }
}
