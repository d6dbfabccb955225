//! The edge: what the wire says becomes what the ledger accepts, and back.
//! Below this, names are good names and seats are at least one.

use std::net::IpAddr;
use std::time::Duration;

use triad_ledger::names::{FeatureName, Label, NameError, RequestId, Seats, SessionId, Version};
use triad_ledger::policy::RuleId;
use triad_ledger::{
    Bound, Denial, EndReason, Grant, GrantedItem, HOSTIDS_MAX, Holder, ITEMS_MAX, Item, QueueWait,
    Silence,
};
use triad_license::{Diagnostic, HostId, LicenseError};
use triad_proto::v1;
use triad_proto::v1::{Reason, Refusal};

use crate::mutation::{self, Mutation};
use crate::tokens::role_needed;

/// A request that is not well formed.
fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::because(Reason::InvalidRequest, message)
}

fn name(field: &str, error: &NameError) -> Refusal {
    invalid(format!("{field}: {error}"))
}

/// 16 bytes.
pub(crate) fn session_id(bytes: &[u8]) -> Result<SessionId, Refusal> {
    bytes.try_into().map(SessionId).map_err(|_| {
        invalid(format!("session_id: {} bytes given, 16 wanted", bytes.len()))
            .with_remedy("draw 16 random bytes once and send them with every call")
    })
}

/// A request number: from 1.
pub(crate) fn request_id(number: u64) -> Result<RequestId, Refusal> {
    if number == 0 {
        return Err(invalid("request_id: 0 given, requests are numbered from 1"));
    }
    Ok(RequestId(number))
}

/// The number was used for another kind of request: what is remembered is that
/// one's answer.
pub(crate) fn request_id_reused() -> Refusal {
    invalid("request_id: used before for another kind of request")
        .with_remedy("number each request one higher than the last")
}

/// Who asks, and where from as far as that is known.
pub(crate) fn holder(
    holder: Option<v1::Holder>,
    address: Option<IpAddr>,
) -> Result<Holder, Refusal> {
    let holder = holder.unwrap_or_default();
    let label = |field: &str, text: &str| Label::parse(text).map_err(|error| name(field, &error));
    let count = holder.hostids.len();
    if count > HOSTIDS_MAX {
        return Err(invalid(format!(
            "holder.hostids: {count} given, at most {HOSTIDS_MAX} allowed"
        )));
    }
    let hostid = |(n, id): (usize, &String)| {
        // Spelled as in licenses. What is no host id there is none of a line's,
        // however it is spelled.
        let spelled = HostId::parse(id).map_or_else(|_| id.clone(), |id| id.to_string());
        label(&format!("holder.hostids[{n}]"), &spelled)
    };
    let hostids = holder.hostids.iter().enumerate().map(hostid).collect::<Result<_, _>>()?;
    Ok(Holder {
        user: label("holder.user", &holder.user)?,
        host: label("holder.host", &holder.host)?,
        display: label("holder.display", &holder.display)?,
        project: label("holder.project", &holder.project)?,
        application: label("holder.application", &holder.application)?,
        pid: holder.pid,
        // A v4 client on a v6 socket is a v4 client, whatever the socket says.
        address: address.map(|address| address.to_canonical()),
        vendor_data: label("holder.vendor_data", &holder.vendor_data)?,
        hostids,
    })
}

/// How a request waits.
pub(crate) fn wait(wait: Option<v1::Wait>) -> Option<QueueWait> {
    let v1::Wait { timeout_ms, priority } = wait?;
    Some(QueueWait { priority, timeout_ms: (timeout_ms > 0).then_some(timeout_ms) })
}

/// When borrowed seats come back, ms since 1970 UTC.
pub(crate) fn borrow_end(end: Option<v1::borrow::End>, date_ms: u64) -> Result<u64, Refusal> {
    use v1::borrow::End;
    let until_ms = match end {
        Some(End::DurationMs(ms)) => date_ms.saturating_add(ms),
        Some(End::UntilMs(until_ms)) => until_ms,
        None => return Err(invalid("borrow.end: not given; say duration_ms or until_ms")),
    };
    if until_ms <= date_ms {
        return Err(invalid("borrow.end: it is in the past"));
    }
    Ok(until_ms)
}

/// An address as an administrator writes it; empty if it is not known.
pub(crate) fn address(text: &str) -> Result<Option<IpAddr>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let address = text.parse::<IpAddr>();
    address.map(Some).map_err(|_| invalid("address: not an IP address, such as 10.1.2.3 or ::1"))
}

/// Words of an administrator, for the history.
pub(crate) fn reason(text: &str) -> Result<Label, Refusal> {
    Label::parse(text).map_err(|error| name("reason", &error))
}

