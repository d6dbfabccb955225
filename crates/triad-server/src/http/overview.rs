//! The first page: how the cluster is, at a glance; and the pages of features.

use std::collections::BTreeMap;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use triad_proto::v1::Role as NodeRole;

use super::lists::{self, CHECKOUTS, NO_CHECKOUTS, QUEUE, beside, checkout_rows, queue_rows};
use super::page::{Bar, Page, Section, listed};
use super::signin::Visitor;
use super::table::{Ask, Cell, Column, Empty, Listing, encoded, number, text};
use super::usage::{self, FeatureUse};
use super::words::{bytes, day, instant, last_day, length};
use super::{Web, history};
use crate::admin_service::Admin;

/// Features with a bar on the first page: those that are used most.
const BARS_MAX: usize = 12;
/// Events on the first page.
const EVENTS: usize = 12;
/// A clock that differs by less is right.
const CLOCK_RIGHT_MS: u64 = 1_000;

const NODES: &[Column] = &[
    text("node", "Node"),
    text("state", "State"),
    text("clients", "Clients connect to"),
    number("lag", "Entries behind"),
    text("clock", "Clock"),
    text("pages", "Its pages"),
];

const FEATURES: &[Column] = &[
    text("feature", "Feature"),
    number("licensed", "Licensed"),
    number("used", "In use"),
    number("borrowed", "Borrowed"),
    number("reserved", "Reserved"),
    number("free", "Free"),
    number("waiting", "Waiting"),
    text("ends", "First right ends"),
];

pub(super) const NO_FEATURES: Empty = Empty {
    text: "No license is in force. Apply the one that the publisher sent: triad license apply FILE",
    link: "How licenses work",
    href: "/docs/reference/license-format",
};

/// How many seats of a feature are in which state, in words.
fn words(feature: &FeatureUse) -> String {
    let FeatureUse { licensed, held, borrowed, reserved, free, waiting, .. } = feature;
    if feature.uncounted && *licensed == 0 {
        return format!("{held} used, not counted");
    }
    let mut words = format!("{held} used");
    if *borrowed > 0 {
        words.push_str(&format!(" ({borrowed} borrowed)"));
    }
    if *reserved > 0 {
        words.push_str(&format!(" · {reserved} reserved"));
    }
    words.push_str(&format!(" · {free} free of {licensed}"));
    if *waiting > 0 {
        words.push_str(&format!(" · {waiting} waiting"));
    }
    words
}

/// How much of a feature is in use, in thousandths.
fn used(feature: &FeatureUse) -> u64 {
    let all = feature.licensed.max(feature.held + feature.reserved);
    (feature.held * 1_000).checked_div(all).unwrap_or(0)
}

fn bar(name: &str, feature: &FeatureUse) -> Bar {
    let all = feature.licensed.max(feature.held + feature.reserved);
    let tone = if feature.free == 0 && feature.licensed > 0 { "bad" } else { "" };
    Bar {
        name: name.to_owned(),
        href: format!("/features/{}", encoded(name)),
        words: words(feature),
        used: used(feature),
        reserved: (feature.reserved * 1_000).checked_div(all).unwrap_or(0),
        tone,
    }
}

/// The features with the least room first; those of which nothing is used last.
fn bars(features: &BTreeMap<String, FeatureUse>) -> Vec<Bar> {
    let mut all: Vec<_> = features.iter().collect();
    all.sort_by_key(|(_, feature)| std::cmp::Reverse((feature.waiting, used(feature))));
    all.into_iter().take(BARS_MAX).map(|(name, feature)| bar(name, feature)).collect()
}

