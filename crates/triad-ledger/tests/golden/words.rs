//! What the ledger says and holds, in words.

use triad_ledger::names::{PoolId, Seats, SessionId};
use triad_ledger::rights::Share;
use triad_ledger::{
    Answer, Checkout, EndReason, Event, GrantedItem, Happening, Item, Ledger, Outcome, Pool,
    Session, Silence, Stay, Step, Verdict, Waiting,
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
        Ok(Outcome::Queued { position }) => format!("waits as number {position}"),
        Ok(Outcome::Borrowed { grant, until_ms }) => {
            let (id, items) = (grant.checkout, granted(&grant.items));
            format!("borrowed #{id} until {}: {items}", instant(*until_ms))
        }
        Ok(Outcome::Cancelled { was_queued: true }) => "waits no longer".into(),
        Ok(Outcome::Cancelled { was_queued: false }) => "did not wait".into(),
        Ok(Outcome::PolicySet { changed }) => {
            format!("in force{}", if *changed { "" } else { " already" })
        }
        Ok(Outcome::Adopted { checkouts, overage }) => {
            format!("{checkouts} taken over{}", overdrawn(*overage))
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
    let words =
        items.iter().map(|item| {
            let GrantedItem {
                pool,
                feature,
                seats: count,
                version,
                expires_ms,
                vendor_string,
                tokens,
            } = item;
            let tokens = tokens
                .as_ref()
                .map(|tokens| format!(", with {} of pool {}", tokens.seats, tokens.pool.0));
            let through = expires_ms.map(|at| format!(", through {}", last_day(at)));
            let vendor = Some(vendor_string.as_str()).filter(|text| !text.is_empty());
            format!(
                "{} of {feature} {version} from pool {}{}{}{}",
                seats(*count),
                pool.0,
                tokens.unwrap_or_default(),
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
    let Pool { key, licensed, overdraft, held, withdrawn, borrowed, .. } = pool;
    let mut words = format!("pool {}: {} {}, {held} of {licensed}", id.0, key.feature, key.version);
    if key.terms.uncounted {
        words = format!("pool {}: {} {}, uncounted, {held}", id.0, key.feature, key.version);
    }
    if *overdraft > 0 {
        words += &format!("+{overdraft}");
    }
    words += " held";
    if *borrowed > 0 {
        words += &format!(", {borrowed} borrowed");
    }
    if key.terms.share != Share::NOTHING {
        words += &format!(", shared by {}", key.terms.share);
    }
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
    let silent = session.silent_since_ms.map(|since| format!(", not heard since {since} ms"));
    let silent = silent.unwrap_or_default();
    format!("{}: {holder}, opened {since}, holds{holds}{silent}", named(&id.to_string()))
}

pub fn checkout(id: u64, checkout: &Checkout, ledger: &Ledger) -> String {
    let whose = named(&checkout.session.to_string());
    let items = granted(&ledger.granted_items(checkout));
    let stay = match checkout.stay {
        Stay::Live => String::new(),
        Stay::Lingering { until_ms } => format!(", lingers until {until_ms} ms"),
        Stay::Borrowed { until_ms, lost } => {
            let lost = if lost { ", lost" } else { "" };
            format!(", borrowed until {}{lost}", instant(until_ms))
        }
    };
    format!("#{id} of session {whose} since {}: {items}{stay}", instant(checkout.since_ms))
}

pub fn waiting(position: u64, waiting: &Waiting) -> String {
    let Waiting { session, request, items, priority, until_ms, held_back, .. } = waiting;
    let until = until_ms.map(|until| format!(", until {until} ms")).unwrap_or_default();
    let priority = if *priority > 0 { format!(", priority {priority}") } else { String::new() };
    let held_back = if *held_back { ", held back by its own group" } else { "" };
    let session = named(&session.to_string());
    let items = wanted(items);
    let request = request.0;
    format!(
        "{position}: request {request} of session {session}, {items}{priority}{until}{held_back}"
    )
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
        Happening::PolicySet { version } => format!("policy {version} in force"),
        Happening::Queued { session, request, items, position } => {
            let (request, items) = (request.0, wanted(items));
            format!("request {request} of session {session} waits as {position}: {items}")
        }
        Happening::Settled { session, request, answer: told } => {
            format!("request {} of session {session} settled: {}", request.0, answer(told))
        }
        Happening::Borrowed { session, holder, checkout, items, until_ms } => {
            let (user, host, items) = (&holder.user, &holder.host, granted(items));
            let until = instant(*until_ms);
            format!(
                "#{checkout} borrowed by {user}@{host} of session {session} until {until}: {items}"
            )
        }
        Happening::Lingering { session, checkout, items, until_ms } => {
            let items = granted(items);
            format!("#{checkout} of session {session} lingers until {until_ms} ms: {items}")
        }
        Happening::Revoked { session, checkout, reason, block_ms } => {
            let block =
                if *block_ms > 0 { format!(", blocked for {block_ms} ms") } else { String::new() };
            format!("#{checkout} of session {session} revoked: {reason}{block}")
        }
        Happening::EpochBegun { epoch } => format!("epoch {epoch} begins"),
        Happening::Adopted { session, checkout, items } => {
            format!("#{checkout} of session {session} taken over: {}", granted(items))
        }
        Happening::MarkedLost { session, checkout } => {
            format!("#{checkout} of session {session} is lost")
        }
        Happening::TokenCreated { role, label, expires_ms, .. } => {
            let until = expires_ms.map(|at| format!(", through {}", last_day(at)));
            format!("token of {label} made: {role}{}", until.unwrap_or_default())
        }
        Happening::TokenRevoked { label, .. } => format!("token of {label} revoked"),
        Happening::TokenUsed { label, .. } => format!("token of {label} used"),
        Happening::Administered { what } => what.to_string(),
    };
    let by = event.by.as_ref().map(|actor| format!(", by {}", actor.label)).unwrap_or_default();
    format!("{}. {} {}{by}", event.sequence, instant(event.at.date_ms), named(&what))
}

pub fn step(step: &Step) -> String {
    let Step { what, pool, rule, verdict, numbers, .. } = step;
    let verdict = match verdict {
        Verdict::Passes => "passes",
        Verdict::Denies => "denies",
        Verdict::Decides => "DECIDES",
        Verdict::NotMeant => "is not about this holder",
    };
    let pool = pool.map(|pool| format!(" of pool {}", pool.0)).unwrap_or_default();
    let rule = rule.map(|rule| format!(", {rule},")).unwrap_or_default();
    format!("{what:?}{pool}{rule} {verdict}: {numbers}")
}

fn reason(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Closed => "closed",
        EndReason::Silent(Silence::Lease) => "silent for a lease",
        EndReason::Silent(Silence::Disconnect) => "disconnected",
        EndReason::Expired => "expired",
        EndReason::Lingered => "lingered",
        EndReason::Idle => "idle",
        EndReason::Revoked => "revoked",
        EndReason::BorrowEnded => "borrowed until now",
    }
}
