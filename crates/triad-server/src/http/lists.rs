//! The pages of checkouts and of the queue.

use axum::extract::{Form as Sent, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use triad_ledger::names::CheckoutId;
use triad_proto::v1::{CheckoutInfo, CheckoutState, ListQueueRequest, RevokeCheckoutRequest};

use super::Web;
use super::page::{Field, Form, Page, Section, listed};
use super::signin::Visitor;
use super::table::{self, Ask, Cell, Column, Empty, Listing, encoded, number, text};
use super::words::{instant, length};
use crate::admin_service::{Admin, checkout_info};
use crate::tokens::{Role, authorize};

/// Checkouts that are looked at while the ledger is held; then it is let go.
const CHECKOUTS_AT_ONCE: usize = 500;
/// The most checkouts that a page looks at; more are for the command line.
const ROWS_MAX: usize = 50_000;

pub(super) const CHECKOUTS: &[Column] = &[
    number("checkout", "Checkout"),
    text("user", "User"),
    text("host", "Host"),
    text("features", "Features"),
    number("seats", "Seats"),
    text("since", "Since"),
    table::length("held", "held_ms", "Held for"),
    text("state", "State"),
];

pub(super) const NO_CHECKOUTS: Empty = Empty {
    text: "Nobody holds a seat now. Try one: triad run --feature FEATURE -- COMMAND",
    link: "Which features there are",
    href: "/features",
};

pub(super) const QUEUE: &[Column] = &[
    number("place", "Place"),
    text("user", "User"),
    text("host", "Host"),
    text("wants", "Wants"),
    number("priority", "Priority"),
    table::length("waited", "waited_ms", "Has waited"),
    table::length("estimate", "estimate_ms", "May wait"),
];

pub(super) const NOBODY_WAITS: Empty = Empty {
    text: "Nobody waits. A client that asks with --wait stands here when no seat is free.",
    link: "How the queue works",
    href: "/docs/reference/rules/queue",
};

fn state(info: &CheckoutInfo) -> Cell {
    match info.state() {
        CheckoutState::Live if info.idle_ms > 0 => {
            Cell::state(format!("idle for {}", length(info.idle_ms)), "off").raw("idle")
        }
        CheckoutState::Live => Cell::state("live", "good"),
        CheckoutState::Lingering => Cell::state("lingers", "calm"),
        CheckoutState::Borrowed => Cell::state("borrowed", "calm"),
        CheckoutState::Lost => Cell::state("lost", "wait"),
        CheckoutState::Unspecified => "".into(),
    }
}

fn features(info: &CheckoutInfo) -> String {
    info.items.iter().map(|item| item.feature.as_str()).collect::<Vec<_>>().join(", ")
}

fn row(info: &CheckoutInfo, now_ms: u64) -> Vec<Cell> {
    let holder = info.holder.clone().unwrap_or_default();
    let held_ms = now_ms.saturating_sub(info.since_ms);
    vec![
        Cell::from(info.checkout_id).to(format!("/checkouts/{}", info.checkout_id)),
        holder.user.into(),
        holder.host.into(),
        features(info).into(),
        info.items.iter().map(|item| u64::from(item.seats)).sum::<u64>().into(),
        Cell::instant(info.since_ms),
        Cell::length(held_ms),
        state(info),
    ]
}

/// Does what takes long where nobody waits for it: a node's few threads are for
/// grants and heartbeats.
/// Few at once: what nobody waits for any more is done to its end all the same.
pub(super) async fn beside<T: Send + 'static>(
    web: &Web,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let place = web.looking.clone().acquire_owned().await.expect("it is never closed");
    let worked = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(place);
        done
    });
    match worked.await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(done) => done,
        // What went wrong there went wrong here.
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The node stops, and so does this.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// The rows of those checkouts that fit, and whether there were too many to look
/// at. The ledger is let go between parts. To be done [`beside`].
pub(super) fn checkout_rows(
    web: &Web,
    fits: impl Fn(&CheckoutInfo) -> bool,
) -> (Vec<Vec<Cell>>, bool) {
    let now = web.node.now();
    let (mut rows, mut after) = (Vec::new(), CheckoutId(0));
    let mut looked_at = 0;
    loop {
        let part: Vec<_> = web.node.consensus.read(|ledger| {
            let some = ledger.checkouts(after).take(CHECKOUTS_AT_ONCE);
            some.map(|(id, checkout)| checkout_info(ledger, id, checkout, now)).collect()
        });
        looked_at += part.len();
        if let Some(last) = part.last() {
            after = CheckoutId(last.checkout_id);
        }
        rows.extend(part.iter().filter(|info| fits(info)).map(|info| row(info, now.date_ms)));
        if part.len() < CHECKOUTS_AT_ONCE {
            return (rows, false);
        }
        if looked_at >= ROWS_MAX {
            return (rows, true);
        }
    }
}

/// A page that begins with how the cluster is.
async fn begun(web: &Web, visitor: Visitor, title: &str, path: &'static str) -> Page {
    let admin = Admin { node: web.node.clone() };
    let (freshness, ()) = admin.read(|_| ()).await;
    let page = Page::new(title, path, &web.node.config.name).visitor(Some(visitor));
    page.verdict(web.node.verdict(&freshness))
}

