//! The oracle: sees what every node applies and what every application believes,
//! and says which promise is broken. It asks the system nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use triad_client::Witness;
use triad_ledger::names::SessionId;
use triad_ledger::{Answer, At, Command, EndReason, Event, Happening, Outcome, StateHash};
use triad_ledger::{Silence, encode_commands};
use triad_proto::v1;
use triad_proto::v1::session_call::Call;
use triad_proto::v1::session_event::Event as Told;
use triad_raft::{Observed, Observer};
use triad_tests::history::{Entry, Held, History, Model, Read, Recorder, Reply, Settled};

use crate::application::user;
use crate::cluster::{EPOCH_MS, LEASE_MAX};
use crate::desk::Desk;
use crate::figures::Figures;
use crate::world::Machine;

/// Stamps are ahead of the right time by this at most: clocks drift.
const AHEAD_MAX: Duration = Duration::from_millis(1_500);
/// A new leader begins where the entries that it has applied ended.
const CLOCK_LOST_MAX: Duration = Duration::from_secs(10);
/// An entry is stamped when it is proposed, and may wait for a quorum.
const BEHIND_MAX: Duration = Duration::from_secs(40);
/// What a client believes for longer than a lease, since clocks drift.
const BELIEF_MARGIN: Duration = Duration::from_millis(200);
/// What is due by cluster time is done within this.
const DUE_WITHIN: Duration = Duration::from_millis(2_500);
/// Seats that a client does not know of, although it is heard, are back within
/// this: what the answer takes, and the application until it looks.
const FORGOTTEN_MAX: Duration = Duration::from_secs(6);
/// A client is heard while its heartbeats are acknowledged as often as this.
const HEARD_WITHIN: Duration = Duration::from_secs(1);
/// For how long a leader without a quorum may acknowledge heartbeats, and how
/// much later it may receive one than it was sent.
const QUORUM_LEASE: Duration = Duration::from_millis(2_500);
/// A loan that is over is noticed within this.
const LOAN_ENDS_WITHIN: Duration = Duration::from_millis(2_500);
/// What a leader makes of a word about a user is right to this.
const IDLE_MARGIN: Duration = Duration::from_millis(1_500);
/// A word that was said is in the ledger within this, if its client is heard: for so long a leader
/// that has another after it may acknowledge heartbeats, and the word has to be said again.
const WORD_WITHIN: Duration = Duration::from_millis(4_500);
/// What was asked this long ago may be answered now.
const ANSWER_MAX: Duration = Duration::from_secs(11);
/// Whoever waits has his seat so soon after it came back.
const SERVED_WITHIN: Duration = Duration::from_secs(1);

/// See the module.
pub struct Oracle(Mutex<Seen>);

struct Seen {
    now: Duration,
    model: Model,
    /// The log as the first node that applied each entry saw it.
    log: BTreeMap<u64, Applied>,
    /// The same, for the history.
    entries: Vec<Entry>,
    reads: Vec<Read>,
    /// The last entry with commands in it.
    last_command: u64,
    /// The newest cluster time, and when that was.
    last_stamp: (u64, Duration),
    applied: BTreeMap<u64, u64>,
    first_to_apply: Option<u64>,
    /// Seats that were taken back while their client may not have heard of it.
    taken_back: BTreeMap<u64, Duration>,
    /// For how long, while its client was heard, each checkout was held that no
    /// application knew of.
    forgotten: BTreeMap<u64, Duration>,
    compared_at: Duration,
    /// When the first entry of the newest term was applied.
    newest_term: (u64, Duration),
    /// The term of the leader at the other end of each session's stream, and
    /// when each beat was sent.
    streams: BTreeMap<[u8; 16], Beats>,
    /// When each session's client last said anything.
    spoke: BTreeMap<[u8; 16], Duration>,
    /// Whose session each is.
    owners: BTreeMap<[u8; 16], usize>,
    /// What was said of the user of each session lately, and when.
    idle_words: BTreeMap<[u8; 16], Vec<(Duration, v1::Idle)>>,
    /// Sessions whose seats were taken back because the user was idle, to be judged.
    ended_as_idle: Vec<[u8; 16]>,
    /// Sessions that the ledger knows as silent.
    suspected: BTreeSet<[u8; 16]>,
    /// More clocks than one were wrong: the date may be anything.
    date_is_lost: bool,
    /// When anything was last out on loan.
    lent_at: Duration,
    figures: Figures,
    trace: Trace,
    violations: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Applied {
    term: u64,
    content: u64,
    hash: StateHash,
}

/// A running hash of everything that happened.
#[derive(Clone, Copy)]
pub struct Trace(u64);

impl Default for Trace {
    fn default() -> Self {
        Trace(0xCBF2_9CE4_8422_2325)
    }
}

impl Trace {
    pub fn note(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }

    pub fn numbers(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.note(&number.to_le_bytes());
        }
    }
}

impl Oracle {
    pub fn new(figures: Figures) -> Arc<Self> {
        Arc::new(Oracle(Mutex::new(Seen {
            now: Duration::ZERO,
            model: Model::default(),
            log: BTreeMap::new(),
            entries: Vec::new(),
            reads: Vec::new(),
            last_command: 0,
            last_stamp: (0, Duration::ZERO),
            applied: BTreeMap::new(),
            first_to_apply: None,
            taken_back: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            compared_at: Duration::ZERO,
            newest_term: (0, Duration::ZERO),
            streams: BTreeMap::new(),
            spoke: BTreeMap::new(),
            owners: BTreeMap::new(),
            idle_words: BTreeMap::new(),
            ended_as_idle: Vec::new(),
            suspected: BTreeSet::new(),
            date_is_lost: false,
            lent_at: Duration::ZERO,
            figures,
            trace: Trace::default(),
            violations: Vec::new(),
        })))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().expect("no panic while held")
    }

    /// Watches one node.
    pub fn watch(self: &Arc<Self>, node: u64) -> Arc<dyn Observer> {
        Arc::new(Watch { oracle: self.clone(), node })
    }

    pub fn set_now(&self, now: Duration) {
        self.seen().now = now;
    }

    pub fn now(&self) -> Duration {
        self.seen().now
    }

    /// Two wall clocks are wrong at once.
    pub fn lose_date(&self) {
        self.seen().date_is_lost = true;
    }

    /// Something is wrong.
    pub fn violated(&self, what: impl Into<String>) {
        self.seen().fail(what.into());
    }

    pub fn first_violation(&self) -> Option<String> {
        self.seen().violations.first().cloned()
    }

    /// Some task of some process panicked.
    pub fn panicked(&self, what: &str) {
        // The oracle itself may have; then there is nothing to add.
        match self.0.try_lock() {
            Ok(mut seen) => seen.fail(format!("a panic: {what}")),
            Err(_) => eprintln!("{what}"),
        }
    }

    /// The node that first applied the newest entry: the leader, most likely.
    pub fn leader(&self) -> Option<u64> {
        self.seen().first_to_apply
    }

    /// A newer answer than this exists nowhere.
    pub fn last_command(&self) -> u64 {
        self.seen().last_command
    }

    /// A node called an answer linearizable.
    pub fn read(&self, invoked: Duration, index: u64) {
        let mut seen = self.seen();
        let returned = seen.now;
        seen.reads.push(Read { invoked, returned, index });
    }

    /// The first checkout of an application that is not a loan.
    pub fn checkout_of(&self, application: usize) -> Option<u64> {
        let (seen, user) = (self.seen(), user(application));
        let is_its = |held: &&Held| held.user == user && held.lent_until_ms.is_none();
        let held = seen.model.held().iter();
        held.filter(|(_, held)| is_its(held)).map(|(id, _)| *id).next()
    }

    /// What of these was taken back, by an administrator, a rule or the end of a right.
    pub fn taken_back(&self, checkout: u64) -> bool {
        self.seen().taken_back.contains_key(&checkout)
    }

    /// Whether the ledger has the silence of this application's sessions that hold something.
    pub fn is_suspected(&self, application: usize) -> bool {
        let (seen, user) = (self.seen(), user(application));
        let held = seen.model.held().values();
        let mut his = held.filter(|h| h.user == user && h.lent_until_ms.is_none()).peekable();
        his.peek().is_some() && his.all(|held| seen.suspected.contains(&held.session.0))
    }

    /// The newest term in which an entry was applied.
    pub fn newest_term(&self) -> u64 {
        self.seen().newest_term.0
    }

    /// The last entry that a node has applied.
    pub fn applied_by(&self, node: u64) -> u64 {
        self.seen().applied.get(&node).copied().unwrap_or(0)
    }

