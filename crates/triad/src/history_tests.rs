//! Tests of reading the history, against nodes that die on the way.

use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use triad_proto::v1::EventKind;

use super::*;
use crate::cluster::tests::{LONG, Node, cluster};

/// What a node says of events 1 to 9, one in each message.
#[derive(Clone, Copy)]
enum Tells {
    /// Up to this one, and then its stream breaks.
    BreaksAfter(u64),
    /// All of them, those too that were told before.
    AllAgain,
    /// All that were asked for.
    All,
}

fn event(sequence: u64) -> ListEventsResponse {
    let kind = EventKind::Granted.into();
    let events = vec![HistoryEvent { sequence, kind, ..HistoryEvent::default() }];
    ListEventsResponse { events, first_sequence: 1, last_sequence: 9, ..Default::default() }
}

/// A node that leads and tells events; notes what was asked for.
fn teller(tells: Tells, asked: &Arc<Mutex<Vec<u64>>>) -> Node {
    let asked = asked.clone();
    Node::new(1, 1, 9).tells(move |request: ListEventsRequest| {
        asked.lock().unwrap().push(request.after_sequence);
        let after = match tells {
            Tells::AllAgain => 0,
            _ => request.after_sequence,
        };
        let last = match tells {
            Tells::BreaksAfter(last) => last,
            _ => 9,
        };
        let told = futures::stream::iter((after + 1..=last).map(|at| Ok(event(at))));
        let broken = futures::stream::iter(match tells {
            Tells::BreaksAfter(_) => vec![Err(Status::unavailable("going down"))],
            _ => vec![],
        });
        match request.follow && !matches!(tells, Tells::BreaksAfter(_)) {
            true => told.chain(futures::stream::pending()).boxed(),
            false => told.chain(broken).boxed(),
        }
    })
}

/// Reads until the ninth event, or the end; gives the numbers in the order in
/// which they were told, and what was said in between.
async fn read(cluster: Cluster, follow: bool) -> Result<(Vec<u64>, Vec<String>), Failure> {
    let request = ListEventsRequest { follow, ..ListEventsRequest::default() };
    let mut history = History::open(cluster, |_| Ok(request)).await?;
    let (mut told, mut notices) = (Vec::new(), Vec::new());
    while let Some(piece) = history.next().await? {
        told.extend(piece.events.iter().map(|event| event.sequence));
        notices.extend(piece.notice);
        if follow && told.last() == Some(&9) {
            break;
        }
    }
    Ok((told, notices))
}

#[tokio::test]
async fn a_node_that_dies_leaves_no_gap_and_no_double() {
    for (follow, second) in
        [(true, Tells::All), (true, Tells::AllAgain), (false, Tells::All), (false, Tells::AllAgain)]
    {
        let asked = Arc::default();
        // Both claim to lead; whichever is asked first breaks or does not, and
        // the reader meets the first until that has told all it has.
        let first = teller(Tells::BreaksAfter(4), &asked);
        let address = first.serve().await;
        let replacement = teller(second, &asked);
        first.is_replaced_by(&replacement);
        let (told, notices) = read(cluster(&[&address], LONG), follow).await.unwrap();
        assert_eq!(told, (1..=9).collect::<Vec<_>>());
        assert_eq!(*asked.lock().unwrap(), [0, 4]);
        assert!(notices[0].contains("the connection broke; going on after event 4"), "{notices:?}");
        assert_eq!(notices.len(), 2, "{notices:?}");
    }
}

#[tokio::test]
async fn whoever_does_not_follow_gives_up_on_a_node_that_brings_nothing() {
    let asked: Arc<Mutex<Vec<u64>>> = Arc::default();
    let address = teller(Tells::BreaksAfter(0), &asked).serve().await;
    let Err(failure) = read(cluster(&[&address], LONG), false).await else { panic!() };
    assert_eq!(failure.reason(), Some(Reason::NodeUnreachable), "{failure}");
    assert_eq!(asked.lock().unwrap().len(), FRUITLESS_MAX);
}

#[tokio::test]
async fn a_refusal_that_stays_ends_even_whoever_follows() {
    let node = Node::new(1, 1, 9).tells(|_| {
        let refusal = Refusal::because(Reason::NotAuthenticated, "no token");
        futures::stream::iter([Err(Status::from(refusal))]).boxed()
    });
    let address = node.serve().await;
    let Err(failure) = read(cluster(&[&address], LONG), true).await else { panic!() };
    assert_eq!(failure.reason(), Some(Reason::NotAuthenticated), "{failure}");
}

#[tokio::test]
async fn a_node_that_is_cut_off_is_left() {
    let asked: Arc<Mutex<Vec<u64>>> = Arc::default();
    let node = teller(Tells::All, &asked);
    let address = node.serve().await;
    let request = ListEventsRequest { follow: true, ..ListEventsRequest::default() };
    let mut history = History::open(cluster(&[&address], LONG), |_| Ok(request)).await.unwrap();
    let mut told = 0;
    while told < 9 {
        told += history.next().await.unwrap().unwrap().events.len();
    }
    node.loses_its_quorum();
    let piece = history.next().await.unwrap().unwrap();
    let notice = piece.notice.unwrap();
    assert!(notice.contains("is cut off from the other nodes"), "{notice}");
}
