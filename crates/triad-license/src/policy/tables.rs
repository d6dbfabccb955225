//! The tables of a policy document, one for each kind of rule, and what each
//! may hold.

use triad_ledger::names::Seats;
use triad_ledger::policy::RuleKind;

use super::period;

/// Whether a table has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// It must have it.
    Required,
    /// It may have it.
    Optional,
    /// It must not.
    Never,
}

/// The number that a rule sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueKey {
    Seats,
    After,
    Period,
    Level,
}

impl ValueKey {
    pub(super) const ALL: [ValueKey; 4] = [Self::Seats, Self::After, Self::Period, Self::Level];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            ValueKey::Seats => "seats",
            ValueKey::After => "after",
            ValueKey::Period => "period",
            ValueKey::Level => "level",
        }
    }

    pub(super) fn is_period(self) -> bool {
        matches!(self, ValueKey::After | ValueKey::Period)
    }
}

/// One kind of table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) feature: Need,
    pub(super) subject: Need,
    pub(super) value: Option<ValueKey>,
    /// The rule of a value; `None` if the value is out of range.
    pub(super) kind: fn(u64) -> Option<RuleKind>,
}

fn number(value: u64) -> Option<u32> {
    u32::try_from(value).ok()
}

use Need::{Never, Optional, Required};

/// All kinds of tables. The order is that of the reference page.
pub(super) const TABLES: [Table; 15] = [
    table("include", Required, Required, None, |_| Some(RuleKind::Include)),
    table("exclude", Required, Required, None, |_| Some(RuleKind::Exclude)),
    table("include_all", Never, Required, None, |_| Some(RuleKind::IncludeAll)),
    table("exclude_all", Never, Required, None, |_| Some(RuleKind::ExcludeAll)),
    table("include_borrow", Optional, Required, None, |_| Some(RuleKind::IncludeBorrow)),
    table("exclude_borrow", Optional, Required, None, |_| Some(RuleKind::ExcludeBorrow)),
    table("max", Required, Required, Some(ValueKey::Seats), |n| number(n).map(RuleKind::Max)),
    table("reserve", Required, Required, Some(ValueKey::Seats), |n| {
        number(n).and_then(Seats::new).map(RuleKind::Reserve)
    }),
    table("timeout", Required, Never, Some(ValueKey::After), |ms| {
        (ms > 0).then_some(RuleKind::IdleTimeoutMs(ms))
    }),
    table("timeout_all", Never, Never, Some(ValueKey::After), |ms| {
        (ms > 0).then_some(RuleKind::IdleTimeoutAllMs(ms))
    }),
    table("linger", Optional, Never, Some(ValueKey::Period), |ms| Some(RuleKind::LingerMs(ms))),
    table("borrow_lowwater", Required, Never, Some(ValueKey::Seats), |n| {
        number(n).map(RuleKind::BorrowLowwater)
    }),
    table("max_borrow", Optional, Never, Some(ValueKey::Period), |ms| {
        Some(RuleKind::MaxBorrowMs(ms))
    }),
    table("max_overdraft", Optional, Never, Some(ValueKey::Seats), |n| {
        number(n).map(RuleKind::MaxOverdraft)
    }),
    table("priority", Optional, Required, Some(ValueKey::Level), |n| {
        number(n).map(RuleKind::Priority)
    }),
];

const fn table(
    name: &'static str,
    feature: Need,
    subject: Need,
    value: Option<ValueKey>,
    kind: fn(u64) -> Option<RuleKind>,
) -> Table {
    Table { name, feature, subject, value, kind }
}

/// The name of the table of a rule.
pub(super) fn name_of(kind: &RuleKind) -> &'static str {
    match kind {
        RuleKind::Include => "include",
        RuleKind::Exclude => "exclude",
        RuleKind::IncludeAll => "include_all",
        RuleKind::ExcludeAll => "exclude_all",
        RuleKind::IncludeBorrow => "include_borrow",
        RuleKind::ExcludeBorrow => "exclude_borrow",
        RuleKind::Max(_) => "max",
        RuleKind::Reserve(_) => "reserve",
        RuleKind::IdleTimeoutMs(_) => "timeout",
        RuleKind::IdleTimeoutAllMs(_) => "timeout_all",
        RuleKind::LingerMs(_) => "linger",
        RuleKind::BorrowLowwater(_) => "borrow_lowwater",
        RuleKind::MaxBorrowMs(_) => "max_borrow",
        RuleKind::MaxOverdraft(_) => "max_overdraft",
        RuleKind::Priority(_) => "priority",
        RuleKind::LeaseBoundsMs { .. } => "lease",
        RuleKind::HeartbeatBoundsMs { .. } => "heartbeat",
    }
}

/// The value of a rule as it is written, with its key.
pub(super) fn value_of(kind: &RuleKind) -> Option<(ValueKey, String)> {
    let seats = |seats: u32| Some((ValueKey::Seats, seats.to_string()));
    let (key, period_ms) = match *kind {
        RuleKind::Max(count) | RuleKind::BorrowLowwater(count) | RuleKind::MaxOverdraft(count) => {
            return seats(count);
        }
        RuleKind::Reserve(count) => return seats(count.get()),
        RuleKind::Priority(level) => return Some((ValueKey::Level, level.to_string())),
        RuleKind::IdleTimeoutMs(ms) | RuleKind::IdleTimeoutAllMs(ms) => (ValueKey::After, ms),
        RuleKind::LingerMs(ms) | RuleKind::MaxBorrowMs(ms) => (ValueKey::Period, ms),
        RuleKind::Include
        | RuleKind::Exclude
        | RuleKind::IncludeAll
        | RuleKind::ExcludeAll
        | RuleKind::IncludeBorrow
        | RuleKind::ExcludeBorrow
        | RuleKind::LeaseBoundsMs { .. }
        | RuleKind::HeartbeatBoundsMs { .. } => return None,
    };
    Some((key, period::show(period_ms)))
}
