//! The session's task, turn by turn, on streams whose other end the test holds.

use rand::SeedableRng;
use tokio::sync::oneshot::Receiver;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{DecodeBuf, Decoder};
use tonic::transport::Endpoint;
use triad_proto::net::TcpNetwork;

use super::*;
use crate::route::Dialer;

const LEADER: &str = "lic-a:27070";
const TIMEOUT: Duration = Duration::from_secs(10);

/// A leader that says nothing.
struct Silent;

impl Decoder for Silent {
    type Item = v1::SessionResponse;
    type Error = Status;

    fn decode(&mut self, _: &mut DecodeBuf<'_>) -> Result<Option<Self::Item>, Status> {
        Ok(None)
    }
}

fn session() -> Session {
    let settings = Settings {
        servers: vec![LEADER.into()],
        dialer: Dialer { network: Arc::new(TcpNetwork::new()), tls: None },
        holder: v1::Holder::default(),
        lease: Duration::ZERO,
        checkout_timeout: TIMEOUT,
        on_state: None,
        witness: None,
        connections: None,
    };
    let (announce, _) = watch::channel(State::Idle);
    let (belief, _) = watch::channel(Belief::default());
    Session::new(settings, announce, belief, StdRng::seed_from_u64(1))
}

/// Opens the session on a new stream, of which this is the other end.
fn open(session: &mut Session, now: Instant) -> mpsc::Receiver<v1::SessionRequest> {
    open_with(session, now, v1::Opened::default())
}

/// The same, with what the leader counts.
fn open_with(
    session: &mut Session,
    now: Instant,
    counted: v1::Opened,
) -> mpsc::Receiver<v1::SessionRequest> {
    let (calls, said) = mpsc::channel(256);
    let opened = v1::Opened {
        lease_ms: 30_000,
        heartbeat_interval_ms: 5_000,
        disconnect_grace_ms: 2_000,
        ..counted
    };
    let open = OpenStream {
        address: LEADER.into(),
        channel: Endpoint::from_static("http://lic-a:27070").connect_lazy(),
        term: 1,
        calls,
        events: tonic::Streaming::new_empty(Silent, Body::empty()),
        first_events: Vec::new(),
        opened,
        opened_sent: now,
    };
    session.opened(open, now);
    said
}

fn turn(session: &mut Session, now: Instant) {
    session.look_at_the_time(now);
    session.send_what_fits(now);
}

fn take(session: &mut Session, now: Instant) -> Receiver<Result<Held, Error>> {
    let (reply, answer) = oneshot::channel();
    let deadline = now + TIMEOUT;
    session.take_ask(Ask::Take { items: Vec::new(), deadline, reply, queue: None });
    answer
}

/// What was said but heartbeats.
fn said(stream: &mut mpsc::Receiver<v1::SessionRequest>) -> Vec<Call> {
    let messages = std::iter::from_fn(|| stream.try_recv().ok());
    let calls = messages.flat_map(|message| message.calls).filter_map(|call| call.call);
    calls.filter(|call| !matches!(call, Call::Beat(_))).collect()
}

fn taken(calls: &[Call]) -> Vec<u64> {
    let number = |call: &Call| match call {
        Call::Take(take) => take.request_id,
        other => panic!("not a checkout: {other:?}"),
    };
    calls.iter().map(number).collect()
}

/// Asks again each time that it has given up.
fn take_at_the_third_try(session: &mut Session, now: Instant) -> Receiver<Result<Held, Error>> {
    for _ in 0..2 {
        drop(take(session, now));
        turn(session, now);
    }
    take(session, now)
}

/// One seat, and an application that asks again each second until there is a leader: what it gave
/// up is nobody's, and would take the seat from its last try.
#[tokio::test]
async fn what_was_given_up_before_it_was_sent_takes_no_seat() {
    let now = Instant::now();
    let mut session = session();
    let _first = take_at_the_third_try(&mut session, now);
    let mut stream = open(&mut session, now);
    turn(&mut session, now);
    assert_eq!(taken(&said(&mut stream)), [3]);
    // The same with a lease, while the next leader is looked for.
    session.stream_ended(None, now);
    let _second = take_at_the_third_try(&mut session, now);
    let mut stream = open(&mut session, now);
    turn(&mut session, now);
    assert_eq!(taken(&said(&mut stream)), [3, 6]);
}

#[tokio::test]
async fn whoever_waited_in_vain_is_told_for_what() {
    let now = Instant::now();
    let late = now + TIMEOUT;
    let told = |mut answer: Receiver<Result<Held, Error>>| {
        let error = answer.try_recv().expect("its time is up").err().expect("nobody answers");
        (error.reason().expect("it says why"), error.to_string())
    };
    let mut session = session();
    let refusal = Refusal::because(Reason::NoQuorum, "lic-b hears no other node");
    session.not_found(NotFound { refusal, hint: None }, now);
    let early = take(&mut session, now);
    turn(&mut session, late);
    assert_eq!(told(early).0, Reason::NoQuorum);

    // Somebody leads: what was said before that is over.
    let _stream = open(&mut session, now);
    let unanswered = take(&mut session, now);
    turn(&mut session, now);
    turn(&mut session, late);
    let (reason, words) = told(unanswered);
    assert_eq!(reason, Reason::Deadline);
    assert!(words.contains("lic-a:27070 leads and did not answer in time"), "{words}");

    session.stream_ended(None, now);
    let unsent = take(&mut session, now);
    turn(&mut session, late);
    let (reason, words) = told(unsent);
    assert_eq!(reason, Reason::NodeUnreachable);
    assert!(words.contains("lic-a:27070 led"), "{words}");
}

