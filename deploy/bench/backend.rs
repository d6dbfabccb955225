//! Triad as a back end of the peers' load generator: the session stream as it
//! is on the wire ([`crate::triad_stream`]), and nothing of the client library.
//!
//! `plug_in.py` puts this file beside the generator's own as `triad.rs`. One
//! client is one session on one stream; with `--conns` several streams share a
//! connection. Pools are the features of the license that `triad.py` issues:
//! `pool-0000` and so on, and `hot-32` where one pool of 32 seats is asked for.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use triad_proto::v1;
use triad_proto::v1::admin_service_client::AdminServiceClient;
use triad_proto::v1::licensing_service_client::LicensingServiceClient;
use triad_proto::v1::session_call::Call;
use triad_proto::v1::session_event::Event;
use triad_proto::v1::taken::Outcome;
use triad_proto::v1::{Reason, Refusal};

use crate::backend::{Cfg, Grant, Tries};
use crate::triad_stream::{Door, Stream};
use crate::util::{Args, Procs, hist, mono_ns, us};

/// The pool size that stands for "many pools".
const SEATS_OF_MANY: u64 = 100;
/// A node takes a quarter of its connections from one address; so many of ours
/// come from each address of 127/8.
const CONNECTIONS_PER_ADDRESS: usize = 1_000;
/// How long a probe waits for one node before it asks another.
const PROBE_PATIENCE: Duration = Duration::from_millis(100);
/// Between two tries of one probe.
const PROBE_PAUSE: Duration = Duration::from_millis(5);
/// Entries that a node may be behind and count as caught up.
const LAG_MAX: u64 = 5;
/// Tasks that preload.
const LOADERS: usize = 64;

/// The connections that clients share, with `--conns`.
static SHARED: OnceCell<Vec<Door>> = OnceCell::const_new();

/// One client's session.
pub struct TriadSess {
    stream: Stream,
    heard: VecDeque<Event>,
    seats: u64,
    last_request: u64,
    last_beat: u64,
}

impl TriadSess {
    /// Connects and opens a session.
    pub async fn connect(cfg: &Cfg, address: &str, client: u64) -> Result<Self> {
        let open = v1::Open {
            session_id: random_id(),
            holder: Some(holder(client)),
            lease_ms: cfg.ttl as u64 * 1_000,
            protocol_version: 1,
            resume: false,
            beat: 0,
        };
        let open = message(Call::Open(open));
        let stream = match cfg.conns {
            0 => Stream::alone(own_address(client as usize), address, &open).await?,
            _ => {
                let shared = SHARED.get_or_try_init(|| share(cfg)).await?;
                Stream::on(&shared[client as usize % shared.len()], &open).await?
            }
        };
        let (seats, heard) = (cfg.seats, VecDeque::new());
        let mut session = TriadSess { stream, heard, seats, last_request: 0, last_beat: 0 };
        session.answer(|event| matches!(event, Event::Opened(_))).await?;
        Ok(session)
    }

    /// `None`: all seats are taken.
    pub async fn checkout(&mut self, pool: u32, tries: &mut Tries) -> Result<Option<Grant>> {
        tries.attempts += 1;
        let (request_id, answered_through) = self.next_request();
        let items = vec![item(&feature(pool.into(), self.seats))];
        let take = v1::Take { request_id, answered_through, items, wait: None };
        self.stream.send(&message(Call::Take(take)))?;
        let ours = |event: &Event| matches!(event, Event::Taken(t) if t.request_id == request_id);
        let Event::Taken(taken) = self.answer(ours).await? else { bail!("not a `taken`") };
        match taken.outcome.context("a `taken` without an outcome")? {
            Outcome::Grant(grant) => Ok(Some(Grant { pool, key: grant.checkout_id.to_string() })),
            Outcome::Denial(denial) if denial.reason() == Reason::LicensesExhausted => Ok(None),
            Outcome::Denial(denial) => Err(anyhow!("denied: {}", denial.message)),
        }
    }

    /// Returns a seat.
    pub async fn checkin(&mut self, grant: Grant, tries: &mut Tries) -> Result<()> {
        tries.attempts += 1;
        let (request_id, answered_through) = self.next_request();
        let checkout_id = grant.key.parse()?;
        let give_back = v1::GiveBack { request_id, answered_through, checkout_id };
        self.stream.send(&message(Call::GiveBack(give_back)))?;
        let ours =
            |event: &Event| matches!(event, Event::GivenBack(g) if g.request_id == request_id);
        match self.answer(ours).await? {
            Event::GivenBack(given_back) if given_back.was_held => Ok(()),
            _ => Err(anyhow!("the seat was lost")),
        }
    }

    /// One heartbeat, acknowledged.
    pub async fn beat(&mut self) -> Result<()> {
        self.last_beat += 1;
        let beat = self.last_beat;
        self.stream.send(&message(Call::Beat(v1::Beat { beat })))?;
        self.answer(|event| matches!(event, Event::Beat(b) if b.beat == beat)).await?;
        Ok(())
    }

    /// Waits for something else than an answer.
    pub async fn while_waiting<T>(&mut self, other: impl Future<Output = T>) -> Result<T> {
        self.stream.while_waiting(other).await
    }

