//! One conversation with one ledger: reads a line, applies it, says the answer.
//!
//! | line | meaning |
//! |---|---|
//! | `1: checkout cad 2026.1 seats=2 and solver` | session 1, opened when it first speaks, asks for both or nothing |
//! | `1: checkin 4` | session 1 returns checkout #4 |
//! | `1: retry 3` | session 1 sends its request 3 again, word for word |
//! | `1: open user=eve`, `1: resume`, `1: close` | what they say |
//! | `silent 1 term=3 disconnect=true` | the leader of term 3 has not heard of session 1 |
//! | `license acme serial=2 cad=3 cad@2027=2 expires=2026-12-31 and cad=1` | lines up to `and` share the dates, the overdraft and the vendor string |
//! | `license acme times=9` | `acme-1` to `acme-9`, of which the last answer is said |
//! | `date 2027-01-01`, `date before 2027-01-01` | a tick with that stamp; `before`: by one millisecond |
//! | `term 4` | later entries belong to this term |
//! | `show pools` (sessions, checkouts, events, clock, due, hash) | events: those since they were last shown |
//!
//! | `1: checkout cad wait=60000 priority=2` | waits if it must, for so many ms; `wait=ever` as long as it lives |
//! | `1: seen 3` | it has the final answer to request 3, which waited |
//! | `1: cancel 3`, `1: borrow cad days=7`, `1: idle 600000`, `1: busy` | idle: for so many ms already |
//! | `1: explain cad 2.0 seats=2` | what the ledger would say, and by which rule |
//! | `token operator ann expires=2026-12-31`, `untoken ann`, `founding zoe`, `uses ann` | tokens by their labels |
//! | `by ann`, `deed "drained b"` | the next command is asked for by the one with that token |
//! | `revoke 4 because=maintenance block_ms=600000`, `lost 4` | what an administrator does |
//! | `group stats ann bob`, `hosts lab desk1 10.1.*.*`, `case_rule off` | the words of the next policy |
//! | `rule max=2 cad group=stats`, `rule exclude cad@2 user=bob` | its rules; `policy 2` puts it in force |
//! | `rule exclude cad user=bob expires=2026-12-31` | pools are also chosen by `vendor=` and `hostid=` |
//!
//! Lines of a license also take `share=UH`, `linger_ms=`, `borrow_days=`, `hostid=`, `tokens=3 of=pool`,
//! `users_max=`, `hosts_max=`, `uncounted=yes`, `issued=`, `supersedes=`; an opening takes `host=`,
//! `display=`, `project=`, `address=`, `data=` and `hostid=`. Cluster time: `cluster_time 5000`.
//!
//! A request acknowledges all before it, unless `answered=2` says otherwise.

use std::collections::BTreeMap;
use std::error::Error;

use goldenscript::{Argument, Command as Said, Context};
use triad_ledger::names::{
    CheckoutId, FeatureName, Label, LicenseId, PoolId, RequestId, Seats, SessionId, Version,
};
use triad_ledger::policy::{
    FeatureSelector, GroupName, Network, Policy, Rule, RuleId, RuleKind, Subject,
};
use triad_ledger::rights::{About, License, Line, Share, Terms, TokenCost};
use triad_ledger::{Answer, At, Command, EndReason, Event, Happening, Holder, Item, Ledger};
use triad_ledger::{
    ChainHash, QueueWait, Role, Silence, TokenHash, TokenId, Waiting, encode_event,
};

use crate::calendar::{DAY_MS, day_starts_ms, instant};
use crate::words;

type Spoken<T = String> = Result<T, Box<dyn Error>>;

/// The ledger, and what its clients remember.
pub struct Conversation {
    ledger: Ledger,
    at: At,
    clients: BTreeMap<u8, Client>,
    unshown: Vec<Event>,
    policy: Policy,
    chain: ChainHash,
    sequence: u64,
    /// Who asks for the next command.
    acting: Option<TokenId>,
}

#[derive(Default)]
struct Client {
    last_request: u64,
    sent: BTreeMap<u64, Command>,
}

