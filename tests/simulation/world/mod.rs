//! A world in one thread: machines with clocks of their own, the network between
//! them, and disks that forget. Everything in it follows from one seed.

pub mod disk;
pub mod machine;
pub mod network;
mod segments;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

pub use disk::SimulatedDisk;
pub use machine::Machine;
pub use network::{MachineId, Network};

/// The steps of a world: messages travel at least this long, so a smaller one
/// finds finer races and costs more time. Each seed has one of them.
const TICKS_MS: [u64; 8] = [2, 4, 4, 4, 4, 8, 8, 8];
/// Those of a calm world, where machines are far apart and an hour is to pass quickly: the step
/// of a world in which hardly anything happens is what its hour costs.
const CALM_TICKS_MS: [u64; 4] = [16, 32, 32, 32];

/// All machines and what connects them.
pub struct World {
    pub network: Arc<Network>,
    pub machines: Vec<Machine>,
    pub dice: StdRng,
    now: Duration,
    tick: Duration,
}

impl World {
    pub fn new(seed: u64, is_calm: bool) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let network = Network::new(StdRng::seed_from_u64(dice.random()));
        let ticks = if is_calm { &CALM_TICKS_MS[..] } else { &TICKS_MS[..] };
        let tick = *ticks.choose(&mut dice).expect("there are some");
        let (machines, tick) = (Vec::new(), Duration::from_millis(tick));
        World { network, machines, dice, now: Duration::ZERO, tick }
    }

    /// Adds a machine; nothing runs on it yet.
    pub fn add(&mut self, name: &str) -> MachineId {
        let id = self.network.add(name);
        self.machines.push(Machine::new(id, name));
        id
    }

    pub fn now(&self) -> Duration {
        self.now
    }

    pub fn machine(&mut self, id: MachineId) -> &mut Machine {
        &mut self.machines[id.0]
    }

    /// Lets a tick pass everywhere, in an order that the dice decide.
    pub fn step(&mut self) {
        self.network.deliver(self.now);
        let mut order: Vec<usize> = (0..self.machines.len()).collect();
        order.shuffle(&mut self.dice);
        for machine in order {
            self.machines[machine].tick(self.now, self.tick);
        }
        self.now += self.tick;
    }

    /// The process dies, and its kernel closes what it had open.
    pub fn kill(&mut self, id: MachineId) {
        self.machine(id).stop();
    }

    /// The machine is off from one moment to the next: nobody is told.
    pub fn power_off(&mut self, id: MachineId) {
        self.network.set_power(id, false);
        self.machine(id).stop();
    }

    /// The machine is on again; nothing runs on it yet.
    pub fn power_on(&mut self, id: MachineId) {
        self.network.set_power(id, true);
    }
}