/// Every checkout.
pub(super) async fn checkouts(
    State(web): State<Web>,
    visitor: Visitor,
    Query(ask): Query<Ask>,
) -> Response {
    let notice = if ask.done == "revoked" { "The checkout was taken back." } else { "" };
    let mut page = begun(&web, visitor, "Checkouts", "/checkouts").await.notice(notice);
    let looker = web.clone();
    let looked = beside(&web, move || {
        let (rows, too_many) = checkout_rows(&looker, |_| true);
        let nouns = ("checkout", "checkouts");
        (Listing::new("/checkouts", nouns, CHECKOUTS, rows, ask, NO_CHECKOUTS), too_many)
    });
    let (listing, too_many) = looked.await;
    if too_many {
        let text = format!(
            "Only the oldest {ROWS_MAX} checkouts are looked through here. The command line has \
             all of them: triad checkouts"
        );
        page = page.with(Section::Text(text));
    }
    beside(&web, move || listed(page, listing, "checkouts")).await
}

/// One checkout, and how to take it back.
pub(super) async fn checkout(
    State(web): State<Web>,
    visitor: Visitor,
    Path(id): Path<u64>,
) -> Page {
    one(&web, visitor, id, None).await
}

async fn one(web: &Web, visitor: Visitor, id: u64, refused: Option<(StatusCode, String)>) -> Page {
    let node = &web.node;
    let now = node.now();
    let admin = Admin { node: node.clone() };
    let (freshness, found) = admin
        .read(|ledger| {
            let checkout = ledger.find_checkout(CheckoutId(id))?;
            Some(checkout_info(ledger, CheckoutId(id), checkout, now))
        })
        .await;
    let role = visitor.role;
    let form_token = visitor.form_token.clone();
    let mut page = Page::new(format!("Checkout {id}"), "/checkouts", &node.config.name)
        .visitor(Some(visitor))
        .verdict(node.verdict(&freshness));
    if let Some((status, refused)) = refused {
        page = page.with(Section::Error(refused)).status(status);
    }
    let Some(info) = found else {
        let links = vec![
            ("/checkouts".to_owned(), "Who holds seats now".to_owned()),
            ("/events".to_owned(), "What became of it: the history".to_owned()),
        ];
        return page
            .status(StatusCode::NOT_FOUND)
            .with(Section::Error(format!(
                "Checkout {id} is not held: it was returned or never was."
            )))
            .with(Section::Links { title: "Go on".into(), links });
    };
    let holder = info.holder.clone().unwrap_or_default();
    let seats: u64 = info.items.iter().map(|item| u64::from(item.seats)).sum();
    let or_none = |text: String| if text.is_empty() { "–".to_owned() } else { text };
    let facts = vec![
        ("User", or_none(holder.user.clone())),
        ("Host", or_none(holder.host.clone())),
        ("Display", or_none(holder.display)),
        ("Project", or_none(holder.project)),
        ("Application", or_none(holder.application)),
        ("Features", features(&info)),
        ("Seats", seats.to_string()),
        ("Since", format!("{} UTC", instant(info.since_ms))),
        ("State", state(&info).text),
        ("Session", info.session_id.clone()),
    ];
    page = page.with(Section::Facts { title: "Who and what", facts });
    if role < Role::Operator {
        let text = format!("To take seats back needs the role operator; you have the role {role}.");
        return page.with(Section::Text(text));
    }
    if node.leading_term().is_none() {
        return elsewhere(web, page, id);
    }
    let mut reason = Field::input("reason", "Reason, which the user is told", "text");
    reason.required = true;
    reason.hint = "It stands in the history, with your token.";
    let mut block = Field::input("block_minutes", "May have it again", "choice");
    block.choices = [("0", "at once"), ("2", "after 2 minutes"), ("30", "after 30 minutes")]
        .map(|(value, words)| (value.to_owned(), words.to_owned()))
        .into();
    let text = format!(
        "{}@{} loses {seats} of {} at once, whatever is unsaved.",
        holder.user,
        holder.host,
        features(&info)
    );
    page.with(Section::Form(Form {
        title: "Take it back".into(),
        text,
        action: format!("/checkouts/{id}/revoke"),
        method: "post",
        form_token,
        fields: vec![reason, block],
        button: "Take back",
    }))
}

/// Where a checkout is taken back, on a node that cannot: only the leader changes
/// anything.
fn elsewhere(web: &Web, page: Page, id: u64) -> Page {
    let node = &web.node;
    let Some(leader) = node.consensus.leadership().leader else {
        let text = "Nobody leads now, so nothing can be taken back. Try again when there is a \
                    quorum.";
        return page.with(Section::Text(text.to_owned()));
    };
    let name = node.name_of(leader);
    match node.leader_pages() {
        Some(pages) => {
            let links =
                vec![(format!("{pages}checkouts/{id}"), format!("Open it at the leader, {name}"))];
            page.with(Section::Links { title: "Take it back".into(), links })
        }
        None => page.with(Section::Text(format!(
            "This node follows, and only the leader, {name}, takes seats back: open its pages, \
             or use the command line: triad checkouts revoke {id}"
        ))),
    }
}