impl Default for Conversation {
    fn default() -> Self {
        let date_ms = day_starts_ms("2026-11-23").expect("a day");
        Conversation {
            ledger: Ledger::default(),
            at: At { index: 0, term: 1, cluster_ms: 0, date_ms },
            clients: BTreeMap::new(),
            unshown: Vec::new(),
            policy: Policy::default(),
            chain: ChainHash::default(),
            sequence: 0,
            acting: None,
        }
    }
}

impl goldenscript::Runner for Conversation {
    type Command = Said;

    fn run(&mut self, said: &Said, context: &Context) -> Spoken {
        match &context.prefix {
            Some(prefix) => self.client_says(prefix.parse()?, said),
            None => self.cluster_says(said),
        }
    }

    /// Whatever was said, the books balance, the chain is that of the events,
    /// and a ledger restored from its records is the same ledger.
    fn end_command(&mut self, _: &Said, _: &Context) -> Spoken {
        if self.at.index == 0 {
            return Ok(String::new());
        }
        self.ledger.assert_balanced();
        self.ledger.take_changes();
        let restored = Ledger::from_records(self.ledger.records())?;
        assert_eq!(restored.state_hash(), self.ledger.state_hash());
        assert_eq!(self.chain, self.ledger.chain());
        Ok(String::new())
    }
}

impl Conversation {
    fn client_says(&mut self, number: u8, said: &Said) -> Spoken {
        let session = words::session_id(number);
        let groups = groups(said);
        let first = groups.first().ok_or("there is always one group")?;
        let resume = said.name == "resume";
        let is_new = !self.clients.contains_key(&number);
        self.clients.entry(number).or_default();
        if is_new && !matches!(said.name.as_str(), "open" | "resume" | "close") {
            self.apply(open(number, &Group::default(), resume)?);
        }
        let command = match said.name.as_str() {
            "open" | "resume" => open(number, first, resume)?,
            "close" => Command::Close { session },
            "retry" => {
                let request: u64 = first.word(0)?.parse()?;
                let sent = &self.clients[&number].sent;
                sent.get(&request).ok_or("this request was never sent")?.clone()
            }
            "checkout" | "checkin" | "borrow" => return self.request(number, said, &groups),
            "cancel" | "seen" => Command::Cancel {
                session,
                request: RequestId(first.word(0)?.parse()?),
                answered: said.name == "seen",
            },
            "idle" => {
                let idle_ms: u64 = first.word(0)?.parse()?;
                Command::Idle { session, since_ms: Some(self.at.cluster_ms - idle_ms) }
            }
            "explain" => {
                let holder = &self.ledger.session(session).ok_or("it is not open")?.holder;
                let steps = self.ledger.explain(holder, &item(first)?);
                return Ok(steps.iter().map(words::step).collect::<Vec<_>>().join("\n"));
            }
            "busy" => Command::Idle { session, since_ms: None },
            other => return Err(format!("no client says {other}").into()),
        };
        Ok(self.apply(command))
    }

    /// A numbered request, remembered for a retry; with `times=9` so many of
    /// them, of which the last answer is said.
    fn request(&mut self, number: u8, said: &Said, groups: &[Group]) -> Spoken {
        let session = words::session_id(number);
        let option = |key| groups.iter().find_map(|group| group.keys.get(key).map(String::as_str));
        let times: u64 = option("times").unwrap_or("1").parse()?;
        let mut answer = String::new();
        for _ in 0..times {
            let last = self.clients[&number].last_request;
            let request = option("request").map_or_else(|| Ok(last + 1), str::parse)?;
            let answered = option("answered").map_or(Ok(request - 1), str::parse)?;
            let (request, answered_through) = (RequestId(request), RequestId(answered));
            let command = match said.name.as_str() {
                "checkin" => Command::Checkin {
                    session,
                    request,
                    answered_through,
                    checkout: CheckoutId(groups[0].word(0)?.parse()?),
                },
                "borrow" => {
                    let days: u64 = option("days").unwrap_or("7").parse()?;
                    Command::Borrow {
                        session,
                        request,
                        answered_through,
                        items: groups.iter().map(item).collect::<Spoken<_>>()?,
                        until_ms: self.ledger.at().date_ms + days * DAY_MS,
                    }
                }
                _ => Command::Checkout {
                    session,
                    request,
                    answered_through,
                    items: groups.iter().map(item).collect::<Spoken<_>>()?,
                    wait: wait(option("wait"), option("priority"))?,
                },
            };
            let client = self.clients.entry(number).or_default();
            client.last_request = client.last_request.max(request.0);
            client.sent.insert(request.0, command.clone());
            answer = self.apply(command);
        }
        Ok(if times > 1 { format!("{times} times, the last: {answer}") } else { answer })
    }