    fn next_request(&mut self) -> (u64, u64) {
        self.last_request += 1;
        (self.last_request, self.last_request - 1)
    }

    /// The event that is waited for. One that ends anything is an error: nobody
    /// asked for it.
    async fn answer(&mut self, is_ours: impl Fn(&Event) -> bool) -> Result<Event> {
        loop {
            while let Some(event) = self.heard.pop_front() {
                match event {
                    event if is_ours(&event) => return Ok(event),
                    Event::Ended(ended) => bail!("ended: {}", ended.message),
                    _ => {}
                }
            }
            let message = self.stream.message().await?;
            self.heard.extend(message.events.into_iter().filter_map(|event| event.event));
        }
    }
}

fn message(call: Call) -> v1::SessionRequest {
    v1::SessionRequest { calls: vec![v1::SessionCall { call: Some(call) }] }
}

/// The address that a client connects from.
fn own_address(client: usize) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, 2 + (client / CONNECTIONS_PER_ADDRESS) as u8).into()
}

fn connection(address: &str, client: usize) -> Result<Endpoint> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint.tcp_nodelay(true).local_address(Some(own_address(client))))
}

async fn share(cfg: &Cfg) -> Result<Vec<Door>> {
    let mut shared = Vec::with_capacity(cfg.conns);
    for n in 0..cfg.conns {
        shared.push(Door::shared(own_address(n), &cfg.eps[n % cfg.eps.len()]).await?);
    }
    Ok(shared)
}

fn feature(pool: u64, seats: u64) -> String {
    match seats {
        SEATS_OF_MANY => format!("pool-{pool:04}"),
        _ => format!("hot-{seats}"),
    }
}

fn item(feature: &str) -> v1::Item {
    v1::Item { feature: feature.to_owned(), version: String::new(), seats: 1 }
}

fn random_id() -> Vec<u8> {
    fastrand::u128(..).to_be_bytes().to_vec()
}

/// What the generator's own holder record says, in the fields that we have. It
/// is sent when a session opens and not with every checkout.
fn holder(client: u64) -> v1::Holder {
    v1::Holder {
        user: format!("u{client:08}"),
        host: format!("ws-{client:08}.corp.example"),
        display: ":0.0".into(),
        project: "group=eng;start=1763856000".into(),
        application: "SOLVER_HPC 2026.1".into(),
        pid: (client % 1_000_000) as u32,
        ..Default::default()
    }
}

/// Heartbeats without a pause until `off`; those while `on` are measured.
pub async fn beat_without_pause(
    mut session: TriadSess,
    on: Arc<AtomicBool>,
    off: Arc<AtomicBool>,
) -> Result<hdrhistogram::Histogram<u64>> {
    let mut latencies = hist();
    while !off.load(Relaxed) {
        let measured = on.load(Relaxed);
        let began = Instant::now();
        session.beat().await?;
        if measured {
            latencies.record(us(began.elapsed()))?;
        }
    }
    Ok(latencies)
}

/// A session of its own with one seat, in one call: what holds outlives it.
fn lone_checkout(client: u64, feature: &str, lease_ms: u64) -> v1::CheckoutRequest {
    v1::CheckoutRequest {
        session_id: random_id(),
        holder: Some(holder(client)),
        request_id: 1,
        answered_through: 0,
        items: vec![item(feature)],
        lease_ms,
        wait: None,
    }
}

/// `count` checkouts, each of a session of its own that stays silent.
async fn hold(cfg: &Cfg, from: u64, count: u64, pools: u64, lease: Duration) -> Result<()> {
    let next = Arc::new(AtomicU64::new(from));
    let lease_ms = lease.as_millis() as u64;
    let mut loaders = JoinSet::new();
    for loader in 0..LOADERS {
        // Each from an address of its own: sessions are bounded by address as well.
        let client = loader * CONNECTIONS_PER_ADDRESS;
        let channel = connection(&cfg.eps[loader % cfg.eps.len()], client)?.connect().await?;
        let (next, seats) = (next.clone(), cfg.seats);
        loaders.spawn(async move {
            let mut client = LicensingServiceClient::new(channel);
            loop {
                let n = next.fetch_add(1, Relaxed);
                if n >= from + count {
                    return anyhow::Ok(());
                }
                let request = lone_checkout(n, &feature(n % pools, seats), lease_ms);
                client.checkout(request).await?;
            }
        });
    }
    while let Some(loaded) = loaders.join_next().await {
        loaded??;
    }
    Ok(())
}

/// Others' outstanding checkouts, for two hours.
pub async fn preload(a: &Args, cfg: &Cfg) -> Result<()> {
    let (n, offset) = (a.n("n", 1_000), a.n("offset", 0));
    let processes = Procs::start(&a.list("pids"));
    let began = Instant::now();
    hold(cfg, offset, n, a.n("pools", 1_000), Duration::from_secs(7_200)).await?;
    let secs = began.elapsed().as_secs_f64();
    println!(
        "{}",
        serde_json::json!({"test": "preload", "n": n, "secs": secs,
            "holders_per_s": (n as f64 / secs).round(), "proc": processes.stop()})
    );
    Ok(())
}

