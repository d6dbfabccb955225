//! What each workload is: who does what, how many, for how long. The definitions
//! are those by which other systems are measured beside this one, and change only
//! with them.

use std::time::Duration;

use crate::args::bench::{BenchArguments, Workload};

/// The seats of each of the pools that clients draw from.
pub const SEATS_PER_POOL: u32 = 100;
/// The seats of the hot pool.
pub const HOT_SEATS: u32 = 100_000;
/// The pool that everybody wants.
pub const HOT_POOL: &str = "bench-hot";
/// Cycles of the serial workload.
const SERIAL_CYCLES: u64 = 3_000;
/// What ends by its cycles ends on the slowest machine by this.
const CYCLES_TIME_MAX: Duration = Duration::from_secs(600);
/// How long a paced client holds, and how long it pauses: at most this.
const PACE_MAX: Duration = Duration::from_millis(200);

/// The name of one of the many pools.
pub fn pool_name(n: u32) -> String {
    format!("bench-{n:04}")
}

/// One thing that is measured, on a cluster in a fresh state.
#[derive(Clone, Debug)]
pub struct Part {
    pub workload: Workload,
    /// Which part of a workload that has several.
    pub name: Option<&'static str>,
    /// How many clients, or holders where it is they who count.
    pub clients: u32,
    /// How many others hold a seat meanwhile.
    pub outstanding: u32,
    pub warm_up: Duration,
    pub duration: Duration,
    pub work: Work,
}

/// What is done.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Checkouts and checkins.
    Cycles(Cycles),
    /// Heartbeats without a pause.
    Beats,
    /// Sessions that hold a seat and are heard now and then.
    Idle,
    /// Failovers.
    Failover(Fault),
    /// Holders that fall silent.
    Silence,
    /// Restarts.
    Restart,
    /// All clients resume after the leader was killed.
    Morning,
}

/// What befalls the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Kill,
    Freeze,
    Stop,
}

/// How a client checks out and in.
#[derive(Clone, Copy, Debug)]
pub struct Cycles {
    /// How many seats of the hot pool are free for the clients; `None`: a pool
    /// drawn at random from the many, each time.
    pub hot: Option<u32>,
    /// It holds and it pauses for up to this long.
    pub pace_max: Duration,
    /// So many cycles, whatever the duration.
    pub cycles_max: Option<u64>,
}

impl Cycles {
    const MANY: Cycles = Cycles { hot: None, pace_max: Duration::ZERO, cycles_max: None };

    fn hot(free: u32) -> Self {
        Cycles { hot: Some(free.min(HOT_SEATS)), ..Cycles::MANY }
    }
}

impl Workload {
    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Workload::W1 => "w1",
            Workload::W2 => "w2",
            Workload::W3a => "w3a",
            Workload::W3b => "w3b",
            Workload::W3c => "w3c",
            Workload::W3d => "w3d",
            Workload::W4a => "w4a",
            Workload::W4b => "w4b",
            Workload::W5Kill => "w5-kill",
            Workload::W5Freeze => "w5-freeze",
            Workload::W5Stop => "w5-stop",
            Workload::W6 => "w6",
            Workload::W7 => "w7",
            Workload::W8 => "w8",
            Workload::W9 => "w9",
            Workload::Morning => "morning",
        }
    }

    /// Whether it does something to the nodes, or is about what only their
    /// machine shows.
    pub fn needs_local(self) -> bool {
        match self {
            Workload::W5Kill
            | Workload::W5Freeze
            | Workload::W5Stop
            | Workload::W7
            | Workload::W8
            | Workload::W9
            | Workload::Morning => true,
            Workload::W1
            | Workload::W2
            | Workload::W3a
            | Workload::W3b
            | Workload::W3c
            | Workload::W3d
            | Workload::W4a
            | Workload::W4b
            | Workload::W6 => false,
        }
    }

    /// How many clients, unless somebody says otherwise.
    fn clients(self) -> u32 {
        match self {
            Workload::W1 => 1,
            Workload::W2
            | Workload::W3a
            | Workload::W3b
            | Workload::W3c
            | Workload::W3d
            | Workload::W4a => 64,
            Workload::W5Kill | Workload::W5Freeze | Workload::W5Stop => 20,
            Workload::W7 | Workload::W9 => 256,
            Workload::W4b | Workload::W6 | Workload::Morning => 10_000,
            Workload::W8 => 1,
        }
    }

    /// What is measured, with what the command line says.
    pub fn parts(self, arguments: &BenchArguments) -> Vec<Part> {
        let clients = match self {
            Workload::W1 | Workload::W8 => 1,
            _ => arguments.clients.unwrap_or(self.clients()),
        };
        let cycles_max = arguments.cycles.map(u64::from);
        let seconds = |usual| match (arguments.duration, cycles_max) {
            (Some(duration), _) => duration,
            (None, Some(_)) => CYCLES_TIME_MAX,
            (None, None) => Duration::from_secs(usual),
        };
        let outstanding = |usual| arguments.outstanding.unwrap_or(usual);
        let part = Part {
            workload: self,
            name: None,
            clients,
            outstanding: outstanding(0),
            warm_up: arguments.warm_up.unwrap_or(Duration::from_secs(2)),
            duration: seconds(6),
            work: Work::Cycles(Cycles { cycles_max, ..Cycles::MANY }),
        };
        let work = |work| vec![Part { work, ..part.clone() }];
        let hot = |free| work(Work::Cycles(Cycles { cycles_max, ..Cycles::hot(free) }));
        match self {
            Workload::W1 => vec![part.serial(arguments)],
            Workload::W2 => vec![part],
            Workload::W3a => hot(clients.saturating_mul(4)),
            Workload::W3b => hot((clients / 2).max(1)),
            Workload::W3c => {
                let work = Work::Cycles(Cycles { cycles_max, ..Cycles::hot(HOT_SEATS) });
                vec![Part { duration: seconds(8), work, ..part }]
            }
            Workload::W3d => {
                let pace_max = PACE_MAX;
                let work = Work::Cycles(Cycles { cycles_max, pace_max, ..Cycles::hot(HOT_SEATS) });
                vec![Part { duration: seconds(8), work, ..part }]
            }
            Workload::W4a => work(Work::Beats),
            Workload::W4b => vec![Part {
                warm_up: arguments.warm_up.unwrap_or(Duration::from_secs(15)),
                duration: seconds(30),
                work: Work::Idle,
                ..part
            }],
            Workload::W5Kill => work(Work::Failover(Fault::Kill)),
            Workload::W5Freeze => work(Work::Failover(Fault::Freeze)),
            Workload::W5Stop => work(Work::Failover(Fault::Stop)),
            Workload::W6 => work(Work::Silence),
            Workload::W7 | Workload::W9 => {
                let usual = if self == Workload::W7 { 10_000 } else { 0 };
                let part = Part { outstanding: outstanding(usual), ..part };
                let serial = part.serial(arguments);
                vec![serial, Part { name: Some("clients"), ..part }]
            }
            Workload::W8 => {
                vec![Part { outstanding: outstanding(100_000), work: Work::Restart, ..part }]
            }
            Workload::Morning => work(Work::Morning),
        }
    }
}