    fn cluster_says(&mut self, said: &Said) -> Spoken {
        let groups = groups(said);
        let first = &groups[0];
        match said.name.as_str() {
            "license" => {
                let license = license(said, &groups)?;
                let Some(times) = first.keys.get("times") else {
                    return Ok(self.apply(Command::Install { license }));
                };
                let mut answer = String::new();
                for number in 1..=times.parse()? {
                    let id = LicenseId::parse(&format!("{}-{number}", license.id))?;
                    let license = License { id, ..license.clone() };
                    answer = self.apply(Command::Install { license });
                }
                Ok(format!("{times} times, the last: {answer}"))
            }
            "date" => {
                let before = first.word(0)? == "before";
                let day = day_starts_ms(first.word(usize::from(before))?)?;
                self.at.date_ms = day - u64::from(before);
                let noted = self.apply(Command::Tick);
                let date = format!("it is {}", instant(self.ledger.at().date_ms));
                Ok(noted.replacen("noted", &date, 1))
            }
            "cluster_time" => {
                self.at.cluster_ms = first.word(0)?.parse()?;
                Ok(self.apply(Command::Tick))
            }
            "term" => {
                self.at.term = first.word(0)?.parse()?;
                Ok(String::new())
            }
            "silent" => {
                let session = words::session_id(first.word(0)?.parse()?);
                let term = first.keys.get("term").map_or(Ok(self.at.term), |t| t.parse())?;
                let disconnect = first.keys.contains_key("disconnect");
                let silence = if disconnect { Silence::Disconnect } else { Silence::Lease };
                Ok(self.apply(Command::End { session, term, silence }))
            }
            "suspect" => {
                let session = words::session_id(first.word(0)?.parse()?);
                let term = first.keys.get("term").map_or(Ok(self.at.term), |t| t.parse())?;
                let since_ms = first.word(1)?.parse()?;
                Ok(self.apply(Command::Suspect { session, term, since_ms }))
            }
            "unsuspect" => {
                let session = words::session_id(first.word(0)?.parse()?);
                Ok(self.apply(Command::Unsuspect { session }))
            }
            "show" => self.show(first.word(0)?),
            "revoke" => {
                let reason = first.keys.get("because").map_or("", String::as_str);
                let block_ms = first.keys.get("block_ms").map_or(Ok(0), |text| text.parse())?;
                let checkout = CheckoutId(first.word(0)?.parse()?);
                Ok(self.apply(Command::Revoke {
                    checkout,
                    reason: Label::parse(reason)?,
                    block_ms,
                }))
            }
            "lost" => {
                Ok(self.apply(Command::MarkLost { checkout: CheckoutId(first.word(0)?.parse()?) }))
            }
            "token" => {
                let role = Role::ALL.into_iter().find(|role| role.as_str() == first.words[0]);
                let (role, label) = (role.ok_or("no such role")?, first.word(1)?);
                let expires = first.keys.get("expires");
                let expires_ms = expires.map(|day| day_starts_ms(day)).transpose()?;
                let expires_ms = expires_ms.map(|day| day + DAY_MS);
                let times: u32 = first.keys.get("times").map_or(Ok(1), |text| text.parse())?;
                let mut answer = String::new();
                for time in 1..=times {
                    let mut hash = token_hash(label);
                    hash.0[4..6].copy_from_slice(&(time as u16 - 1).to_be_bytes());
                    let label = Label::parse(label)?;
                    answer = self.apply(Command::CreateToken { hash, role, label, expires_ms });
                }
                Ok(if times > 1 { format!("{times} times, the last: {answer}") } else { answer })
            }
            "untoken" => Ok(self.apply(Command::RevokeToken { token: token_id(first.word(0)?) })),
            "founding" => Ok(self.apply(Command::FoundToken { hash: token_hash(first.word(0)?) })),
            "uses" => Ok(self.apply(Command::NoteUse { token: token_id(first.word(0)?) })),
            "raise" => {
                let raised = self.apply(Command::RaiseRules { rules: first.word(0)?.parse()? });
                Ok(raised.replacen("it was said in another term", "they are not newer", 1))
            }
            "deed" => Ok(self.apply(Command::NoteDeed { what: Label::parse(first.word(0)?)? })),
            "by" => {
                self.acting = Some(token_id(first.word(0)?));
                Ok(String::new())
            }
            "group" | "hosts" => {
                let name = GroupName::parse(first.word(0)?)?;
                for member in &first.words[1..] {
                    if said.name == "group" {
                        let group = self.policy.groups.entry(name.clone()).or_default();
                        group.insert(Label::parse(member)?);
                        continue;
                    }
                    let hosts = self.policy.host_groups.entry(name.clone()).or_default();
                    match Network::parse(member) {
                        Ok(network) => hosts.networks.push(network),
                        Err(_) => drop(hosts.names.insert(Label::parse(member)?)),
                    }
                }
                Ok(String::new())
            }
            "case_rule" => {
                self.policy.case_insensitive = first.word(0)? == "off";
                Ok(String::new())
            }
            "rule" => {
                let number = self.policy.rules.len() as u32 + 1;
                self.policy.rules.push(rule(number, first)?);
                Ok(String::new())
            }
            "policy" => {
                let version = first.word(0)?.parse()?;
                let policy = Policy { version, ..std::mem::take(&mut self.policy) };
                Ok(self.apply(Command::SetPolicy { policy }))
            }
            other => Err(format!("nobody says {other}").into()),
        }
    }

