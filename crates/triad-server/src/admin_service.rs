//! The gRPC service of administrators.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use triad_ledger::names::{CheckoutId, FeatureName, Label, PoolId, SessionId};
use triad_ledger::policy::{RuleId, Subject};
use triad_ledger::rights::About;
use triad_ledger::{Checkout, Ledger, Pool, Stay};
use triad_license::terms_in_words;
use triad_proto::v1;
use triad_proto::v1::admin_service_server::AdminService;
use triad_proto::v1::{Reason, Refusal};
use triad_raft::{ClusterView, MemberView, ProposeError};

use crate::convert;
use crate::licenses;
use crate::node::{Node, Now, idle_ms};
use crate::tokens::{Principal, Role, role_to_wire, shown, while_known};
use crate::vitals::skew_ms;

/// Rows in one answer. More are fetched page by page.
const PAGE_ROWS_MAX: usize = 1_000;
/// License documents in one answer, unless the first is longer: well below the
/// 4 MiB that clients take.
const PAGE_BYTES_MAX: usize = 2 << 20;
/// Checkouts that are looked at for one answer. A page may have fewer rows than were
/// asked for, and still not be the last.
const PAGE_LOOKS_MAX: usize = 20_000;
/// Rows that are made, and looked at, in one go: a fifth of a millisecond. Nothing is
/// granted meanwhile.
const PART_ROWS: usize = 50;
const PART_LOOKS: usize = 1_000;
/// How long a read waits for a quorum before it is answered stale.
const BARRIER_TIMEOUT: Duration = Duration::from_millis(500);
/// Bytes of a snapshot in one answer.
const PIECE_BYTES: usize = 256 << 10;
/// When to ask again for a snapshot, while another is being saved.
const RETRY_SAVING: Duration = Duration::from_secs(5);
/// How long a handover may take.
pub(crate) const TRANSFER_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Admin {
    pub(crate) node: Arc<Node>,
}

impl Admin {
    /// Reads the ledger: as confirmed by a quorum if there is one, else as it
    /// stands on this node, and says which.
    pub(crate) async fn read<T>(&self, question: impl FnOnce(&Ledger) -> T) -> (v1::Freshness, T) {
        let consensus = &self.node.consensus;
        let barrier = consensus.read_barrier(Instant::now() + BARRIER_TIMEOUT).await;
        let view = consensus.view();
        let (at, answer) = consensus.read(|ledger| (ledger.at(), question(ledger)));
        let freshness = v1::Freshness {
            linearizable: barrier.is_ok(),
            stale_ms: if barrier.is_ok() { 0 } else { self.node.stale_ms() },
            index: at.index,
            term: view.leadership.term,
        };
        (freshness, answer)
    }

    /// Reads a page in parts, between which others have their turn: as fresh as its first part.
    /// `part` adds rows that follow after a key, and says after which to go on, now or, by
    /// `Break`, on the next page. The last page has none.
    async fn read_in_parts<K>(
        &self,
        after: K,
        parts_max: usize,
        mut part: impl FnMut(&Ledger, K) -> ControlFlow<Option<K>, K>,
    ) -> (v1::Freshness, Option<K>) {
        let (freshness, mut next) = self.read(|ledger| part(ledger, after)).await;
        for _ in 1..parts_max {
            let ControlFlow::Continue(after) = next else { break };
            tokio::task::yield_now().await;
            next = self.node.consensus.read(|ledger| part(ledger, after));
        }
        match next {
            ControlFlow::Continue(after) => (freshness, Some(after)),
            ControlFlow::Break(after) => (freshness, after),
        }
    }

