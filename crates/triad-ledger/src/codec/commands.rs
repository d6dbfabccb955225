//! Commands, as they stand in the log: a batch of them is one entry.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use prost::Message;

use super::parts::{
    HolderMessage, ItemMessage, list, session, silence, silence_code, unlist_tight,
};
use super::policies::PolicyMessage;
use super::records::{
    LicenseMessage, decode_checkout, decode_session, encode_checkout, encode_session,
};
use super::tokens::{role, role_code, token_hash, token_id};
use super::{CodecError, Result, counted, since_rules};
use crate::command::{Command, HOSTIDS_MAX, ITEMS_MAX, QueueWait};
use crate::ledger::Stay;
use crate::names::{CheckoutId, FeatureName, Label, PoolId, RequestId};
use crate::policy::{GROUPS_MAX, MEMBERS_MAX, RULES_MAX};
use crate::record::{RecordKey, StateHash};
use crate::rights::LINES_MAX;
use crate::rules::{RULES, SUSPECTS_SINCE, rules_known};
use crate::takeover::{EPOCH_MAX, EPOCH_NUMBERS, TAKEOVER_SESSIONS_MAX, Takeover};

#[derive(Clone, PartialEq, prost::Message)]
struct BatchMessage {
    #[prost(message, repeated, tag = "1")]
    commands: Vec<CommandMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CommandMessage {
    #[prost(
        oneof = "Kind",
        tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, \
                24, 25"
    )]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(message, tag = "1")]
    Open(OpenMessage),
    #[prost(message, tag = "2")]
    Checkout(CheckoutCommand),
    #[prost(message, tag = "3")]
    Checkin(CheckinCommand),
    #[prost(message, tag = "4")]
    Close(SessionMessage),
    #[prost(message, tag = "5")]
    End(EndMessage),
    #[prost(message, tag = "6")]
    Install(LicenseMessage),
    #[prost(message, tag = "7")]
    Tick(TickMessage),
    #[prost(message, tag = "8")]
    Compare(CompareMessage),
    #[prost(message, tag = "9")]
    SetPolicy(PolicyMessage),
    #[prost(message, tag = "10")]
    Borrow(BorrowCommand),
    #[prost(message, tag = "11")]
    Cancel(CancelMessage),
    #[prost(message, tag = "12")]
    Idle(IdleMessage),
    #[prost(message, tag = "13")]
    Revoke(RevokeMessage),
    /// The checkout.
    #[prost(uint64, tag = "14")]
    MarkLost(u64),
    #[prost(message, tag = "15")]
    BeginEpoch(BeginEpochMessage),
    #[prost(message, tag = "16")]
    Adopt(TakeoverMessage),
    /// The hash.
    #[prost(bytes = "vec", tag = "17")]
    FoundToken(Vec<u8>),
    #[prost(message, tag = "18")]
    CreateToken(CreateTokenMessage),
    /// The id.
    #[prost(bytes = "vec", tag = "19")]
    RevokeToken(Vec<u8>),
    /// The id.
    #[prost(bytes = "vec", tag = "20")]
    NoteUse(Vec<u8>),
    /// In words.
    #[prost(string, tag = "21")]
    NoteDeed(String),
    #[prost(message, tag = "22")]
    By(Box<ByMessage>),
    /// The rules.
    #[prost(uint32, tag = "23")]
    RaiseRules(u32),
    #[prost(message, tag = "24")]
    Suspect(SuspectMessage),
    #[prost(message, tag = "25")]
    Unsuspect(SessionMessage),
}

#[derive(Clone, PartialEq, prost::Message)]
struct CreateTokenMessage {
    #[prost(bytes = "vec", tag = "1")]
    hash: Vec<u8>,
    #[prost(uint32, tag = "2")]
    role: u32,
    #[prost(string, tag = "3")]
    label: String,
    #[prost(uint64, optional, tag = "4")]
    expires_ms: Option<u64>,
}

