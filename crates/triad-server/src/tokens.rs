//! Administrators' tokens: whose a request is, and what it may ask for.
//!
//! The ledger knows them all by their hashes. The one with which the cluster was
//! founded stands in the configuration of the nodes, and is noted in the ledger
//! with the first that is done by it; from then on the ledger alone decides, and
//! it can be revoked like any other. A node that may be behind does not take it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{BoxStream, unfold};
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;
use tonic::metadata::MetadataMap;
use triad_ledger::{Command, TokenHash, TokenId};
use triad_proto::net::{ChannelParameters, ClientTls, Connector, SharedNetwork, Traffic, channel};
use triad_proto::v1;
use triad_proto::v1::admin_service_client::AdminServiceClient;
use triad_proto::v1::{Reason, Refusal};
use triad_raft::Committed;

pub(crate) use triad_ledger::Role;

use crate::admin_service::Admin;
use crate::config::Config;
use crate::convert;
use crate::init::token_digest;
use crate::node::{Node, PROPOSE_TIMEOUT};
use crate::session_stream::position;

/// The label of the founding token while it is not in the ledger.
const FOUNDING: &str = "founding";
/// How often the token of somebody who listens for long is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Uses that are being noted at once. More are noted when they are seen again.
const NOTING_MAX: usize = 16;
/// When to ask a node again that has not caught up.
const EARLY_RETRY: Duration = Duration::from_millis(500);
/// How long the leader may take to hear of a use.
const TELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Who has shown a token that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    /// The token's id.
    pub(crate) id: String,
    /// Whose it is, in the words of whoever made it: hostile text.
    pub(crate) label: String,
    /// What it may be used for.
    pub(crate) role: Role,
    token: TokenId,
    /// It is the founding token, which the ledger does not know yet.
    founding: Option<TokenHash>,
    /// Its use was not noted for a day.
    is_news: bool,
}

/// Whose token this is, or nobody's. What is read with it is noted in the history
/// once a day.
pub(crate) fn authorize(node: &Node, bearer_token: &str) -> Option<Principal> {
    let principal = recognize(node, bearer_token)?;
    if principal.is_news {
        note_use(node, &principal, bearer_token);
    }
    Some(principal)
}

/// The same without noting the use. Digests are compared, so the time it takes
/// tells nothing useful.
pub(crate) fn recognize(node: &Node, bearer_token: &str) -> Option<Principal> {
    let hash = TokenHash(token_digest(bearer_token));
    let token = TokenId::of(&hash);
    let now = node.now();
    let (known, any) = node.consensus.read(|ledger| {
        let date_ms = now.of(ledger).date_ms;
        let known = ledger.token(token).filter(|known| known.hash == hash);
        let valid = known.filter(|known| known.is_valid_at(date_ms));
        let valid =
            valid.map(|known| (known.role, known.label.to_string(), known.is_use_news(date_ms)));
        (valid, ledger.tokens().next().is_some())
    });
    let id = token.to_string();
    if let Some((role, label, is_news)) = known {
        return Some(Principal { id, label, role, token, founding: None, is_news });
    }
    if any || founding_hash(&node.config) != hash || !node.has_heard_all() {
        return None;
    }
    let (label, role, founding) = (FOUNDING.to_owned(), Role::Admin, Some(hash));
    Some(Principal { id, label, role, token, founding, is_news: true })
}

/// Resolves when this token is known no more: who listens for long is looked at
/// again and again.
pub(crate) async fn until_unknown(node: Arc<Node>, bearer_token: String) {
    while recognize(&node, &bearer_token).is_some() {
        sleep(LOOK_INTERVAL).await;
    }
}

/// What a call is answered with, for as long as the token that was shown is known.
pub(crate) fn while_known<T: Send + 'static>(
    node: &Arc<Node>,
    metadata: &MetadataMap,
    answers: BoxStream<'static, Result<T, Status>>,
) -> BoxStream<'static, Result<T, Status>> {
    let shown = shown(metadata).unwrap_or_default().to_owned();
    let unknown = Box::pin(until_unknown(node.clone(), shown));
    let told = unfold((Some(answers), unknown), |(answers, mut unknown)| async move {
        let mut answers = answers?;
        tokio::select! {
            biased;
            () = &mut unknown => {
                let message = "this administrator token was revoked, or has expired, meanwhile";
                let refused = Err(not_authenticated(message).into_status());
                Some((refused, (None, unknown)))
            }
            answer = answers.next() => Some((answer?, (Some(answers), unknown))),
        }
    });
    told.boxed()
}

