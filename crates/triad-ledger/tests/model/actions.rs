//! What may happen to a cluster, drawn at random from a world so small that
//! everything soon meets everything, and the commands that come of it.

use std::ops::Range;

use proptest::prelude::*;
use triad_ledger::names::{
    CheckoutId, FeatureName, Label, LicenseId, RequestId, Seats, SessionId, Version,
};
use triad_ledger::policy::{
    FeatureSelector, GroupName, HostMembers, Network, Policy, Rule, RuleId, RuleKind, Subject,
};
use triad_ledger::rights::{About, License, Line, Share, Terms, TokenCost};
use triad_ledger::{
    At, Command, Holder, Item, QueueWait, RULES, Role, Silence, StateHash, TokenHash, TokenId,
};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const SESSIONS: u8 = 4;
const FEATURES: [&str; 3] = ["cad", "solver", "mill"];
const LICENSES: [&str; 3] = ["acme", "beta", "core"];

/// One thing that happens. Numbers are picks, taken modulo what there is.
#[derive(Clone, Debug)]
pub enum Action {
    Open {
        session: u8,
        foreign: bool,
        resume: bool,
    },
    Checkout {
        session: u8,
        items: Vec<(u8, u8, u8)>,
        unacknowledged: u8,
    },
    Checkin {
        session: u8,
        pick: u8,
        unacknowledged: u8,
    },
    /// An earlier message of the session, or of one that its client had before,
    /// arrives again.
    Retry {
        session: u8,
        back: u8,
    },
    /// A client whose numbers make no sense.
    Odd {
        session: u8,
        request: u64,
        answered: u64,
    },
    Close {
        session: u8,
    },
    End {
        session: u8,
        terms_ago: u8,
        silence: Silence,
    },
    Install {
        license: u8,
        newer: i8,
        lines: Vec<LinePick>,
    },
    InstallAgain {
        back: u8,
    },
    Date {
        hours: i16,
    },
    Term,
    Compare,
    /// A policy of lists, MAX and RESERVE.
    Rules {
        newer: i8,
        rules: Vec<RulePick>,
    },
    /// One of the rest: what the naive ledger does not know.
    Rich(Rich),
}

/// What happens only in rich histories.
#[derive(Clone, Debug)]
pub enum Rich {
    Policy {
        newer: i8,
        rules: Vec<RulePick>,
        case_insensitive: bool,
    },
    Wait {
        session: u8,
        items: Vec<(u8, u8, u8)>,
        timeout: Option<u8>,
        priority: Option<u8>,
    },
    Cancel {
        session: u8,
        back: u8,
        answered: bool,
    },
    Borrow {
        session: u8,
        items: Vec<(u8, u8, u8)>,
        days: u8,
    },
    Idle {
        session: u8,
        since: Option<u8>,
    },
    Suspect {
        session: u8,
        terms_ago: u8,
        silent: u8,
    },
    Unsuspect {
        session: u8,
    },
    Revoke {
        pick: u8,
        block: u8,
    },
    MarkLost {
        pick: u8,
    },
    Time {
        ms: u16,
    },
    Token {
        who: u8,
        role: u8,
        days: Option<u8>,
    },
    Untoken {
        who: u8,
    },
    Uses {
        who: u8,
    },
    /// What somebody with a token asks for.
    By {
        who: u8,
        what: Box<Rich>,
    },
    Deed,
    Raise {
        rules: u8,
    },
}

/// A rule: what, how much, for which feature and for whom.
#[derive(Clone, Debug)]
pub struct RulePick {
    kind: u8,
    amount: u8,
    feature: Option<u8>,
    version: Option<u8>,
    subject: u8,
    who: u8,
}

/// A line of a license: days relative to the fortnight of its installation,
/// so that the next serial often names the same line.
#[derive(Clone, Debug)]
pub struct LinePick {
    feature: u8,
    version: u8,
    seats: u8,
    overdraft: u8,
    starts: Option<i8>,
    expires: Option<i8>,
    vendor: bool,
    issued: u8,
    supersedes: Option<u8>,
    /// 0 in plain histories.
    terms: u8,
}

/// Histories of so many actions.
pub fn histories(length: Range<usize>) -> impl Strategy<Value = Vec<Action>> {
    prop::collection::vec(action(), length)
}

