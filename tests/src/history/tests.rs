//! Good histories pass, and each kind of lie is found.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use triad_ledger::names::{CheckoutId, FeatureName, Label, LicenseId, RequestId, Seats, Version};
use triad_ledger::rights::{About, License, Line, Terms};
use triad_ledger::{Holder, Item, QueueWait, Silence};

use super::search::{Verdict, search};
use super::*;

const LICENSED: [(&str, u32); 2] = [("cad", 3), ("mill", 2)];

/// A cluster that keeps its word, and the clients that watch it.
struct Scene {
    dice: StdRng,
    model: Model,
    history: History,
    now: Duration,
    clients: Vec<Client>,
    waits: bool,
}

struct Client {
    session: SessionId,
    next: u64,
    holds: Vec<u64>,
    busy: Option<Busy>,
}

/// A request under way, and what it was answered, if it was.
struct Busy {
    operation: usize,
    command: Command,
    answer: Option<(Place, Reply)>,
}

impl Scene {
    fn new(seed: u64, clients: u8, waits: bool) -> Self {
        let client = |n| Client { session: SessionId([n; 16]), next: 1, holds: vec![], busy: None };
        let mut scene = Scene {
            dice: StdRng::seed_from_u64(seed),
            model: Model::default(),
            history: History::default(),
            now: Duration::ZERO,
            clients: (1..=clients).map(client).collect(),
            waits,
        };
        scene.commit(Command::Install { license: license() });
        for n in 1..=clients {
            let user = Label::parse(&format!("user-{n}")).unwrap();
            let holder = Holder { user, ..Holder::default() };
            let session = SessionId([n; 16]);
            scene.commit(Command::Open { session, holder, lease_ms: 1, resume: false });
        }
        scene
    }

    fn run(seed: u64, clients: u8, waits: bool, steps: usize) -> Scene {
        let mut scene = Scene::new(seed, clients, waits);
        for _ in 0..steps {
            scene.step();
        }
        scene
    }

    /// Lets everybody have his answer.
    fn finish(mut self) -> History {
        while let Some(n) = self.clients.iter().position(|client| client.busy.is_some()) {
            self.go_on(n);
        }
        self.history
    }

    fn commit(&mut self, command: Command) -> (Place, Reply) {
        let index = self.history.log.len() as u64 + 10;
        let cluster_ms = self.now.as_millis() as u64;
        let at = At { index, term: 1 + index / 100, cluster_ms, date_ms: cluster_ms };
        let reply = self.model.apply(at, &command);
        self.history.log.push(Entry { at, commands: vec![command] });
        let place = Place { index, term: at.term };
        for Settled { session, request, reply } in self.model.take_settled() {
            let client = self.clients.iter_mut().find(|c| c.session == session).unwrap();
            let busy =
                client.busy.as_mut().filter(|b| request_of(&b.command).unwrap().1 == request);
            busy.expect("it waits").answer = Some((place, reply));
        }
        (place, reply)
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(self.dice.random_range(0..3));
        let n = self.dice.random_range(0..self.clients.len());
        self.go_on(n);
    }

    fn go_on(&mut self, n: usize) {
        match self.clients[n].busy.take() {
            None => self.begin(n),
            Some(Busy { operation, answer: Some((place, reply)), .. }) => {
                if let Reply::Granted { checkout, .. } = &reply {
                    self.clients[n].holds.push(*checkout);
                }
                let answered = Answered { returned: self.now, place: Some(place), reply };
                self.history.operations[operation].answers.push(answered);
            }
            Some(busy) => {
                let (command, operation) = (busy.command.clone(), busy.operation);
                self.clients[n].busy = Some(busy);
                let (place, reply) = self.commit(command);
                let client = &mut self.clients[n];
                if reply.is_final() {
                    client.busy.as_mut().unwrap().answer = Some((place, reply));
                } else if client.busy.as_ref().unwrap().answer.is_none() {
                    let answered = Answered { returned: self.now, place: Some(place), reply };
                    self.history.operations[operation].answers.push(answered);
                }
            }
        }
    }

    fn begin(&mut self, n: usize) {
        let client = &mut self.clients[n];
        let (session, request) = (client.session, client.next);
        client.next += 1;
        let (id, answered_through) = (RequestId(request), RequestId(request - 1));
        let returns = !client.holds.is_empty() && self.dice.random_range(0..5) < 2;
        let (asked, command) = if returns {
            let checkout = client.holds.swap_remove(0);
            let asked = Asked::Return { checkout };
            let checkout = CheckoutId(checkout);
            (asked, Command::Checkin { session, request: id, answered_through, checkout })
        } else {
            let (feature, seats) = LICENSED.choose(&mut self.dice).unwrap();
            let seats = self.dice.random_range(1..*seats);
            let waits = self.waits && self.dice.random();
            let timeout_ms = Some(self.dice.random_range(1..50));
            let wait = waits.then_some(QueueWait { priority: None, timeout_ms });
            let item = Item {
                feature: FeatureName::parse(feature).unwrap(),
                version: Version::default(),
                seats: Seats::new(seats).unwrap(),
            };
            let asked = Asked::Seats { items: vec![(feature.to_string(), seats.into())], wait };
            let items = vec![item];
            (asked, Command::Checkout { session, request: id, answered_through, items, wait })
        };
        let invoked = self.now;
        let operation = Operation { session, request, asked, invoked, answers: Vec::new() };
        self.history.operations.push(operation);
        let operation = self.history.operations.len() - 1;
        self.clients[n].busy = Some(Busy { operation, command, answer: None });
    }
}