/// What the form above sends.
#[derive(serde::Deserialize)]
pub(super) struct Revoke {
    form_token: String,
    reason: String,
    block_minutes: u64,
}

/// Takes a checkout back.
pub(super) async fn revoke(
    State(web): State<Web>,
    visitor: Visitor,
    Path(id): Path<u64>,
    Sent(form): Sent<Revoke>,
) -> Response {
    let node = &web.node;
    let refuse = |status: StatusCode, why: &str| {
        let page = Page::new("Not done", "/checkouts", &node.config.name);
        page.status(status).with(Section::Error(why.to_owned())).visitor(Some(visitor.clone()))
    };
    if !visitor.made(&form.form_token) {
        let why = "This form is not of your present sign-in. Load the page again and send it once \
                   more.";
        return refuse(StatusCode::FORBIDDEN, why).into_response();
    }
    if visitor.role < Role::Operator {
        let why = format!("To take seats back needs the role operator; you have {}.", visitor.role);
        return refuse(StatusCode::FORBIDDEN, &why).into_response();
    }
    let by = match authorize(node, &visitor.bearer) {
        Some(by) if node.leading_term().is_some() => by,
        Some(_) => {
            let page = match node.leader_pages() {
                Some(pages) => {
                    let why = "This node follows. The leader takes seats back: do it there.";
                    let links = vec![(
                        format!("{pages}checkouts/{id}"),
                        "Open it at the leader".to_owned(),
                    )];
                    refuse(StatusCode::CONFLICT, why)
                        .with(Section::Links { title: "Go on".into(), links })
                }
                None => {
                    let why = "Nobody leads now, so nothing can be changed. Try again when there \
                               is a quorum.";
                    refuse(StatusCode::SERVICE_UNAVAILABLE, why)
                }
            };
            return page.into_response();
        }
        None => return Redirect::to("/sign-in").into_response(),
    };
    if form.reason.trim().is_empty() {
        let why = "Give a reason: the user is told, and it stands in the history.".to_owned();
        let refused = Some((StatusCode::UNPROCESSABLE_ENTITY, why));
        return one(&web, visitor, id, refused).await.into_response();
    }
    let request = RevokeCheckoutRequest {
        checkout_id: id,
        reason: form.reason,
        block_ms: form.block_minutes.saturating_mul(60_000),
    };
    let admin = Admin { node: node.clone() };
    match admin.revoked(&by, request).await {
        Ok(_) => Redirect::to("/checkouts?done=revoked").into_response(),
        Err(refusal) => {
            let refused = Some((StatusCode::CONFLICT, refusal.message));
            one(&web, visitor, id, refused).await.into_response()
        }
    }
}

/// The rows of those who wait, for one feature or any. The ledger is let go, and
/// the thread, between parts of at most a thousand.
pub(super) async fn queue_rows(web: &Web, feature: Option<&str>) -> Vec<Vec<Cell>> {
    let admin = Admin { node: web.node.clone() };
    let mut rows = Vec::new();
    let mut page_token = String::new();
    loop {
        let feature = feature.unwrap_or_default().to_owned();
        let request = ListQueueRequest { feature, page_token, ..ListQueueRequest::default() };
        let Ok(part) = admin.queue(request).await else { return rows };
        rows.extend(part.entries.iter().map(|entry| {
            let holder = entry.holder.clone().unwrap_or_default();
            let item = |item: &triad_proto::v1::Item| format!("{} of {}", item.seats, item.feature);
            let wants = entry.items.iter().map(item).collect::<Vec<_>>().join(", ");
            let estimate = match entry.estimate_ms {
                0 => Cell::by("not known", u64::MAX).raw(""),
                ms => Cell::by(format!("about {}", length(ms)), ms).raw(ms.to_string()),
            };
            let wants = match entry.items.first() {
                Some(first) => {
                    Cell::from(wants).to(format!("/features/{}", encoded(&first.feature)))
                }
                None => wants.into(),
            };
            vec![
                entry.place.into(),
                holder.user.into(),
                holder.host.into(),
                wants,
                u64::from(entry.priority).into(),
                Cell::length(entry.waited_ms),
                estimate,
            ]
        }));
        page_token = part.next_page_token;
        if page_token.is_empty() || rows.len() >= ROWS_MAX {
            return rows;
        }
    }
}

/// Who waits.
pub(super) async fn queue(
    State(web): State<Web>,
    visitor: Visitor,
    Query(ask): Query<Ask>,
) -> Response {
    let page = begun(&web, visitor, "Queue", "/queue").await;
    let rows = queue_rows(&web, None).await;
    beside(&web, move || {
        let nouns = ("request waits", "requests wait");
        listed(page, Listing::new("/queue", nouns, QUEUE, rows, ask, NOBODY_WAITS), "queue")
    })
    .await
}