    async fn transfer(
        &self,
        by: &Principal,
        to_node_id: u64,
    ) -> Result<v1::TransferLeaderResponse, Refusal> {
        let node = &self.node;
        if node.leading_term().is_none() {
            return Err(node.not_leader());
        }
        let to = (to_node_id != 0).then_some(to_node_id);
        if let Some(to) = to
            && !node.consensus.view().members.iter().any(|member| member.node_id == to)
        {
            let message = format!("node {to} is not in this cluster");
            return Err(Refusal::because(Reason::InvalidRequest, message)
                .with_remedy("see \"triad node list\""));
        }
        if to == Some(node.consensus.node_id()) && node.leading_term().is_some() {
            let term = node.consensus.leadership().term;
            return Ok(v1::TransferLeaderResponse { leader_id: to_node_id, term });
        }
        let next = to.map_or_else(|| "another node".to_owned(), |to| node.name_of(to));
        self.note_deed(by, format!("leader transfer to {next}")).await?;
        let deadline = Instant::now() + TRANSFER_TIMEOUT;
        let moved = node.consensus.transfer(to, deadline).await;
        let moved = moved.map_err(|error| match error {
            // The leader is well; whoever was to take over is not.
            ProposeError::NoQuorum if node.consensus.quorum_is_fresh() => nobody_took_over(to),
            error => node.refusal(&error),
        })?;
        if to.is_some_and(|to| moved.leader != Some(to)) {
            // Another was faster. Whoever leads now can be asked the same.
            return Err(node.not_leader());
        }
        let leader_id = moved.leader.unwrap_or(0);
        Ok(v1::TransferLeaderResponse { leader_id, term: moved.term })
    }
}

impl Admin {
    /// The whole ledger as a quorum confirms it, piece by piece.
    async fn snapshot_saved(
        &self,
        by: &Principal,
    ) -> Result<BoxStream<'static, Result<v1::SaveSnapshotResponse, Status>>, Refusal> {
        let node = &self.node;
        if node.leading_term().is_none() {
            return Err(node.not_leader());
        }
        // A whole ledger is in memory from here until the last of it is sent.
        let Ok(place) = node.saving.clone().try_acquire_owned() else {
            let message = "the ledger of this node is being saved already";
            return Err(Refusal::because(Reason::Overloaded, message)
                .with_remedy("wait until the other \"triad snapshot save\" is done")
                .retry_after(RETRY_SAVING));
        };
        self.note_deed(by, "snapshot save".to_owned()).await?;
        let began = Instant::now();
        let saver = node.clone();
        // Of a large ledger it takes a while, and heartbeats are answered meanwhile.
        let saved = spawn_blocking(move || saver.consensus.save(saver.config.cluster_id.as_str()));
        let pieces = saved.await.ok().flatten().ok_or_else(|| {
            Refusal::because(Reason::NotReady, "there is no ledger to be saved yet")
        })?;
        let bytes = pieces.iter().map(|piece| piece.len()).sum();
        let index = node.consensus.view().applied_index;
        node.traces.snapshot("snapshot saved", began, index, bytes);
        let pieces = pieces.into_iter().flat_map(|piece| {
            let cuts = (0..piece.len()).step_by(PIECE_BYTES);
            let cut = move |from: usize| piece.slice(from..piece.len().min(from + PIECE_BYTES));
            cuts.map(cut).collect::<Vec<_>>()
        });
        let answers = pieces.map(move |piece| {
            // The place is taken as long as the stream is there.
            let _ = &place;
            Ok(v1::SaveSnapshotResponse { piece: piece.to_vec() })
        });
        Ok(Box::pin(futures::stream::iter(answers)))
    }
}

fn nobody_took_over(to: Option<u64>) -> Refusal {
    let who = to.map_or("no other node".to_owned(), |to| format!("node {to}"));
    let not = if to.is_some() { " not" } else { "" };
    let message = format!(
        "{who} could{not} take leadership over within {} s: who does not answer, or has much to \
         catch up with, cannot",
        TRANSFER_TIMEOUT.as_secs()
    );
    Refusal::because(Reason::NotReady, message).with_remedy("see \"triad node list\"")
}

impl Node {
    /// How long ago this node last knew that it was up to date.
    fn stale_ms(&self) -> u64 {
        let view = self.consensus.view();
        let ago = match view.quorum_ago {
            Some(ago) => ago,
            None => self.leaderless_for(),
        };
        // A follower of a live leader is behind by no more than a heartbeat.
        ago.max(Duration::from_millis(1)).as_millis() as u64
    }