/// Whose a token is to be.
pub(crate) fn label(text: &str) -> Result<Label, Refusal> {
    if text.trim().is_empty() {
        return Err(invalid("label: it is empty; say whose the token is"));
    }
    Label::parse(text).map_err(|error| name("label", &error))
}

/// What one item asks for.
pub(crate) fn one_item(wanted: Option<v1::Item>) -> Result<Item, Refusal> {
    item(0, wanted.ok_or_else(|| invalid("item: not given"))?)
}

/// What is wanted.
pub(crate) fn items(items: Vec<v1::Item>) -> Result<Vec<Item>, Refusal> {
    if items.is_empty() || items.len() > ITEMS_MAX {
        return Err(invalid(format!("items: {} given, 1 to {ITEMS_MAX} allowed", items.len())));
    }
    let count = if mutation::is_on(Mutation::FirstItemOnly) { 1 } else { items.len() };
    items.into_iter().take(count).enumerate().map(|(n, wanted)| item(n, wanted)).collect()
}

fn item(n: usize, item: v1::Item) -> Result<Item, Refusal> {
    let feature = FeatureName::parse(&item.feature)
        .map_err(|error| name(&format!("items[{n}].feature"), &error))?;
    let version = match item.version.as_str() {
        "" => Version::default(),
        text => {
            Version::parse(text).map_err(|error| name(&format!("items[{n}].version"), &error))?
        }
    };
    let seats = Seats::new(item.seats)
        .ok_or_else(|| invalid(format!("items[{n}].seats: 0 given, at least 1 wanted")))?;
    Ok(Item { feature, version, seats })
}

/// A grant in the words of the wire.
pub(crate) fn grant(grant: Grant) -> v1::Grant {
    let items = grant.items.iter().map(granted_item).collect();
    v1::Grant { checkout_id: grant.checkout.0, items }
}

/// Granted seats in the words of the wire.
pub(crate) fn granted_item(item: &GrantedItem) -> v1::GrantedItem {
    v1::GrantedItem {
        feature: item.feature.as_str().to_owned(),
        seats: item.seats.get(),
        version_licensed: item.version.to_string(),
        expires_ms: item.expires_ms.unwrap_or(0),
        vendor_string: item.vendor_string.as_str().to_owned(),
        token_feature: item.tokens.as_ref().map(|t| t.feature.to_string()).unwrap_or_default(),
        tokens: item.tokens.as_ref().map_or(0, |tokens| tokens.seats.get()),
    }
}

/// What is wanted, in the words of the wire.
pub(crate) fn item_to_wire(item: &Item) -> v1::Item {
    let any = item.version == Version::default();
    let version = if any { String::new() } else { item.version.to_string() };
    v1::Item { feature: item.feature.to_string(), version, seats: item.seats.get() }
}

/// A rule in the words of the wire.
pub(crate) fn rule(rule: RuleId) -> v1::RuleRef {
    v1::RuleRef { number: rule.number, line: rule.line }
}

/// A holder in the words of the wire.
pub(crate) fn holder_to_wire(holder: &Holder) -> v1::Holder {
    v1::Holder {
        user: holder.user.as_str().to_owned(),
        host: holder.host.as_str().to_owned(),
        display: holder.display.as_str().to_owned(),
        project: holder.project.as_str().to_owned(),
        application: holder.application.as_str().to_owned(),
        pid: holder.pid,
        vendor_data: holder.vendor_data.as_str().to_owned(),
        hostids: holder.hostids.iter().map(|id| id.as_str().to_owned()).collect(),
    }
}

/// The reason of an end in the words of the wire.
pub(crate) fn end_reason(reason: EndReason) -> v1::EndReason {
    match reason {
        EndReason::Closed => v1::EndReason::Closed,
        EndReason::Silent(Silence::Lease) => v1::EndReason::Silent,
        EndReason::Silent(Silence::Disconnect) => v1::EndReason::Disconnected,
        EndReason::Expired => v1::EndReason::Expired,
        EndReason::Lingered => v1::EndReason::Lingered,
        EndReason::Idle => v1::EndReason::Idle,
        EndReason::Revoked => v1::EndReason::Revoked,
        EndReason::BorrowEnded => v1::EndReason::BorrowEnded,
    }
}