    /// The first entry of the newest term: its leader had everything before it.
    pub fn newest_term_begins(&self) -> u64 {
        let seen = self.seen();
        let of_it = seen.log.iter().rev().take_while(|(_, entry)| entry.term == seen.newest_term.0);
        of_it.last().map_or(0, |(index, _)| *index)
    }

    /// Some checkout that is held, drawn by a number.
    pub fn some_checkout(&self, drawn: u64) -> Option<u64> {
        let seen = self.seen();
        let held = seen.model.held();
        held.keys().nth(drawn as usize % held.len().max(1)).copied()
    }

    /// Compares what the applications believe with what the log says.
    pub fn compare(&self, desk: &Desk, applications: &[(usize, &Machine)]) {
        let seen = &mut *self.seen();
        let (answers, returned) = desk.news();
        let now = seen.now.as_millis() as u64;
        for (application, checkout) in answers {
            tracing::debug!(now, application, checkout, "answered");
            seen.trace.numbers(&[now, application as u64, checkout]);
        }
        for checkout in returned {
            if seen.model.held().contains_key(&checkout) {
                seen.fail(format!("P2: checkout {checkout} was returned, and is still held"));
            }
        }
        for (index, machine) in applications {
            let right_date_ms = EPOCH_MS + now;
            for loan in desk.lent_at(*index, right_date_ms + AHEAD_MAX.as_millis() as u64) {
                if !seen.date_is_lost {
                    seen.must_hold(*index, loan, "was lent");
                }
            }
            // Frozen, it can use nothing, and looks at its clock when it wakes.
            if machine.is_frozen() {
                continue;
            }
            let Some(_clock) = machine.enter() else { continue };
            for checkout in desk.believed(*index) {
                seen.must_hold(*index, checkout, "believes in");
            }
        }
        for what in desk.complaints() {
            seen.fail(what);
        }
        seen.judge_loans(desk, applications.len());
        seen.judge_idle_ends(desk);
        seen.look_for_forgotten(desk);
        // What is lent comes back at its end, and not before; and then it has to get to who waits.
        if seen.model.held().values().any(|held| held.lent_until_ms.is_some()) {
            seen.lent_at = seen.now;
        }
        if seen.now < seen.lent_at + SERVED_WITHIN {
            desk.forget_who_waits();
        }
        if let Some(index) = desk.who_waits_in_vain() {
            let (held, waiting) = (seen.holders(), seen.model.waiting());
            seen.fail(format!(
                "P12: application {index} waits for seats that all have returned; {waiting} wait, \
                 and held are: {held}"
            ));
        }
    }

    /// All of these nodes have applied everything there is.
    pub fn are_equal(&self, nodes: &[u64]) -> bool {
        let seen = self.seen();
        let last = seen.log.last_key_value().map(|(index, _)| *index);
        nodes.iter().all(|node| seen.applied.get(node).copied() == last)
    }

    /// Where each node stands, for a message.
    pub fn positions(&self) -> String {
        let seen = self.seen();
        let last = seen.log.last_key_value().map_or(0, |(index, _)| *index);
        format!("the log ends at {last}, the nodes at {:?}", seen.applied)
    }

    /// What is held that nobody knows of, if anything is; or that was lent, and
    /// is over.
    pub fn unknown_holders(&self, known: &BTreeSet<u64>) -> Option<String> {
        let seen = self.seen();
        let now_ms = EPOCH_MS + seen.now.as_millis() as u64;
        let is_over = |until: u64| {
            !seen.date_is_lost && until + (LOAN_ENDS_WITHIN.as_millis() as u64) < now_ms
        };
        let unknown = seen.model.held().iter().filter(|(id, held)| match held.lent_until_ms {
            None => !known.contains(id),
            Some(until) => is_over(until),
        });
        let unknown: Vec<_> = unknown.map(|(id, held)| format!("{id}: {held:?}")).collect();
        (!unknown.is_empty()).then(|| unknown.join(", "))
    }

    /// Sessions that are open though nobody has spoken for them since then.
    pub fn silent_since(&self, then: Duration) -> Option<String> {
        let seen = self.seen();
        let spoke = |session: &SessionId| seen.spoke.get(&session.0).copied();
        let silent = seen.model.sessions().filter(|session| spoke(session) < Some(then));
        let silent: Vec<_> =
            silent.map(|session| format!("{session}, heard at {:?}", spoke(&session))).collect();
        (!silent.is_empty()).then(|| silent.join("; "))
    }