/// The token in a header.
pub(crate) fn bearer(header: &str) -> Option<&str> {
    header.strip_prefix("Bearer ")
}

/// The token in the metadata of a call.
pub(crate) fn shown(metadata: &MetadataMap) -> Option<&str> {
    metadata.get("authorization").and_then(|value| value.to_str().ok()).and_then(bearer)
}

/// Whose token is in the metadata of a call, if his role is enough.
///
/// # Errors
///
/// No token, one that is not known, or one with a lower role.
pub(crate) fn demand(
    node: &Node,
    metadata: &MetadataMap,
    needed: Role,
) -> Result<Principal, Refusal> {
    let Some(shown) = shown(metadata) else {
        return Err(not_authenticated("this needs an administrator token"));
    };
    let Some(principal) = authorize(node, shown) else {
        let hash = TokenHash(token_digest(shown));
        if founding_hash(&node.config) == hash && !node.has_heard_all() {
            let message = "this node does not know yet whether this token is still good: it has \
                           not heard everything from a leader";
            return Err(Refusal::because(Reason::NotReady, message).retry_after(EARLY_RETRY));
        }
        return Err(not_authenticated(
            "this administrator token is not known here: it was never made, was revoked, or has \
             expired",
        ));
    };
    if principal.role < needed {
        let Principal { id, role, .. } = &principal;
        let message = format!("this needs the role {needed}, and token {id} has the role {role}");
        return Err(role_needed(Refusal::because(Reason::RoleNeeded, message), needed));
    }
    Ok(principal)
}

pub(crate) fn not_authenticated(message: &str) -> Refusal {
    Refusal::because(Reason::NotAuthenticated, message).with_remedy(
        "give the token that \"triad init\" wrote to admin.token, or one of \"triad token \
         create\": --token-file FILE",
    )
}

/// The same with what to do about it.
pub(crate) fn role_needed(refusal: Refusal, needed: Role) -> Refusal {
    refusal.with_remedy(format!("use a token with the role {needed}: triad token list"))
}

fn founding_hash(config: &Config) -> TokenHash {
    let mut hash = [0; 32];
    for (byte, at) in hash.iter_mut().zip((0..).step_by(2)) {
        // The configuration was read: these are 64 hexadecimal digits.
        let digits = config.admin_token_sha256.get(at..at + 2).unwrap_or_default();
        *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
    }
    TokenHash(hash)
}

/// How a node tells the leader of a use, and what it is telling.
pub(crate) struct Telling {
    network: SharedNetwork,
    tls: Option<ClientTls>,
    noting: Mutex<BTreeSet<TokenId>>,
}

impl Telling {
    pub(crate) fn new(network: SharedNetwork, tls: Option<ClientTls>) -> Self {
        Telling { network, tls, noting: Mutex::default() }
    }

    /// Asks the leader whose token this is; it notes the use.
    async fn ask(
        &self,
        (leader, host_port): (u64, String),
        bearer_token: &str,
    ) -> Result<v1::WhoAmIResponse, Status> {
        let authorization = format!("Bearer {}", bearer_token.trim()).parse();
        let authorization = authorization
            .map_err(|_| not_authenticated("this is no administrator token").into_status())?;
        let tls = self.tls.as_ref().map(|tls| tls.for_node(leader));
        let connector = Connector::new(self.network.clone(), tls);
        let parameters = ChannelParameters {
            host_port,
            connector: connector.with_connect_timeout(TELL_TIMEOUT),
            traffic: Traffic::Clients,
            call_timeout: None,
        };
        let unreachable = |what: String| {
            let message = format!("node {leader}, the leader, cannot be asked: {what}");
            Refusal::because(Reason::NodeUnreachable, message).into_status()
        };
        let asking = async {
            let channel =
                channel(parameters).await.map_err(|error| unreachable(error.to_string()))?;
            let mut request = tonic::Request::new(v1::WhoAmIRequest {});
            request.metadata_mut().insert("authorization", authorization);
            AdminServiceClient::new(channel).who_am_i(request).await
        };
        match timeout(TELL_TIMEOUT, asking).await {
            Ok(answer) => Ok(answer?.into_inner()),
            Err(_) => Err(unreachable(format!("no answer in {TELL_TIMEOUT:?}"))),
        }
    }