    fn show(&mut self, what: &str) -> Spoken {
        let ledger = &self.ledger;
        let lines: Vec<String> = match what {
            "pools" => ledger.pools().map(|(id, pool)| words::pool(id, pool)).collect(),
            "sessions" => ledger.sessions(None).map(|(id, s)| words::session(id, s)).collect(),
            "checkouts" => {
                let held = ledger.checkouts(CheckoutId(0));
                held.map(|(id, checkout)| words::checkout(id.0, checkout, ledger)).collect()
            }
            "events" => self.unshown.drain(..).map(|event| words::event(&event)).collect(),
            "clock" => {
                let At { index, term, cluster_ms, date_ms } = ledger.at();
                let date = instant(date_ms);
                vec![format!("index {index}, term {term}, cluster {cluster_ms} ms, {date}")]
            }
            "due" => {
                let date = ledger.next_due_ms().map(instant);
                let cluster = ledger.next_due_cluster_ms().map(|ms| format!("cluster {ms} ms"));
                date.into_iter().chain(cluster).collect()
            }
            "queue" => {
                let place = |waiting: &Waiting| {
                    let place = ledger.queue_position(waiting.session, waiting.request);
                    place.expect("it waits")
                };
                let mut queue: Vec<_> = ledger.waiting().map(|(_, w)| (place(w), w)).collect();
                queue.sort_by_key(|(place, waiting)| (*place, waiting.request));
                queue.into_iter().map(|(place, w)| words::waiting(place, w)).collect()
            }
            "reservations" => {
                let of = |(id, _): (PoolId, _)| {
                    let kept = ledger.reservations(id);
                    kept.map(move |(rule, whose, seats, held)| {
                        let held = (held > 0).then(|| format!(", {held} of them held"));
                        let held = held.unwrap_or_default();
                        format!("pool {}: {seats} for {whose}{held}, {rule}", id.0)
                    })
                };
                ledger.pools().flat_map(of).collect()
            }
            "tokens" => {
                let tokens = ledger.tokens().map(|(id, token)| {
                    let used = token.used_ms.map(|at| format!(", used {}", instant(at)));
                    format!("{id} {}: {}{}", token.label, token.role, used.unwrap_or_default())
                });
                tokens.collect()
            }
            "rules" => vec![format!("rules {}", ledger.rules())],
            "hash" => {
                let chain: String = self.chain.0.iter().map(|byte| format!("{byte:02x}")).collect();
                vec![format!("state {}", ledger.state_hash()), format!("chain {chain}")]
            }
            other => return Err(format!("there is no {other} to show").into()),
        };
        Ok(if lines.is_empty() { "none".into() } else { lines.join("\n") })
    }