    /// What is lent for longer than it was to be.
    pub fn loans_that_are_over(&self) -> Option<String> {
        let everything: BTreeSet<u64> = self.seen().model.held().keys().copied().collect();
        self.unknown_holders(&everything)
    }

    /// What a leader that is well should have noticed by now, if it has not.
    pub fn overdue(&self) -> Option<String> {
        let seen = self.seen();
        let (stamped, since) = (seen.last_stamp.0, seen.now - seen.last_stamp.1);
        // The leader's clock may be a little slow.
        let cluster_ms = stamped + since.as_millis() as u64 * 99 / 100;
        seen.model.overdue(cluster_ms.saturating_sub(DUE_WITHIN.as_millis() as u64))
    }

    /// Checks what clients were told from the beginning to the end.
    pub fn check_history(&self, recorder: &Recorder) {
        let seen = &mut *self.seen();
        let history = History {
            operations: recorder.operations(),
            reads: std::mem::take(&mut seen.reads),
            log: std::mem::take(&mut seen.entries),
        };
        match history.check() {
            Ok(checked) => {
                seen.figures.add("history.answered", checked.answered as u64);
                seen.figures.add("history.unknown", checked.unknown as u64);
                seen.figures.add("history.reads", checked.reads as u64);
            }
            Err(violations) => {
                seen.violations.extend(violations.iter().map(|what| format!("history: {what}")));
            }
        }
    }

    /// What a run came to: its trace, which every run of the seed has.
    pub fn trace(&self) -> u64 {
        self.seen().trace.0
    }
}

impl Seen {
    fn fail(&mut self, what: String) {
        let at = self.now;
        self.violations.push(format!("at {at:?}: {what}"));
    }

    fn holders(&self) -> String {
        let held = self.model.held().iter().map(|(id, held)| format!("{id}: {held:?}"));
        held.collect::<Vec<_>>().join(", ")
    }

    /// P3: what no application knows of is not held for long by a client that
    /// lives.
    fn look_for_forgotten(&mut self, desk: &Desk) {
        const EVERY: Duration = Duration::from_millis(100);
        let since = self.now - self.compared_at;
        if since < EVERY {
            return;
        }
        self.compared_at = self.now;
        let known = desk.known();
        let held = self.model.held();
        let is_forgotten = |id: &u64| {
            held.get(id).is_some_and(|held| held.lent_until_ms.is_none()) && !known.contains(id)
        };
        self.forgotten.retain(|id, _| is_forgotten(id));
        let is_heard = |id: &u64| {
            let beats = self.streams.get(&held[id].session.0);
            let heard = beats.and_then(|beats| beats.acknowledged);
            heard.is_some_and(|heard| self.now - heard < HEARD_WITHIN)
        };
        for id in held.keys().filter(|id| is_forgotten(id) && is_heard(id)) {
            *self.forgotten.entry(*id).or_default() += since;
        }
        let longest = self.forgotten.iter().find(|(_, held)| **held > FORGOTTEN_MAX);
        if let Some((id, _)) = longest {
            let what = &held[id];
            self.fail(format!("P3: checkout {id} is held, and nobody knows of it: {what:?}"));
        }
    }

    /// An application uses these seats, so they must be its own.
    fn must_hold(&mut self, application: usize, checkout: u64, how: &str) {
        let Some(held) = self.model.held().get(&checkout) else {
            // What an administrator or a rule took back, its client hears of with
            // the next message of its stream, or never and its lease ends.
            let told_by = self.taken_back.get(&checkout).map(|at| *at + LEASE_MAX + BELIEF_MARGIN);
            if told_by.is_none_or(|told_by| told_by < self.now) {
                self.fail(format!(
                    "P2/P4/P5: application {application} {how} checkout {checkout}, which the \
                     ledger does not have"
                ));
            }
            return;
        };
        if held.user != user(application) {
            let whose = held.user.clone();
            self.fail(format!(
                "P4: application {application} {how} checkout {checkout}, which is {whose}'s"
            ));
        }
    }