    pub(crate) fn status(&self, freshness: v1::Freshness, hash: String) -> v1::StatusResponse {
        let view = self.consensus.view();
        let own = self.consensus.node_id();
        let has_quorum = match view.leadership.leader {
            Some(leader) if leader == own => self.consensus.quorum_is_fresh(),
            leader => leader.is_some(),
        };
        let (sessions, checkouts) =
            self.consensus.read(|ledger| (ledger.session_count(), ledger.checkout_count()));
        v1::StatusResponse {
            freshness: Some(freshness),
            cluster_id: self.config.cluster_id.to_string(),
            node_id: own,
            leader_id: view.leadership.leader.unwrap_or(0),
            term: view.leadership.term,
            nodes: view.members.iter().map(|member| self.node_status(member, &view)).collect(),
            has_quorum,
            sessions: sessions as u64,
            checkouts: checkouts as u64,
            date_ms: self.consensus.date_ms(),
            state_hash: hash,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            warnings: self.warnings(),
            pair: self.pair.as_ref().map(|pair| pair.status(self)),
            vitals: Some(self.vitals().to_wire()),
            rules: self.consensus.read(Ledger::rules),
            next_node_id: view.next_id(),
            restoring_ms: self.restoring_for().map_or(0, |left| left.as_millis() as u64),
        }
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.config.tls.is_none() {
            warnings.push("TLS is off: this node is for benchmarks on loopback only".to_owned());
        }
        let (epoch, restored) =
            self.consensus.read(|ledger| (ledger.epoch(), ledger.restored_ms().is_some()));
        if restored {
            warnings.push(format!(
                "epoch {epoch}: this cluster was restored from a snapshot; loans that were made \
                 after it was saved are not known to it"
            ));
        }
        if self.consensus.is_drained() {
            let undo = "triad node drain NAME --undo, or a restart, ends it";
            warnings.push(format!("this node is drained: it does not lead ({undo})"));
        }
        if self.in_force().publishers.is_empty() {
            warnings.push("no publisher key is trusted: no license can be applied".to_owned());
        }
        warnings
    }

    fn node_status(&self, member: &MemberView, view: &ClusterView) -> v1::NodeStatus {
        let own = self.consensus.node_id();
        let is_leader = view.leadership.leader == Some(member.node_id);
        let we_lead = view.leadership.leader == Some(own);
        let is_own = member.node_id == own;
        let answers = member.answers();
        let role = match () {
            () if is_leader => v1::Role::Leader,
            () if !member.is_voter => v1::Role::Learner,
            () if is_own && view.leadership.leader.is_none() => v1::Role::Candidate,
            () if is_own || (we_lead && answers) => v1::Role::Follower,
            () if we_lead => v1::Role::Unreachable,
            // Only the leader knows how the others are.
            () => v1::Role::Unspecified,
        };
        let matched = if is_own { Some(view.last_index) } else { member.matched_index };
        v1::NodeStatus {
            node_id: member.node_id,
            name: member.member.name.clone(),
            client_address: member.member.client_address.clone(),
            peer_address: member.member.peer_address.clone(),
            role: role.into(),
            reachable: is_own || is_leader || answers,
            matched_index: matched.unwrap_or(0),
            lag: matched.map_or(0, |matched| view.last_index.saturating_sub(matched)),
            clock_offset_ms: member.clock_offset_ms.unwrap_or(0),
            clock_skew_ms: skew_ms(&self.consensus, member),
            rules: member.rules.unwrap_or(0),
            drained: member.is_drained,
        }
    }
}

/// Who issued the rights to a feature; of several the last by the license's name.
fn publishers(ledger: &Ledger) -> BTreeMap<&FeatureName, &Label> {
    let lines = ledger
        .licenses()
        .flat_map(|license| license.lines.iter().map(|line| (&line.feature, &license.publisher)));
    lines.collect()
}

