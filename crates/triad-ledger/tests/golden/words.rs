//! What the ledger says and holds, in words.

use triad_ledger::names::{PoolId, Seats, SessionId};
use triad_ledger::{
    Answer, Checkout, EndReason, Event, GrantedItem, Happening, Item, Ledger, Outcome, Pool,
    Session, Silence,
};

use crate::calendar::{instant, last_day};

/// Sessions are called by a number; their id is that number sixteen times.
pub fn session_id(number: u8) -> SessionId {
    SessionId([number; 16])
}

pub fn answer(answer: &Answer) -> String {
    match answer {
        Ok(Outcome::Opened { lease_ms, checkouts }) => {
            let held: String = checkouts.iter().map(|id| format!(" #{id}")).collect();
            let holds = if held.is_empty() { " nothing" } else { &held };
            format!("open, lease {lease_ms} ms, holds{holds}")
        }
        Ok(Outcome::Granted(grant)) => {
            format!("granted #{}: {}", grant.checkout, granted(&grant.items))
        }
        Ok(Outcome::Returned { was_held: true }) => "returned".into(),
        Ok(Outcome::Returned { was_held: false }) => "was not held".into(),
        Ok(Outcome::Ended { was_open: true }) => "ended".into(),
        Ok(Outcome::Ended { was_open: false }) => "was not open".into(),
        Ok(Outcome::Void) => "void: it was said in another term".into(),
        Ok(Outcome::Installed { changed, overage }) => {
            let force = if *changed { "in force" } else { "was in force already" };
            format!("{force}{}", overdrawn(*overage))
        }
        Ok(Outcome::Noted) => "noted".into(),
        Err(denial) => format!("denied: {}", named(&denial.to_string())),
    }
}

/// Session ids by their numbers.
fn named(text: &str) -> String {
    (0..10).fold(text.to_owned(), |text, number| {
        text.replace(&session_id(number).to_string(), &number.to_string())
    })
}

fn overdrawn(overage: u64) -> String {
    if overage == 0 { String::new() } else { format!(", {overage} held beyond it") }
}

fn seats(count: Seats) -> String {
    if count.get() == 1 { "1 seat".into() } else { format!("{count} seats") }
}

fn granted(items: &[GrantedItem]) -> String {
    let words = items.iter().map(|item| {
        let GrantedItem { pool, feature, seats: count, version, expires_ms, vendor_string } = item;
        let through = expires_ms.map(|at| format!(", through {}", last_day(at)));
        let vendor = Some(vendor_string.as_str()).filter(|text| !text.is_empty());
        format!(
            "{} of {feature} {version} from pool {}{}{}",
            seats(*count),
            pool.0,
            through.unwrap_or_default(),
            vendor.map(|text| format!(", {text:?}")).unwrap_or_default(),
        )
    });
    words.collect::<Vec<_>>().join(" and ")
}

fn wanted(items: &[Item]) -> String {
    let words = items.iter().map(|item| {
        let Item { feature, version, seats: count } = item;
        format!("{} of {feature} {version}", seats(*count))
    });
    words.collect::<Vec<_>>().join(" and ")
}

pub fn pool(id: PoolId, pool: &Pool) -> String {
    let Pool { key, licensed, overdraft, held, withdrawn } = pool;
    let mut words = format!("pool {}: {} {}, {held} of {licensed}", id.0, key.feature, key.version);
    if *overdraft > 0 {
        words += &format!("+{overdraft}");
    }
    words += " held";
    if let Some(at) = key.starts_ms {
        words += &format!(", from {}", instant(at));
    }
    if let Some(at) = key.expires_ms {
        words += &format!(", through {}", last_day(at));
    }
    if !key.vendor_string.as_str().is_empty() {
        words += &format!(", {:?}", key.vendor_string.as_str());
    }
    if *withdrawn {
        words += ", withdrawn";
    }
    words
}

pub fn session(id: SessionId, session: &Session) -> String {
    let held: String = session.checkouts.iter().map(|id| format!(" #{id}")).collect();
    let holds = if held.is_empty() { " nothing" } else { &held };
    let holder = format!("{}@{}", session.holder.user, session.holder.host);
    let since = instant(session.opened_ms);
    format!("{}: {holder}, opened {since}, holds{holds}", named(&id.to_string()))
}

pub fn checkout(id: u64, checkout: &Checkout, ledger: &Ledger) -> String {
    let whose = named(&checkout.session.to_string());
    let items = granted(&ledger.granted_items(checkout));
    format!("#{id} of session {whose} since {}: {items}", instant(checkout.since_ms))
}

pub fn event(event: &Event) -> String {
    let what = match &event.what {
        Happening::Opened { session, holder } => {
            format!("session {session} opened by {}@{}", holder.user, holder.host)
        }
        Happening::Ended { session, reason: why, checkouts, .. } => {
            format!("session {session} ended, {}; it held {checkouts}", reason(*why))
        }
        Happening::Granted { session, checkout, items } => {
            format!("#{checkout} granted to session {session}: {}", granted(items))
        }
        Happening::Moved { session, checkout, items } => {
            format!("#{checkout} of session {session} moved: {}", granted(items))
        }
        Happening::Denied { session, items, denial } => {
            format!("{} denied to session {session}: {denial}", wanted(items))
        }
        Happening::Returned { session, checkout, reason: why } => {
            format!("#{checkout} of session {session} returned, {}", reason(*why))
        }
        Happening::Installed { license, serial, overage } => {
            format!("license {license} serial {serial} in force{}", overdrawn(*overage))
        }
    };
    format!("{}. {} {}", event.sequence, instant(event.at.date_ms), named(&what))
}

fn reason(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Closed => "closed",
        EndReason::Silent(Silence::Lease) => "silent for a lease",
        EndReason::Silent(Silence::Disconnect) => "disconnected",
        EndReason::Expired => "expired",
    }
}