    fn applied(&mut self, node: u64, observed: &Observed<'_>) {
        let Observed { at, commands, answers, events, hash } = *observed;
        let At { index, term, .. } = at;
        let mut content = Trace::default();
        content.note(&encode_commands(commands));
        content.numbers(&[at.cluster_ms, at.date_ms]);
        let entry = Applied { term, content: content.0, hash };
        self.applied.insert(node, index);
        let now = self.now.as_millis() as u64;
        tracing::debug!(now, node, index, term, ?commands, ?answers, "applied");
        self.trace.numbers(&[now, node, index, term, content.0]);
        self.trace.note(&hash.0);
        match self.log.get(&index) {
            None => {
                let last = self.log.last_key_value().map_or(0, |(_, last)| last.term);
                if term > last {
                    self.figures.count("cluster.terms");
                    self.newest_term = (term, self.now);
                }
                self.log.insert(index, entry);
                self.first_to_apply = Some(node);
                if !commands.is_empty() {
                    self.last_command = self.last_command.max(index);
                    self.follow(at, commands, answers, events);
                }
            }
            Some(first) if (first.term, first.content) != (term, entry.content) => {
                let what = format!(
                    "P2: node {node} applies another entry {index} (term {term}) than was applied \
                     before (term {})",
                    first.term
                );
                self.fail(what);
            }
            Some(first) if first.hash != hash => {
                let what = format!("P7: node {node} has another ledger after entry {index}");
                self.fail(what);
            }
            Some(_) => {}
        }
    }

    /// What the ledger did, against what the rules say.
    fn follow(&mut self, at: At, commands: &[Command], answers: &[Answer], events: &[Event]) {
        let index = at.index;
        self.check_stamp(at);
        self.last_stamp = (at.cluster_ms, self.now);
        self.entries.push(Entry { at, commands: commands.to_vec() });
        let mut expected = Vec::new();
        for (command, answer) in commands.iter().zip(answers) {
            let before = self.model.last_checkout();
            let right = self.model.apply(at, command);
            expected.extend(self.model.take_settled());
            let told = Reply::of_answer(answer);
            if told != right {
                self.fail(format!(
                    "P1/P3: {right:?} is the right answer to {command:?} at {index}, and it is \
                     {told:?}"
                ));
            }
            self.check_seats(answer, index, before);
            self.check_sessions(at, command, answer);
            self.count(command, answer);
        }
        let settled: Vec<Settled> = events.iter().filter_map(settled).collect();
        if settled != expected {
            self.fail(format!(
                "P1/P3: {expected:?} is what those who wait are to be told at {index}, and it is \
                 {settled:?}"
            ));
        }
        for event in events {
            if let Happening::Returned { session, checkout, reason } = &event.what {
                match reason {
                    EndReason::Idle => {
                        self.ended_as_idle.push(session.0);
                        self.figures.count("ends.idle");
                    }
                    EndReason::BorrowEnded => self.figures.count("ends.loans"),
                    EndReason::Revoked => self.figures.count("ends.revoked"),
                    EndReason::Expired => self.figures.count("ends.expired"),
                    _ => continue,
                }
                self.taken_back.insert(checkout.0, self.now);
            }
        }
    }

    /// P1, whatever the model believes.
    fn check_seats(&mut self, answer: &Answer, index: u64, last_checkout: u64) {
        let grant = match answer {
            Ok(Outcome::Granted(grant)) => grant,
            Ok(Outcome::Borrowed { grant, .. }) => grant,
            _ => return,
        };
        for item in &grant.items {
            let (held, licensed) = self.model.seats(item.feature.as_str());
            // A retry is told what was granted before the license shrank.
            if held > licensed && grant.checkout.0 > last_checkout {
                let feature = &item.feature;
                self.fail(format!("P1: {held} of {licensed} seats of {feature} held at {index}"));
            }
        }
    }

    /// What a leader says of sessions is what it heard.
    fn check_sessions(&mut self, at: At, command: &Command, answer: &Answer) {
        match command {
            Command::Suspect { session, .. } if matches!(answer, Ok(Outcome::Noted)) => {
                self.suspected.insert(session.0);
            }
            Command::Unsuspect { session } | Command::Open { session, .. } => {
                self.suspected.remove(&session.0);
            }
            Command::Idle { session, since_ms } => {
                let words = self.idle_words.get(&session.0).map_or(&[][..], Vec::as_slice);
                if !words.iter().any(|(sent, word)| self.says(at, *since_ms, *sent, word)) {
                    self.fail(format!(
                        "P13: {session} is idle since {since_ms:?} at {} ms, and said {words:?}",
                        at.cluster_ms
                    ));
                }
            }
            _ => {}
        }
    }

