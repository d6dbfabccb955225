//! The segment after the current one, prepared while the current one is filled.

use std::thread::{self, JoinHandle};

use super::error::LogError;
use super::segment::{Maker, Segment};

/// The next segment, if any was prepared.
#[derive(Debug)]
pub(super) enum Spare {
    /// Not begun.
    None,
    /// A thread is at it.
    Making(JoinHandle<Result<Segment, LogError>>),
    /// At hand.
    Ready(Segment),
}

impl Spare {
    /// The one that an earlier life of this log has left.
    pub fn new(left: Option<Segment>) -> Self {
        left.map_or(Self::None, Self::Ready)
    }

    /// Has segment `number` prepared by a thread, unless one was prepared before.
    pub fn prepare(&mut self, maker: &Maker, number: u32) {
        if !matches!(self, Self::None) {
            return;
        }
        let maker = maker.clone();
        let thread = thread::Builder::new().name("triad-log-next".into());
        match thread.spawn(move || maker.make(number)) {
            Ok(thread) => *self = Self::Making(thread),
            Err(error) => tracing::warn!(%error, "no thread to prepare the next segment"),
        }
    }

    /// Takes segment `number`, waiting for it or making it now.
    pub fn take(&mut self, maker: &Maker, number: u32) -> Result<Segment, LogError> {
        match std::mem::replace(self, Self::None) {
            Self::Ready(segment) => Ok(segment),
            Self::Making(thread) => {
                let made = thread.join().expect("making a segment never panics");
                // Nothing of a failed attempt is in use, so a second one may begin from an empty
                // file; if that fails too, it is final.
                made.or_else(|error| {
                    tracing::warn!(%error, "could not prepare the next segment ahead");
                    maker.make(number)
                })
            }
            Self::None => maker.make(number),
        }
    }

    /// Waits until no thread is at it. What it made stays for the next open.
    pub fn wait(&mut self) {
        if let Self::Making(thread) = std::mem::replace(self, Self::None) {
            // Its outcome no longer matters: the next open removes what is unfinished.
            let _ = thread.join();
        }
    }
}