/// Holders that all fall silent: when is every seat free?
pub async fn reap(a: &Args, cfg: &Cfg) -> Result<()> {
    let (n, ttl) = (a.n("n", 10_000), a.n("ttl", 10));
    let began = Instant::now();
    hold(cfg, 0, n, 1_000, Duration::from_secs(ttl)).await?;
    let granted = began.elapsed().as_secs_f64();
    let mut admin = AdminServiceClient::new(connection(&cfg.eps[0], 0)?.connect().await?);
    let mut first = None;
    let last = loop {
        let held = admin.status(v1::StatusRequest {}).await?.into_inner().checkouts;
        let seconds = began.elapsed().as_secs_f64();
        if held < n && first.is_none() {
            first = Some(seconds);
        }
        if held == 0 {
            break seconds;
        }
        if seconds > 180.0 {
            bail!("{held} seats are still held");
        }
        sleep(Duration::from_millis(250)).await;
    };
    let first = first.unwrap_or(last);
    println!(
        "{}",
        serde_json::json!({"test": "reap", "n": n, "ttl": ttl, "grant_span_s": granted,
            "first_gone_s": first, "all_gone_s": last,
            "after_last_ttl_s": last - granted - ttl as f64,
            "reaped_per_s": (n as f64 / (last - first).max(1e-3)).round()})
    );
    Ok(())
}

/// When node 0, started again, has applied what node 1 had when it was asked.
pub async fn catchup(a: &Args) -> Result<()> {
    let addresses = a.list("eps");
    let mut leader = AdminServiceClient::new(connection(&addresses[1], 0)?.connect_lazy());
    let mut restarted = AdminServiceClient::new(connection(&addresses[0], 0)?.connect_lazy());
    let start = mono_ns();
    let deadline = Instant::now() + Duration::from_secs(a.n("secs", 120));
    let mut up = 0;
    while Instant::now() < deadline {
        let limit = Duration::from_millis(500);
        let request = v1::StatusRequest {};
        if let Ok(Ok(own)) = timeout(limit, restarted.status(request.clone())).await {
            up = if up == 0 { mono_ns() } else { up };
            let theirs = timeout(limit, leader.status(request)).await;
            let index = |status: v1::StatusResponse| status.freshness.map_or(0, |f| f.index);
            let theirs = theirs.ok().and_then(Result::ok);
            let theirs = theirs.map_or(u64::MAX, |status| index(status.into_inner()));
            if index(own.into_inner()) >= theirs.saturating_sub(LAG_MAX) {
                println!(
                    "{}",
                    serde_json::json!({"test": "catchup", "start": start, "status_up": up,
                        "caught_up": mono_ns()})
                );
                return Ok(());
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
    Err(anyhow!("never caught up"))
}

/// A fresh checkout every `every` on one node, which may not lead: the answer
/// then names who does, and the probe goes there, as every client does.
pub async fn probe(a: &Args, cfg: &Cfg, node: usize) -> Result<()> {
    let until = Instant::now() + Duration::from_secs_f64(a.f("secs", 20.0));
    let limit = Duration::from_millis(a.n("try-ms", 2_000));
    let mut every = tokio::time::interval(Duration::from_millis(a.n("every-ms", 20)));
    let channels = Channels::default();
    let mut probes = JoinSet::new();
    let mut n = 0;
    while Instant::now() < until {
        every.tick().await;
        n += 1;
        let (channels, address) = (channels.clone(), cfg.eps[0].clone());
        let request = lone_checkout(n, "hot-100000", cfg.ttl as u64 * 1_000);
        probes.spawn(async move {
            let began = mono_ns();
            let granted = ask_until_granted(&channels, &address, request);
            if timeout(limit, granted).await.is_ok() {
                println!("S {node} {began} {}", mono_ns());
            }
        });
    }
    while probes.join_next().await.is_some() {}
    Ok(())
}

async fn ask_until_granted(channels: &Channels, node: &str, request: v1::CheckoutRequest) {
    let mut address = node.to_owned();
    loop {
        let Ok(channel) = channels.to(&address) else { return };
        let mut client = LicensingServiceClient::new(channel);
        let answer = timeout(PROBE_PATIENCE, client.checkout(request.clone())).await;
        let hint = match answer {
            Ok(Ok(_)) => return,
            Ok(Err(status)) => Refusal::from_status(&status).leader_address,
            Err(_) => String::new(),
        };
        address = if hint.is_empty() || hint == address { node.to_owned() } else { hint };
        sleep(PROBE_PAUSE).await;
    }
}

/// One connection to each node, opened when it is first asked.
#[derive(Clone, Default)]
struct Channels(Arc<Mutex<HashMap<String, Channel>>>);

impl Channels {
    fn to(&self, address: &str) -> Result<Channel> {
        let mut all = self.0.lock().map_err(|_| anyhow!("a probe panicked"))?;
        if let Some(channel) = all.get(address) {
            return Ok(channel.clone());
        }
        let channel = connection(address, 0)?.connect_lazy();
        all.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }
}
