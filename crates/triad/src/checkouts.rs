//! `triad checkouts`: who holds which seats, and taking them back.

use std::fmt::Write as _;

use tonic::Status;
use triad_proto::v1::{
    CheckoutInfo, CheckoutState, GrantedItem, ListCheckoutsRequest, ListCheckoutsResponse, Reason,
    Refusal, RevokeCheckoutRequest,
};

use crate::args::seats::{CheckoutsArguments, CheckoutsVerb, ListArguments, RevokeArguments};
use crate::cluster::{Admin, Cluster};
use crate::consent::{Consent, consent, demand_somebody_to_ask};
use crate::duration::show_ms;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::lists::{PAGE_ROWS, holder, warn_if_stale, warn_if_unknown};
use crate::settings::Settings;
use crate::table::{Cell, Column, Table};
use crate::text::{counted, instant, person, printable};

/// Does what was asked with checkouts.
pub async fn run(settings: &Settings, arguments: &CheckoutsArguments) -> Result<Exit, Failure> {
    match &arguments.verb {
        None => list(settings, &arguments.list).await,
        Some(CheckoutsVerb::List(arguments)) => list(settings, arguments).await,
        Some(CheckoutsVerb::Revoke(arguments)) => revoke(settings, arguments).await,
    }
}

async fn list(settings: &Settings, arguments: &ListArguments) -> Result<Exit, Failure> {
    let feature = arguments.feature.clone().unwrap_or_default();
    let mut read = Cluster::new(settings)?
        .read(async |admin: &mut Admin| all_checkouts(admin, &feature).await)
        .await?;
    warn_if_stale(settings, read.answer.freshness.as_ref(), &read.address);
    if read.answer.checkouts.is_empty() {
        warn_if_unknown(settings, &feature).await;
    }
    read.answer.checkouts.retain(|checkout| arguments.asks_for(checkout.holder.as_ref()));
    let checkouts = &read.answer.checkouts;
    settings.output.list(&read.answer, checkouts, || checkout_table(checkouts))?;
    Ok(Exit::Ok)
}

async fn revoke(settings: &Settings, arguments: &RevokeArguments) -> Result<Exit, Failure> {
    demand_somebody_to_ask(arguments.consent)?;
    let mut cluster = Cluster::new(settings)?;
    let checkout = find(&cluster, arguments.id).await?;
    if is_away(checkout.state()) {
        let message = format!("{} cannot be taken back", in_words(&checkout));
        let remedy = format!(
            "return it from the machine that borrowed it; if that is lost: triad borrow lost {}",
            arguments.id
        );
        let refusal = Refusal::because(Reason::BorrowedAway, message).with_remedy(remedy);
        return Err(Failure::refused(refusal));
    }
    let block_ms = arguments.block.map_or(0, |block| block.as_millis() as u64);
    let plan = plan(&checkout, block_ms);
    match consent(settings, arguments.consent, &plan)? {
        Consent::Given => {}
        Consent::Rehearsed => return Ok(Exit::Ok),
        Consent::Withheld => return Ok(Exit::Error),
    }
    let request = RevokeCheckoutRequest {
        checkout_id: arguments.id,
        reason: arguments.reason.clone(),
        block_ms,
    };
    // Whoever was asked took the time to answer.
    cluster.begin_anew();
    let answer = cluster
        .write(async |admin: &mut Admin| {
            Ok(admin.revoke_checkout(request.clone()).await?.into_inner())
        })
        .await?
        .answer;
    settings.output.answer(&answer, || format!("checkout {} was taken back\n", arguments.id))?;
    Ok(Exit::Ok)
}

/// The checkout of this number.
pub async fn find(cluster: &Cluster, id: u64) -> Result<CheckoutInfo, Failure> {
    let read = cluster.read(async |admin: &mut Admin| all_checkouts(admin, "").await).await?;
    let is_current = read.answer.freshness.is_some_and(|freshness| freshness.linearizable);
    let found = read.answer.checkouts.into_iter().find(|checkout| checkout.checkout_id == id);
    found.ok_or_else(|| {
        if !is_current {
            let message = format!("{} does not know whether checkout {id} is held", read.address);
            return Failure::refused(Refusal::because(Reason::NoQuorum, message));
        }
        let refusal =
            Refusal::because(Reason::CheckoutUnknown, format!("checkout {id} is not held"));
        Failure::refused(refusal.with_remedy("`triad checkouts` shows what is held, by number"))
    })
}

/// Whether it is used without a server.
pub fn is_away(state: CheckoutState) -> bool {
    matches!(state, CheckoutState::Borrowed | CheckoutState::Lost)
}

/// What revoking does, and to whom.
fn plan(checkout: &CheckoutInfo, block_ms: u64) -> String {
    let holder = holder(checkout.holder.as_ref());
    let who = person(&holder.user, &holder.host);
    let mut text = format!("takes back {}\n", in_words(checkout));
    if block_ms > 0 {
        let features: Vec<_> = checkout.items.iter().map(|i| printable(&i.feature)).collect();
        let (features, block) = (features.join(", "), show_ms(block_ms));
        let _ = writeln!(text, "{who} is not granted {features} again for {block}");
    }
    text
}

/// `checkout 17 of bob@n1: 4 seats of solver 2026.1, held since ...`.
pub fn in_words(checkout: &CheckoutInfo) -> String {
    let holder = holder(checkout.holder.as_ref());
    let state = match checkout.state() {
        CheckoutState::Lingering => ", already returned and lingering",
        CheckoutState::Borrowed => ", borrowed",
        CheckoutState::Lost => ", borrowed and lost",
        CheckoutState::Live | CheckoutState::Unspecified => "",
    };
    format!(
        "checkout {} of {}: {}, held since {}{state}",
        checkout.checkout_id,
        person(&holder.user, &holder.host),
        seats_in_words(&checkout.items),
        instant(checkout.since_ms),
    )
}

