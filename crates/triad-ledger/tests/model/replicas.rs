//! Three ledgers of one cluster, each with a life of its own: one writes out
//! after every command, one now and then and reads its commands from bytes, one
//! still less often and restarts from its records in between.

use std::collections::BTreeMap;

use proptest::prelude::*;
use triad_ledger::names::CheckoutId;
use triad_ledger::{
    At, ChainHash, Event, Ledger, decode_commands, decode_event, encode_commands, encode_event,
};

use crate::actions::{Action, Scribe};
use crate::history::{History, Step};
use crate::reference::Reference;

/// After how many commands the second and the third write out, and the third
/// restarts. Zero: never.
#[derive(Clone, Copy, Debug)]
pub struct Cadence {
    second: u64,
    third: u64,
    restart: u64,
}

impl Cadence {
    /// For those who only want to see the ledger and the naive one compared.
    pub const NEVER: Cadence = Cadence { second: 0, third: 0, restart: 0 };

    fn due(every: u64, index: u64) -> bool {
        every > 0 && index.is_multiple_of(every)
    }
}

pub fn cadences() -> impl Strategy<Value = Cadence> {
    let picks = (1u64..20, 10u64..80, 5u64..120);
    picks.prop_map(|(second, third, restart)| Cadence { second, third, restart })
}

/// A ledger and the image of it that its changes add up to.
#[derive(Default)]
struct Replica {
    ledger: Ledger,
    image: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Replica {
    fn write_out(&mut self) {
        for change in self.ledger.take_changes() {
            match change.value {
                Some(value) => self.image.insert(change.key, value),
                None => self.image.remove(&change.key),
            };
        }
    }

    /// Its image is what a snapshot would say.
    fn check_image(&self) -> Result<(), String> {
        let image = self.image.iter().map(|(key, value)| (key.clone(), value.clone()));
        if !image.eq(self.ledger.records()) {
            return Err("the image is not the ledger".into());
        }
        Ok(())
    }

    /// Comes back from its records, the last first: their order is no matter.
    fn restart(&mut self) -> Result<(), String> {
        let image: Vec<_> = self.image.clone().into_iter().rev().collect();
        let mut restored = Ledger::from_records(image).map_err(|error| error.to_string())?;
        if restored.state_hash() != self.ledger.state_hash() {
            return Err("the hash changed by a restart".into());
        }
        if restored.chain() != self.ledger.chain() || restored.at() != self.ledger.at() {
            return Err("the chain or the clock changed by a restart".into());
        }
        if restored.next_due_ms() != self.ledger.next_due_ms()
            || restored.next_due_cluster_ms() != self.ledger.next_due_cluster_ms()
        {
            return Err("what is due changed by a restart".into());
        }
        if !restored.take_changes().is_empty() || !restored.take_events().is_empty() {
            return Err("a restart is no change and no event".into());
        }
        self.ledger = restored;
        Ok(())
    }
}

/// The three, the naive one, and who watches them.
pub struct Cluster {
    cadence: Cadence,
    scribe: Scribe,
    replicas: [Replica; 3],
    /// None in rich histories, which it does not know.
    reference: Option<Reference>,
    history: History,
    chain: ChainHash,
    granted: u64,
}

impl Cluster {
    pub fn new(cadence: Cadence, reference: Option<Reference>) -> Self {
        Cluster {
            cadence,
            scribe: Scribe::default(),
            replicas: Default::default(),
            reference,
            history: History::default(),
            chain: ChainHash::default(),
            granted: 0,
        }
    }

    pub fn step(&mut self, action: &Action) -> Result<(), String> {
        let hash = self.replicas[0].ledger.state_hash();
        let (at, command) = self.scribe.write(action, self.granted, hash);
        let answer = self.replicas[0].ledger.apply(at, &command);
        let ledger = &mut self.replicas[0].ledger;
        if let Some(reference) = &mut self.reference {
            let naive = reference.answer(at, &command);
            if answer != naive {
                return Err(format!("{command:?}: ledger {answer:?}, naive {naive:?}"));
            }
            reference.compare(ledger)?;
        }
        ledger.assert_balanced();
        let last = ledger.checkouts(CheckoutId(0)).last();
        self.granted = self.granted.max(last.map_or(0, |(id, _)| id.0));
        let events = ledger.take_events();
        self.extend_chain(&events)?;
        let ledger = &self.replicas[0].ledger;
        let pools = ledger.pools().map(|(id, pool)| (id, pool.clone())).collect();
        let step = Step { at, command, answer, events, pools };
        self.history.observe(&step)?;
        self.follow(at, &step)
    }

    /// The chain is reproduced from bytes alone.
    fn extend_chain(&mut self, events: &[Event]) -> Result<(), String> {
        for event in events {
            let bytes = encode_event(event);
            if decode_event(&bytes).as_ref() != Ok(event) {
                return Err(format!("{event:?} does not survive its bytes"));
            }
            self.chain = self.chain.extend(&bytes);
        }
        if self.chain != self.replicas[0].ledger.chain() {
            return Err("the chain is not that of the events".into());
        }
        Ok(())
    }

    /// The other two apply the same entry, and must be the same.
    fn follow(&mut self, at: At, step: &Step) -> Result<(), String> {
        let bytes = encode_commands(std::slice::from_ref(&step.command));
        let decoded = decode_commands(&bytes).map_err(|error| error.to_string())?;
        if decoded != [step.command.clone()] {
            return Err("the command does not survive its bytes".into());
        }
        for (replica, command) in self.replicas[1..].iter_mut().zip([&decoded[0], &step.command]) {
            let answer = replica.ledger.apply(at, command);
            if answer != step.answer || replica.ledger.take_events() != step.events {
                return Err(format!("a replica answered {answer:?}, not {:?}", step.answer));
            }
        }
        self.replicas[0].write_out();
        if Cadence::due(self.cadence.second, at.index) {
            self.catch_up(1)?;
        }
        if Cadence::due(self.cadence.third, at.index) {
            self.catch_up(2)?;
        }
        if Cadence::due(self.cadence.restart, at.index) {
            self.catch_up(2)?;
            self.replicas[2].restart()?;
        }
        Ok(())
    }

    fn catch_up(&mut self, which: usize) -> Result<(), String> {
        self.replicas[which].write_out();
        let (first, other) = (&self.replicas[0], &self.replicas[which]);
        if first.ledger.state_hash() != other.ledger.state_hash() || first.image != other.image {
            return Err(format!("replicas 0 and {which} differ"));
        }
        Ok(())
    }

    pub fn finish(&mut self) -> Result<(), String> {
        self.catch_up(1)?;
        self.catch_up(2)?;
        self.replicas[2].restart()?;
        self.replicas.iter().try_for_each(Replica::check_image)
    }
}
