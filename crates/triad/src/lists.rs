//! `triad features`, `sessions`, `checkouts`, `node list`: what a node knows,
//! as tables or as the answers of the wire.

use tonic::Status;
use triad_proto::v1::{
    CheckoutInfo, Freshness, Holder, ListCheckoutsRequest, ListCheckoutsResponse,
    ListFeaturesRequest, ListSessionsRequest, ListSessionsResponse, NodeStatus, Pool, PoolState,
    SessionInfo, StatusRequest,
};

use crate::cluster::{Admin, Cluster, stale_warning};
use crate::duration::show_ms;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::status::role_name;
use crate::table::Table;
use crate::text::instant;

/// Rows in one answer of a node: well below the 4 MiB that a message may
/// have, with every name at its longest.
const PAGE_ROWS: u32 = 500;

/// The pools of all features, or of one.
pub async fn features(settings: &Settings, feature: Option<String>) -> Result<Exit, Failure> {
    let request = ListFeaturesRequest { feature: feature.unwrap_or_default() };
    let read = Cluster::new(settings)?
        .read(async |admin: &mut Admin| {
            Ok(admin.list_features(request.clone()).await?.into_inner())
        })
        .await?;
    warn_if_stale(settings, read.answer.freshness.as_ref(), &read.address);
    settings.output.answer(&read.answer, || feature_table(&read.answer.pools).render())?;
    Ok(Exit::Ok)
}

/// All open sessions.
pub async fn sessions(settings: &Settings) -> Result<Exit, Failure> {
    let read = Cluster::new(settings)?.read(all_sessions).await?;
    warn_if_stale(settings, read.answer.freshness.as_ref(), &read.address);
    settings.output.answer(&read.answer, || session_table(&read.answer.sessions).render())?;
    Ok(Exit::Ok)
}

/// All checkouts, or those of one feature.
pub async fn checkouts(settings: &Settings, feature: Option<String>) -> Result<Exit, Failure> {
    let feature = feature.unwrap_or_default();
    let read = Cluster::new(settings)?
        .read(async |admin: &mut Admin| all_checkouts(admin, &feature).await)
        .await?;
    warn_if_stale(settings, read.answer.freshness.as_ref(), &read.address);
    settings.output.answer(&read.answer, || checkout_table(&read.answer.checkouts).render())?;
    Ok(Exit::Ok)
}

/// The nodes as the leader sees them.
pub async fn nodes(settings: &Settings) -> Result<Exit, Failure> {
    let read = Cluster::new(settings)?
        .read(async |admin: &mut Admin| Ok(admin.status(StatusRequest {}).await?.into_inner()))
        .await?;
    warn_if_stale(settings, read.answer.freshness.as_ref(), &read.address);
    settings.output.answer(&read.answer, || node_table(&read.answer.nodes).render())?;
    Ok(Exit::Ok)
}

/// Says on stderr that an answer may be out of date.
pub fn warn_if_stale(settings: &Settings, freshness: Option<&Freshness>, address: &str) {
    if let Some(warning) = stale_warning(freshness, address) {
        settings.output.warn(&warning);
    }
}

/// All pages as one answer, as fresh as the first.
async fn all_sessions(admin: &mut Admin) -> Result<ListSessionsResponse, Status> {
    let mut whole = ListSessionsResponse::default();
    loop {
        let page_token = std::mem::take(&mut whole.next_page_token);
        let request = ListSessionsRequest { page_size: PAGE_ROWS, page_token };
        let page = admin.list_sessions(request).await?.into_inner();
        whole.freshness = whole.freshness.or(page.freshness);
        whole.sessions.extend(page.sessions);
        whole.next_page_token = page.next_page_token;
        if whole.next_page_token.is_empty() {
            return Ok(whole);
        }
    }
}

