//! `triad drill`: a failover on the customer's own cluster, asked for and
//! measured. Leadership moves as it does before maintenance; a session of our own
//! without any seat beats through it and sees how long nobody answered; and every
//! seat that was held before is looked for afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::Instant;
use triad_proto::v1::{
    CheckoutInfo, EndReason, EventKind, ListEventsRequest, StatusResponse, TransferLeaderRequest,
};

use crate::args::drill::DrillArguments;
use crate::checkouts::all_checkouts;
use crate::cluster::{Admin, Cluster};
use crate::consent::{Consent, consent, demand_somebody_to_ask};
use crate::duration::show_ms;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::history::{History, Piece};
use crate::settings::Settings;
use crate::text::{counted, printable};
use crate::verdict::{Level, best_view, statuses, verdict};

use super::pulse::{self, Pulse};

/// Beats before and after the transfer, so that the gap has two sides.
const CALM: Duration = Duration::from_millis(700);

/// Moves leadership, and says what it cost.
pub async fn run(settings: &Settings, arguments: &DrillArguments) -> Result<Exit, Failure> {
    demand_somebody_to_ask(arguments.consent)?;
    let mut cluster = Cluster::new(settings)?;
    let answers = cluster.statuses().await;
    let found = verdict(&answers);
    let heard = statuses(&answers);
    let Some(view) = best_view(&heard) else {
        let met =
            answers.iter().filter_map(|a| Some((a.address.clone(), a.outcome.clone().err()?)));
        return Err(Failure::Unreachable(met.collect()));
    };
    if found.level != Level::Healthy && !arguments.force {
        return Err(Failure::Usage {
            what: format!("no drill on a cluster that is not well: {}", found.sentence),
            remedy: "mend it first, as `triad status` says; or give --force".to_owned(),
        });
    }
    let from = name_of(view, view.leader_id);
    match consent(settings, arguments.consent, &plan(view, &from))? {
        Consent::Given => {}
        Consent::Rehearsed => return Ok(Exit::Ok),
        Consent::Withheld => return Ok(Exit::Error),
    }
    cluster.begin_anew();
    let before = held(&cluster).await?;
    let addresses = view.nodes.iter().map(|node| node.client_address.clone()).collect();
    let (told, calm) = oneshot::channel();
    let measuring = pulse::measure(settings, addresses, CALM, told)?;
    let moving = async {
        // Without a pulse there is nothing to measure, and nothing is moved.
        let Ok(()) = calm.await else { return Ok(None) };
        cluster.begin_anew();
        let request = TransferLeaderRequest { to_node_id: 0 };
        let moved = cluster
            .write(async |admin: &mut Admin| Ok(admin.transfer_leader(request).await?.into_inner()))
            .await?;
        Ok::<_, Failure>(Some(moved.answer))
    };
    let (pulse, moved) = tokio::join!(measuring, moving);
    let pulse = pulse?;
    let Some(moved) = moved? else {
        return Err(Failure::Serve("no heartbeat was answered".into()));
    };
    cluster.begin_anew();
    let after = held(&cluster).await?;
    let returned = returned(settings, view.date_ms).await?;
    let story = Story {
        from,
        to: name_of(view, moved.leader_id),
        term: moved.term,
        pulse,
        fate: Fate::new(&before, &after, &returned),
    };
    settings.output.answer(&story.as_json(), || story.as_text())?;
    Ok(if story.fate.lost.is_empty() { Exit::Ok } else { Exit::Error })
}

fn plan(view: &StatusResponse, from: &str) -> String {
    format!(
        "leadership moves from {} to another node, as before maintenance\n{} hold {}: they keep \
         their seats; checkouts wait for some milliseconds\n",
        printable(from),
        counted(view.sessions, "session"),
        counted(view.checkouts, "checkout"),
    )
}

fn name_of(view: &StatusResponse, id: u64) -> String {
    let node = view.nodes.iter().find(|node| node.node_id == id);
    node.map_or_else(|| format!("node {id}"), |node| node.name.clone())
}

async fn held(cluster: &Cluster) -> Result<Vec<CheckoutInfo>, Failure> {
    let read = cluster.read(async |admin: &mut Admin| all_checkouts(admin, "").await).await?;
    Ok(read.answer.checkouts)
}

