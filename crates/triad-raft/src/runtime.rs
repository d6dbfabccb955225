//! The runtime that Raft is given: tokio's, with dice that can be seeded.
//!
//! Raft throws dice for its election timeouts. In production they are the
//! system's; a simulation enters [`seeded`], and from there on every task that
//! Raft spawns draws from a seed that follows from its parent's.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use openraft::{AsyncRuntime, OptionalSend};
use openraft_rt_tokio::TokioRuntime;
use rand::SeedableRng;
use rand::rngs::StdRng;

tokio::task_local! {
    static SEED: Cell<u64>;
}

/// Runs `future` with seeded dice, or with the system's.
pub(crate) async fn seeded<F: Future>(seed: Option<u64>, future: F) -> F::Output {
    match seed {
        Some(seed) => SEED.scope(Cell::new(seed), future).await,
        None => future.await,
    }
}

/// The next seed of this task, if it has seeded dice.
fn next_seed() -> Option<u64> {
    let next = |seed: &Cell<u64>| {
        seed.set(seed.get().wrapping_add(0x9E37_79B9_7F4A_7C15));
        mix(seed.get())
    };
    SEED.try_with(next).ok()
}

/// Splitmix64's output function: neighbouring seeds give unrelated dice.
fn mix(seed: u64) -> u64 {
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// See the module.
#[derive(Debug)]
pub struct Runtime(TokioRuntime);

type Tokio = TokioRuntime;

impl AsyncRuntime for Runtime {
    type JoinError = <Tokio as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <Tokio as AsyncRuntime>::Sleep;
    type Instant = <Tokio as AsyncRuntime>::Instant;
    type TimeoutError = <Tokio as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <Tokio as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = StdRng;
    type Mpsc = <Tokio as AsyncRuntime>::Mpsc;
    type Watch = <Tokio as AsyncRuntime>::Watch;
    type Oneshot = <Tokio as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <Tokio as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        match next_seed() {
            Some(seed) => Tokio::spawn(SEED.scope(Cell::new(seed), future)),
            None => Tokio::spawn(future),
        }
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Tokio::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        Tokio::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        Tokio::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        Tokio::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        Tokio::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        match next_seed() {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::from_rng(&mut Tokio::thread_rng()),
        }
    }

    fn new(threads: usize) -> Self {
        Runtime(Tokio::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    async fn draws() -> [u32; 3] {
        let own: u32 = Runtime::thread_rng().random();
        let spawned = || async { Runtime::spawn(async { Runtime::thread_rng().random() }).await };
        [own, spawned().await.expect("runs"), spawned().await.expect("runs")]
    }

    #[tokio::test]
    async fn a_seed_decides_all_dice_of_a_family_of_tasks() {
        let first = seeded(Some(7), draws()).await;
        assert_eq!(first, seeded(Some(7), draws()).await);
        assert_ne!(first, seeded(Some(8), draws()).await);
        assert!(first[0] != first[1] && first[1] != first[2], "{first:?}");
        assert_ne!(draws().await, draws().await, "the system's dice");
    }
}