    /// Whether an instant is the one that a word sent then is about.
    fn says(&self, at: At, since_ms: Option<u64>, sent: Duration, word: &v1::Idle) -> bool {
        let Some(since_ms) = since_ms else { return !word.is_idle };
        let age_ms = at.cluster_ms.saturating_sub(since_ms);
        let longest_ms = word.idle_ms + (self.now - sent + IDLE_MARGIN).as_millis() as u64;
        let margin_ms = IDLE_MARGIN.as_millis() as u64;
        // Nobody is idle since before the beginning.
        let is_old_enough = since_ms == 0 || age_ms + margin_ms >= word.idle_ms;
        word.is_idle && is_old_enough && age_ms <= longest_ms
    }

    /// P13: who is active, and whose word was heard, keeps his seats.
    fn judge_idle_ends(&mut self, desk: &Desk) {
        for session in std::mem::take(&mut self.ended_as_idle) {
            let active = self.owners.get(&session).and_then(|owner| desk.active_since(*owner));
            let heard = self.streams.get(&session).and_then(|beats| beats.heard);
            if let (Some(active), Some(heard)) = (active, heard)
                && heard > active + WORD_WITHIN
            {
                let (session, what) = (SessionId(session), "loses seats as idle");
                self.fail(format!(
                    "P13: {session} {what}; its user is active since {active:?}, and it was heard at \
                     {heard:?}"
                ));
            }
        }
    }

    /// Loans last as long as they were to, and nobody has more of them than he knows.
    fn judge_loans(&mut self, desk: &Desk, applications: usize) {
        let ends = desk.ends_of_loans();
        if self.date_is_lost {
            return;
        }
        let ms = |time: Duration| time.as_millis() as u64;
        let right_ms = EPOCH_MS + ms(self.now);
        for (application, end, length) in ends {
            let latest_ms = right_ms + ms(length + AHEAD_MAX) + ms(self.now) / 100;
            let earliest_ms = right_ms.saturating_sub(ms(BEHIND_MAX + ANSWER_MAX)) + ms(length);
            if end.is_none_or(|end| end > latest_ms || end < earliest_ms) {
                self.fail(format!(
                    "P9: application {application} borrows for {length:?} at {right_ms} ms, until \
                     {end:?}"
                ));
            }
        }
        // What is over by a clock that is right, and not yet by those of the nodes, is in no hand.
        let in_hands_ms = right_ms + ms(AHEAD_MAX);
        for application in 0..applications {
            let is_out = |held: &&Held| {
                let until = held.lent_until_ms.filter(|until| *until > in_hands_ms);
                until.is_some() && held.user == user(application)
            };
            let out = self.model.held().values().filter(is_out).count();
            if let Some(known) = desk.has_too_many_loans(application, out) {
                self.fail(format!(
                    "P3: {out} loans are out to application {application}, which knows of {known}"
                ));
            }
        }
    }

    /// P6: a leader that has another after it acknowledges nothing that was sent
    /// long after that one came.
    fn acknowledged(&mut self, session_id: &[u8; 16], beat: u64) {
        let Some(beats) = self.streams.get_mut(session_id) else { return };
        let Some(sent) = beats.sent.remove(&beat) else { return };
        beats.acknowledged = Some(self.now);
        beats.heard = beats.heard.max(Some(sent));
        beats.sent = beats.sent.split_off(&beat);
        let (term, (newest, since)) = (beats.term, self.newest_term);
        if term < newest && sent > since + QUORUM_LEASE {
            self.fail(format!(
                "P6: a leader of term {term} acknowledges a heartbeat that was sent at {sent:?}, \
                 and term {newest} began at {since:?}"
            ));
        }
    }

    /// P9: cluster time and date are those of the world, whatever one wall clock
    /// says.
    fn check_stamp(&mut self, at: At) {
        let now_ms = self.now.as_millis() as u64;
        let (ahead_ms, behind_ms) = (AHEAD_MAX.as_millis() as u64, BEHIND_MAX.as_millis() as u64);
        // Drift adds up.
        let ahead_ms = ahead_ms + now_ms / 100;
        if at.cluster_ms > now_ms + ahead_ms {
            let cluster_ms = at.cluster_ms;
            self.fail(format!("P9: cluster time is {cluster_ms} ms after {now_ms} ms"));
        }
        let (last_ms, lost_ms) = (self.last_stamp.0, CLOCK_LOST_MAX.as_millis() as u64);
        if at.cluster_ms + lost_ms < last_ms {
            let cluster_ms = at.cluster_ms;
            self.fail(format!("P9: cluster time is {cluster_ms} ms after {last_ms} ms before"));
        }
        let right_ms = EPOCH_MS + now_ms;
        // A new leader that has not heard the other clocks yet goes on from the last
        // entry's date, however long nobody led.
        let led_ms = self.last_stamp.1.as_millis() as u64;
        let behind_ms = behind_ms + now_ms.saturating_sub(led_ms);
        let is_right = at.date_ms <= right_ms + ahead_ms && at.date_ms + behind_ms >= right_ms;
        if !self.date_is_lost && !is_right {
            let date_ms = at.date_ms;
            self.fail(format!("P9: the date is {date_ms} where {right_ms} is right"));
        }
    }

