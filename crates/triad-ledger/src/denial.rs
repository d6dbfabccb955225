//! What the ledger says no to, and in which words.

use core::fmt;

use crate::dates::Day;
use crate::names::{
    CheckoutId, FeatureName, Label, LicenseId, RequestId, Seats, SessionId, Version,
};
use crate::policy::RuleId;
use crate::tokens::{Role, TokenId};

/// Why the ledger said no. An answer, not an error: it is replicated, and the
/// same request gets it again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The session is not open, or its id was used up by one that ended.
    #[error("session {session} is not open: it was ended or never opened")]
    SessionUnknown {
        /// Which session.
        session: SessionId,
    },
    /// The session id belongs to another holder.
    #[error("session {session} is held by {holder_user}@{holder_host}")]
    SessionTaken {
        /// Which session.
        session: SessionId,
        /// Whose it is.
        holder_user: Label,
        /// Where.
        holder_host: Label,
    },
    /// A bound of the ledger is reached.
    #[error("the limit of {max} {what} is reached")]
    LimitReached {
        /// Of what.
        what: Bound,
        /// The limit.
        max: u64,
    },
    /// The client said itself that it had this answer.
    #[error("request {} was acknowledged up to {}", request.0, answered_through.0)]
    RequestForgotten {
        /// The request.
        request: RequestId,
        /// What the client acknowledged.
        answered_through: RequestId,
    },
    /// No license names the feature.
    #[error("{feature}: no license names this feature")]
    FeatureUnknown {
        /// The feature.
        feature: FeatureName,
    },
    /// Licensed in lower versions only.
    #[error("{feature}: version {wanted} wanted, {licensed} licensed")]
    VersionNotLicensed {
        /// The feature.
        feature: FeatureName,
        /// Asked for.
        wanted: Version,
        /// The highest licensed.
        licensed: Version,
    },
    /// The right has ended.
    #[error("{feature}: the license expired, its last day was {}", Day::last_before(*at_ms))]
    Expired {
        /// The feature.
        feature: FeatureName,
        /// The first instant at which it was over, ms since 1970 UTC.
        at_ms: u64,
    },
    /// The right has not begun.
    #[error("{feature}: the license is not valid yet, its first day is {}", Day::first_from(*at_ms))]
    NotYetValid {
        /// The feature.
        feature: FeatureName,
        /// When it begins, ms since 1970 UTC.
        at_ms: u64,
    },
    /// More seats than there are.
    #[error("{feature}: {wanted} seats wanted, {total} exist")]
    MoreThanExist {
        /// The feature.
        feature: FeatureName,
        /// Asked for.
        wanted: Seats,
        /// The most that one pool has.
        total: u64,
    },
    /// Too few seats are free, or they are spread over several pools: seats of
    /// one item come from one pool.
    #[error("{feature}: {}, {wanted} wanted", free.in_words(*wanted, *total))]
    NoSeat {
        /// The feature.
        feature: FeatureName,
        /// Asked for.
        wanted: Seats,
        /// Held now, in the pools that could serve.
        in_use: u64,
        /// Seats of those pools, overdraft included.
        total: u64,
        /// What is free of them. More may be held than exist, so it is not the
        /// difference.
        free: FreeSeats,
    },
    /// A newer serial, or another text with the same serial, is in force.
    #[error("license {license}: {}", superseded_by("serial", *in_force, *offered))]
    LicenseSuperseded {
        /// Which license.
        license: LicenseId,
        /// The serial in force.
        in_force: u64,
        /// The serial offered.
        offered: u64,
    },
    /// A newer policy, or another text with the same version, is in force.
    #[error("policy: {}", superseded_by("version", *in_force, *offered))]
    PolicySuperseded {
        /// The version in force.
        in_force: u64,
        /// The version offered.
        offered: u64,
    },
    /// None of the client's host ids is one that the line is locked to.
    #[error("{feature}: the license is locked to other hosts")]
    HostNotLicensed {
        /// The feature.
        feature: FeatureName,
    },
    /// An EXCLUDE rule means the holder.
    #[error("{feature}: excluded by {rule}")]
    Excluded {
        /// The feature.
        feature: FeatureName,
        /// Which rule.
        rule: RuleId,
    },
    /// There are INCLUDE rules, and none means the holder.
    #[error("{feature}: not included by {rule} or another of its kind")]
    NotIncluded {
        /// The feature.
        feature: FeatureName,
        /// The first of the rules.
        rule: RuleId,
    },
    /// The line is for named users or hosts, and nobody is named.
    #[error("{feature}: the license is for named users or hosts, and no INCLUDE rule names one")]
    NoNamedUsers {
        /// The feature.
        feature: FeatureName,
    },
    /// The line is for named users or hosts; the holder is not one, or named
    /// only after as many as the line allows.
    #[error("{feature}: the license is for named users or hosts, and this is none of them")]
    NotNamed {
        /// The feature.
        feature: FeatureName,
    },
    /// A MAX rule is used up.
    #[error("{feature}: {wanted} wanted, {in_use} of at most {max} held under {rule}")]
    PolicyMax {
        /// The feature.
        feature: FeatureName,
        /// Asked for.
        wanted: Seats,
        /// Held by those whom the rule counts together.
        in_use: u64,
        /// What it allows.
        max: u64,
        /// Which rule.
        rule: RuleId,
    },
    /// Seats are free, and reserved for others.
    #[error(
        "{feature}: {wanted} wanted, {in_use} of {total} held and {reserved} reserved \
         for others by {rule} or another of its kind"
    )]
    AllReserved {
        /// The feature.
        feature: FeatureName,
        /// Asked for.
        wanted: Seats,
        /// Held now, in the pools that could serve.
        in_use: u64,
        /// Seats of those pools.
        total: u64,
        /// Kept for others and not held by them; or all that is kept for them, if
        /// that alone is why it can never be granted.
        reserved: u64,
        /// The first of the rules.
        rule: RuleId,
    },
    /// Others wait for the feature, and this request does not.
    #[error("{feature}: {}", waiting_in_words(*waiting))]
    QueueNonempty {
        /// The feature.
        feature: FeatureName,
        /// How many.
        waiting: u64,
    },
    /// It waited as long as it wanted to.
    #[error("{feature}: nothing came free in {}", time_in_words(*waited_ms))]
    QueueTimedOut {
        /// The feature that was asked for first.
        feature: FeatureName,
        /// How long it waited.
        waited_ms: u64,
    },
    /// The client does not wait any more.
    #[error("{feature}: the client did not wait for it any longer")]
    Cancelled {
        /// The feature that was asked for first.
        feature: FeatureName,
    },
    /// It was taken from this holder, who is not to take it again at once.
    #[error(
        "{feature}: taken back by an administrator, and blocked for {} more",
        time_in_words(*remaining_ms)
    )]
    Blocked {
        /// The feature.
        feature: FeatureName,
        /// How much longer.
        remaining_ms: u64,
    },
    /// The license does not allow to borrow.
    #[error("{feature}: the license does not allow to borrow it")]
    BorrowOff {
        /// The feature.
        feature: FeatureName,
    },
    /// The policy does not let the holder borrow.
    #[error("{feature}: may not be borrowed, by {rule} or another of its kind")]
    BorrowNotAllowed {
        /// The feature.
        feature: FeatureName,
        /// Which rule.
        rule: RuleId,
    },
    /// Longer than license, policy or the end of the right allow.
    #[error("{feature}: may be borrowed for at most {}", time_in_words(*max_ms))]
    BorrowTooLong {
        /// The feature.
        feature: FeatureName,
        /// For how long it may be, ms.
        max_ms: u64,
    },
    /// The rest is kept from being borrowed.
    #[error("{feature}: {borrowed} are borrowed and {kept} kept by {rule}")]
    BorrowLowwater {
        /// The feature.
        feature: FeatureName,
        /// Out on loan, of the pool.
        borrowed: u64,
        /// Never lent out.
        kept: u64,
        /// Which rule.
        rule: RuleId,
    },
    /// There is no such checkout.
    #[error("checkout {checkout} is not held")]
    CheckoutUnknown {
        /// Which.
        checkout: CheckoutId,
    },
    /// Nobody can take back what is used without a server.
    #[error("checkout {checkout} is borrowed, and stays until its end or its return")]
    BorrowedAway {
        /// Which.
        checkout: CheckoutId,
    },
    /// Only what is borrowed can be lost.
    #[error("checkout {checkout} is not borrowed")]
    NotBorrowed {
        /// Which.
        checkout: CheckoutId,
    },
    /// Nobody made this token, or it was revoked.
    #[error("token {token} is not known: it was revoked, or never made")]
    TokenUnknown {
        /// Which.
        token: TokenId,
    },
    /// Its time is over.
    #[error("token {token} has expired")]
    TokenExpired {
        /// Which.
        token: TokenId,
    },
    /// The token is not good for this.
    #[error("this needs the role {needed}, and token {token} has the role {shown}")]
    RoleNeeded {
        /// The token that was shown.
        token: TokenId,
        /// What is needed.
        needed: Role,
        /// What it has.
        shown: Role,
    },
    /// Another token has this id.
    #[error("token {token} exists, and is another one")]
    TokenTaken {
        /// Which.
        token: TokenId,
    },
    /// Nobody could administer any more.
    #[error("token {token} is the last with the role admin that does not expire")]
    LastAdmin {
        /// Which.
        token: TokenId,
    },
}

