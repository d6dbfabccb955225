//! `triad features`, `sessions`, `node list`: what a node knows, as tables or
//! as the answers of the wire.

use tonic::Status;
use triad_proto::v1::{
    Freshness, Holder, ListFeaturesRequest, ListFeaturesResponse, ListLicensesRequest,
    ListLicensesResponse, ListSessionsRequest, ListSessionsResponse, NodeStatus, Pool, PoolState,
    Reservation, Role, SessionInfo, StatusRequest,
};

use crate::cluster::{Admin, Cluster, stale_warning};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::status::role_name;
use crate::table::{Cell, Column, Table};

/// Rows in one answer of a node: well below the 4 MiB that a message may
/// have, with every name at its longest.
pub const PAGE_ROWS: u32 = 500;

/// The pools of all features, or of this one, page by page.
pub async fn all_features(
    admin: &mut Admin,
    feature: &str,
) -> Result<ListFeaturesResponse, Status> {
    let mut whole = ListFeaturesResponse::default();
    loop {
        let page_token = std::mem::take(&mut whole.next_page_token);
        let (feature, page_size) = (feature.to_owned(), PAGE_ROWS);
        let request = ListFeaturesRequest { feature, page_size, page_token };
        let page = admin.list_features(request).await?.into_inner();
        whole.freshness = whole.freshness.or(page.freshness);
        whole.pools.extend(page.pools);
        whole.next_page_token = page.next_page_token;
        if whole.next_page_token.is_empty() {
            return Ok(whole);
        }
    }
}

/// All licenses in force, page by page.
pub async fn all_licenses(admin: &mut Admin) -> Result<ListLicensesResponse, Status> {
    let mut whole = ListLicensesResponse::default();
    loop {
        let page_token = std::mem::take(&mut whole.next_page_token);
        let request = ListLicensesRequest { page_size: PAGE_ROWS, page_token };
        let page = admin.list_licenses(request).await?.into_inner();
        whole.freshness = whole.freshness.or(page.freshness);
        whole.licenses.extend(page.licenses);
        whole.next_page_token = page.next_page_token;
        if whole.next_page_token.is_empty() {
            return Ok(whole);
        }
    }
}

/// The pools of all features, or of one.
pub async fn features(settings: &Settings, feature: Option<String>) -> Result<Exit, Failure> {
    let feature = feature.unwrap_or_default();
    let read = Cluster::new(settings)?
        .read(async |admin: &mut Admin| all_features(admin, &feature).await)
        .await?;
    warn_if_stale(settings, read.answer.freshness.as_ref(), &read.address);
    if read.answer.pools.is_empty() {
        warn_if_unknown(settings, &feature).await;
    }
    let pools = &read.answer.pools;
    settings.output.list(&read.answer, pools, || feature_table(pools))?;
    Ok(Exit::Ok)
}

/// All open sessions.
pub async fn sessions(settings: &Settings) -> Result<Exit, Failure> {
    let read = Cluster::new(settings)?.read(all_sessions).await?;
    warn_if_stale(settings, read.answer.freshness.as_ref(), &read.address);
    let sessions = &read.answer.sessions;
    settings.output.list(&read.answer, sessions, || session_table(sessions))?;
    Ok(Exit::Ok)
}

/// The nodes as the leader sees them.
pub async fn nodes(settings: &Settings) -> Result<Exit, Failure> {
    let read = Cluster::new(settings)?
        .read(async |admin: &mut Admin| Ok(admin.status(StatusRequest {}).await?.into_inner()))
        .await?;
    warn_if_stale(settings, read.answer.freshness.as_ref(), &read.address);
    let nodes = &read.answer.nodes;
    settings.output.list(&read.answer, nodes, || node_table(nodes))?;
    Ok(Exit::Ok)
}

/// Says on stderr that an answer may be out of date.
pub fn warn_if_stale(settings: &Settings, freshness: Option<&Freshness>, address: &str) {
    if let Some(warning) = stale_warning(freshness, address) {
        settings.output.warn(&warning);
    }
}