    fn count(&self, command: &Command, answer: &Answer) {
        let name = match (command, answer) {
            (_, Err(_)) => "ledger.denials",
            (_, Ok(Outcome::Granted(_))) => "ledger.grants",
            (_, Ok(Outcome::Queued { .. })) => "ledger.queued",
            (_, Ok(Outcome::Borrowed { .. })) => "ledger.loans",
            (_, Ok(Outcome::Returned { .. })) => "ledger.returns",
            (Command::End { silence: Silence::Lease, .. }, Ok(Outcome::Ended { .. })) => {
                "ledger.ends_by_lease"
            }
            (Command::End { .. }, Ok(Outcome::Ended { .. })) => "ledger.ends_by_disconnect",
            (Command::End { .. }, Ok(_)) => "ledger.void_ends",
            _ => "ledger.others",
        };
        self.figures.count(name);
    }

    fn installed(&mut self, node: u64, index: u64, hash: StateHash) {
        self.applied.insert(node, index);
        self.figures.count("cluster.snapshots_installed");
        let now = self.now.as_millis() as u64;
        self.trace.numbers(&[now, node, index]);
        if self.log.get(&index).is_some_and(|entry| entry.hash != hash) {
            self.fail(format!("P7: the snapshot at {index} for node {node} is another ledger"));
        }
    }
}

fn settled(event: &Event) -> Option<Settled> {
    match &event.what {
        Happening::Settled { session, request, answer } => {
            let session: SessionId = *session;
            Some(Settled { session, request: request.0, reply: Reply::of_answer(answer) })
        }
        _ => None,
    }
}

/// What one session has said to the leader that it speaks to.
#[derive(Default)]
struct Beats {
    term: u64,
    sent: BTreeMap<u64, Duration>,
    /// When one was acknowledged last.
    acknowledged: Option<Duration>,
    /// When the last one that was acknowledged had been sent.
    heard: Option<Duration>,
}

/// Watches the heartbeats of an application, and passes on what it sees.
pub struct BeatWatch {
    pub application: usize,
    pub oracle: Arc<Oracle>,
    pub next: Arc<dyn Witness>,
}

impl Witness for BeatWatch {
    fn said(&self, session_id: &[u8; 16], call: &Call) {
        let mut seen = self.oracle.seen();
        let now = seen.now;
        seen.spoke.insert(*session_id, now);
        seen.owners.insert(*session_id, self.application);
        if let Call::Idle(word) = call {
            let words = seen.idle_words.entry(*session_id).or_default();
            words.retain(|(sent, _)| now < *sent + BEHIND_MAX);
            words.push((now, *word));
        }
        if let Call::Beat(beat) = call {
            seen.streams.entry(*session_id).or_default().sent.insert(beat.beat, now);
        }
        drop(seen);
        self.next.said(session_id, call);
    }

    fn heard(&self, session_id: &[u8; 16], event: &Told) {
        match event {
            Told::Opened(opened) => {
                let term = opened.position.as_ref().map_or(0, |position| position.term);
                let beats = Beats { term, ..Beats::default() };
                self.oracle.seen().streams.insert(*session_id, beats);
            }
            Told::Beat(beat) => self.oracle.seen().acknowledged(session_id, beat.beat),
            _ => {}
        }
        self.next.heard(session_id, event);
    }
}

struct Watch {
    oracle: Arc<Oracle>,
    node: u64,
}

impl Observer for Watch {
    fn applied(&self, entry: &Observed<'_>) {
        self.oracle.seen().applied(self.node, entry);
    }

    fn installed(&self, index: u64, hash: StateHash) {
        self.oracle.seen().installed(self.node, index, hash);
    }
}
