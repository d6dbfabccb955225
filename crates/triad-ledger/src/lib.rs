//! Who holds which seat: the state machine that the nodes of a Triad cluster
//! replicate.
//!
//! [`Ledger::apply`] takes one committed command at a time and answers it. The
//! answer depends on the ledger, the stamp and the command, and on nothing
//! else: no clock, no chance, no input or output, no floating point and no
//! container whose order varies. So three nodes that apply the same log hold
//! the same bytes, and [`Ledger::state_hash`] proves it.
//!
//! It knows nothing of Raft, sockets or files. Names are checked before they
//! get here ([`names`]); rights are verified before they get here
//! ([`rights`]).
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod audit;
mod choice;
mod codec;
mod command;
mod dates;
mod denial;
mod ended;
mod events;
mod few;
mod labels;
mod ledger;
#[cfg(not(all(feature = "seeded-bugs", debug_assertions)))]
mod mutation;
#[cfg(all(feature = "seeded-bugs", debug_assertions))]
pub mod mutation;
pub mod names;
pub mod policy;
mod pools;
mod queue;
mod record;
mod reservations;
pub mod rights;
mod rulebook;
mod rules;
mod sessions;
mod shares;
mod table;
mod takeover;
mod tokens;

pub use audit::{Audit, Auditor, FAULTS_MAX};
pub use codec::{CodecError, decode_commands, decode_event, encode_commands, encode_event};
pub use command::{
    Answer, At, BLOCKS_MAX, CHECKOUTS_MAX, CHECKOUTS_PER_SESSION_MAX, Command, Grant, GrantedItem,
    GrantedTokens, HOSTIDS_MAX, HeldTokens, Holder, ITEMS_MAX, Item, Outcome, QUEUE_MAX,
    QUEUED_PER_SESSION_MAX, QueueWait, SESSIONS_MAX, Silence, UNACKNOWLEDGED_MAX,
};
pub use denial::{Bound, Denial, FreeSeats};
pub use ended::ENDED_SESSIONS_MAX;
pub use events::{ChainHash, EndReason, Event, Happening, PoolUse};
pub use few::Few;
pub use ledger::{Asked, Checkout, HeldItem, Ledger, Stay, Step, Verdict};
pub use pools::{Pool, PoolKey};
pub use queue::Waiting;
pub use record::{Change, RecordKey, StateHash};
#[cfg(all(feature = "seeded-bugs", debug_assertions))]
pub use rules::know_rules;
pub use rules::{RULES, RULES_MIN, SUSPECTS_SINCE, rules_known};
pub use sessions::{CheckoutIds, Session};
pub use takeover::{EPOCH_MAX, EPOCH_NUMBERS, TAKEOVER_SESSIONS_MAX, Takeover};
pub use tokens::{Actor, Role, TOKENS_MAX, Token, TokenHash, TokenId};