/// A denial in the words of the wire.
pub(crate) fn denial(denial: &Denial) -> Refusal {
    let refusal = |reason| Refusal::because(reason, denial.to_string());
    let of = |reason, feature: &FeatureName| Refusal {
        feature: feature.as_str().to_owned(),
        ..refusal(reason)
    };
    match denial {
        Denial::SessionUnknown { .. } => refusal(Reason::SessionUnknown)
            .with_remedy("check out again: the client library opens a new session"),
        Denial::SessionTaken { .. } => {
            refusal(Reason::SessionTaken).with_remedy("draw a session id of your own")
        }
        Denial::LimitReached { what, .. } => match what {
            Bound::Sessions | Bound::Checkouts | Bound::Queue => {
                refusal(Reason::LimitReached).retry_after(Duration::from_secs(10))
            }
            Bound::CheckoutsPerSession
            | Bound::Unacknowledged
            | Bound::Licenses
            | Bound::Blocks
            | Bound::Tokens => refusal(Reason::LimitReached),
        },
        Denial::RequestForgotten { .. } => refusal(Reason::RequestForgotten)
            .with_remedy("number each request one higher than the last"),
        Denial::FeatureUnknown { feature } => of(Reason::FeatureUnknown, feature)
            .with_remedy("see \"triad features\" for what is licensed"),
        Denial::VersionNotLicensed { feature, licensed, .. } => Refusal {
            version_licensed: licensed.to_string(),
            ..of(Reason::VersionNotLicensed, feature)
                .with_remedy("use a version that is licensed, or ask the publisher for an upgrade")
        },
        Denial::Expired { feature, at_ms } => Refusal {
            instant_ms: *at_ms,
            ..of(Reason::FeatureExpired, feature)
                .with_remedy("ask the publisher for a renewal, then \"triad license apply\"")
        },
        Denial::NotYetValid { feature, at_ms } => {
            Refusal { instant_ms: *at_ms, ..of(Reason::NotYetValid, feature) }
        }
        Denial::MoreThanExist { feature, wanted, total } => Refusal {
            seats_wanted: wanted.get().into(),
            seats_total: *total,
            ..of(Reason::CountExceedsTotal, feature).with_remedy("ask for fewer seats")
        },
        Denial::NoSeat { feature, wanted, in_use, total, .. } => Refusal {
            seats_wanted: wanted.get().into(),
            seats_in_use: *in_use,
            seats_total: *total,
            ..of(Reason::LicensesExhausted, feature)
                .with_remedy(format!("see who holds them: triad checkouts --feature {feature}"))
                .retry_after(Duration::from_secs(5))
        },
        Denial::LicenseSuperseded { .. } => refusal(Reason::LicenseSuperseded)
            .with_remedy("apply the newest serial that the publisher sent"),
        other => policy_denial(other),
    }
}