/// The checkouts that were given back by their users, or by an administrator,
/// since then.
async fn returned(settings: &Settings, since_ms: u64) -> Result<BTreeSet<u64>, Failure> {
    let request = ListEventsRequest {
        since_ms,
        kinds: vec![
            EventKind::Returned.into(),
            EventKind::Revoked.into(),
            EventKind::Lingering.into(),
        ],
        ..ListEventsRequest::default()
    };
    let mut history = History::open(Cluster::new(settings)?, |_| Ok(request)).await?;
    let mut found = BTreeSet::new();
    while let Some(Piece { events, .. }) = history.next().await? {
        let wanted = events.iter().filter(|event| {
            matches!(event.end_reason(), EndReason::Closed | EndReason::Unspecified)
        });
        found.extend(wanted.map(|event| event.checkout_id));
    }
    Ok(found)
}

/// What became of the checkouts that were held before.
#[derive(Debug, PartialEq, Eq)]
struct Fate {
    before: usize,
    kept: usize,
    returned: usize,
    lost: Vec<u64>,
}

impl Fate {
    fn new(before: &[CheckoutInfo], after: &[CheckoutInfo], returned: &BTreeSet<u64>) -> Self {
        let after: BTreeMap<u64, &CheckoutInfo> =
            after.iter().map(|checkout| (checkout.checkout_id, checkout)).collect();
        let mut fate = Fate { before: before.len(), kept: 0, returned: 0, lost: Vec::new() };
        for checkout in before {
            let id = checkout.checkout_id;
            if after.get(&id).is_some_and(|now| now.session_id == checkout.session_id) {
                fate.kept += 1;
            } else if returned.contains(&id) {
                fate.returned += 1;
            } else {
                fate.lost.push(id);
            }
        }
        fate
    }
}

struct Story {
    from: String,
    to: String,
    term: u64,
    pulse: Pulse,
    fate: Fate,
}

impl Story {
    fn as_json(&self) -> serde_json::Value {
        json!({
            "from": self.from,
            "to": self.to,
            "term": self.term.to_string(),
            "gapMs": self.pulse.gap.as_millis() as u64,
            "beats": self.pulse.beats,
            "before": self.fate.before,
            "kept": self.fate.kept,
            "returned": self.fate.returned,
            "lost": self.fate.lost,
        })
    }

    fn as_text(&self) -> String {
        let Fate { before, kept, returned, lost } = &self.fate;
        let mut text = format!(
            "{} handed over to {}, term {}\nheartbeats went unanswered for {} at most ({} were \
             answered)\n{kept} of {before} checkouts kept, {returned} returned by their users, {} \
             lost\n",
            printable(&self.from),
            printable(&self.to),
            self.term,
            show_ms(self.pulse.gap.as_millis() as u64),
            self.pulse.beats,
            lost.len(),
        );
        for id in lost.iter().take(20) {
            let _ = writeln!(text, "  lost: checkout {id}; see `triad events`");
        }
        text
    }
}

/// The longest time between two answers.
pub fn longest_gap(answers: &[Instant]) -> Duration {
    answers.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_kept_returned_or_lost() {
        let checkout = |checkout_id, session: &str| CheckoutInfo {
            checkout_id,
            session_id: session.into(),
            ..CheckoutInfo::default()
        };
        let before = [checkout(1, "a"), checkout(2, "a"), checkout(3, "b"), checkout(4, "b")];
        let after = [checkout(1, "a"), checkout(4, "somebody else"), checkout(9, "c")];
        let fate = Fate::new(&before, &after, &BTreeSet::from([2]));
        assert_eq!(fate, Fate { before: 4, kept: 1, returned: 1, lost: vec![3, 4] });
    }

    #[test]
    fn the_gap_is_the_longest() {
        let start = Instant::now();
        let answers = [0, 10, 20, 75, 80].map(|ms| start + Duration::from_millis(ms));
        assert_eq!(longest_gap(&answers), Duration::from_millis(55));
        assert_eq!(longest_gap(&answers[..1]), Duration::ZERO);
    }
}