impl Denial {
    /// Whether waiting may help: seats may come free. Some of these can never be
    /// granted all the same, which is found out before anybody waits.
    pub fn may_pass(&self) -> bool {
        match self {
            Denial::NoSeat { .. } | Denial::AllReserved { .. } | Denial::QueueNonempty { .. } => {
                true
            }
            Denial::PolicyMax { wanted, max, .. } => u64::from(wanted.get()) <= *max,
            _ => false,
        }
    }

    /// Whether it is what one pool, or its policy, says of a request; another may be only full.
    pub(crate) fn is_of_a_pool(&self) -> bool {
        matches!(
            self,
            Denial::FeatureUnknown { .. }
                | Denial::VersionNotLicensed { .. }
                | Denial::Expired { .. }
                | Denial::NotYetValid { .. }
                | Denial::MoreThanExist { .. }
                | Denial::HostNotLicensed { .. }
                | Denial::Excluded { .. }
                | Denial::NotIncluded { .. }
                | Denial::NotNamed { .. }
                | Denial::NoNamedUsers { .. }
                | Denial::PolicyMax { .. }
        )
    }
}

fn waiting_in_words(waiting: u64) -> impl fmt::Display {
    fmt::from_fn(move |f| match waiting {
        1 => f.write_str("1 is waiting for it"),
        _ => write!(f, "{waiting} are waiting for it"),
    })
}