/// Histories in which everything may happen.
pub fn rich_histories(length: Range<usize>) -> impl Strategy<Value = Vec<Action>> {
    let line = (line(), prop_oneof![2 => Just(0u8), 3 => any::<u8>()])
        .prop_map(|(line, terms)| LinePick { terms, ..line });
    let install = (0u8..3, -1i8..4, prop::collection::vec(line, 0..5))
        .prop_map(|(license, newer, lines)| Action::Install { license, newer, lines });
    let action = prop_oneof![6 => action(), 1 => install, 7 => rich().prop_map(Action::Rich)];
    prop::collection::vec(action, length)
}

fn rich() -> impl Strategy<Value = Rich> {
    let session = || 0..SESSIONS;
    let items = || prop::collection::vec((0u8..9, 0u8..6, 0u8..8), 1..3);
    let rule = (
        0u8..20,
        0u8..5,
        prop::option::weighted(0.8, 0u8..9),
        prop::option::weighted(0.2, 0u8..3),
        0u8..9,
        0u8..5,
    );
    let rule = rule.prop_map(|(kind, amount, feature, version, subject, who)| RulePick {
        kind,
        amount,
        feature,
        version,
        subject,
        who,
    });
    let rules = prop::collection::vec(rule, 0..7);
    prop_oneof![
        2 => (-1i8..3, rules, any::<bool>()).prop_map(
            |(newer, rules, case_insensitive)| Rich::Policy { newer, rules, case_insensitive }
        ),
        8 => (session(), items(), prop::option::of(any::<u8>()), prop::option::of(0u8..4)).prop_map(
            |(session, items, timeout, priority)| Rich::Wait { session, items, timeout, priority }
        ),
        1 => (session(), 0u8..4, any::<bool>())
            .prop_map(|(session, back, answered)| Rich::Cancel { session, back, answered }),
        2 => (session(), items(), 0u8..9)
            .prop_map(|(session, items, days)| Rich::Borrow { session, items, days }),
        2 => (session(), prop::option::of(any::<u8>()))
            .prop_map(|(session, since)| Rich::Idle { session, since }),
        1 => (session(), 0u8..2, any::<u8>()).prop_map(
            |(session, terms_ago, silent)| Rich::Suspect { session, terms_ago, silent }
        ),
        1 => session().prop_map(|session| Rich::Unsuspect { session }),
        1 => (any::<u8>(), 0u8..4).prop_map(|(pick, block)| Rich::Revoke { pick, block }),
        1 => any::<u8>().prop_map(|pick| Rich::MarkLost { pick }),
        3 => (0u16..300).prop_map(|ms| Rich::Time { ms }),
        1 => (0..=RULES as u8).prop_map(|rules| Rich::Raise { rules }),
        2 => administering(),
    ]
}

fn administering() -> impl Strategy<Value = Rich> {
    let who = || 0u8..4;
    let days = prop::option::weighted(0.3, 0u8..9);
    let token =
        (who(), 0u8..3, days).prop_map(|(who, role, days)| Rich::Token { who, role, days }).boxed();
    let untoken = who().prop_map(|who| Rich::Untoken { who }).boxed();
    let revoke = (any::<u8>(), 0u8..4).prop_map(|(pick, block)| Rich::Revoke { pick, block });
    let what = prop_oneof![token.clone(), untoken.clone(), revoke, Just(Rich::Deed)];
    let by = (who(), what).prop_map(|(who, what)| Rich::By { who, what: Box::new(what) });
    prop_oneof![2 => token, 1 => untoken, 2 => who().prop_map(|who| Rich::Uses { who }), 4 => by]
}