/// `4 seats of solver 2026.1, 1 seat of viewer 3`.
pub fn seats_in_words(items: &[GrantedItem]) -> String {
    let one = |item: &GrantedItem| {
        let seats = counted(item.seats.into(), "seat");
        format!("{seats} of {} {}", printable(&item.feature), printable(&item.version_licensed))
    };
    items.iter().map(|item| one(item).trim_end().to_owned()).collect::<Vec<_>>().join(", ")
}

/// All pages as one answer, as fresh as the first.
pub async fn all_checkouts(
    admin: &mut Admin,
    feature: &str,
) -> Result<ListCheckoutsResponse, Status> {
    let mut whole = ListCheckoutsResponse::default();
    loop {
        let page_token = std::mem::take(&mut whole.next_page_token);
        let feature = feature.to_owned();
        let request = ListCheckoutsRequest { feature, page_size: PAGE_ROWS, page_token };
        let page = admin.list_checkouts(request).await?.into_inner();
        whole.freshness = whole.freshness.or(page.freshness);
        whole.checkouts.extend(page.checkouts);
        whole.next_page_token = page.next_page_token;
        if whole.next_page_token.is_empty() {
            return Ok(whole);
        }
    }
}

/// A row for each item of each checkout.
pub fn checkout_table(checkouts: &[CheckoutInfo]) -> Table {
    let columns = [
        Column::number("ID"),
        Column::text("FEATURE"),
        Column::text("VERSION"),
        Column::number("SEATS"),
        Column::text("USER"),
        Column::text("HOST"),
        Column::text("STATE"),
        Column::instant("SINCE"),
        Column::instant("UNTIL"),
        Column::length("IDLE"),
        Column::length("LINGERS").wide(),
        Column::text("DISPLAY").wide(),
        Column::text("PROJECT").wide(),
        Column::text("APPLICATION").wide(),
        Column::text("SESSION").wide(),
    ];
    let mut table = Table::new(&columns);
    for checkout in checkouts {
        for item in &checkout.items {
            let holder = holder(checkout.holder.as_ref());
            table.add([
                checkout.checkout_id.into(),
                item.feature.as_str().into(),
                item.version_licensed.as_str().into(),
                item.seats.into(),
                holder.user.into(),
                holder.host.into(),
                state_name(checkout.state()).into(),
                Cell::unless_zero(checkout.since_ms),
                Cell::unless_zero(checkout.until_ms),
                Cell::unless_zero(checkout.idle_ms),
                Cell::unless_zero(checkout.remaining_ms),
                holder.display.into(),
                holder.project.into(),
                holder.application.into(),
                checkout.session_id.as_str().into(),
            ]);
        }
    }
    table
}

fn state_name(state: CheckoutState) -> &'static str {
    match state {
        CheckoutState::Unspecified => "",
        CheckoutState::Live => "live",
        CheckoutState::Lingering => "lingering",
        CheckoutState::Borrowed => "borrowed",
        CheckoutState::Lost => "lost",
    }
}

#[cfg(test)]
mod tests {
    use triad_proto::v1::Holder;

    use super::*;

    fn checkout() -> CheckoutInfo {
        let item = |feature: &str| GrantedItem {
            feature: feature.into(),
            seats: 2,
            version_licensed: "2026.1".into(),
            ..GrantedItem::default()
        };
        let holder = Holder { user: "eve\x1b[2J".into(), host: "n1".into(), ..Holder::default() };
        CheckoutInfo {
            checkout_id: 7,
            holder: Some(holder),
            items: vec![item("solver"), item("viewer")],
            since_ms: 1_795_442_709_000,
            state: CheckoutState::Live.into(),
            idle_ms: 61_000,
            ..CheckoutInfo::default()
        }
    }

    #[test]
    fn each_item_of_a_checkout_is_a_row_and_its_holder_is_escaped() {
        let text = checkout_table(&[checkout()]).render();
        let expected = "\
ID  FEATURE  VERSION  SEATS  USER          HOST  STATE  SINCE                 UNTIL  IDLE
7   solver   2026.1   2      eve\\u{1b}[2J  n1    live   2026-11-23 14:05:09Z  -      1 min 1 s
7   viewer   2026.1   2      eve\\u{1b}[2J  n1    live   2026-11-23 14:05:09Z  -      1 min 1 s
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_user_and_a_host_are_asked_for_in_any_case() {
        let asked = |user: Option<&str>, host: Option<&str>| {
            let (user, host) = (user.map(str::to_owned), host.map(str::to_owned));
            let holder = Holder { user: "Ann".into(), host: "ws-042".into(), ..Holder::default() };
            ListArguments { user, host, feature: None }.asks_for(Some(&holder))
        };
        assert!(asked(None, None) && asked(Some("ann"), None) && asked(None, Some("WS-042")));
        assert!(asked(Some("ANN"), Some("ws-042")));
        assert!(!asked(Some("an"), None) && !asked(Some("ann"), Some("ws-04")));
    }

    #[test]
    fn whoever_revokes_is_told_what_and_whose() {
        let expected = "\
takes back checkout 7 of eve\\u{1b}[2J@n1: 2 seats of solver 2026.1, 2 seats of viewer 2026.1, \
                        held since 2026-11-23 14:05:09Z
eve\\u{1b}[2J@n1 is not granted solver, viewer again for 10 min
";
        assert_eq!(plan(&checkout(), 600_000), expected);
        let lingering = CheckoutInfo { state: CheckoutState::Lingering.into(), ..checkout() };
        assert!(plan(&lingering, 0).ends_with("09Z, already returned and lingering\n"));
    }
}