fn license() -> License {
    let line = |(name, seats): &(&str, u32)| Line {
        feature: FeatureName::parse(name).unwrap(),
        version: Version::default(),
        seats: *seats,
        overdraft: 0,
        starts_ms: None,
        expires_ms: None,
        vendor_string: Label::default(),
        terms: Terms::default(),
        about: About::default(),
    };
    License {
        id: LicenseId::parse("acme").unwrap(),
        publisher: Label::default(),
        serial: 1,
        text: "one".into(),
        lines: LICENSED.iter().map(line).collect(),
    }
}

/// A good history of some 100 operations.
fn good(seed: u64) -> History {
    Scene::run(seed, 5, true, 500).history
}

fn first(history: &History) -> Violation {
    history.check().expect_err("it is not good").remove(0)
}

/// The operations that were answered with a place, by what they were told.
fn told(history: &History, which: impl Fn(&Reply) -> bool) -> Vec<usize> {
    let is = |operation: &Operation| operation.answers.last().is_some_and(|a| which(&a.reply));
    let all = history.operations.iter().enumerate();
    all.filter(|(_, operation)| is(operation)).map(|(number, _)| number).collect()
}

fn granted(reply: &Reply) -> bool {
    matches!(reply, Reply::Granted { .. })
}

fn denied(reply: &Reply) -> bool {
    matches!(reply, Reply::Denied(_))
}

#[test]
fn what_happened_is_good() {
    for seed in 0..50 {
        let history = good(seed);
        let checked = history.check().unwrap_or_else(|what| panic!("seed {seed}: {what:?}"));
        assert!(checked.answered > 60 && checked.unknown <= 5, "{checked:?}");
    }
}

#[test]
fn a_long_history_is_checked_too() {
    let history = Scene::run(1, 30, true, 36_000).history;
    let checked = history.check().expect("it is good");
    assert!(checked.answered > 9_000, "{checked:?}");
}

#[test]
fn one_seat_too_many_is_found() {
    let mut history = good(1);
    let number = told(&history, denied)[0];
    let Asked::Seats { items, .. } = history.operations[number].asked.clone() else { panic!() };
    let answer = history.operations[number].answers.last_mut().unwrap();
    answer.reply = Reply::Granted { checkout: 77, items };
    assert!(matches!(first(&history), Violation::Reply(_)));
}

#[test]
fn a_lost_acknowledgement_is_found() {
    let mut history = good(2);
    let number = told(&history, granted)[3];
    let place = history.operations[number].answers.last().unwrap().place.unwrap();
    history.log.retain(|entry| entry.at.index != place.index);
    assert!(matches!(first(&history), Violation::Lost(_)));
}

#[test]
fn one_grant_for_two_is_found() {
    let mut history = good(3);
    let all = told(&history, granted);
    let reply = history.operations[all[2]].answers.last().unwrap().reply.clone();
    history.operations[all[5]].answers.last_mut().unwrap().reply = reply;
    assert!(matches!(first(&history), Violation::Reply(_)));
}

#[test]
fn a_request_that_was_applied_twice_is_found() {
    let mut scene = Scene::new(4, 2, false);
    let ask = |n: u8, request| {
        let item = Item {
            feature: FeatureName::parse("cad").unwrap(),
            version: Version::default(),
            seats: Seats::MIN,
        };
        Command::Checkout {
            session: SessionId([n; 16]),
            request: RequestId(request),
            answered_through: RequestId(0),
            items: vec![item],
            wait: None,
        }
    };
    // The answer is lost, and the request sent again; a second grant is seen by
    // whoever is granted the next.
    scene.commit(ask(1, 1));
    scene.commit(ask(1, 1));
    let (place, reply) = scene.commit(ask(2, 1));
    let operation = |n: u8, invoked| Operation {
        session: SessionId([n; 16]),
        request: 1,
        asked: Asked::Seats { items: vec![("cad".into(), 1)], wait: None },
        invoked: Duration::from_millis(invoked),
        answers: Vec::new(),
    };
    let returned = Duration::from_millis(9);
    let mut second = operation(2, 2);
    second.answers.push(Answered { returned, place: Some(place), reply });
    scene.history.operations = vec![operation(1, 1), second];
    let checked = scene.history.check().expect("it is decided once");
    assert_eq!((checked.answered, checked.unknown), (1, 1));
    let answer = &mut scene.history.operations[1].answers[0].reply;
    *answer = Reply::Granted { checkout: 3, items: vec![("cad".into(), 1)] };
    assert!(matches!(first(&scene.history), Violation::Reply(_)));
}

