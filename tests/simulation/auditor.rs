//! The administrator of the simulated site: compares what nodes say with what it
//! must be, changes license and policy, takes seats back, hands leadership
//! around, and puts new nodes in the place of lost ones.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::time::{sleep, timeout};
use tonic::transport::Channel;
use tonic::{Request, Status};
use triad_proto::net::{ChannelParameters, Connector, SharedNetwork, Traffic, channel};
use triad_proto::v1;
use triad_proto::v1::JoinStage;
use triad_proto::v1::admin_service_client::AdminServiceClient;
use triad_proto::v1::licensing_service_client::LicensingServiceClient;

use crate::cluster::{FEATURES, NODES, TOKEN, bad_licenses, license};
use crate::desk::{Desk, Phase};
use crate::oracle::Oracle;
use crate::run::APPLICATIONS;

const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long one attempt to change the members may take.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(4);
/// In some runs nodes are asked so often that a leader is asked while it does
/// not know yet that it is none; in the others there is time for other things.
const PAUSES_MS: [u64; 4] = [24, 60, 150, 250];
/// Often enough to see within the limits that somebody leads again.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What the auditor and the run tell each other.
#[derive(Default)]
pub struct Blackboard {
    /// The license is in force.
    pub is_licensed: AtomicBool,
    /// Leadership is to be handed over.
    pub transfer: AtomicBool,
    /// The node that takes another's place.
    pub replacement: Mutex<Option<Replacement>>,
    /// The application that was cut off, and is to lose a checkout.
    pub away: Mutex<Option<usize>>,
    /// What is to be done for a drill.
    pub errand: Mutex<Option<Errand>>,
    /// What came of it.
    pub outcome: Mutex<Option<Result<(), v1::Reason>>>,
    /// When a node last gave a confirmed answer, ms.
    pub confirmed_ms: AtomicU64,
    pub now_ms: AtomicU64,
}

/// What a drill has done by an administrator, or by somebody who needs a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// The node is to lead no more, or may again.
    Drain { node: u64, undo: bool },
    /// The node is asked for a seat.
    Ask { node: u64 },
}

/// A node in the place of one that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The machine, counted from 1.
    pub place: u64,
    pub old_id: u64,
    pub new_id: u64,
}

pub struct Auditor {
    pub seed: u64,
    pub network: SharedNetwork,
    pub oracle: Arc<Oracle>,
    pub desk: Arc<Desk>,
    pub board: Arc<Blackboard>,
}

type Admin = AdminServiceClient<Channel>;

impl Auditor {
    /// Asks each node for ever, and none the later because another is silent.
    pub async fn work(self) {
        let mut dice = StdRng::seed_from_u64(self.seed);
        let pause = *PAUSES_MS.choose(&mut dice).expect("there are some");
        let pause = (Duration::from_millis(pause) * self.desk.calm).min(PAUSE_MAX);
        let asking = NODES.map(|node| self.ask(node, pause, StdRng::seed_from_u64(dice.random())));
        let asking = futures::future::join_all(asking);
        let changing = self.change(StdRng::seed_from_u64(dice.random()));
        let (replacing, taking) = (self.replace(), self.take_from_who_is_away());
        futures::join!(asking, changing, replacing, taking, self.run_errands());
    }

    async fn ask(&self, node: u64, pause: Duration, mut dice: StdRng) {
        let mut admin = None;
        loop {
            let outcome = timeout(CALL_TIMEOUT, self.visit(node, &mut admin, &mut dice)).await;
            if !matches!(outcome, Ok(Ok(()))) {
                admin = None;
            }
            sleep(pause).await;
        }
    }