fn pool(
    ledger: &Ledger,
    id: PoolId,
    pool: &Pool,
    date_ms: u64,
    publishers: &BTreeMap<&FeatureName, &Label>,
) -> v1::Pool {
    let starts_ms = pool.key.starts_ms.unwrap_or(0);
    let expires_ms = pool.key.expires_ms.unwrap_or(0);
    let state = if pool.withdrawn {
        v1::PoolState::Withdrawn
    } else if pool.valid_at(date_ms) {
        v1::PoolState::Valid
    } else if starts_ms > date_ms {
        v1::PoolState::NotYetValid
    } else {
        v1::PoolState::Expired
    };
    v1::Pool {
        pool_id: id.0,
        feature: pool.key.feature.to_string(),
        version: pool.key.version.to_string(),
        seats_licensed: pool.licensed,
        overdraft: pool.overdraft,
        seats_in_use: pool.held,
        seats_free: if state == v1::PoolState::Valid { pool.free() } else { 0 },
        starts_ms,
        expires_ms,
        vendor_string: pool.key.vendor_string.to_string(),
        state: state.into(),
        terms: terms_in_words(&pool.key.terms, &About::default()),
        reservations: ledger.reservations(id).map(reservation).collect(),
        seats_borrowed: pool.borrowed,
        waiting: ledger.waiting_for(&pool.key.feature),
        uncounted: pool.key.terms.uncounted,
        publisher: publishers.get(&pool.key.feature).map_or(String::new(), |p| p.to_string()),
    }
}

fn reservation((rule, subject, seats, in_use): (RuleId, &Subject, u64, u64)) -> v1::Reservation {
    let rule = Some(convert::rule(rule));
    v1::Reservation { subject: subject.to_string(), seats, seats_in_use: in_use, rule }
}

/// A checkout in the words of the wire.
pub(crate) fn checkout_info(
    ledger: &Ledger,
    id: CheckoutId,
    checkout: &Checkout,
    now: Now,
) -> v1::CheckoutInfo {
    let now = now.of(ledger);
    let (state, until_ms, remaining_ms) = match checkout.stay {
        Stay::Live => (v1::CheckoutState::Live, 0, 0),
        Stay::Lingering { until_ms } => {
            (v1::CheckoutState::Lingering, 0, until_ms.saturating_sub(now.cluster_ms))
        }
        Stay::Borrowed { until_ms, lost: false } => (v1::CheckoutState::Borrowed, until_ms, 0),
        Stay::Borrowed { until_ms, lost: true } => (v1::CheckoutState::Lost, until_ms, 0),
    };
    v1::CheckoutInfo {
        checkout_id: id.0,
        session_id: checkout.session.to_string(),
        // A borrow may outlive its session, so the checkout knows whose it is.
        holder: Some(convert::holder_to_wire(&checkout.holder)),
        items: ledger.granted_items(checkout).iter().map(convert::granted_item).collect(),
        since_ms: checkout.since_ms,
        state: state.into(),
        until_ms,
        remaining_ms,
        idle_ms: idle_ms(ledger, checkout, now),
    }
}

pub(crate) fn page_rows(page_size: u32) -> usize {
    match page_size as usize {
        0 => PAGE_ROWS_MAX,
        rows => rows.min(PAGE_ROWS_MAX),
    }
}

pub(crate) fn bad_token() -> Refusal {
    Refusal::because(Reason::InvalidRequest, "page_token: not one that this server gave")
}

/// The feature and the pool after which a page begins.
fn pool_token(token: &str) -> Result<(String, u32), Refusal> {
    let (id, feature) = token.split_once(' ').ok_or_else(bad_token)?;
    Ok((feature.to_owned(), id.parse().map_err(|_| bad_token())?))
}

