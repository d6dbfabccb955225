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
//! A request acknowledges all before it, unless `answered=2` says otherwise.

use std::collections::BTreeMap;
use std::error::Error;

use goldenscript::{Argument, Command as Said, Context};
use triad_ledger::names::{
    CheckoutId, FeatureName, Label, LicenseId, RequestId, Seats, SessionId, Version,
};
use triad_ledger::rights::{About, License, Line, Terms};
use triad_ledger::{Answer, At, Command, EndReason, Event, Happening, Holder, Item, Ledger};
use triad_ledger::{ChainHash, Silence, encode_event};

use crate::calendar::{DAY_MS, day_starts_ms, instant};
use crate::words;

type Spoken<T = String> = Result<T, Box<dyn Error>>;

/// The ledger, and what its clients remember.
pub struct Conversation {
    ledger: Ledger,
    at: At,
    clients: BTreeMap<u8, Client>,
    unshown: Vec<Event>,
    chain: ChainHash,
    sequence: u64,
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
            chain: ChainHash::default(),
            sequence: 0,
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
            "checkout" | "checkin" => return self.request(number, said, &groups),
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
                _ => Command::Checkout {
                    session,
                    request,
                    answered_through,
                    items: groups.iter().map(item).collect::<Spoken<_>>()?,
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
            "show" => self.show(first.word(0)?),
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
            "due" => ledger.next_due_ms().map(instant).into_iter().collect(),
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
        let answer: Answer = self.ledger.apply(self.at, &command);
        let mut said = words::answer(&answer);
        for event in self.ledger.take_events() {
            self.sequence += 1;
            assert_eq!(event.sequence, self.sequence, "events are numbered without gaps");
            self.chain = self.chain.extend(&encode_event(&event));
            let of_itself = match &event.what {
                Happening::Returned { reason, .. } => *reason == EndReason::Expired,
                Happening::Moved { .. } => true,
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
    let user = group.keys.get("user").map_or(names[usize::from(number)], String::as_str);
    let host = format!("desk{number}");
    let holder =
        Holder { user: Label::parse(user)?, host: Label::parse(&host)?, ..Holder::default() };
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
            let options = ["serial", "starts", "expires", "overdraft", "vendor", "times"];
            if options.contains(&name.as_str()) {
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
                terms: Terms::default(),
                about: About::default(),
            });
        }
    }
    let id = LicenseId::parse(groups[0].word(0)?)?;
    let publisher = Label::parse("Acme Software")?;
    Ok(License { id, publisher, serial, text: said.to_string(), lines })
}