/// A length of time, in the largest unit that shows it within a tenth.
fn time_in_words(ms: u64) -> impl fmt::Display {
    const UNITS: [(u64, &str); 4] =
        [(86_400_000, "days"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    fmt::from_fn(move |f| {
        for (unit_ms, unit) in UNITS {
            if ms >= 10 * unit_ms || (ms >= unit_ms && ms.is_multiple_of(unit_ms)) {
                let unit = if unit == "days" && ms / unit_ms == 1 { "day" } else { unit };
                return write!(f, "{} {unit}", ms / unit_ms);
            }
        }
        write!(f, "{ms} ms")
    })
}

fn superseded_by(number: &str, in_force: u64, offered: u64) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        if in_force == offered {
            return write!(f, "another text with the same {number} {in_force} is in force");
        }
        write!(f, "{number} {in_force} is in force, {offered} offered")
    })
}

/// The free seats of the pools that could serve a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FreeSeats {
    /// How many pools those are.
    pub pools: u32,
    /// Free seats over all of them.
    pub sum: u64,
    /// Free seats of the one that has most.
    pub largest: u64,
}

impl FreeSeats {
    /// The sum says why, unless it would do: then the pools are to be told.
    fn in_words(self, wanted: Seats, total: u64) -> impl fmt::Display {
        let FreeSeats { pools, sum, largest } = self;
        fmt::from_fn(move |f| {
            if sum < u64::from(wanted.get()) {
                return write!(f, "{sum} of {total} seats free");
            }
            write!(f, "no pool has {wanted} free seats ")?;
            write!(f, "({sum} of {total} free in {pools} pools, {largest} at most in one)")
        })
    }
}

/// What a [`Denial::LimitReached`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Sessions of the cluster.
    Sessions,
    /// Checkouts of the cluster.
    Checkouts,
    /// Checkouts of one session.
    CheckoutsPerSession,
    /// Unacknowledged answers of one session.
    Unacknowledged,
    /// Licenses in force.
    Licenses,
    /// Requests that wait, of the cluster.
    Queue,
    /// Blocks after a revocation.
    Blocks,
    /// Tokens of administrators.
    Tokens,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bound::Sessions => "sessions",
            Bound::Checkouts => "checkouts",
            Bound::CheckoutsPerSession => "checkouts in one session",
            Bound::Unacknowledged => "unacknowledged answers in one session",
            Bound::Licenses => "licenses",
            Bound::Queue => "waiting requests",
            Bound::Blocks => "blocks after a revocation",
            Bound::Tokens => "administrator tokens",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn cad() -> FeatureName {
        FeatureName::parse("cad").expect("good")
    }

    /// The scripts say how denials come about; these are the edges of the words.
    #[test]
    fn a_denial_says_what_an_administrator_needs() {
        let no_seat = |in_use, total, free| {
            let wanted = Seats::new(3).expect("not zero");
            Denial::NoSeat { feature: cad(), wanted, in_use, total, free }.to_string()
        };
        let one = FreeSeats { pools: 1, sum: 2, largest: 2 };
        assert_eq!(no_seat(38, 40, one), "cad: 2 of 40 seats free, 3 wanted");
        let spread = FreeSeats { pools: 2, sum: 3, largest: 2 };
        let words = "cad: no pool has 3 free seats (3 of 6 free in 2 pools, 2 at most in one), \
                     3 wanted";
        assert_eq!(no_seat(3, 6, spread), words);
        // One pool overdrawn by four hides no free seat of the other.
        let overdrawn = FreeSeats { pools: 2, sum: 2, largest: 2 };
        assert_eq!(no_seat(7, 5, overdrawn), "cad: 2 of 5 seats free, 3 wanted");

        // Where a right is over is the instant after its last day.
        let at_ms = 1_798_761_600_000;
        let expired = Denial::Expired { feature: cad(), at_ms };
        assert_eq!(expired.to_string(), "cad: the license expired, its last day was 2026-12-31");
        let early = Denial::NotYetValid { feature: cad(), at_ms };
        let words = "cad: the license is not valid yet, its first day is 2027-01-01";
        assert_eq!(early.to_string(), words);
    }
}
