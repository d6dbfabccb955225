//! What a request can be told, in as many words as a client sees.

use triad_ledger::{Answer, Denial, Outcome};
use triad_proto::v1;
use triad_proto::v1::Reason;
use triad_proto::v1::session_event::Event;

/// Seats by feature, in the order of the request.
pub type Items = Vec<(String, u64)>;

/// The answer to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Seats, under this number.
    Granted {
        /// The ledger's number for them.
        checkout: u64,
        /// What is held.
        items: Items,
    },
    /// Seats to be used without a server.
    Borrowed {
        /// The ledger's number for them.
        checkout: u64,
        /// What is lent.
        items: Items,
        /// Until when, ms since 1970 UTC.
        until_ms: u64,
    },
    /// No, and why.
    Denied(Reason),
    /// It waits at this place, from 1.
    Queued {
        /// The place.
        place: u64,
    },
    /// A checkout is back.
    Returned {
        /// Whether it was held until now.
        was_held: bool,
    },
    /// A request waits no longer.
    Cancelled {
        /// Whether it waited until now.
        was_queued: bool,
    },
    /// A session is open and holds these.
    Opened {
        /// The numbers of what it holds, in order.
        checkouts: Vec<u64>,
    },
    /// A session is over.
    Ended {
        /// Whether it was open until now.
        was_open: bool,
    },
    /// A license or a policy is in force.
    InForce {
        /// Whether it is another than before.
        changed: bool,
        /// Seats held beyond what is licensed; of a policy 0.
        overage: u64,
    },
    /// The command came from a leader of an earlier term.
    Void,
    /// Nothing to say.
    Noted,
}

impl Reply {
    /// The reply in an answer of the ledger.
    pub fn of_answer(answer: &Answer) -> Self {
        let outcome = match answer {
            Err(denial) => return Reply::Denied(reason(denial)),
            Ok(outcome) => outcome,
        };
        match outcome {
            Outcome::Granted(grant) => {
                Reply::Granted { checkout: grant.checkout.0, items: items_of(grant) }
            }
            Outcome::Borrowed { grant, until_ms } => Reply::Borrowed {
                checkout: grant.checkout.0,
                items: items_of(grant),
                until_ms: *until_ms,
            },
            Outcome::Queued { position } => Reply::Queued { place: *position },
            Outcome::Returned { was_held } => Reply::Returned { was_held: *was_held },
            Outcome::Cancelled { was_queued } => Reply::Cancelled { was_queued: *was_queued },
            Outcome::Opened { checkouts, .. } => {
                Reply::Opened { checkouts: checkouts.iter().map(|id| id.0).collect() }
            }
            Outcome::Ended { was_open } => Reply::Ended { was_open: *was_open },
            Outcome::Installed { changed, overage } => {
                Reply::InForce { changed: *changed, overage: *overage }
            }
            Outcome::PolicySet { changed } => Reply::InForce { changed: *changed, overage: 0 },
            Outcome::Void => Reply::Void,
            Outcome::Noted | Outcome::Adopted { .. } => Reply::Noted,
        }
    }

    /// The request that an event of a stream answers, what it says, and where
    /// that stands in the log. `None` if it answers none, or only says that a
    /// place in the queue has changed.
    pub fn of_event(event: &Event) -> Option<(u64, Option<v1::LogPosition>, Self)> {
        use v1::borrowed::Outcome as Lent;
        use v1::taken::Outcome as Taken;
        Some(match event {
            Event::Taken(taken) => {
                let reply = match taken.outcome.as_ref()? {
                    Taken::Grant(grant) => Reply::Granted {
                        checkout: grant.checkout_id,
                        items: items_of_wire(&grant.items),
                    },
                    Taken::Denial(refusal) => Reply::Denied(refusal.reason()),
                };
                (taken.request_id, taken.position, reply)
            }
            Event::Borrowed(borrowed) => {
                let reply = match borrowed.outcome.as_ref()? {
                    Lent::Grant(lent) => {
                        let grant = lent.grant.as_ref()?;
                        Reply::Borrowed {
                            checkout: grant.checkout_id,
                            items: items_of_wire(&grant.items),
                            until_ms: lent.until_ms,
                        }
                    }
                    Lent::Denial(refusal) => Reply::Denied(refusal.reason()),
                };
                (borrowed.request_id, borrowed.position, reply)
            }
            Event::GivenBack(back) => {
                (back.request_id, back.position, Reply::Returned { was_held: back.was_held })
            }
            Event::Queued(queued) => {
                let position = Some(queued.position?);
                (queued.request_id, position, Reply::Queued { place: queued.place })
            }
            _ => return None,
        })
    }

    /// Whether the request is over with this.
    pub fn is_final(&self) -> bool {
        !matches!(self, Reply::Queued { .. })
    }
}

fn items_of(grant: &triad_ledger::Grant) -> Items {
    let item = |item: &triad_ledger::GrantedItem| {
        (item.feature.as_str().to_owned(), u64::from(item.seats.get()))
    };
    grant.items.iter().map(item).collect()
}

fn items_of_wire(items: &[v1::GrantedItem]) -> Items {
    items.iter().map(|item| (item.feature.clone(), u64::from(item.seats))).collect()
}

/// The reason that a client is told.
fn reason(denial: &Denial) -> Reason {
    match denial {
        Denial::SessionUnknown { .. } => Reason::SessionUnknown,
        Denial::SessionTaken { .. } => Reason::SessionTaken,
        Denial::LimitReached { .. } => Reason::LimitReached,
        Denial::RequestForgotten { .. } => Reason::RequestForgotten,
        Denial::FeatureUnknown { .. } => Reason::FeatureUnknown,
        Denial::VersionNotLicensed { .. } => Reason::VersionNotLicensed,
        Denial::Expired { .. } => Reason::FeatureExpired,
        Denial::NotYetValid { .. } => Reason::NotYetValid,
        Denial::MoreThanExist { .. } => Reason::CountExceedsTotal,
        Denial::NoSeat { .. } => Reason::LicensesExhausted,
        Denial::PolicyMax { .. } => Reason::PolicyMax,
        Denial::AllReserved { .. } => Reason::AllReserved,
        Denial::QueueNonempty { .. } => Reason::QueueNonempty,
        Denial::QueueTimedOut { .. } => Reason::QueueTimedOut,
        Denial::Cancelled { .. } => Reason::Cancelled,
        Denial::BorrowOff { .. } => Reason::BorrowOff,
        Denial::BorrowTooLong { .. } => Reason::BorrowTooLong,
        Denial::LicenseSuperseded { .. } => Reason::LicenseSuperseded,
        Denial::PolicySuperseded { .. } => Reason::PolicySuperseded,
        Denial::CheckoutUnknown { .. } => Reason::CheckoutUnknown,
        Denial::BorrowedAway { .. } => Reason::BorrowedAway,
        // The model has no rules that say these.
        _ => Reason::Unspecified,
    }
}