impl Part {
    /// The same of one client that goes through its cycles. A duration that was
    /// asked for ends it sooner.
    fn serial(&self, arguments: &BenchArguments) -> Part {
        Part {
            name: (self.workload != Workload::W1).then_some("serial"),
            clients: 1,
            duration: arguments.duration.unwrap_or(CYCLES_TIME_MAX),
            work: Work::Cycles(Cycles {
                cycles_max: Some(arguments.cycles.map_or(SERIAL_CYCLES, u64::from)),
                ..Cycles::MANY
            }),
            ..self.clone()
        }
    }

    /// Its name in reports: `w2`, `w9 serial`.
    pub fn title(&self) -> String {
        match self.name {
            Some(name) => format!("{} {name}", self.workload.name()),
            None => self.workload.name().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Parser as _, ValueEnum as _};

    use super::*;
    use crate::args::{Arguments, Verb};

    fn arguments(words: &str) -> BenchArguments {
        let line = format!("triad bench {words}");
        match Arguments::try_parse_from(line.split_whitespace()).unwrap().verb {
            Verb::Bench(arguments) => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_workload_has_parts_under_the_name_it_is_called_by() {
        for workload in Workload::value_variants() {
            let name = workload.to_possible_value().unwrap().get_name().to_owned();
            assert_eq!(workload.name(), name);
            let parts = workload.parts(&arguments(&format!("--workload {name}")));
            assert!(!parts.is_empty());
            assert!(parts.iter().all(|part| part.title().starts_with(&name)));
        }
    }

    #[test]
    fn the_hot_pool_has_the_seats_of_the_definition() {
        let free = |words: &str| {
            let arguments = arguments(words);
            match arguments.workload[0].parts(&arguments)[0].work {
                Work::Cycles(cycles) => cycles.hot,
                _ => None,
            }
        };
        assert_eq!(free("--workload w2 --clients 64"), None);
        assert_eq!(free("--workload w3a --clients 64"), Some(256));
        assert_eq!(free("--workload w3b --clients 64"), Some(32));
        assert_eq!(free("--workload w3b --clients 1"), Some(1));
        assert_eq!(free("--workload w3c --clients 64"), Some(100_000));
    }

    #[test]
    fn one_client_alone_is_one_whatever_is_asked_for() {
        let arguments = arguments("--workload w1,w9 --clients 50 --duration 1s");
        let all = arguments.workload.iter().flat_map(|workload| workload.parts(&arguments));
        let all: Vec<(String, u32)> = all.map(|part| (part.title(), part.clients)).collect();
        let expected = [("w1", 1), ("w9 serial", 1), ("w9 clients", 50)];
        assert_eq!(all, expected.map(|(title, clients)| (title.to_owned(), clients)));
    }
}