fn action() -> impl Strategy<Value = Action> {
    let session = || 0..SESSIONS;
    let item = (0u8..9, 0u8..6, 0u8..8);
    let odd = || prop_oneof![3 => 0u64..12, 1 => Just(u64::MAX)];
    let silence = prop_oneof![Just(Silence::Lease), Just(Silence::Disconnect)];
    prop_oneof![
        5 => (session(), prop::bool::weighted(0.1), any::<bool>())
            .prop_map(|(session, foreign, resume)| Action::Open { session, foreign, resume }),
        14 => (session(), prop::collection::vec(item, 1..4), 0u8..4).prop_map(
            |(session, items, unacknowledged)| Action::Checkout { session, items, unacknowledged }
        ),
        7 => (session(), any::<u8>(), 0u8..4).prop_map(
            |(session, pick, unacknowledged)| Action::Checkin { session, pick, unacknowledged }
        ),
        4 => (session(), 0u8..6).prop_map(|(session, back)| Action::Retry { session, back }),
        1 => (session(), odd(), odd())
            .prop_map(|(session, request, answered)| Action::Odd { session, request, answered }),
        1 => session().prop_map(|session| Action::Close { session }),
        2 => (session(), 0u8..3, silence).prop_map(
            |(session, terms_ago, silence)| Action::End { session, terms_ago, silence }
        ),
        3 => (0u8..3, -1i8..4, prop::collection::vec(line(), 0..4))
            .prop_map(|(license, newer, lines)| Action::Install { license, newer, lines }),
        1 => (0u8..3).prop_map(|back| Action::InstallAgain { back }),
        2 => (-60i16..120).prop_map(|hours| Action::Date { hours }),
        1 => Just(Action::Term),
        1 => Just(Action::Compare),
        1 => (-1i8..4, prop::collection::vec(rule_of(&PLAIN_RULES), 0..4))
            .prop_map(|(newer, rules)| Action::Rules { newer, rules }),
    ]
}

/// The kinds that the naive ledger knows.
const PLAIN_RULES: [u8; 7] = [0, 1, 2, 3, 6, 8, 9];

fn rule_of(kinds: &'static [u8]) -> impl Strategy<Value = RulePick> {
    let name = prop::option::weighted(0.8, 0u8..9);
    let version = prop::option::weighted(0.2, 0u8..3);
    let picks = (prop::sample::select(kinds), 0u8..5, name, version, 0u8..9, 0u8..5);
    picks.prop_map(|(kind, amount, feature, version, subject, who)| RulePick {
        kind,
        amount,
        feature,
        version,
        subject,
        who,
    })
}

fn line() -> impl Strategy<Value = LinePick> {
    let starts = prop::option::weighted(0.3, -1i8..2);
    let expires = prop::option::weighted(0.7, -1i8..4);
    let picks = (0u8..4, 0u8..3, 0u8..6, 0u8..2, starts, expires, prop::bool::weighted(0.2));
    let about = (0u8..4, prop::option::weighted(0.05, 0u8..9));
    (picks, about).prop_map(|(picks, (issued, supersedes))| {
        let (feature, version, seats, overdraft, starts, expires, vendor) = picks;
        LinePick {
            feature,
            version,
            seats,
            overdraft,
            starts,
            expires,
            vendor,
            issued,
            supersedes,
            terms: 0,
        }
    })
}

/// Writes actions down as commands with their stamps, and remembers what a
/// client remembers.
pub struct Scribe {
    at: At,
    sent: Vec<(SessionId, Command)>,
    installed: Vec<License>,
    serials: [u64; LICENSES.len()],
    policy_version: u64,
    clients: [Client; SESSIONS as usize],
}

/// What a client remembers of its session.
#[derive(Default)]
struct Client {
    /// How many sessions it had before.
    before: u16,
    ended: bool,
    last_request: u64,
}

impl Default for Scribe {
    fn default() -> Self {
        let at = At { index: 0, term: 1, cluster_ms: 0, date_ms: 1000 * DAY_MS };
        let (serials, clients) = Default::default();
        let (sent, installed) = Default::default();
        Scribe { at, sent, installed, serials, policy_version: 0, clients }
    }
}

impl Scribe {
    /// The stamp of the next entry, at the same time as the one before.
    pub fn stamp(&mut self) -> At {
        self.at.index += 1;
        self.at
    }

    /// The action as one entry of the log. `granted` is the highest number of a
    /// checkout so far, `hash` the last state hash.
    pub fn write(&mut self, action: &Action, granted: u64, hash: StateHash) -> (At, Command) {
        self.stamp();
        self.at.cluster_ms += 7;
        let command = self.command(action, granted, hash);
        if let Command::Open { session, .. }
        | Command::Checkout { session, .. }
        | Command::Borrow { session, .. }
        | Command::Checkin { session, .. } = &command
        {
            self.sent.push((*session, command.clone()));
        }
        (self.at, command)
    }