/// A denial by the policy, or by the terms of a license line.
fn policy_denial(denial: &Denial) -> Refusal {
    let refusal = |reason| Refusal::because(reason, denial.to_string());
    let of = |reason, feature: &FeatureName| Refusal {
        feature: feature.as_str().to_owned(),
        ..refusal(reason)
    };
    let later = Duration::from_secs(5);
    let by = |rule: &RuleId, refusal: Refusal| Refusal {
        rule_number: rule.number,
        rule_line: rule.line,
        ..refusal
    };
    match denial {
        Denial::Excluded { feature, rule } => by(rule, of(Reason::Excluded, feature))
            .with_remedy("ask a license administrator: the site's policy excludes you"),
        Denial::NotIncluded { feature, rule } => by(rule, of(Reason::NotIncluded, feature))
            .with_remedy("ask a license administrator to be included"),
        Denial::NotNamed { feature } => of(Reason::NotNamed, feature),
        Denial::NoNamedUsers { feature } => of(Reason::NoNamedUsers, feature),
        Denial::HostNotLicensed { feature } => of(Reason::HostNotLicensed, feature),
        Denial::PolicyMax { feature, wanted, in_use, max, rule } => Refusal {
            seats_wanted: wanted.get().into(),
            seats_in_use: *in_use,
            seats_total: *max,
            ..by(rule, of(Reason::PolicyMax, feature))
                .with_remedy("wait until a seat of your own or of your group comes back")
                .retry_after(later)
        },
        Denial::AllReserved { feature, wanted, in_use, total, reserved, rule } => {
            // Beside the reservations there may never be as many.
            let never = u64::from(wanted.get()).saturating_add(*reserved) > *total;
            let remedy = match never {
                true => "ask for fewer seats, or a license administrator for what is reserved",
                false => "wait in the queue, or ask a license administrator",
            };
            Refusal {
                seats_wanted: wanted.get().into(),
                seats_in_use: *in_use,
                seats_total: *total,
                seats_reserved: *reserved,
                ..by(rule, of(Reason::AllReserved, feature)).with_remedy(remedy).retry_after(later)
            }
        }
        Denial::QueueNonempty { feature, waiting } => Refusal {
            waiting: *waiting,
            ..of(Reason::QueueNonempty, feature)
                .with_remedy("wait in the queue too")
                .retry_after(later)
        },
        Denial::QueueTimedOut { feature, .. } => {
            of(Reason::QueueTimedOut, feature).retry_after(later)
        }
        Denial::Cancelled { feature } => of(Reason::Cancelled, feature),
        Denial::Blocked { feature, remaining_ms } => {
            of(Reason::Blocked, feature).retry_after(Duration::from_millis(*remaining_ms))
        }
        Denial::BorrowOff { feature } => of(Reason::BorrowOff, feature),
        Denial::BorrowNotAllowed { feature, rule } => {
            by(rule, of(Reason::BorrowNotAllowed, feature))
        }
        Denial::BorrowTooLong { feature, .. } => {
            of(Reason::BorrowTooLong, feature).with_remedy("borrow for a shorter time")
        }
        Denial::BorrowLowwater { feature, rule, .. } => {
            by(rule, of(Reason::BorrowLowwater, feature)).retry_after(later)
        }
        Denial::PolicySuperseded { .. } => refusal(Reason::PolicySuperseded),
        Denial::CheckoutUnknown { .. } => refusal(Reason::CheckoutUnknown),
        Denial::BorrowedAway { .. } => refusal(Reason::BorrowedAway),
        Denial::NotBorrowed { .. } => refusal(Reason::NotBorrowed),
        Denial::TokenUnknown { .. } => refusal(Reason::TokenUnknown),
        Denial::TokenExpired { .. } => refusal(Reason::NotAuthenticated),
        Denial::RoleNeeded { needed, .. } => role_needed(refusal(Reason::RoleNeeded), *needed),
        Denial::TokenTaken { .. } => refusal(Reason::InvalidRequest),
        Denial::LastAdmin { .. } => refusal(Reason::LastAdmin)
            .with_remedy("make its successor first: triad token create --role admin"),
        // Named here and not by a wildcard, so that a new denial does not
        // compile without its reason.
        Denial::SessionUnknown { .. }
        | Denial::SessionTaken { .. }
        | Denial::LimitReached { .. }
        | Denial::RequestForgotten { .. }
        | Denial::FeatureUnknown { .. }
        | Denial::VersionNotLicensed { .. }
        | Denial::Expired { .. }
        | Denial::NotYetValid { .. }
        | Denial::MoreThanExist { .. }
        | Denial::NoSeat { .. }
        | Denial::LicenseSuperseded { .. } => refusal(Reason::Internal),
    }
}

/// A finding in a policy, in the words of the wire.
pub(crate) fn finding(found: &Diagnostic) -> v1::Finding {
    v1::Finding {
        is_error: found.severity == triad_license::Severity::Error,
        code: found.code.to_owned(),
        line: found.line as u32,
        column: found.column as u32,
        message: found.message.clone(),
        help: found.help.clone(),
        rendered: found.render("policy"),
    }
}

/// Why a license was not accepted, in the words of the wire.
pub(crate) fn license_error(error: &LicenseError) -> Refusal {
    let reason = match error {
        LicenseError::Tampered { .. } => Reason::LicenseTampered,
        LicenseError::Foreign { .. } => Reason::LicenseForeign,
        LicenseError::Expired { .. } => Reason::LicenseExpired,
        LicenseError::WronglyBound { .. } => Reason::LicenseWronglyBound,
        _ => Reason::LicenseMalformed,
    };
    Refusal::because(reason, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(feature: &str, version: &str, seats: u32) -> v1::Item {
        v1::Item { feature: feature.into(), version: version.into(), seats }
    }

    #[test]
    fn a_bad_request_dies_here_and_says_where() {
        let message = |given: Vec<v1::Item>| items(given).expect_err("bad").message;
        assert_eq!(
            message(vec![wanted("solver", "", 1), wanted("solver", "", 0)]),
            "items[1].seats: 0 given, at least 1 wanted"
        );
        let long = message(vec![wanted(&"x".repeat(1 << 20), "", 1)]);
        assert_eq!(long, "items[0].feature: it is 1048576 bytes long, at most 64 are allowed");
        assert!(message(vec![]).starts_with("items: 0 given"));
        assert!(message(vec![wanted("solver", "latest", 1)]).starts_with("items[0].version"));
        assert!(session_id(&[1; 15]).expect_err("short").message.contains("15 bytes given"));
        let hostile = v1::Holder { user: "a\nb".into(), ..v1::Holder::default() };
        let bad = holder(Some(hostile), None);
        assert!(bad.expect_err("hostile").message.starts_with("holder.user"));
    }
}
