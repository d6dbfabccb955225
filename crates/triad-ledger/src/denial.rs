//! What the ledger says no to, and in which words.

use core::fmt;

use crate::dates::Day;
use crate::names::{FeatureName, Label, LicenseId, RequestId, Seats, SessionId, Version};

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
    #[error("{feature}: the license expired, its last day was {}", Day::of(at_ms.saturating_sub(1)))]
    Expired {
        /// The feature.
        feature: FeatureName,
        /// The first instant at which it was over, ms since 1970 UTC.
        at_ms: u64,
    },
    /// The right has not begun.
    #[error("{feature}: the license is not valid yet, its first day is {}", Day::of(*at_ms))]
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
    #[error("license {license}: {}", superseded(*in_force, *offered))]
    LicenseSuperseded {
        /// Which license.
        license: LicenseId,
        /// The serial in force.
        in_force: u64,
        /// The serial offered.
        offered: u64,
    },
}

fn superseded(in_force: u64, offered: u64) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        if in_force == offered {
            return write!(f, "another text with the same serial {in_force} is in force");
        }
        write!(f, "serial {in_force} is in force, {offered} offered")
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
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bound::Sessions => "sessions",
            Bound::Checkouts => "checkouts",
            Bound::CheckoutsPerSession => "checkouts in one session",
            Bound::Unacknowledged => "unacknowledged answers in one session",
            Bound::Licenses => "licenses",
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