    fn command(&mut self, action: &Action, granted: u64, hash: StateHash) -> Command {
        match action {
            Action::Open { session, foreign, resume } => Command::Open {
                session: self.drawn(*session),
                holder: holder(if *foreign { SESSIONS } else { *session }),
                lease_ms: 1000 * self.at.index,
                resume: *resume,
            },
            Action::Checkout { session, items, unacknowledged } => {
                let (request, answered_through) = self.number(*session, *unacknowledged);
                let items = items.iter().map(item).collect();
                let session = self.session(*session);
                Command::Checkout { session, request, answered_through, items, wait: None }
            }
            Action::Checkin { session, pick, unacknowledged } => {
                let (request, answered_through) = self.number(*session, *unacknowledged);
                // One of the last few, mostly; sometimes one that is not there.
                let checkout = CheckoutId((granted + 1).saturating_sub(u64::from(*pick % 12)));
                let session = self.session(*session);
                Command::Checkin { session, request, answered_through, checkout }
            }
            Action::Retry { session, back } => {
                let sent = self.sent.iter().rev().filter(|(sender, _)| sender.0[0] == *session);
                let again = sent.map(|(_, command)| command).nth((*back).into());
                again.cloned().unwrap_or(Command::Tick)
            }
            Action::Odd { session, request, answered } => Command::Checkout {
                session: self.session(*session),
                request: RequestId(*request),
                answered_through: RequestId(*answered),
                items: vec![item(&(0, 0, 0))],
                wait: None,
            },
            Action::Close { session } => {
                self.clients[usize::from(*session)].ended = true;
                Command::Close { session: self.session(*session) }
            }
            Action::End { session, terms_ago, silence } => {
                self.clients[usize::from(*session)].ended |= *terms_ago == 0;
                Command::End {
                    session: self.session(*session),
                    term: self.at.term.saturating_sub((*terms_ago).into()),
                    silence: *silence,
                }
            }
            Action::Install { license, newer, lines } => {
                let license = self.license(*license, *newer, lines);
                self.installed.push(license.clone());
                Command::Install { license }
            }
            Action::InstallAgain { back } => {
                let again = self.installed.iter().rev().nth((*back).into());
                again.map_or(Command::Tick, |license| Command::Install { license: license.clone() })
            }
            Action::Date { hours } => {
                let ms = i64::from(*hours) * 60 * 60 * 1000;
                self.at.date_ms = self.at.date_ms.saturating_add_signed(ms);
                Command::Tick
            }
            Action::Term => {
                self.at.term += 1;
                Command::Tick
            }
            Action::Compare => Command::Compare { index: self.at.index - 1, hash },
            Action::Rules { newer, rules } => {
                let version = self.policy_version.saturating_add_signed((*newer).into());
                self.policy_version = version.max(self.policy_version);
                Command::SetPolicy { policy: policy(version, rules, false) }
            }
            Action::Rich(rich) => self.rich(rich, granted),
        }
    }

    fn rich(&mut self, rich: &Rich, granted: u64) -> Command {
        let some = |pick: &u8| CheckoutId((granted + 1).saturating_sub(u64::from(*pick % 12)));
        match rich {
            Rich::Policy { newer, rules, case_insensitive } => {
                let version = self.policy_version.saturating_add_signed((*newer).into());
                self.policy_version = version.max(self.policy_version);
                Command::SetPolicy { policy: policy(version, rules, *case_insensitive) }
            }
            Rich::Wait { session, items, timeout, priority } => {
                let (request, answered_through) = self.number(*session, 3);
                let items = items.iter().map(item).collect();
                let timeout_ms = timeout.map(u64::from);
                let wait = Some(QueueWait { timeout_ms, priority: priority.map(u32::from) });
                let session = self.session(*session);
                Command::Checkout { session, request, answered_through, items, wait }
            }
            Rich::Cancel { session, back, answered } => {
                let last = self.clients[usize::from(*session)].last_request;
                let request = RequestId(last.saturating_sub((*back).into()));
                let (session, answered) = (self.session(*session), *answered);
                Command::Cancel { session, request, answered }
            }
            Rich::Borrow { session, items, days } => {
                let (request, answered_through) = self.number(*session, 2);
                let items = items.iter().map(item).collect();
                let until_ms = self.at.date_ms + u64::from(*days) * DAY_MS;
                let session = self.session(*session);
                Command::Borrow { session, request, answered_through, items, until_ms }
            }
            Rich::Idle { session, since } => {
                let since_ms = since.map(|ms| self.at.cluster_ms.saturating_sub(ms.into()));
                Command::Idle { session: self.session(*session), since_ms }
            }
            Rich::Suspect { session, terms_ago, silent } => Command::Suspect {
                session: self.session(*session),
                term: self.at.term.saturating_sub((*terms_ago).into()),
                since_ms: self.at.cluster_ms.saturating_sub((*silent).into()),
            },
            Rich::Unsuspect { session } => Command::Unsuspect { session: self.session(*session) },
            Rich::Revoke { pick, block } => {
                let (reason, block_ms) = (label("because"), u64::from(*block) * 40);
                Command::Revoke { checkout: some(pick), reason, block_ms }
            }
            Rich::MarkLost { pick } => Command::MarkLost { checkout: some(pick) },
            Rich::Token { who, role, days } => Command::CreateToken {
                hash: token_hash(*who),
                role: Role::ALL[usize::from(*role)],
                label: label(&format!("user{who}")),
                expires_ms: days.map(|days| self.at.date_ms + u64::from(days) * DAY_MS),
            },
            Rich::Untoken { who } => Command::RevokeToken { token: token_id(*who) },
            Rich::Uses { who: 0 } => Command::FoundToken { hash: token_hash(0) },
            Rich::Uses { who } => Command::NoteUse { token: token_id(*who) },
            Rich::By { who, what } => {
                let command = Box::new(self.rich(what, granted));
                Command::By { token: token_id(*who), command }
            }
            Rich::Raise { rules } => Command::RaiseRules { rules: u32::from(*rules) },
            Rich::Deed => Command::NoteDeed { what: label("drained") },
            Rich::Time { ms } => {
                self.at.cluster_ms += u64::from(*ms);
                Command::Tick
            }
        }
    }