#[test]
fn a_request_that_became_another_is_found() {
    let mut history = good(5);
    let number = told(&history, granted)[4];
    let key = (history.operations[number].session, history.operations[number].request);
    let entry = history.log.iter().find(|e| request_of(&e.commands[0]) == Some(key)).unwrap();
    let mut again = entry.clone();
    let Command::Checkout { items, .. } = &mut again.commands[0] else { panic!() };
    items[0].seats = Seats::new(9).unwrap();
    again.at.index = 1_000_000;
    again.at.term = 1_000;
    history.log.push(again);
    assert!(matches!(first(&history), Violation::Reused(_)));
}

#[test]
fn a_request_that_was_altered_on_its_way_is_found() {
    // The log and the reply agree with each other, and with nothing that was asked.
    let mut history = good(5);
    let number = told(&history, granted)[4];
    let Asked::Seats { items, .. } = &mut history.operations[number].asked else { panic!() };
    items[0].1 += 1;
    assert!(matches!(first(&history), Violation::Altered(_)));
    let mut history = good(5);
    let number = told(&history, granted)[4];
    let Asked::Seats { wait, .. } = &mut history.operations[number].asked else { panic!() };
    *wait = Some(QueueWait { priority: Some(7), timeout_ms: None });
    assert!(matches!(first(&history), Violation::Altered(_)));
}

#[test]
fn what_returned_before_another_began_was_decided_before_it() {
    let mut history = good(6);
    let all = told(&history, granted);
    // It claims to have begun when everything was over.
    history.operations[all[2]].invoked = Duration::from_secs(3_600);
    assert!(matches!(first(&history), Violation::Order(_)));
}

#[test]
fn two_replies_in_the_wrong_order_are_found() {
    let mut history = good(7);
    let all = told(&history, granted);
    let (one, other) = (all[1], all[6]);
    let answer =
        |history: &History, n: usize| history.operations[n].answers.last().unwrap().clone();
    let (first_answer, second) = (answer(&history, one), answer(&history, other));
    *history.operations[one].answers.last_mut().unwrap() = second;
    *history.operations[other].answers.last_mut().unwrap() = first_answer;
    assert!(matches!(first(&history), Violation::Lost(_) | Violation::Reply(_)));
}

#[test]
fn a_stale_read_is_found() {
    let mut history = good(8);
    let number = told(&history, granted)[9];
    let answer = history.operations[number].answers.last().unwrap();
    let invoked = answer.returned + Duration::from_millis(1);
    let read = Read { invoked, returned: invoked, index: answer.place.unwrap().index };
    history.reads.push(Read { index: read.index + 1_000, invoked, returned: Duration::MAX });
    assert!(history.check().is_ok());
    history.reads.push(Read { index: 9, ..read });
    assert!(matches!(first(&history), Violation::Stale(_)));
}

#[test]
fn a_log_that_runs_backwards_is_found() {
    let mut history = good(9);
    let last = history.log.len() - 1;
    history.log[last].at.term = 0;
    assert!(matches!(first(&history), Violation::Log(_)));
}

#[test]
fn the_model_ends_what_is_due() {
    let mut scene = Scene::new(10, 2, true);
    let session = SessionId([1; 16]);
    scene.commit(Command::End { session, term: 99, silence: Silence::Lease });
    assert!(scene.model.is_open(session), "another term's end is void");
    let (_, reply) = scene.commit(Command::Close { session });
    assert_eq!(reply, Reply::Ended { was_open: true });
    assert!(!scene.model.is_open(session));
}

#[test]
fn the_search_agrees_with_the_log() {
    for seed in 0..30 {
        let history = Scene::run(seed, 4, false, 250).finish();
        let checked = history.check().expect("it is good");
        assert!(checked.answered > 40);
        for (feature, seats) in LICENSED {
            let verdict = search(&history.operations, feature, seats.into());
            assert_eq!(verdict, Verdict::Explained, "seed {seed}, {feature}");
        }
    }
}

#[test]
fn the_search_finds_what_no_order_explains() {
    let mut history = Scene::run(11, 4, false, 250).finish();
    let asks_cad = |operation: &Operation| matches!(&operation.asked, Asked::Seats { items, .. } if items[0].0 == "cad");
    let number = history
        .operations
        .iter()
        .position(|operation| asks_cad(operation) && denied(&operation.answers[0].reply));
    let operation = &mut history.operations[number.expect("one is denied")];
    let Asked::Seats { items, .. } = operation.asked.clone() else { panic!() };
    operation.answers[0].reply = Reply::Granted { checkout: 9_999, items };
    assert_eq!(search(&history.operations, "cad", 3), Verdict::Impossible);
    assert_eq!(search(&history.operations, "mill", 2), Verdict::Explained);
}