    /// The answer, and below it the checkouts that moved or ended of themselves.
    fn apply(&mut self, command: Command) -> String {
        self.at.index += 1;
        let command = match self.acting.take() {
            Some(token) => Command::By { token, command: Box::new(command) },
            None => command,
        };
        let answer: Answer = self.ledger.apply(self.at, &command);
        let mut said = words::answer(&answer);
        for event in self.ledger.take_events() {
            self.sequence += 1;
            assert_eq!(event.sequence, self.sequence, "events are numbered without gaps");
            self.chain = self.chain.extend(&encode_event(&event));
            let of_itself = match &event.what {
                Happening::Returned { reason, .. } => {
                    !matches!(reason, EndReason::Closed | EndReason::Silent(_) | EndReason::Revoked)
                }
                Happening::Moved { .. }
                | Happening::Settled { .. }
                | Happening::Lingering { .. } => true,
                _ => false,
            };
            if of_itself {
                said += &format!("\n  {}", words::event(&event));
            }
            self.unshown.push(event);
        }
        said
    }
}

/// The hash of a token is its label, in lower-case letters.
fn token_hash(label: &str) -> TokenHash {
    let mut hash = TokenHash([0; 32]);
    for (byte, letter) in hash.0[..4].iter_mut().zip(label.bytes()) {
        *byte = letter;
    }
    hash
}

fn token_id(label: &str) -> TokenId {
    TokenId::of(&token_hash(label))
}

/// The words and `key=value` pairs up to the next `and`.
#[derive(Default)]
struct Group {
    words: Vec<String>,
    keys: BTreeMap<String, String>,
}

impl Group {
    fn word(&self, index: usize) -> Spoken<&str> {
        Ok(self.words.get(index).ok_or("a word is missing")?)
    }
}

fn groups(said: &Said) -> Vec<Group> {
    let mut groups = vec![Group::default()];
    for argument in &said.args {
        let last = groups.len() - 1;
        match argument {
            Argument::Positional(word) if word == "and" => groups.push(Group::default()),
            Argument::Positional(word) => groups[last].words.push(word.clone()),
            Argument::KeyValue(key, value) => {
                groups[last].keys.insert(key.clone(), value.clone());
            }
            _ => unreachable!("an argument is a word or a pair"),
        }
    }
    groups
}

fn open(number: u8, group: &Group, resume: bool) -> Spoken<Command> {
    let names = ["zoe", "ann", "bob", "cid", "dee", "eve", "fay", "gus", "hal", "ida"];
    let desk = format!("desk{number}");
    let key = |name: &str| group.keys.get(name).map(String::as_str);
    let label = |name, otherwise| Label::parse(key(name).unwrap_or(otherwise));
    let holder = Holder {
        user: label("user", names[usize::from(number)])?,
        host: label("host", &desk)?,
        display: label("display", "")?,
        project: label("project", "")?,
        vendor_data: label("data", "")?,
        address: key("address").map(str::parse).transpose()?,
        hostids: key("hostid").map(Label::parse).transpose()?.into_iter().collect(),
        ..Holder::default()
    };
    let lease_ms = group.keys.get("lease_ms").map_or(Ok(30_000), |text| text.parse())?;
    let session: SessionId = words::session_id(number);
    Ok(Command::Open { session, holder, lease_ms, resume })
}