    /// The client's session, or another one if it knows that it has ended.
    fn drawn(&mut self, number: u8) -> SessionId {
        let client = &mut self.clients[usize::from(number)];
        if client.ended {
            *client = Client { before: client.before + 1, ..Client::default() };
        }
        self.session(number)
    }

    fn session(&self, number: u8) -> SessionId {
        let mut id = session_id(number);
        let before = self.clients[usize::from(number)].before;
        id.0[14..].copy_from_slice(&before.to_be_bytes());
        id
    }

    fn number(&mut self, session: u8, unacknowledged: u8) -> (RequestId, RequestId) {
        let request = &mut self.clients[usize::from(session)].last_request;
        *request += 1;
        let answered_through = (*request - 1).saturating_sub(unacknowledged.into());
        (RequestId(*request), RequestId(answered_through))
    }

    fn license(&mut self, pick: u8, newer: i8, lines: &[LinePick]) -> License {
        let last = &mut self.serials[usize::from(pick)];
        let serial = last.saturating_add_signed(newer.into());
        *last = serial.max(*last);
        let fortnight = self.at.date_ms / DAY_MS / 14 * 14;
        let week = |weeks: i8| (fortnight.saturating_add_signed(7 * i64::from(weeks)) + 7) * DAY_MS;
        let line = |pick: &LinePick| Line {
            feature: feature(pick.feature),
            version: version(2 * pick.version),
            seats: pick.seats.into(),
            overdraft: pick.overdraft.into(),
            starts_ms: pick.starts.map(week),
            expires_ms: pick.expires.map(week),
            vendor_string: label(if pick.vendor { "lite" } else { "" }),
            terms: terms(pick.terms),
            about: About {
                issued_ms: (pick.issued > 0).then_some(pick.issued.into()),
                supersedes: pick.supersedes.map(feature).into_iter().collect(),
                ..About::default()
            },
        };
        let id = LicenseId::parse(LICENSES[usize::from(pick)]).expect("good");
        let lines: Vec<Line> = lines.iter().map(line).collect();
        License { id, publisher: label("Acme"), serial, text: format!("{lines:?}"), lines }
    }
}

/// One peculiarity, or two of them.
fn terms(pick: u8) -> Terms {
    let mut terms = Terms::default();
    for kind in [pick % 16, pick / 16] {
        match kind {
            1 => terms.share = Share::USER,
            // Else loans that share a seat are too rare.
            2 => (terms.share, terms.borrow_max_ms) = (Share::HOST, Some(5 * DAY_MS)),
            3 => terms.share = Share::SITE,
            4 | 5 => terms.linger_ms = 60,
            6..=8 => terms.borrow_max_ms = Some(5 * DAY_MS),
            9 => terms.uncounted = true,
            10 => terms.hostids = vec![label("ID:2")],
            11 => terms.users_max = Seats::new(2),
            14 => terms.users_max = Seats::new(1),
            15 => terms.hosts_max = Seats::new(1),
            12 | 13 => {
                let (feature, version) = (feature(0), Version::default());
                let tokens = Seats::new(u32::from(kind) - 11).expect("not zero");
                terms.consumes = Some(TokenCost { feature, version, tokens });
            }
            _ => {}
        }
    }
    terms
}