/// Each word is an entry of the log.
#[tokio::test]
async fn an_application_that_says_everything_is_heard_once_a_second() {
    let now = Instant::now();
    let mut session = session();
    let mut stream = open(&mut session, now);
    let is_idle = |calls: Vec<Call>| -> Vec<bool> {
        let words = calls.into_iter().filter_map(|call| match call {
            Call::Idle(idle) => Some(idle.is_idle),
            _ => None,
        });
        words.collect()
    };
    for since in [None, Some(now), None, Some(now), None] {
        session.take_ask(Ask::Idle { since });
        turn(&mut session, now);
    }
    assert_eq!(is_idle(said(&mut stream)), [true]);
    let next = now + Duration::from_secs(1);
    turn(&mut session, next);
    assert_eq!(is_idle(said(&mut stream)), [false]);
    // Who asks for seats is not idle.
    session.take_ask(Ask::Idle { since: Some(now) });
    let _answer = take(&mut session, next);
    let later = next + Duration::from_secs(1);
    turn(&mut session, later);
    assert_eq!(is_idle(said(&mut stream)), [false]);
}

/// A second stream to the leader is opened while the first is in use, which goes on being heard
/// until the second is: what is granted on it meanwhile is not in what the second counts.
#[tokio::test]
async fn what_is_granted_while_another_stream_is_opened_is_kept() {
    let now = Instant::now();
    let later = now + Duration::from_secs(1);
    let position = |index| Some(v1::LogPosition { term: 1, index });
    // Heard when, at which index of the log; whether the opening counts it, of which node; and
    // whether it is kept.
    let cases = [
        (later, 21, false, 1, true),
        (later, 20, false, 1, false),
        (now, 21, false, 1, false),
        (now, 15, true, 1, true),
        (later, 21, false, 2, false),
    ];
    for case @ (heard, index, is_counted, node_id, is_kept) in cases {
        let mut session = session();
        let opened = v1::Opened { node_id: 1, position: position(10), ..v1::Opened::default() };
        let _first = open_with(&mut session, now, opened);
        let mut answer = take(&mut session, now);
        turn(&mut session, now);
        let grant = v1::Grant { checkout_id: 7, ..v1::Grant::default() };
        let outcome = Some(v1::taken::Outcome::Grant(grant));
        let taken = v1::Taken { request_id: 1, position: position(index), outcome };
        session.take_event(Event::Taken(taken), heard);
        let checkout_ids = if is_counted { vec![7] } else { Vec::new() };
        let position = position(20);
        let opened = v1::Opened { node_id, position, checkout_ids, ..v1::Opened::default() };
        let _second = open_with(&mut session, later, opened);
        let held = answer.try_recv().expect("it is answered").expect("it is granted");
        assert_eq!(held.ended.get().is_none(), is_kept, "{case:?}");
    }
}

/// It may have ended the session before it died.
#[tokio::test]
async fn a_death_that_is_heard_of_too_late_gives_nothing_back() {
    let now = Instant::now();
    for (seconds, is_in_time) in [(2, true), (3, false)] {
        let mut session = session();
        let _stream = open(&mut session, now);
        session.stream_ended(None, now);
        let heard = now + Duration::from_secs(seconds);
        session.died(LEADER, heard);
        let believed = session.belief.borrow().until.expect("not given up yet");
        assert_eq!(believed > heard, is_in_time);
    }
}

#[tokio::test]
async fn a_full_stream_is_told_of_the_end_when_it_has_room() {
    let now = Instant::now();
    let mut session = session();
    let mut stream = open(&mut session, now);
    turn(&mut session, now);
    while session.stream.as_mut().is_some_and(|stream| stream.say(Vec::new())) {}
    session.close(None);
    let now = Instant::now();
    session.say_close(now);
    assert!(session.wake_at(now) <= now + OUTBOX_INTERVAL);
    said(&mut stream);
    session.say_close(now);
    assert!(matches!(said(&mut stream)[..], [Call::Close(_)]));
}

/// Who waited is granted a seat by the next leader, before his client is back: that he was idle
/// before would take it from him.
#[tokio::test]
async fn an_old_word_takes_no_new_seat() {
    let now = Instant::now();
    let mut session = session();
    let mut stream = open(&mut session, now);
    let _answer = take(&mut session, now);
    session.take_ask(Ask::Idle { since: Some(now) });
    turn(&mut session, now);
    assert!(matches!(said(&mut stream)[..], [Call::Idle(_), Call::Take(_)]), "in this order");
    let later = now + Duration::from_secs(60);
    // The first names no seat but those that are known, the second one that is not.
    for (checkout_ids, is_said) in [(Vec::new(), true), (vec![7], false)] {
        let opened = v1::Opened { checkout_ids, ..v1::Opened::default() };
        let mut stream = open_with(&mut session, later, opened);
        turn(&mut session, later + Duration::from_secs(1));
        let words = said(&mut stream);
        assert_eq!(words.iter().any(|call| matches!(call, Call::Idle(_))), is_said);
    }
}