    async fn visit(
        &self,
        node: u64,
        admin: &mut Option<Admin>,
        dice: &mut StdRng,
    ) -> Result<(), Status> {
        if admin.is_none() {
            *admin = Some(self.dial(node).await?);
        }
        let admin = admin.as_mut().expect("just dialled");
        if !self.board.is_licensed.load(Ordering::Relaxed) {
            let text = license(1, &FEATURES);
            admin.apply_license(request(v1::ApplyLicenseRequest { text })).await?;
            self.board.is_licensed.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let newest = self.oracle.last_command();
        let invoked = self.oracle.now();
        let status = admin.status(request(v1::StatusRequest {})).await?.into_inner();
        let freshness = status.freshness.unwrap_or_default();
        if freshness.linearizable {
            let now = self.board.now_ms.load(Ordering::Relaxed);
            self.board.confirmed_ms.store(now, Ordering::Relaxed);
            self.oracle.read(invoked, freshness.index);
            if freshness.index < newest {
                self.oracle.violated(format!(
                    "P6: node {node} calls its answer linearizable at {}, and {newest} was \
                     committed before it was asked",
                    freshness.index
                ));
            }
        }
        if self.board.transfer.swap(false, Ordering::Relaxed) {
            let to_node_id = if dice.random() { 0 } else { NODES[dice.random_range(0..3)] };
            let transfer = v1::TransferLeaderRequest { to_node_id };
            // Only the leader can; anybody may be asked.
            let _ = admin.transfer_leader(request(transfer)).await;
        }
        Ok(())
    }

    /// Changes rights and rules now and then, as long as faults happen.
    async fn change(&self, mut dice: StdRng) {
        let mut serial = 1;
        let mut is_old = false;
        let longest = dice.random_range(1_500..15_000);
        loop {
            sleep(Duration::from_millis(dice.random_range(500..longest)) * self.desk.calm).await;
            if self.desk.phase() != Phase::Chaos || !self.board.is_licensed.load(Ordering::Relaxed)
            {
                continue;
            }
            let change = match dice.random_range(0..12) {
                10 if is_old => {
                    let (why, text) = bad_licenses(serial + 1).swap_remove(dice.random_range(0..4));
                    self.offer(why, Change::License(text), TOKEN).await;
                    continue;
                }
                11 => {
                    let token = *["", "another"].choose(&mut dice).expect("there are some");
                    let change = match self.oracle.some_checkout(dice.random()) {
                        Some(checkout) if dice.random() => Change::Revocation(checkout),
                        _ => Change::Policy(policy(&mut dice)),
                    };
                    self.offer("by who may not", change, token).await;
                    continue;
                }
                0..4 => {
                    serial += 1;
                    let seats = |(name, seats): (&'static str, u32)| {
                        (name, dice.random_range(seats - 1..seats + 2))
                    };
                    Change::License(license(serial, &FEATURES.map(seats)))
                }
                4..8 => Change::Policy(policy(&mut dice)),
                _ => match self.oracle.some_checkout(dice.random()) {
                    Some(checkout_id) => Change::Revocation(checkout_id),
                    None => continue,
                },
            };
            for node in NODES {
                let tried = timeout(CALL_TIMEOUT, self.apply(node, &change)).await;
                if let Ok(Ok(())) = tried {
                    self.desk.figures.count(change.name());
                    is_old |= matches!(change, Change::License(_));
                    break;
                }
            }
        }
    }

    /// P10 and P11: asks every node for what none may do.
    async fn offer(&self, what: &str, change: Change, token: &'static str) {
        for node in NODES {
            let tried = timeout(CALL_TIMEOUT, self.apply_as(token, node, &change)).await;
            match tried {
                Ok(Ok(())) => {
                    let name = change.name();
                    self.oracle.violated(format!("P10/P11: node {node} takes {name} {what}"));
                }
                Ok(Err(_)) => self.desk.figures.count("admin.refused"),
                Err(_) => {}
            }
        }
    }

    async fn apply(&self, node: u64, change: &Change) -> Result<(), Status> {
        self.apply_as(TOKEN, node, change).await
    }

    async fn apply_as(
        &self,
        token: &'static str,
        node: u64,
        change: &Change,
    ) -> Result<(), Status> {
        let mut admin = self.dial(node).await?;
        match change.clone() {
            Change::License(text) => {
                admin.apply_license(request_as(token, v1::ApplyLicenseRequest { text })).await?;
            }
            Change::Policy(text) => {
                let policy = v1::ApplyPolicyRequest { text, base_version: None };
                admin.apply_policy(request_as(token, policy)).await.inspect_err(|status| {
                    let reason = v1::Refusal::from_status(status).reason();
                    assert_ne!(reason, v1::Reason::PolicyMalformed, "{status}");
                })?;
            }
            Change::Revocation(checkout_id) => {
                let reason = "wanted elsewhere".into();
                let revoke = v1::RevokeCheckoutRequest { checkout_id, reason, block_ms: 0 };
                admin.revoke_checkout(request_as(token, revoke)).await?;
            }
        }
        Ok(())
    }

    /// Takes a checkout back whose application cannot hear of it.
    async fn take_from_who_is_away(&self) {
        loop {
            sleep(Duration::from_millis(100)).await;
            let away = self.board.away.lock().expect("no panic while held").take();
            let checkout = away.and_then(|application| self.oracle.checkout_of(application));
            let Some(checkout) = checkout else { continue };
            let change = Change::Revocation(checkout);
            for node in NODES {
                let tried = timeout(CALL_TIMEOUT, self.apply(node, &change)).await;
                if let Ok(Ok(())) = tried {
                    self.desk.figures.count("admin.revocations_while_away");
                    break;
                }
            }
        }
    }

    async fn run_errands(&self) {
        loop {
            sleep(Duration::from_millis(20)).await;
            let errand = self.board.errand.lock().expect("no panic while held").take();
            let Some(errand) = errand else { continue };
            let tried = timeout(CHANGE_TIMEOUT, self.run_errand(errand)).await;
            let outcome = match tried {
                Ok(Ok(())) => Ok(()),
                Ok(Err(status)) => Err(v1::Refusal::from_status(&status).reason()),
                Err(_) => Err(v1::Reason::Unspecified),
            };
            *self.board.outcome.lock().expect("no panic while held") = Some(outcome);
        }
    }

    async fn run_errand(&self, errand: Errand) -> Result<(), Status> {
        match errand {
            Errand::Drain { node, undo } => {
                let mut admin = self.dial(node).await?;
                let drain = v1::DrainNodeRequest { node_id: node, undo };
                match admin.drain_node(request(drain)).await?.into_inner().done {
                    true => Ok(()),
                    false => Err(Status::unavailable("it was not done")),
                }
            }
            Errand::Ask { node } => {
                let mut client = LicensingServiceClient::new(self.channel(node).await?);
                let holder = v1::Holder {
                    user: "passer-by".into(),
                    host: "auditor".into(),
                    application: "simulated".into(),
                    ..v1::Holder::default()
                };
                let (feature, _) = FEATURES[0];
                let item = v1::Item { feature: feature.into(), version: String::new(), seats: 1 };
                let checkout = v1::CheckoutRequest {
                    session_id: vec![9; 16],
                    holder: Some(holder),
                    request_id: 1,
                    items: vec![item],
                    ..v1::CheckoutRequest::default()
                };
                client.checkout(checkout).await.map(|_| ())
            }
        }
    }

    /// Has a new node take the place of a lost one, as long as that takes.
    async fn replace(&self) {
        loop {
            sleep(Duration::from_millis(200)).await;
            let Some(wanted) = *self.board.replacement.lock().expect("no panic while held") else {
                continue;
            };
            for node in NODES {
                let changed = timeout(CHANGE_TIMEOUT, self.change_members(node, wanted)).await;
                if matches!(changed, Ok(Ok(true))) {
                    self.desk.figures.count("nodes.replaced");
                    *self.board.replacement.lock().expect("no panic while held") = None;
                    break;
                }
            }
        }
    }

    /// True once it is done.
    async fn change_members(&self, node: u64, wanted: Replacement) -> Result<bool, Status> {
        let mut admin = self.dial(node).await?;
        let Replacement { place, old_id, new_id } = wanted;
        let add = v1::NewMember {
            node_id: new_id,
            name: format!("node-{place}"),
            client_address: format!("node-{place}:27070"),
            peer_address: format!("node-{place}:27071"),
        };
        let change = v1::ChangeMembersRequest { add: Some(add), remove_node_id: old_id };
        let mut tidings = admin.change_members(request(change)).await?.into_inner();
        let mut is_done = false;
        while let Some(tiding) = tidings.message().await? {
            is_done = tiding.stage() == JoinStage::Done;
        }
        Ok(is_done)
    }

    async fn dial(&self, node: u64) -> Result<Admin, Status> {
        Ok(Admin::new(self.channel(node).await?))
    }

    async fn channel(&self, node: u64) -> Result<Channel, Status> {
        let parameters = ChannelParameters {
            host_port: format!("node-{node}:27070"),
            connector: Connector::new(self.network.clone(), None),
            traffic: Traffic::Clients,
            call_timeout: None,
        };
        let channel = channel(parameters).await;
        channel.map_err(|error| Status::unavailable(error.to_string()))
    }
}

/// What an administrator does.
#[derive(Clone)]
enum Change {
    License(String),
    Policy(String),
    Revocation(u64),
}

impl Change {
    fn name(&self) -> &'static str {
        match self {
            Change::License(_) => "admin.licenses",
            Change::Policy(_) => "admin.policies",
            Change::Revocation(_) => "admin.revocations",
        }
    }
}