fn policy(version: u64, picks: &[RulePick], case_insensitive: bool) -> Policy {
    let members = |users: [&str; 2]| users.into_iter().map(label).collect();
    let group = |text| GroupName::parse(text).expect("good");
    let mut policy = Policy { version, case_insensitive, ..Policy::default() };
    policy.text = format!("{picks:?}");
    policy.groups.insert(group("evens"), members(["user0", "USER2"]));
    let network = Network::parse("10.0.0.2/31").expect("good");
    let hosts = HostMembers { names: [label("host0")].into(), networks: vec![network] };
    policy.host_groups.insert(group("lab"), hosts);
    for (number, pick) in (1..).zip(picks) {
        let RulePick { kind, amount, feature: name, version: of, subject, who } = pick;
        let (amount, ms) = (u32::from(*amount), 50 * u64::from(*amount));
        let kind = match kind {
            0 | 17 | 18 => RuleKind::Include,
            1 => RuleKind::Exclude,
            2 => RuleKind::IncludeAll,
            3 => RuleKind::ExcludeAll,
            4 => RuleKind::IncludeBorrow,
            5 => RuleKind::ExcludeBorrow,
            6 | 7 => RuleKind::Max(amount),
            8..=10 => RuleKind::Reserve(Seats::new(amount + 1).expect("not zero")),
            11 => RuleKind::LingerMs(ms),
            12 => RuleKind::IdleTimeoutMs(ms),
            13 | 19 => RuleKind::BorrowLowwater(amount + 1),
            14 => RuleKind::MaxOverdraft(amount),
            15 => RuleKind::Priority(amount),
            _ => RuleKind::LeaseBoundsMs { min: 10, max: 1000 * ms },
        };
        let subject = match subject {
            0 => Subject::Anyone,
            1 | 2 => Subject::User(label(&format!("user{who}"))),
            3 => Subject::Host(label(&format!("HOST{}", who / 2))),
            4 => Subject::Display(label("wall")),
            5 => Subject::Group(group("evens")),
            6 => Subject::HostGroup(group("lab")),
            7 => Subject::Internet(Network::parse("10.0.0.0/31").expect("good")),
            _ => Subject::EachUser,
        };
        let selector = name.map(|name| FeatureSelector {
            version: of.map(|pick| crate::actions::version(2 * pick)),
            ..FeatureSelector::all_of(feature(name))
        });
        let id = RuleId { number, line: number };
        policy.rules.push(Rule { id, selector, kind, subject });
    }
    policy
}

fn token_hash(who: u8) -> TokenHash {
    TokenHash([who; 32])
}

fn token_id(who: u8) -> TokenId {
    TokenId::of(&token_hash(who))
}

pub fn session_id(number: u8) -> SessionId {
    SessionId([number; 16])
}

fn holder(number: u8) -> Holder {
    // Pairs share a host, all but one a display.
    Holder {
        user: label(&format!("user{number}")),
        host: label(&format!("host{}", number / 2)),
        display: label(if number == 1 { "wall" } else { "" }),
        pid: number.into(),
        address: Some([10, 0, 0, number].into()),
        hostids: if number == 2 { vec![label("ID:2")] } else { Vec::new() },
        ..Holder::default()
    }
}

fn label(text: &str) -> Label {
    Label::parse(text).expect("good")
}

/// The first feature is wanted most, the last is hardly ever licensed.
fn feature(pick: u8) -> FeatureName {
    let index = [0, 0, 1, 0, 1, 0, 1, 0, 2][usize::from(pick)];
    FeatureName::parse(FEATURES[index]).expect("good")
}

fn version(pick: u8) -> Version {
    Version::parse(["1", "1.5", "2.0", "2.05", "2.5", "3"][usize::from(pick)]).expect("good")
}

fn item(&(name, needs, seats): &(u8, u8, u8)) -> Item {
    // Mostly one seat of an old version.
    let seats = Seats::new([1, 1, 1, 1, 1, 2, 2, 4][usize::from(seats)]).expect("not zero");
    let needs = [0, 0, 0, 1, 2, 5][usize::from(needs)];
    Item { feature: feature(name), version: version(needs), seats }
}