/// Says on stderr that no license names this feature, and which one may be meant: for
/// answers in which nothing was found of it.
pub async fn warn_if_unknown(settings: &Settings, feature: &str) {
    if !feature.is_empty()
        && let Some(pools) = licensed(settings).await
        && let Some(warning) = unknown(feature, &pools)
    {
        settings.output.warn(&warning);
    }
}

/// The licensed feature that a misspelt one may be meant for.
pub async fn feature_meant(settings: &Settings, feature: &str) -> Option<String> {
    let pools = licensed(settings).await?;
    nearest(feature, &pools).map(str::to_owned)
}

/// All that is licensed. What was answered already is not taken back because this is not:
/// then it is nothing.
async fn licensed(settings: &Settings) -> Option<Vec<Pool>> {
    let cluster = Cluster::new(settings).ok()?;
    let read = cluster.read(async |admin: &mut Admin| all_features(admin, "").await).await;
    read.ok().map(|read| read.answer.pools)
}

fn unknown(feature: &str, pools: &[Pool]) -> Option<String> {
    if pools.iter().any(|pool| pool.feature == feature) {
        return None;
    }
    let meant = nearest(feature, pools);
    let meant = meant.map_or(String::new(), |meant| format!("; did you mean {meant:?}?"));
    Some(format!("no license in force names {feature:?}{meant}"))
}

fn nearest<'a>(feature: &str, pools: &'a [Pool]) -> Option<&'a str> {
    triad_license::nearest(feature, pools.iter().map(|pool| pool.feature.as_str()))
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

pub fn feature_table(pools: &[Pool]) -> Table {
    let columns = [
        Column::text("FEATURE"),
        Column::text("VERSION"),
        Column::number("SEATS"),
        Column::number("OVERDRAFT"),
        Column::number("IN USE"),
        Column::number("FREE"),
        Column::number("RESERVED"),
        Column::number("BORROWED"),
        Column::number("WAITING"),
        Column::instant("EXPIRES"),
        Column::text("STATE"),
        Column::text("VENDOR STRING"),
        Column::instant("STARTS").wide(),
        Column::text("RESERVED FOR").wide(),
        Column::text("TERMS").wide(),
    ];
    let mut table = Table::new(&columns);
    for pool in pools {
        let counted =
            |number: u64| if pool.uncounted { Cell::from("uncounted") } else { number.into() };
        let reserved: u64 = pool.reservations.iter().map(|reservation| reservation.seats).sum();
        table.add([
            pool.feature.as_str().into(),
            pool.version.as_str().into(),
            counted(pool.seats_licensed),
            Cell::Count(pool.overdraft),
            pool.seats_in_use.into(),
            if pool.uncounted { Cell::None } else { pool.seats_free.into() },
            Cell::Count(reserved),
            Cell::Count(pool.seats_borrowed),
            Cell::Count(pool.waiting),
            match pool.expires_ms {
                0 => "permanent".into(),
                expires_ms => expires_ms.into(),
            },
            state_name(pool.state()).into(),
            pool.vendor_string.as_str().into(),
            Cell::unless_zero(pool.starts_ms),
            reserved_for(&pool.reservations).into(),
            pool.terms.join("; ").into(),
        ]);
    }
    table
}