fn item(group: &Group) -> Spoken<Item> {
    Ok(Item {
        feature: FeatureName::parse(group.word(0)?)?,
        version: group.words.get(1).map_or(Ok(Version::default()), |text| Version::parse(text))?,
        seats: group.keys.get("seats").map_or(Ok(Seats::MIN), |text| text.parse())?,
    })
}

/// A line's version is 1.0 unless the feature is written `cad@2027`.
fn license(said: &Said, groups: &[Group]) -> Spoken<License> {
    let serial = groups[0].keys.get("serial").map_or(Ok(1), |text| text.parse())?;
    let mut lines = Vec::new();
    for group in groups {
        let key = |name| group.keys.get(name).map(String::as_str);
        let starts_ms = key("starts").map(day_starts_ms).transpose()?;
        // Valid through that day: the day after is the first that is not.
        let expires_ms = key("expires").map(day_starts_ms).transpose()?.map(|day| day + DAY_MS);
        for (name, count) in &group.keys {
            if OPTIONS.contains(&name.as_str()) {
                continue;
            }
            let (feature, version) = name.split_once('@').unwrap_or((name, "1.0"));
            lines.push(Line {
                feature: FeatureName::parse(feature)?,
                version: Version::parse(version)?,
                seats: count.parse()?,
                overdraft: key("overdraft").map_or(Ok(0), str::parse)?,
                starts_ms,
                expires_ms,
                vendor_string: Label::parse(key("vendor").unwrap_or_default())?,
                terms: terms(group)?,
                about: About {
                    issued_ms: key("issued").map(day_starts_ms).transpose()?,
                    supersedes: key("supersedes")
                        .map(FeatureName::parse)
                        .transpose()?
                        .into_iter()
                        .collect(),
                    ..About::default()
                },
            });
        }
    }
    let id = LicenseId::parse(groups[0].word(0)?)?;
    let publisher = Label::parse("Acme Software")?;
    Ok(License { id, publisher, serial, text: said.to_string(), lines })
}

const OPTIONS: [&str; 17] = [
    "serial",
    "starts",
    "expires",
    "overdraft",
    "vendor",
    "times",
    "share",
    "linger_ms",
    "borrow_days",
    "hostid",
    "tokens",
    "of",
    "users_max",
    "hosts_max",
    "uncounted",
    "issued",
    "supersedes",
];

fn terms(group: &Group) -> Spoken<Terms> {
    let key = |name| group.keys.get(name).map(String::as_str);
    let mut share = Share::NOTHING;
    match key("share").unwrap_or_default() {
        "SITE" => share = Share::SITE,
        letters => {
            for letter in letters.chars() {
                share = share.and(match letter {
                    'U' => Share::USER,
                    'H' => Share::HOST,
                    'D' => Share::DISPLAY,
                    'V' => Share::VENDOR,
                    other => return Err(format!("nobody shares by {other}").into()),
                });
            }
        }
    }
    let consumes = match (key("tokens"), key("of")) {
        (Some(tokens), Some(feature)) => {
            let (feature, version) = (FeatureName::parse(feature)?, Version::default());
            Some(TokenCost { feature, version, tokens: tokens.parse()? })
        }
        _ => None,
    };
    Ok(Terms {
        uncounted: key("uncounted").is_some(),
        share,
        hostids: key("hostid").map(Label::parse).transpose()?.into_iter().collect(),
        borrow_max_ms: key("borrow_days")
            .map(|days| days.parse().map(|days: u64| days * DAY_MS))
            .transpose()?,
        linger_ms: key("linger_ms").map_or(Ok(0), str::parse)?,
        consumes,
        users_max: key("users_max").map(str::parse).transpose()?,
        hosts_max: key("hosts_max").map(str::parse).transpose()?,
    })
}