pub(crate) fn session_token(token: &str) -> Result<Option<SessionId>, Refusal> {
    if token.is_empty() {
        return Ok(None);
    }
    let number = u128::from_str_radix(token, 16).map_err(|_| bad_token())?;
    Ok(Some(SessionId(number.to_be_bytes())))
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn status(
        &self,
        _: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let (freshness, ()) = self.read(|_| ()).await;
        // The hash as of the very index that the answer names.
        let (at, hash) = self.node.consensus.state_hash();
        let freshness = v1::Freshness { index: at, ..freshness };
        Ok(Response::new(self.node.status(freshness, hash.to_string())))
    }

    async fn list_features(
        &self,
        request: Request<v1::ListFeaturesRequest>,
    ) -> Result<Response<v1::ListFeaturesResponse>, Status> {
        let request = request.into_inner();
        let after = match request.page_token.as_str() {
            "" => None,
            token => Some(pool_token(token)?),
        };
        let rows = page_rows(request.page_size);
        let wanted = request.feature;
        let date_ms = self.node.consensus.date_ms();
        let (freshness, (pools, next_page_token)) = self
            .read(|ledger| {
                let place = |(id, pool): &(PoolId, &Pool)| (pool.key.feature.to_string(), id.0);
                let all = ledger.pools();
                let some =
                    all.filter(|(_, p)| wanted.is_empty() || p.key.feature.as_str() == wanted);
                let mut some: Vec<_> = some.map(|some| (place(&some), some)).collect();
                some.retain(|(place, _)| after.as_ref().is_none_or(|after| place > after));
                some.sort_by(|(a, _), (b, _)| a.cmp(b));
                let next = match some.get(rows) {
                    Some(_) => some.get(rows - 1).map(|((name, id), _)| format!("{id} {name}")),
                    None => None,
                };
                some.truncate(rows);
                let issued = publishers(ledger);
                let pool =
                    |(_, (id, p)): &(_, (PoolId, &Pool))| pool(ledger, *id, p, date_ms, &issued);
                (some.iter().map(pool).collect::<Vec<_>>(), next.unwrap_or_default())
            })
            .await;
        let freshness = Some(freshness);
        Ok(Response::new(v1::ListFeaturesResponse { freshness, pools, next_page_token }))
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        self.demand(request.metadata(), Role::Viewer)?;
        let request = request.into_inner();
        let after = session_token(&request.page_token)?;
        let rows = page_rows(request.page_size);
        let now = self.node.now();
        let mut sessions = Vec::new();
        let list = |ledger: &Ledger, after| {
            let cluster_ms = now.of(ledger).cluster_ms;
            let count = PART_ROWS.min(rows - sessions.len());
            let mut last = None;
            sessions.extend(ledger.sessions(after).take(count).map(|(id, session)| {
                last = Some(id);
                let silent_since_ms = session.silent_since_ms.unwrap_or(cluster_ms);
                v1::SessionInfo {
                    session_id: id.to_string(),
                    holder: Some(convert::holder_to_wire(&session.holder)),
                    lease_ms: session.lease_ms,
                    checkouts: session.checkouts.len() as u32,
                    opened_ms: session.opened_ms,
                    silent_ms: cluster_ms.saturating_sub(silent_since_ms),
                }
            }));
            match last {
                None => ControlFlow::Break(None),
                Some(_) if sessions.len() == rows => ControlFlow::Break(Some(last)),
                Some(_) => ControlFlow::Continue(last),
            }
        };
        let (freshness, next) = self.read_in_parts(after, PAGE_ROWS_MAX, list).await;
        let next_page_token = next.flatten().map(|last| last.to_string()).unwrap_or_default();
        let freshness = Some(freshness);
        Ok(Response::new(v1::ListSessionsResponse { freshness, sessions, next_page_token }))
    }

    async fn list_checkouts(
        &self,
        request: Request<v1::ListCheckoutsRequest>,
    ) -> Result<Response<v1::ListCheckoutsResponse>, Status> {
        self.demand(request.metadata(), Role::Viewer)?;
        let request = request.into_inner();
        let after = match request.page_token.as_str() {
            "" => 0,
            token => token.parse().map_err(|_| bad_token())?,
        };
        let rows = page_rows(request.page_size);
        let wanted = request.feature;
        let now = self.node.now();
        let mut checkouts = Vec::new();
        // Names are compared once a pool and page, not once a checkout.
        let mut found: Option<BTreeSet<PoolId>> = None;
        let list = |ledger: &Ledger, after| {
            let of_feature = |pool: &Pool| pool.key.feature.as_str() == wanted;
            let pools = &*found.get_or_insert_with(|| {
                ledger.pools().filter(|(_, pool)| of_feature(pool)).map(|(id, _)| id).collect()
            });
            let is_about = |checkout: &Checkout| {
                wanted.is_empty()
                    || checkout.items.iter().any(|item| {
                        let tokens = item.tokens.map(|tokens| tokens.pool);
                        pools.contains(&item.pool) || tokens.is_some_and(|id| pools.contains(&id))
                    })
            };
            let full = rows.min(checkouts.len() + PART_ROWS);
            let mut last = None;
            for (id, checkout) in ledger.checkouts(after).take(PART_LOOKS) {
                last = Some(id);
                if is_about(checkout) {
                    checkouts.push(checkout_info(ledger, id, checkout, now));
                    if checkouts.len() == full {
                        break;
                    }
                }
            }
            match last {
                None => ControlFlow::Break(None),
                Some(last) if checkouts.len() == rows => ControlFlow::Break(Some(last)),
                Some(last) => ControlFlow::Continue(last),
            }
        };
        let parts_max = PAGE_LOOKS_MAX / PART_LOOKS;
        let (freshness, next) = self.read_in_parts(CheckoutId(after), parts_max, list).await;
        let next_page_token = next.map(|last| last.to_string()).unwrap_or_default();
        let freshness = Some(freshness);
        Ok(Response::new(v1::ListCheckoutsResponse { freshness, checkouts, next_page_token }))
    }

    async fn list_licenses(
        &self,
        request: Request<v1::ListLicensesRequest>,
    ) -> Result<Response<v1::ListLicensesResponse>, Status> {
        self.demand(request.metadata(), Role::Viewer)?;
        let request = request.into_inner();
        let (after, rows) = (request.page_token, page_rows(request.page_size));
        let (freshness, (licenses, next_page_token)) = self
            .read(|ledger| {
                let all = ledger.licenses().map(|license| (license.id.to_string(), license));
                let mut some: Vec<_> = all.filter(|(id, _)| *id > after).collect();
                some.sort_by(|(a, _), (b, _)| a.cmp(b));
                let (count, mut bytes) = (some.len(), 0);
                let mut page = Vec::new();
                for (license_id, license) in some {
                    bytes += license.text.len();
                    let is_full = page.len() == rows || bytes > PAGE_BYTES_MAX;
                    if is_full && !page.is_empty() {
                        break;
                    }
                    page.push(v1::LicenseInfo {
                        license_id,
                        publisher: license.publisher.to_string(),
                        serial: license.serial,
                        text: license.text.clone(),
                    });
                }
                let last = page.last().filter(|_| page.len() < count);
                let next = last.map(|last| last.license_id.clone()).unwrap_or_default();
                (page, next)
            })
            .await;
        let freshness = Some(freshness);
        Ok(Response::new(v1::ListLicensesResponse { freshness, licenses, next_page_token }))
    }

    async fn apply_license(
        &self,
        request: Request<v1::ApplyLicenseRequest>,
    ) -> Result<Response<v1::ApplyLicenseResponse>, Status> {
        let by = self.demand(request.metadata(), Role::Admin)?;
        Ok(Response::new(licenses::apply(&self.node, &request.into_inner().text, Some(&by)).await?))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        let by = self.demand(request.metadata(), Role::Operator)?;
        Ok(Response::new(self.transfer(&by, request.into_inner().to_node_id).await?))
    }

    type ChangeMembersStream = BoxStream<'static, Result<v1::ChangeMembersResponse, Status>>;

    async fn change_members(
        &self,
        request: Request<v1::ChangeMembersRequest>,
    ) -> Result<Response<Self::ChangeMembersStream>, Status> {
        let by = self.demand(request.metadata(), Role::Admin)?;
        Ok(Response::new(self.change(by, request.into_inner()).await?))
    }

    async fn get_policy(
        &self,
        request: Request<v1::GetPolicyRequest>,
    ) -> Result<Response<v1::GetPolicyResponse>, Status> {
        self.demand(request.metadata(), Role::Viewer)?;
        Ok(Response::new(self.policy_in_force().await))
    }

    async fn check_policy(
        &self,
        request: Request<v1::CheckPolicyRequest>,
    ) -> Result<Response<v1::CheckPolicyResponse>, Status> {
        self.demand(request.metadata(), Role::Viewer)?;
        Ok(Response::new(self.policy_checked(&request.into_inner().text).await))
    }

    async fn apply_policy(
        &self,
        request: Request<v1::ApplyPolicyRequest>,
    ) -> Result<Response<v1::ApplyPolicyResponse>, Status> {
        let by = self.demand(request.metadata(), Role::Admin)?;
        Ok(Response::new(self.policy_applied(&by, request.into_inner()).await?))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        self.demand(request.metadata(), Role::Viewer)?;
        Ok(Response::new(self.explained(request.into_inner()).await?))
    }

    async fn list_queue(
        &self,
        request: Request<v1::ListQueueRequest>,
    ) -> Result<Response<v1::ListQueueResponse>, Status> {
        self.demand(request.metadata(), Role::Viewer)?;
        Ok(Response::new(self.queue(request.into_inner()).await?))
    }

    async fn revoke_checkout(
        &self,
        request: Request<v1::RevokeCheckoutRequest>,
    ) -> Result<Response<v1::RevokeCheckoutResponse>, Status> {
        let by = self.demand(request.metadata(), Role::Operator)?;
        Ok(Response::new(self.revoked(&by, request.into_inner()).await?))
    }

    async fn mark_lost(
        &self,
        request: Request<v1::MarkLostRequest>,
    ) -> Result<Response<v1::MarkLostResponse>, Status> {
        let by = self.demand(request.metadata(), Role::Operator)?;
        Ok(Response::new(self.marked_lost(&by, request.into_inner()).await?))
    }

    async fn verify_history(
        &self,
        request: Request<v1::VerifyHistoryRequest>,
    ) -> Result<Response<v1::VerifyHistoryResponse>, Status> {
        self.demand(request.metadata(), Role::Viewer)?;
        Ok(Response::new(self.history_verified().await?))
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let by = self.demand(request.metadata(), Role::Admin)?;
        Ok(Response::new(self.token_created(&by, request.into_inner()).await?))
    }

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        self.demand(request.metadata(), Role::Viewer)?;
        Ok(Response::new(self.tokens().await))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let by = self.demand(request.metadata(), Role::Admin)?;
        Ok(Response::new(self.token_revoked(&by, request.into_inner()).await?))
    }

    async fn who_am_i(
        &self,
        request: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let me = self.demand(request.metadata(), Role::Viewer)?;
        let role = role_to_wire(me.role).into();
        Ok(Response::new(v1::WhoAmIResponse { token_id: me.id, label: me.label, role }))
    }

    async fn drain_node(
        &self,
        request: Request<v1::DrainNodeRequest>,
    ) -> Result<Response<v1::DrainNodeResponse>, Status> {
        let by = self.demand(request.metadata(), Role::Operator)?;
        let shown = shown(request.metadata()).unwrap_or_default().to_owned();
        Ok(Response::new(self.drained(&by, &shown, request.into_inner()).await?))
    }

    type SaveSnapshotStream = BoxStream<'static, Result<v1::SaveSnapshotResponse, Status>>;

    async fn save_snapshot(
        &self,
        request: Request<v1::SaveSnapshotRequest>,
    ) -> Result<Response<Self::SaveSnapshotStream>, Status> {
        let by = self.demand(request.metadata(), Role::Admin)?;
        Ok(Response::new(self.snapshot_saved(&by).await?))
    }

    type ListEventsStream = BoxStream<'static, Result<v1::ListEventsResponse, Status>>;

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<Self::ListEventsStream>, Status> {
        self.demand(request.metadata(), Role::Viewer)?;
        let (metadata, _, request) = request.into_parts();
        let answers = self.events(request).await?;
        Ok(Response::new(while_known(&self.node, &metadata, answers)))
    }
}