fn nodes(web: &Web) -> Listing {
    let node = &web.node;
    let status = node.status(Default::default(), String::new());
    let rows = status.nodes.iter().map(|other| {
        let (state, tone) = match other.role() {
            NodeRole::Leader if other.drained => ("leads, drained", "wait"),
            NodeRole::Follower if other.drained => ("follows, drained", "wait"),
            NodeRole::Leader => ("leads", "good"),
            NodeRole::Follower => ("follows", "good"),
            NodeRole::Learner if other.reachable => ("learns", "calm"),
            NodeRole::Candidate => ("no leader", "bad"),
            NodeRole::Unspecified => ("not seen from here", "off"),
            _ => ("does not answer", "bad"),
        };
        let clock = match other.clock_skew_ms {
            None => "".into(),
            Some(ms) if ms.unsigned_abs() < CLOCK_RIGHT_MS => "right".to_owned(),
            Some(ms) => {
                format!("{} {}", length(ms.unsigned_abs()), if ms < 0 { "slow" } else { "fast" })
            }
        };
        let known = other.matched_index > 0;
        let pages = match node.pages_of(other.node_id) {
            _ if other.node_id == node.consensus.node_id() => "this one".into(),
            Some(href) => {
                Cell::from(href.trim_start_matches("https://").trim_end_matches('/')).to(&href)
            }
            None => "".into(),
        };
        vec![
            other.name.as_str().into(),
            Cell::state(state, tone),
            other.client_address.as_str().into(),
            if known { other.lag.into() } else { "".into() },
            clock.into(),
            pages,
        ]
    });
    let rows = rows.collect();
    Listing::new("/", ("node", "nodes"), NODES, rows, Ask::default(), Empty::default())
        .part("Nodes", "")
}