    fn noting(&self) -> std::sync::MutexGuard<'_, BTreeSet<TokenId>> {
        self.noting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes a use beside everything else. Nobody waits for it: what cannot be noted
/// now is noted with the next use.
fn note_use(node: &Node, principal: &Principal, bearer_token: &str) {
    let telling = node.telling.clone();
    let token = principal.token;
    {
        let mut noting = telling.noting();
        if noting.len() >= NOTING_MAX || !noting.insert(token) {
            return;
        }
    }
    let consensus = node.consensus.clone();
    if node.leading_term().is_some() {
        let mut commands: Vec<_> =
            principal.founding.map(|hash| Command::FoundToken { hash }).into_iter().collect();
        commands.push(Command::NoteUse { token });
        tokio::spawn(async move {
            let noted = consensus.propose(commands, Instant::now() + PROPOSE_TIMEOUT).await;
            telling.noting().remove(&token);
            if let Err(error) = noted {
                tracing::debug!(%token, %error, "the use of a token could not be noted");
            }
        });
        return;
    }
    let leader = leader_address(node);
    let bearer_token = bearer_token.to_owned();
    tokio::spawn(async move {
        if let Some(leader) = leader
            && let Err(status) = telling.ask(leader, &bearer_token).await
        {
            tracing::debug!(%token, %status, "the leader could not be told of the use of a token");
        }
        telling.noting().remove(&token);
    });
}

/// Who leads, and where it is asked.
fn leader_address(node: &Node) -> Option<(u64, String)> {
    let leader = node.consensus.leadership().leader?;
    Some((leader, node.consensus.client_address(leader)?))
}

/// Asks the leader whether a token is good for something: this node may be behind.
///
/// # Errors
///
/// It is not, or there is no leader who says so.
pub(crate) async fn confirmed_by_leader(
    node: &Node,
    bearer_token: &str,
    needed: Role,
) -> Result<(), Refusal> {
    let Some(leader) = leader_address(node) else { return Err(node.no_quorum()) };
    let asked = node.telling.ask(leader, bearer_token).await;
    let me = asked.map_err(|status| Refusal::from_status(&status))?;
    let has = match me.role() {
        v1::TokenRole::Admin => Some(Role::Admin),
        v1::TokenRole::Operator => Some(Role::Operator),
        v1::TokenRole::Viewer => Some(Role::Viewer),
        v1::TokenRole::Unspecified => None,
    };
    match has {
        Some(role) if role >= needed => Ok(()),
        _ => {
            let message = format!("this needs the role {needed}, which the leader does not see");
            Err(role_needed(Refusal::because(Reason::RoleNeeded, message), needed))
        }
    }
}

impl Node {
    /// Whether a ledger without tokens is the cluster's, and not one that is behind:
    /// this node leads, or hears who does and has applied all that it was sent.
    fn has_heard_all(&self) -> bool {
        if self.leading_term().is_some() {
            return true;
        }
        let view = self.consensus.view();
        view.leadership.leader.is_some() && view.applied_index >= view.last_index
    }

    /// Proposes a command for somebody who has shown a token. The ledger looks at
    /// the token once more.
    pub(crate) async fn propose_by(
        &self,
        principal: &Principal,
        command: Command,
    ) -> Result<Committed, Refusal> {
        let mut commands: Vec<_> =
            principal.founding.map(|hash| Command::FoundToken { hash }).into_iter().collect();
        let before = commands.len();
        commands.push(Command::By { token: principal.token, command: Box::new(command) });
        let mut committed = self.propose(commands).await?;
        committed.answers.drain(..before.min(committed.answers.len()));
        Ok(committed)
    }
}

impl Admin {
    /// Whose token is in the metadata of a call, if his role is enough.
    pub(crate) fn demand(&self, metadata: &MetadataMap, role: Role) -> Result<Principal, Refusal> {
        demand(&self.node, metadata, role)
    }