/// `group cfd 4 (2 in use); user ann 1 (0 in use)`.
fn reserved_for(reservations: &[Reservation]) -> String {
    let one = |reservation: &Reservation| {
        let Reservation { subject, seats, seats_in_use, .. } = reservation;
        format!("{subject} {seats} ({seats_in_use} in use)")
    };
    reservations.iter().map(one).collect::<Vec<_>>().join("; ")
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

pub fn session_table(sessions: &[SessionInfo]) -> Table {
    let columns = [
        Column::text("SESSION"),
        Column::text("USER"),
        Column::text("HOST"),
        Column::text("APPLICATION"),
        Column::number("PID"),
        Column::number("CHECKOUTS"),
        Column::length("LEASE"),
        Column::instant("OPENED"),
        Column::length("SILENT"),
    ];
    let mut table = Table::new(&columns);
    for session in sessions {
        let holder = holder(session.holder.as_ref());
        table.add([
            session.session_id.as_str().into(),
            holder.user.into(),
            holder.host.into(),
            holder.application.into(),
            Cell::unless_zero(holder.pid),
            session.checkouts.into(),
            session.lease_ms.into(),
            Cell::unless_zero(session.opened_ms),
            Cell::unless_zero(session.silent_ms),
        ]);
    }
    table
}

pub fn node_table(nodes: &[NodeStatus]) -> Table {
    let columns = [
        Column::number("ID"),
        Column::text("NAME"),
        Column::text("ROLE"),
        Column::number("INDEX"),
        Column::number("LAG"),
        Column::text("CLIENTS"),
        Column::text("PEERS"),
    ];
    let mut table = Table::new(&columns);
    for node in nodes {
        // What was known of a node that does not answer says nothing of it now.
        let is_known = node.role() != Role::Unreachable && node.matched_index > 0;
        let known = |number: u64| if is_known { number.into() } else { Cell::None };
        table.add([
            node.node_id.into(),
            node.name.as_str().into(),
            role_name(node.role()).into(),
            known(node.matched_index),
            known(node.lag),
            node.client_address.as_str().into(),
            node.peer_address.as_str().into(),
        ]);
    }
    table
}

/// Who, if it is known.
pub fn holder(holder: Option<&Holder>) -> Holder {
    holder.cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_node_that_is_gone_no_numbers_are_told() {
        let node = |node_id, role: Role, matched_index, lag| NodeStatus {
            node_id,
            name: format!("n{node_id}"),
            role: role.into(),
            matched_index,
            lag,
            ..NodeStatus::default()
        };
        let nodes = [
            node(1, Role::Leader, 9, 0),
            node(2, Role::Unreachable, 7, 2),
            node(3, Role::Follower, 8, 1),
            node(4, Role::Follower, 0, 0),
        ];
        let expected = "\
ID  NAME  ROLE         INDEX  LAG  CLIENTS  PEERS
1   n1    leader       9      0    -        -
2   n2    unreachable  -      -    -        -
3   n3    follower     8      1    -        -
4   n4    follower     -      -    -        -
";
        assert_eq!(node_table(&nodes).render(), expected);
    }

    #[test]
    fn a_feature_that_nothing_names_is_told_with_the_one_that_is_meant() {
        let pools =
            ["solver", "viewer"].map(|feature| Pool { feature: feature.into(), ..Pool::default() });
        assert_eq!(unknown("viewer", &pools), None);
        let told = |feature| unknown(feature, &pools).unwrap();
        let meant = "no license in force names \"solvr\"; did you mean \"solver\"?";
        assert_eq!(told("solvr"), meant);
        assert_eq!(told("mill"), "no license in force names \"mill\"");
    }

    #[test]
    fn a_pool_is_told_with_what_is_kept_lent_and_waited_for() {
        let pool = Pool {
            feature: "solver".into(),
            version: "2026.1".into(),
            seats_licensed: 40,
            seats_in_use: 38,
            seats_free: 2,
            terms: vec!["lingers 10 min".into(), "borrow up to 7 days".into()],
            reservations: vec![
                Reservation { subject: "group cfd".into(), seats: 4, seats_in_use: 2, rule: None },
                Reservation { subject: "user ann".into(), seats: 1, seats_in_use: 0, rule: None },
            ],
            seats_borrowed: 3,
            waiting: 2,
            state: PoolState::Valid.into(),
            ..Pool::default()
        };
        let uncounted =
            Pool { feature: "viewer".into(), version: "1".into(), uncounted: true, ..pool.clone() };
        let text = feature_table(&[pool.clone(), uncounted.clone()]).render();
        let expected = "\
FEATURE  VERSION  SEATS      OVERDRAFT  IN USE  FREE  RESERVED  BORROWED  WAITING  EXPIRES    STATE  VENDOR STRING
solver   2026.1   40         -          38      2     5         3         2        permanent  valid  -
viewer   1        uncounted  -          38      -     5         3         2        permanent  valid  -
";
        assert_eq!(text, expected);
        let wide = feature_table(&[pool, uncounted]).for_people(true);
        for told in
            ["group cfd 4 (2 in use); user ann 1 (0 in use)", "lingers 10 min; borrow up to"]
        {
            assert!(wide.contains(told), "{wide}");
        }
    }
}