/// The first page.
pub(super) async fn overview(State(web): State<Web>, visitor: Visitor) -> Page {
    let node = &web.node;
    let date_ms = node.consensus.date_ms();
    let admin = Admin { node: node.clone() };
    let (freshness, (features, sessions, checkouts)) = admin
        .read(|ledger| {
            let features = usage::by_feature(ledger, date_ms);
            (features, ledger.session_count(), ledger.checkout_count())
        })
        .await;
    let vitals = node.vitals();
    let leadership = node.consensus.leadership();
    let mut facts = vec![
        ("Sessions", sessions.to_string()),
        ("Checkouts", checkouts.to_string()),
        ("Term and index", format!("{}, {}", leadership.term, freshness.index)),
        ("Date of the cluster", format!("{} UTC", instant(date_ms))),
        ("Running for", length(vitals.uptime.as_millis() as u64)),
        ("Version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    if let Some((feature, ends_ms)) = vitals.rights.first_to_end {
        facts.push(("First right to end", format!("{feature}, last day {}", last_day(ends_ms))));
    }
    if let Some(ends_ms) = vitals.certificate_expires_ms {
        facts.push(("Certificate ends", day(ends_ms)));
    }
    if let Some(free) = vitals.disk_free_bytes {
        facts.push(("Room on the disk", bytes(free)));
    }
    let more = if features.len() > BARS_MAX { "All features" } else { "All features as a table" };
    Page::new("Overview", "/", &node.config.name)
        .visitor(Some(visitor))
        .verdict(node.verdict(&freshness))
        .with(Section::Bars { title: "Seats", bars: bars(&features), more })
        .with(Section::List(nodes(&web)))
        .with(Section::Events(history::latest(&web, EVENTS).await))
        .with(Section::Facts { title: "This node", facts })
}

/// All features.
pub(super) async fn features(
    State(web): State<Web>,
    visitor: Visitor,
    Query(ask): Query<Ask>,
) -> Response {
    let node = &web.node;
    let date_ms = node.consensus.date_ms();
    let admin = Admin { node: node.clone() };
    let (freshness, features) = admin.read(|ledger| usage::by_feature(ledger, date_ms)).await;
    let page = Page::new("Features", "/features", &node.config.name)
        .visitor(Some(visitor))
        .verdict(node.verdict(&freshness));
    beside(&web, move || {
        let rows = feature_rows(&features);
        let nouns = ("feature", "features");
        let listing = Listing::new("/features", nouns, FEATURES, rows, ask, NO_FEATURES);
        listed(page, listing, "features")
    })
    .await
}

fn feature_rows(features: &BTreeMap<String, FeatureUse>) -> Vec<Vec<Cell>> {
    let rows = features.iter().map(|(name, feature)| {
        vec![
            Cell::from(name.as_str()).to(format!("/features/{}", encoded(name))),
            match feature.uncounted && feature.licensed == 0 {
                true => Cell::by("not counted", u64::MAX).raw("uncounted"),
                false => feature.licensed.into(),
            },
            feature.held.into(),
            feature.borrowed.into(),
            feature.reserved.into(),
            feature.free.into(),
            feature.waiting.into(),
            match feature.ends_ms() {
                Some(ends_ms) if feature.rights == 0 => {
                    let mut ended = Cell::last_day(ends_ms);
                    ended.text.insert_str(0, "ended, last day ");
                    ended
                }
                Some(ends_ms) => Cell::last_day(ends_ms),
                None if feature.rights == 0 => Cell::by("none in force", u64::MAX).raw(""),
                None => Cell::by("never", u64::MAX).raw("permanent"),
            },
        ]
    });
    rows.collect()
}

/// One feature: its seats, who holds them, and who waits.
pub(super) async fn feature(
    State(web): State<Web>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Page {
    let node = &web.node;
    let date_ms = node.consensus.date_ms();
    let admin = Admin { node: node.clone() };
    let (freshness, found) =
        admin.read(|ledger| usage::by_feature(ledger, date_ms).remove(&name)).await;
    let page = Page::new(&name, "/features", &node.config.name)
        .visitor(Some(visitor))
        .verdict(node.verdict(&freshness));
    let Some(found) = found else {
        let links = vec![("/features".to_owned(), "All features".to_owned())];
        return page
            .status(StatusCode::NOT_FOUND)
            .with(Section::Error(format!("No license names the feature {name}.")))
            .with(Section::Links { title: "Go on".into(), links });
    };
    let (looker, wanted) = (web.clone(), name.clone());
    let holders = beside(&web, move || {
        let (rows, _) = checkout_rows(&looker, |checkout| {
            checkout.items.iter().any(|item| item.feature == wanted)
        });
        let nouns = ("checkout", "checkouts");
        Listing::new("/checkouts", nouns, CHECKOUTS, rows, Ask::default(), NO_CHECKOUTS)
    });
    let holders = holders.await;
    let waiting = queue_rows(&web, Some(&name)).await;
    let waiting = beside(&web, move || {
        let nouns = ("request waits", "requests wait");
        Listing::new("/queue", nouns, QUEUE, waiting, Ask::default(), lists::NOBODY_WAITS)
    });
    let waiting = waiting.await;
    let ends = match found.ends_ms() {
        Some(ends_ms) if found.rights == 0 => {
            format!("none in force, last day {}", last_day(ends_ms))
        }
        Some(ends_ms) => format!("last day {}", last_day(ends_ms)),
        None if found.rights == 0 => "none in force".to_owned(),
        None => "never".to_owned(),
    };
    let facts = vec![
        ("Licensed", found.licensed.to_string()),
        ("Beyond that, by overdraft", found.overdraft.to_string()),
        ("First right ends", ends),
        ("Rights not in force", found.idle_rights.to_string()),
    ];
    page.with(Section::Bars { title: "Seats", bars: vec![bar(&name, &found)], more: "" })
        .with(Section::Facts { title: "Rights", facts })
        .with(Section::List(holders.part("Who holds them", &name)))
        .with(Section::List(waiting.part("Who waits", &name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_no_longer_than_itself_whatever_is_held() {
        let feature = |licensed, held, reserved, free| FeatureUse {
            licensed,
            held,
            reserved,
            free,
            ..FeatureUse::default()
        };
        let parts = |feature: FeatureUse| {
            let bar = bar("x", &feature);
            (bar.used, bar.reserved)
        };
        assert_eq!(parts(feature(50, 40, 2, 8)), (800, 40));
        assert_eq!(parts(feature(0, 0, 0, 0)), (0, 0));
        // A license that shrank below what is held.
        assert_eq!(parts(feature(5, 10, 0, 0)), (1_000, 0));
        assert_eq!(words(&feature(50, 40, 2, 8)), "40 used · 2 reserved · 8 free of 50");
    }
}