    /// Notes what somebody did to the cluster.
    pub(crate) async fn note_deed(&self, by: &Principal, what: String) -> Result<(), Refusal> {
        let what = convert::reason(&what)?;
        self.done(by, Command::NoteDeed { what }).await.map(|_| ())
    }

    pub(crate) async fn token_created(
        &self,
        by: &Principal,
        request: v1::CreateTokenRequest,
    ) -> Result<v1::CreateTokenResponse, Refusal> {
        let invalid = |message: &str| Refusal::because(Reason::InvalidRequest, message);
        let hash = request.sha256.as_slice().try_into().map(TokenHash);
        let hash = hash.map_err(|_| invalid("sha256: 32 bytes are wanted"))?;
        let role = match request.role() {
            v1::TokenRole::Viewer => Role::Viewer,
            v1::TokenRole::Operator => Role::Operator,
            v1::TokenRole::Admin => Role::Admin,
            v1::TokenRole::Unspecified => return Err(invalid("role: not given")),
        };
        let label = convert::label(&request.label)?;
        let expires_ms = (request.expires_ms > 0).then_some(request.expires_ms);
        if expires_ms.is_some_and(|expires_ms| expires_ms <= self.node.consensus.date_ms()) {
            return Err(invalid("expires_ms: it is in the past"));
        }
        let command = Command::CreateToken { hash, role, label, expires_ms };
        let committed = self.node.propose_by(by, command).await?;
        let position = Some(position(&committed));
        let changed = match committed.answers.into_iter().next() {
            Some(Ok(triad_ledger::Outcome::Void)) => false,
            Some(answer) => answer.map_err(|denial| convert::denial(&denial)).map(|_| true)?,
            None => return Err(Refusal::because(Reason::Internal, "no answer to a token")),
        };
        let token_id = TokenId::of(&hash).to_string();
        Ok(v1::CreateTokenResponse { token_id, changed, position })
    }

    pub(crate) async fn tokens(&self) -> v1::ListTokensResponse {
        let now = self.node.now();
        let founding = founding_hash(&self.node.config);
        let (freshness, tokens) = self
            .read(|ledger| {
                let date_ms = now.of(ledger).date_ms;
                let tokens: Vec<_> =
                    ledger.tokens().map(|(id, token)| info(id, token, date_ms)).collect();
                if !tokens.is_empty() {
                    return tokens;
                }
                vec![v1::TokenInfo {
                    token_id: TokenId::of(&founding).to_string(),
                    label: FOUNDING.to_owned(),
                    role: v1::TokenRole::Admin.into(),
                    ..v1::TokenInfo::default()
                }]
            })
            .await;
        v1::ListTokensResponse { freshness: Some(freshness), tokens }
    }

    pub(crate) async fn token_revoked(
        &self,
        by: &Principal,
        request: v1::RevokeTokenRequest,
    ) -> Result<v1::RevokeTokenResponse, Refusal> {
        let token = TokenId::parse(&request.token_id).ok_or_else(|| {
            let message = "token_id: 12 hexadecimal digits are wanted";
            Refusal::because(Reason::InvalidRequest, message)
                .with_remedy("see the ids: triad token list")
        })?;
        let position = self.done(by, Command::RevokeToken { token }).await?;
        Ok(v1::RevokeTokenResponse { position: Some(position) })
    }
}

fn info(id: TokenId, token: &triad_ledger::Token, date_ms: u64) -> v1::TokenInfo {
    v1::TokenInfo {
        token_id: id.to_string(),
        label: token.label.to_string(),
        role: role_to_wire(token.role).into(),
        created_ms: token.created_ms,
        expires_ms: token.expires_ms.unwrap_or(0),
        used_ms: token.used_ms.unwrap_or(0),
        expired: !token.is_valid_at(date_ms),
    }
}

/// A role in the words of the wire.
pub(crate) fn role_to_wire(role: Role) -> v1::TokenRole {
    match role {
        Role::Viewer => v1::TokenRole::Viewer,
        Role::Operator => v1::TokenRole::Operator,
        Role::Admin => v1::TokenRole::Admin,
    }
}