fn wait(timeout: Option<&str>, priority: Option<&str>) -> Spoken<Option<QueueWait>> {
    let Some(timeout) = timeout else { return Ok(None) };
    let timeout_ms = if timeout == "ever" { None } else { Some(timeout.parse()?) };
    Ok(Some(QueueWait { timeout_ms, priority: priority.map(str::parse).transpose()? }))
}

/// `max=2 cad@2.0 group=stats`: what, which feature (none: all), for whom.
fn rule(number: u32, said: &Group) -> Spoken<Rule> {
    let key = |name| said.keys.get(name).map(String::as_str);
    let word = |index: usize| said.words.get(index).map(String::as_str);
    let (kind, feature) = match said.keys.iter().find(|(name, _)| AMOUNTS.contains(&name.as_str()))
    {
        Some((name, amount)) => (kind_of(name, amount)?, word(0)),
        None => (kind_of(word(0).unwrap_or_default(), "")?, word(1)),
    };
    let selector = feature.map(|feature| {
        let (feature, version) = match feature.split_once('@') {
            Some((feature, version)) => (feature, Some(Version::parse(version)?)),
            None => (feature, None),
        };
        let all = FeatureSelector::all_of(FeatureName::parse(feature)?);
        let vendor_string = key("vendor").map(Label::parse).transpose()?;
        let hostid = key("hostid").map(Label::parse).transpose()?;
        let expires_ms = key("expires").map(day_starts_ms).transpose()?.map(|day| day + DAY_MS);
        let pools = FeatureSelector { version, vendor_string, expires_ms, hostid, ..all };
        Ok::<_, Box<dyn Error>>(pools)
    });
    let mut subject = Subject::Anyone;
    for (name, value) in &said.keys {
        subject = match name.as_str() {
            "user" => Subject::User(Label::parse(value)?),
            "host" => Subject::Host(Label::parse(value)?),
            "display" => Subject::Display(Label::parse(value)?),
            "project" => Subject::Project(Label::parse(value)?),
            "group" => Subject::Group(GroupName::parse(value)?),
            "hosts" => Subject::HostGroup(GroupName::parse(value)?),
            "network" => Subject::Internet(Network::parse(value)?),
            "each" if value == "user" => Subject::EachUser,
            _ => continue,
        };
    }
    let id = RuleId { number, line: 10 * number };
    Ok(Rule { id, selector: selector.transpose()?, kind, subject })
}

const AMOUNTS: [&str; 10] = [
    "max",
    "reserve",
    "linger",
    "idle",
    "idle_all",
    "lowwater",
    "borrow_days_max",
    "overdraft_max",
    "priority",
    "lease_max",
];

fn kind_of(name: &str, amount: &str) -> Spoken<RuleKind> {
    Ok(match name {
        "include" => RuleKind::Include,
        "exclude" => RuleKind::Exclude,
        "include_all" => RuleKind::IncludeAll,
        "exclude_all" => RuleKind::ExcludeAll,
        "include_borrow" => RuleKind::IncludeBorrow,
        "exclude_borrow" => RuleKind::ExcludeBorrow,
        "max" => RuleKind::Max(amount.parse()?),
        "reserve" => RuleKind::Reserve(amount.parse()?),
        "linger" => RuleKind::LingerMs(amount.parse()?),
        "idle" => RuleKind::IdleTimeoutMs(amount.parse()?),
        "idle_all" => RuleKind::IdleTimeoutAllMs(amount.parse()?),
        "lowwater" => RuleKind::BorrowLowwater(amount.parse()?),
        "borrow_days_max" => RuleKind::MaxBorrowMs(amount.parse::<u64>()? * DAY_MS),
        "overdraft_max" => RuleKind::MaxOverdraft(amount.parse()?),
        "priority" => RuleKind::Priority(amount.parse()?),
        "lease_max" => RuleKind::LeaseBoundsMs { min: 1_000, max: amount.parse()? },
        other => return Err(format!("there is no rule {other}").into()),
    })
}
