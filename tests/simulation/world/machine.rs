//! One machine: a runtime whose clock is moved by the world, at its own rate,
//! and not at all while the machine is frozen.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::{Builder, EnterGuard, RngSeed, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{advance, sleep};

use super::network::MachineId;

#[cfg(not(tokio_unstable))]
compile_error!(
    "the simulation needs tokio's seeded runtime: build with --cfg tokio_unstable, as \
     .cargo/config.toml says; a RUSTFLAGS variable overrides that file"
);

/// See the module.
pub struct Machine {
    pub id: MachineId,
    pub name: String,
    runtime: Option<Runtime>,
    main: Option<JoinHandle<()>>,
    /// How much faster than the world's its clock runs, in parts per million.
    pub drift_ppm: i64,
    /// What the clock is behind by, nanoseconds; timers count in milliseconds.
    owed_ns: i64,
    frozen_until: Option<Duration>,
    frozen: Duration,
}

impl Machine {
    pub fn new(id: MachineId, name: &str) -> Self {
        Machine {
            id,
            name: name.to_owned(),
            runtime: None,
            main: None,
            drift_ppm: 0,
            owed_ns: 0,
            frozen_until: None,
            frozen: Duration::ZERO,
        }
    }

    /// Starts a process; it ends with its main task.
    pub fn start(&mut self, seed: u64, main: impl Future<Output = ()> + Send + 'static) {
        assert!(self.runtime.is_none(), "{} runs already", self.name);
        let mut builder = Builder::new_current_thread();
        builder.enable_time().start_paused(true);
        builder.rng_seed(RngSeed::from_bytes(&seed.to_le_bytes()));
        // What comes from outside goes first, and timers are looked at when nothing
        // else is to be done: with tokio's own intervals the order of tasks would
        // depend on how many were polled before.
        builder.global_queue_interval(1).event_interval(u32::MAX);
        let runtime = builder.build().expect("a runtime without I/O needs nothing");
        self.main = Some(runtime.spawn(main));
        self.runtime = Some(runtime);
        (self.frozen_until, self.frozen, self.owed_ns) = (None, Duration::ZERO, 0);
    }

    /// The process is gone, and every task of it dropped.
    pub fn stop(&mut self) {
        self.main = None;
        self.runtime = None;
    }

    pub fn is_running(&self) -> bool {
        self.runtime.is_some()
    }

    pub fn is_frozen(&self) -> bool {
        self.frozen_until.is_some()
    }

    /// Stops the process without ending it. Its kernel goes on.
    pub fn freeze(&mut self, until: Duration) {
        if self.is_running() {
            self.frozen_until = Some(until);
        }
    }

    /// While held, clocks are this machine's.
    pub fn enter(&self) -> Option<EnterGuard<'_>> {
        self.runtime.as_ref().map(Runtime::enter)
    }

    /// Lets one tick pass.
    pub fn tick(&mut self, now: Duration, tick: Duration) {
        let Some(runtime) = &self.runtime else { return };
        if let Some(until) = self.frozen_until {
            if now < until {
                self.frozen += tick;
                return;
            }
            // It wakes up, and the first thing it sees is that it is late.
            self.frozen_until = None;
            let late = std::mem::take(&mut self.frozen);
            runtime.block_on(advance(late));
        }
        let tick_ns = tick.as_nanos() as i64;
        self.owed_ns += tick_ns + tick_ns * self.drift_ppm / 1_000_000;
        let whole_ms = self.owed_ns / 1_000_000;
        self.owed_ns -= whole_ms * 1_000_000;
        let pass = Duration::from_millis(whole_ms as u64);
        runtime.block_on(async { sleep(pass).await });
        if self.main.as_ref().is_some_and(JoinHandle::is_finished) {
            self.stop();
        }
    }
}