/// All pages as one answer, as fresh as the first.
async fn all_checkouts(admin: &mut Admin, feature: &str) -> Result<ListCheckoutsResponse, Status> {
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

fn feature_table(pools: &[Pool]) -> Table {
    let columns = [
        "FEATURE",
        "VERSION",
        "SEATS",
        "OVERDRAFT",
        "IN USE",
        "FREE",
        "STARTS",
        "EXPIRES",
        "STATE",
        "VENDOR STRING",
    ];
    let mut table = Table::new(&columns);
    for pool in pools {
        table.add([
            pool.feature.clone(),
            pool.version.clone(),
            pool.seats_licensed.to_string(),
            pool.overdraft.to_string(),
            pool.seats_in_use.to_string(),
            pool.seats_free.to_string(),
            instant(pool.starts_ms),
            if pool.expires_ms == 0 { "permanent".to_owned() } else { instant(pool.expires_ms) },
            state_name(pool.state()).to_owned(),
            pool.vendor_string.clone(),
        ]);
    }
    table
}

fn state_name(state: PoolState) -> &'static str {
    match state {
        PoolState::Unspecified => "-",
        PoolState::Valid => "valid",
        PoolState::NotYetValid => "not yet valid",
        PoolState::Expired => "expired",
        PoolState::Withdrawn => "withdrawn",
    }
}

fn session_table(sessions: &[SessionInfo]) -> Table {
    let columns = ["SESSION", "USER", "HOST", "APPLICATION", "PID", "CHECKOUTS", "LEASE", "OPENED"];
    let mut table = Table::new(&columns);
    for session in sessions {
        let holder = holder(session.holder.as_ref());
        table.add([
            session.session_id.clone(),
            holder.user,
            holder.host,
            holder.application,
            pid(holder.pid),
            session.checkouts.to_string(),
            show_ms(session.lease_ms),
            instant(session.opened_ms),
        ]);
    }
    table
}

fn checkout_table(checkouts: &[CheckoutInfo]) -> Table {
    let columns = [
        "ID",
        "FEATURE",
        "VERSION",
        "SEATS",
        "USER",
        "HOST",
        "DISPLAY",
        "PROJECT",
        "APPLICATION",
        "SINCE",
    ];
    let mut table = Table::new(&columns);
    for checkout in checkouts {
        for item in &checkout.items {
            let holder = holder(checkout.holder.as_ref());
            table.add([
                checkout.checkout_id.to_string(),
                item.feature.clone(),
                item.version_licensed.clone(),
                item.seats.to_string(),
                holder.user,
                holder.host,
                holder.display,
                holder.project,
                holder.application,
                instant(checkout.since_ms),
            ]);
        }
    }
    table
}

fn node_table(nodes: &[NodeStatus]) -> Table {
    let mut table = Table::new(&["ID", "NAME", "ROLE", "INDEX", "LAG", "CLIENTS", "PEERS"]);
    for node in nodes {
        table.add([
            node.node_id.to_string(),
            node.name.clone(),
            role_name(node.role()).to_owned(),
            node.matched_index.to_string(),
            node.lag.to_string(),
            node.client_address.clone(),
            node.peer_address.clone(),
        ]);
    }
    table
}

fn holder(holder: Option<&Holder>) -> Holder {
    holder.cloned().unwrap_or_default()
}

fn pid(pid: u32) -> String {
    if pid == 0 { String::new() } else { pid.to_string() }
}

#[cfg(test)]
mod tests {
    use triad_proto::v1::GrantedItem;

    use super::*;

    #[test]
    fn each_item_of_a_checkout_is_a_row_and_its_holder_is_escaped() {
        let item = |feature: &str| GrantedItem {
            feature: feature.into(),
            seats: 2,
            version_licensed: "2026.1".into(),
            ..GrantedItem::default()
        };
        let holder = Holder { user: "eve\x1b[2J".into(), host: "n1".into(), ..Holder::default() };
        let checkout = CheckoutInfo {
            checkout_id: 7,
            holder: Some(holder),
            items: vec![item("solver"), item("viewer")],
            since_ms: 1_795_442_709_000,
            ..CheckoutInfo::default()
        };
        let text = checkout_table(&[checkout]).render();
        let expected = "\
ID  FEATURE  VERSION  SEATS  USER            HOST  DISPLAY  PROJECT  APPLICATION  SINCE
7   solver   2026.1   2      eve\\u{1b}[2J    n1    -        -        -            2026-11-23 14:05:09Z
7   viewer   2026.1   2      eve\\u{1b}[2J    n1    -        -        -            2026-11-23 14:05:09Z
";
        assert_eq!(text.replace("    ", "  "), expected.replace("    ", "  "), "{text}");
        assert!(!text.contains('\x1b'));
    }
}