/// A policy with some rules for some users.
fn policy(dice: &mut StdRng) -> String {
    let mut text = String::from("# simulated\n");
    let mut rule = |table: &str, keys: &str| text += &format!("[[{table}]]\n{keys}\n");
    for (feature, seats) in FEATURES {
        if dice.random_range(0..3) == 0 {
            let max = dice.random_range(1..3);
            rule("max", &format!("feature = \"{feature}\"\neach = \"user\"\nseats = {max}"));
        }
        if dice.random_range(0..4) == 0 {
            let (max, user) = (dice.random_range(0..3), dice.random_range(0..APPLICATIONS));
            let keys = format!("feature = \"{feature}\"\nuser = \"user-{user}\"\nseats = {max}");
            rule("max", &keys);
        }
        if seats > 2 && dice.random_range(0..3) == 0 {
            let (kept, user) = (dice.random_range(1..3), dice.random_range(0..APPLICATIONS));
            let keys = format!("feature = \"{feature}\"\nuser = \"user-{user}\"\nseats = {kept}");
            rule("reserve", &keys);
        }
        if dice.random_range(0..3) == 0 {
            let after = dice.random_range(500..5_000);
            rule("timeout", &format!("feature = \"{feature}\"\nafter = \"{after}ms\""));
        }
    }
    for user in 0..APPLICATIONS {
        if dice.random_range(0..3) == 0 {
            let level = dice.random_range(1..6);
            rule("priority", &format!("user = \"user-{user}\"\nlevel = {level}"));
        }
    }
    text
}

fn request<T>(message: T) -> Request<T> {
    request_as(TOKEN, message)
}

/// With no token at all if it is empty.
fn request_as<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !token.is_empty() {
        let token = format!("Bearer {token}").parse().expect("the token is plain ASCII");
        request.metadata_mut().insert("authorization", token);
    }
    request
}