/// A command with the token of who asks for it.
#[derive(Clone, PartialEq, prost::Message)]
struct ByMessage {
    #[prost(bytes = "vec", tag = "1")]
    token: Vec<u8>,
    #[prost(message, optional, boxed, tag = "2")]
    command: Option<Box<CommandMessage>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct BeginEpochMessage {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(uint64, tag = "2")]
    adopted: u64,
    #[prost(bool, tag = "3")]
    restored: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TakeoverMessage {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(message, repeated, tag = "3")]
    pools: Vec<PoolFeatureMessage>,
    /// Sessions and checkouts, as they are recorded.
    #[prost(message, repeated, tag = "4")]
    records: Vec<RecordMessage>,
    #[prost(uint64, repeated, tag = "5")]
    released: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PoolFeatureMessage {
    #[prost(uint32, tag = "1")]
    pool: u32,
    #[prost(string, tag = "2")]
    feature: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RecordMessage {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

impl From<&Takeover> for TakeoverMessage {
    fn from(takeover: &Takeover) -> Self {
        let record = |key: RecordKey, value| RecordMessage { key: key.to_bytes(), value };
        let sessions = takeover.sessions.iter();
        let sessions = sessions.map(|(id, s)| record(RecordKey::Session(*id), encode_session(s)));
        let checkouts = takeover.checkouts.iter();
        let checkouts =
            checkouts.map(|(id, c)| record(RecordKey::Checkout(*id), encode_checkout(c)));
        let pool = |(id, feature): (&PoolId, &FeatureName)| PoolFeatureMessage {
            pool: id.0,
            feature: feature.to_string(),
        };
        TakeoverMessage {
            epoch: takeover.epoch,
            pools: takeover.pools.iter().map(pool).collect(),
            records: sessions.chain(checkouts).collect(),
            released: takeover.released.iter().map(|id| id.0).collect(),
        }
    }
}

impl TryFrom<TakeoverMessage> for Takeover {
    type Error = CodecError;

    fn try_from(m: TakeoverMessage) -> Result<Self> {
        let mut takeover = Takeover { epoch: m.epoch, ..Takeover::default() };
        if m.epoch == 0 || m.epoch > EPOCH_MAX {
            return Err(CodecError::Counters);
        }
        for pool in m.pools {
            takeover.pools.insert(PoolId(pool.pool), FeatureName::parse(&pool.feature)?);
        }
        for RecordMessage { key, value } in m.records {
            match RecordKey::from_bytes(&key).ok_or(CodecError::Key)? {
                RecordKey::Session(id) => {
                    takeover.sessions.insert(id, decode_session(&value)?);
                }
                RecordKey::Checkout(id) => {
                    takeover.checkouts.insert(id, decode_checkout(&value)?);
                }
                _ => return Err(CodecError::Key),
            }
        }
        // Numbers that no epoch so far gave out.
        let beyond = (m.epoch + 1) * EPOCH_NUMBERS;
        if takeover.checkouts.keys().any(|id| id.0 >= beyond) {
            return Err(CodecError::Counters);
        }
        counted("sessions of a takeover", takeover.sessions.len(), 0..=TAKEOVER_SESSIONS_MAX)?;
        for (id, checkout) in &mut takeover.checkouts {
            counted("items in a checkout", checkout.items.len(), 1..=ITEMS_MAX)?;
            if checkout.stay == Stay::Live {
                let open = takeover.sessions.get_mut(&checkout.session);
                let open = open.ok_or(CodecError::Orphan)?;
                open.checkouts.insert(*id);
                checkout.holder = open.holder.clone();
            }
        }
        takeover.released = m.released.into_iter().map(CheckoutId).collect();
        Ok(takeover)
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct BorrowCommand {
    #[prost(message, optional, tag = "1")]
    checkout: Option<CheckoutCommand>,
    #[prost(uint64, tag = "2")]
    until_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CancelMessage {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(uint64, tag = "2")]
    request: u64,
    #[prost(bool, tag = "3")]
    answered: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct IdleMessage {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(uint64, optional, tag = "2")]
    since_ms: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RevokeMessage {
    #[prost(uint64, tag = "1")]
    checkout: u64,
    #[prost(string, tag = "2")]
    reason: String,
    #[prost(uint64, tag = "3")]
    block_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WaitMessage {
    #[prost(uint32, optional, tag = "1")]
    priority: Option<u32>,
    #[prost(uint64, optional, tag = "2")]
    timeout_ms: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct OpenMessage {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    holder: Option<HolderMessage>,
    #[prost(uint64, tag = "3")]
    lease_ms: u64,
    #[prost(bool, tag = "4")]
    resume: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CheckoutCommand {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(uint64, tag = "2")]
    request: u64,
    #[prost(uint64, tag = "3")]
    answered_through: u64,
    #[prost(message, repeated, tag = "4")]
    items: Vec<ItemMessage>,
    #[prost(message, optional, tag = "5")]
    wait: Option<WaitMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CheckinCommand {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(uint64, tag = "2")]
    request: u64,
    #[prost(uint64, tag = "3")]
    answered_through: u64,
    #[prost(uint64, tag = "4")]
    checkout: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SessionMessage {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EndMessage {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(uint32, tag = "3")]
    silence: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SuspectMessage {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(uint64, tag = "2")]
    term: u64,
    /// In cluster time.
    #[prost(uint64, tag = "3")]
    since_ms: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TickMessage {}

#[derive(Clone, PartialEq, prost::Message)]
struct CompareMessage {
    #[prost(uint64, tag = "1")]
    index: u64,
    #[prost(bytes = "vec", tag = "2")]
    hash: Vec<u8>,
}

/// The commands of one log entry as bytes.
///
/// # Panics
///
/// If a checkout has no items or more than [`ITEMS_MAX`], or a license more
/// than [`LINES_MAX`] lines, or a policy more than [`RULES_MAX`] rules,
/// [`GROUPS_MAX`] groups or [`MEMBERS_MAX`] members, or a client more than
/// [`HOSTIDS_MAX`] host ids, or the rules are not known. Once in the log no node could read it again, so it
/// must not get there; the edge refuses it.
pub fn encode_commands(commands: &[Command]) -> Vec<u8> {
    for command in commands {
        assert_readable(command);
    }
    BatchMessage { commands: list(commands) }.encode_to_vec()
}

fn assert_readable(command: &Command) {
    match command {
        Command::By { command, .. } => {
            assert!(!matches!(**command, Command::By { .. }), "asked for in two names");
            assert_readable(command);
        }
        Command::Checkout { items, .. } | Command::Borrow { items, .. } => {
            assert!((1..=ITEMS_MAX).contains(&items.len()), "{} items", items.len());
        }
        Command::Install { license } => {
            assert!(license.lines.len() <= LINES_MAX, "{} lines", license.lines.len());
        }
        Command::Open { holder, .. } => {
            assert!(holder.hostids.len() <= HOSTIDS_MAX, "{} host ids", holder.hostids.len());
        }
        Command::Adopt { takeover } => {
            let sessions = takeover.session_count();
            assert!(sessions <= TAKEOVER_SESSIONS_MAX, "{sessions} sessions");
        }
        Command::RaiseRules { rules } => assert!(*rules <= RULES, "rules {rules}"),
        Command::SetPolicy { policy } => {
            assert!(policy.rules.len() <= RULES_MAX, "{} rules", policy.rules.len());
            let groups = policy.groups.len() + policy.host_groups.len();
            assert!(groups <= GROUPS_MAX, "{groups} groups");
            let members = policy.member_count();
            assert!(members <= MEMBERS_MAX, "{members} members");
        }
        _ => {}
    }
}

/// The inverse of [`encode_commands`].
///
/// # Errors
///
/// Bytes that are no such list, a command that this version does not know, or
/// one that is beyond its bounds.
pub fn decode_commands(bytes: &[u8]) -> Result<Vec<Command>> {
    unlist_tight(BatchMessage::decode(bytes)?.commands)
}

impl From<&Command> for CommandMessage {
    fn from(command: &Command) -> Self {
        let kind = match command {
            Command::Open { session, holder, lease_ms, resume } => Kind::Open(OpenMessage {
                session: session.0.to_vec(),
                holder: Some(holder.into()),
                lease_ms: *lease_ms,
                resume: *resume,
            }),
            Command::Checkout { session, request, answered_through, items, wait } => {
                Kind::Checkout(CheckoutCommand {
                    session: session.0.to_vec(),
                    request: request.0,
                    answered_through: answered_through.0,
                    items: list(items),
                    wait: wait.map(|wait| WaitMessage {
                        priority: wait.priority,
                        timeout_ms: wait.timeout_ms,
                    }),
                })
            }
            Command::SetPolicy { policy } => Kind::SetPolicy(policy.into()),
            Command::Borrow { session, request, answered_through, items, until_ms } => {
                Kind::Borrow(BorrowCommand {
                    checkout: Some(CheckoutCommand {
                        session: session.0.to_vec(),
                        request: request.0,
                        answered_through: answered_through.0,
                        items: list(items),
                        wait: None,
                    }),
                    until_ms: *until_ms,
                })
            }
            Command::Cancel { session, request, answered } => Kind::Cancel(CancelMessage {
                session: session.0.to_vec(),
                request: request.0,
                answered: *answered,
            }),
            Command::Idle { session, since_ms } => {
                Kind::Idle(IdleMessage { session: session.0.to_vec(), since_ms: *since_ms })
            }
            Command::Revoke { checkout, reason, block_ms } => Kind::Revoke(RevokeMessage {
                checkout: checkout.0,
                reason: reason.to_string(),
                block_ms: *block_ms,
            }),
            Command::MarkLost { checkout } => Kind::MarkLost(checkout.0),
            Command::Checkin { session, request, answered_through, checkout } => {
                Kind::Checkin(CheckinCommand {
                    session: session.0.to_vec(),
                    request: request.0,
                    answered_through: answered_through.0,
                    checkout: checkout.0,
                })
            }
            Command::Close { session } => {
                Kind::Close(SessionMessage { session: session.0.to_vec() })
            }
            Command::End { session, term, silence } => Kind::End(EndMessage {
                session: session.0.to_vec(),
                term: *term,
                silence: silence_code(*silence),
            }),
            Command::Suspect { session, term, since_ms } => Kind::Suspect(SuspectMessage {
                session: session.0.to_vec(),
                term: *term,
                since_ms: *since_ms,
            }),
            Command::Unsuspect { session } => {
                Kind::Unsuspect(SessionMessage { session: session.0.to_vec() })
            }
            Command::Install { license } => Kind::Install(license.into()),
            Command::BeginEpoch { epoch, adopted, restored } => {
                let (epoch, adopted, restored) = (*epoch, *adopted, *restored);
                Kind::BeginEpoch(BeginEpochMessage { epoch, adopted, restored })
            }
            Command::Adopt { takeover } => Kind::Adopt((&**takeover).into()),
            Command::FoundToken { hash } => Kind::FoundToken(hash.0.to_vec()),
            Command::CreateToken { hash, role, label, expires_ms } => {
                Kind::CreateToken(CreateTokenMessage {
                    hash: hash.0.to_vec(),
                    role: role_code(*role),
                    label: label.to_string(),
                    expires_ms: *expires_ms,
                })
            }
            Command::RevokeToken { token } => Kind::RevokeToken(token.0.to_vec()),
            Command::NoteUse { token } => Kind::NoteUse(token.0.to_vec()),
            Command::NoteDeed { what } => Kind::NoteDeed(what.to_string()),
            Command::By { token, command } => Kind::By(Box::new(ByMessage {
                token: token.0.to_vec(),
                command: Some(Box::new((&**command).into())),
            })),
            Command::RaiseRules { rules } => Kind::RaiseRules(*rules),
            Command::Tick => Kind::Tick(TickMessage {}),
            Command::Compare { index, hash } => {
                Kind::Compare(CompareMessage { index: *index, hash: hash.0.to_vec() })
            }
        };
        CommandMessage { kind: Some(kind) }
    }
}

impl TryFrom<CommandMessage> for Command {
    type Error = CodecError;

    fn try_from(m: CommandMessage) -> Result<Self> {
        let unknown = || CodecError::UnknownCommand { known: rules_known() };
        Ok(match m.kind.ok_or_else(unknown)? {
            Kind::Open(m) => Command::Open {
                session: session(&m.session)?,
                holder: m.holder.unwrap_or_default().try_into()?,
                lease_ms: m.lease_ms,
                resume: m.resume,
            },
            Kind::Checkout(m) => {
                counted("items in a checkout", m.items.len(), 1..=ITEMS_MAX)?;
                Command::Checkout {
                    session: session(&m.session)?,
                    request: RequestId(m.request),
                    answered_through: RequestId(m.answered_through),
                    items: unlist_tight(m.items)?,
                    wait: m.wait.map(|wait| QueueWait {
                        priority: wait.priority,
                        timeout_ms: wait.timeout_ms,
                    }),
                }
            }
            Kind::SetPolicy(m) => Command::SetPolicy { policy: m.try_into()? },
            Kind::Borrow(m) => {
                let until_ms = m.until_ms;
                let m = m.checkout.ok_or(CodecError::Unknown("borrowing"))?;
                counted("items in a checkout", m.items.len(), 1..=ITEMS_MAX)?;
                Command::Borrow {
                    session: session(&m.session)?,
                    request: RequestId(m.request),
                    answered_through: RequestId(m.answered_through),
                    items: unlist_tight(m.items)?,
                    until_ms,
                }
            }
            Kind::Cancel(m) => Command::Cancel {
                session: session(&m.session)?,
                request: RequestId(m.request),
                answered: m.answered,
            },
            Kind::Idle(m) => Command::Idle { session: session(&m.session)?, since_ms: m.since_ms },
            Kind::Revoke(m) => Command::Revoke {
                checkout: CheckoutId(m.checkout),
                reason: Label::parse(&m.reason)?,
                block_ms: m.block_ms,
            },
            Kind::MarkLost(checkout) => Command::MarkLost { checkout: CheckoutId(checkout) },
            Kind::Checkin(m) => Command::Checkin {
                session: session(&m.session)?,
                request: RequestId(m.request),
                answered_through: RequestId(m.answered_through),
                checkout: CheckoutId(m.checkout),
            },
            Kind::Close(m) => Command::Close { session: session(&m.session)? },
            Kind::End(m) => Command::End {
                session: session(&m.session)?,
                term: m.term,
                silence: silence(m.silence)?,
            },
            Kind::Suspect(_) | Kind::Unsuspect(_) if rules_known() < SUSPECTS_SINCE => {
                return Err(unknown());
            }
            Kind::Suspect(m) => Command::Suspect {
                session: session(&m.session)?,
                term: m.term,
                since_ms: m.since_ms,
            },
            Kind::Unsuspect(m) => Command::Unsuspect { session: session(&m.session)? },
            Kind::Install(m) => Command::Install { license: m.try_into()? },
            Kind::BeginEpoch(m) => {
                Command::BeginEpoch { epoch: m.epoch, adopted: m.adopted, restored: m.restored }
            }
            Kind::Adopt(m) => Command::Adopt { takeover: Box::new(m.try_into()?) },
            Kind::FoundToken(hash) => Command::FoundToken { hash: token_hash(&hash)? },
            Kind::CreateToken(m) => Command::CreateToken {
                hash: token_hash(&m.hash)?,
                role: role(m.role)?,
                label: Label::parse(&m.label)?,
                expires_ms: m.expires_ms,
            },
            Kind::RevokeToken(token) => Command::RevokeToken { token: token_id(&token)? },
            Kind::NoteUse(token) => Command::NoteUse { token: token_id(&token)? },
            Kind::NoteDeed(what) => Command::NoteDeed { what: Label::parse(&what)? },
            Kind::By(m) => {
                let token = token_id(&m.token)?;
                let message = *m.command.ok_or(CodecError::Unknown("command"))?;
                // One name is under a change, and reading goes no deeper.
                if matches!(message.kind, Some(Kind::By(_))) {
                    return Err(CodecError::Unknown("name under a change"));
                }
                Command::By { token, command: Box::new(message.try_into()?) }
            }
            Kind::RaiseRules(rules) => {
                since_rules(rules)?;
                Command::RaiseRules { rules }
            }
            Kind::Tick(TickMessage {}) => Command::Tick,
            Kind::Compare(m) => Command::Compare {
                index: m.index,
                hash: m.hash.try_into().map(StateHash).map_err(|_| CodecError::Unknown("hash"))?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{format, slice, vec};

    use super::*;
    use crate::command::Item;
    use crate::names::{FeatureName, Seats, SessionId, Version};
    use crate::rights::License;

    #[test]
    fn an_unknown_command_is_refused_not_skipped() {
        let bytes = BatchMessage { commands: vec![CommandMessage { kind: None }] }.encode_to_vec();
        let error = decode_commands(&bytes).expect_err("it is not known");
        assert_eq!(error, CodecError::UnknownCommand { known: RULES });
        assert!(error.is_newer());
    }

    #[test]
    fn newer_rules_are_refused_before_they_are_applied() {
        let raise = |rules| written(&Command::RaiseRules { rules });
        assert_eq!(decode_commands(&raise(RULES)), Ok(vec![Command::RaiseRules { rules: RULES }]));
        let (needed, known) = (RULES + 1, RULES);
        let error = decode_commands(&raise(needed)).expect_err("it is not known");
        assert_eq!(error, CodecError::NewerRules { needed, known });
        assert!(error.is_newer());
    }

    fn checkout(items: usize) -> Command {
        let feature = FeatureName::parse("cad").expect("good");
        let item = Item { feature, version: Version::default(), seats: Seats::MIN };
        Command::Checkout {
            session: SessionId([1; 16]),
            request: RequestId(1),
            answered_through: RequestId(0),
            items: vec![item; items],
            wait: None,
        }
    }

    fn install(lines: usize) -> Command {
        let mut license = License::of_two("cad");
        license.lines = vec![license.lines[0].clone(); lines];
        Command::Install { license }
    }

    /// As another program might have written it.
    fn written(command: &Command) -> Vec<u8> {
        BatchMessage { commands: vec![command.into()] }.encode_to_vec()
    }

    #[test]
    fn commands_beyond_their_bounds_are_refused() {
        for command in [checkout(1), checkout(ITEMS_MAX), install(0), install(LINES_MAX)] {
            assert_eq!(
                decode_commands(&encode_commands(slice::from_ref(&command))),
                Ok(vec![command])
            );
        }
        let message = |command| match decode_commands(&written(&command)) {
            Err(error @ CodecError::Count { .. }) => error.to_string(),
            other => panic!("not refused: {other:?}"),
        };
        let bounds = "1 to 64 are allowed";
        assert_eq!(message(checkout(0)), format!("0 items in a checkout, {bounds}"));
        assert_eq!(message(checkout(65)), format!("65 items in a checkout, {bounds}"));
        let bounds = "0 to 10000 are allowed";
        assert_eq!(message(install(10_001)), format!("10001 lines in a license, {bounds}"));
    }

    #[test]
    #[should_panic(expected = "65 items")]
    fn a_checkout_that_nobody_could_read_is_not_written() {
        encode_commands(&[checkout(ITEMS_MAX + 1)]);
    }

    #[test]
    #[should_panic(expected = "10001 lines")]
    fn a_license_that_nobody_could_read_is_not_written() {
        encode_commands(&[install(LINES_MAX + 1)]);
    }
}
