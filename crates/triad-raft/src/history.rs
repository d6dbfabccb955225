//! The usage history: the events that this node keeps, the newest in memory
//! and all others in the image, trimmed by age and size.
//!
//! A node keeps events from a first to a last number without gaps, and the
//! head of the hash chain before the first, so that what it keeps can be
//! proven whatever was trimmed. Only a node that was sent a snapshot has a gap,
//! from where it was to where the snapshot stands; [`crate::filling`] asks the
//! others for it. If none of them has it, it is given up when its time to be
//! trimmed comes. A cluster that begins with a saved ledger has no gap: its
//! history begins there.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use triad_ledger::{Audit, Auditor, ChainHash, decode_event};

use crate::image::ImageError;
use crate::machine::Shared;

/// Events that an audit reads in one go.
const AUDIT_PAGE: usize = 4_096;

/// An event and its number.
pub type Kept = (u64, Bytes);

/// How much of the history a node keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events older than this are trimmed, by the cluster's date. `None`: none.
    pub max_age_ms: Option<u64>,
    /// The oldest events are trimmed while there are more bytes than this, as
    /// they are encoded. `None`: no bound.
    pub max_bytes: Option<u64>,
}

impl Default for Retention {
    /// Two years and 1 GiB.
    fn default() -> Self {
        Retention { max_age_ms: Some(2 * 366 * 24 * 3_600 * 1_000), max_bytes: Some(1 << 30) }
    }
}

/// What is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The first event that is kept; one past the last if there is none.
    pub(crate) first: u64,
    /// The chain's head before it.
    pub(crate) before: ChainHash,
    /// The last event that is accounted for, kept or in the gap. 0: none.
    pub(crate) last: u64,
    /// Bytes of all that is kept.
    pub(crate) bytes: u64,
    /// The first and the last of the events that are missing between.
    pub(crate) gap: Option<(u64, u64)>,
    /// The chain's head after the gap.
    pub(crate) after_gap: ChainHash,
}

/// Events on disk, read while others are being written.
pub(crate) trait EventStore: Send + Sync {
    /// What is there, durably.
    fn bounds(&self) -> Bounds;
    /// Up to `count` events after one number and up to another. Blocks.
    fn read(&self, after: u64, through: u64, count: usize) -> Result<Vec<Kept>, ImageError>;
}

/// A history that is not kept, as in simulation.
pub(crate) struct Forgetful;

impl EventStore for Forgetful {
    fn bounds(&self) -> Bounds {
        Bounds::default()
    }

    fn read(&self, _: u64, _: u64, _: usize) -> Result<Vec<Kept>, ImageError> {
        Ok(Vec::new())
    }
}

/// The events that may not be on disk yet, in order. Part of the machine's
/// state.
#[derive(Default)]
pub(crate) struct Tail {
    events: VecDeque<Kept>,
    /// Up to here they were handed to the image.
    handed_through: u64,
}

impl Tail {
    pub(crate) fn push(&mut self, sequence: u64, event: Vec<u8>) {
        self.events.push_back((sequence, event.into()));
    }

    /// How many have not been handed to the image.
    pub(crate) fn waiting(&self) -> usize {
        let handed = self.events.partition_point(|(number, _)| *number <= self.handed_through);
        self.events.len() - handed
    }

    /// Hands out what the image has not got yet, and forgets what it has
    /// written.
    pub(crate) fn hand_over(&mut self, written: u64) -> Vec<Kept> {
        while self.events.front().is_some_and(|(number, _)| *number <= written) {
            self.events.pop_front();
        }
        let new = self.events.iter().filter(|(number, _)| *number > self.handed_through);
        let new: Vec<Kept> = new.cloned().collect();
        if let Some((last, _)) = new.last() {
            self.handed_through = *last;
        }
        new
    }

    fn first(&self) -> Option<u64> {
        self.events.front().map(|(number, _)| *number)
    }

    fn after(&self, number: u64, count: usize) -> Vec<Kept> {
        let from = self.events.partition_point(|(at, _)| *at <= number);
        self.events.iter().skip(from).take(count).cloned().collect()
    }
}

/// What a node keeps of the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryBounds {
    /// The number of the first event that is kept. 0: none is.
    pub first: u64,
    /// The number of the last event.
    pub last: u64,
    /// How many between are missing, until another node has sent them.
    pub missing: u64,
    /// Events before the first were trimmed, or never seen.
    pub trimmed: bool,
}

/// What an audit of the history found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// The auditor's findings.
    pub audit: Audit,
    /// What was looked at.
    pub bounds: HistoryBounds,
    /// The dates of the first and the last event, ms since 1970 UTC; 0 if there
    /// is none.
    pub dates_ms: (u64, u64),
}

/// The history of one node. Cheap to clone.
#[derive(Clone)]
pub struct History {
    shared: Arc<Shared>,
    store: Arc<dyn EventStore>,
}

impl History {
    pub(crate) fn new(shared: Arc<Shared>, store: Arc<dyn EventStore>) -> Self {
        History { shared, store }
    }

    pub(crate) fn store(&self) -> Arc<dyn EventStore> {
        self.store.clone()
    }

    /// The number of the newest event, from now on.
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.shared.newest_event()
    }

    /// What is kept.
    pub fn bounds(&self) -> HistoryBounds {
        let (last, tail_first) = {
            let state = self.shared.state();
            (state.ledger.last_event().0, state.tail.first())
        };
        let disk = self.store.bounds();
        let on_disk = disk.last > 0 && disk.first <= disk.last;
        let first = if on_disk { disk.first } else { tail_first.unwrap_or(0) };
        let missing = disk.gap.map_or(0, |(from, to)| to + 1 - from);
        HistoryBounds { first, last, missing, trimmed: first > 1 }
    }

    /// Up to `count` events after a number, in order. Those that are missing are
    /// left out. Blocks for the disk.
    ///
    /// # Errors
    ///
    /// The disk, or what is on it.
    pub fn read(&self, after: u64, count: usize) -> Result<Vec<Kept>, ImageError> {
        // The memory first: what is written meanwhile is found on disk then.
        let (tail, tail_first) = {
            let state = self.shared.state();
            (state.tail.after(after, count), state.tail.first())
        };
        let through = tail_first.map_or(u64::MAX, |first| first - 1);
        let mut events = match after < through {
            true => self.store.read(after, through, count)?,
            false => Vec::new(),
        };
        let room = count - events.len();
        events.extend(tail.into_iter().take(room));
        Ok(events)
    }

    /// The number of the last event before a date, by bisection: dates never
    /// run back. Blocks for the disk.
    ///
    /// # Errors
    ///
    /// As [`History::read`].
    pub fn last_before(&self, date_ms: u64) -> Result<u64, ImageError> {
        let HistoryBounds { first, last, .. } = self.bounds();
        let (mut low, mut high) = (first, last + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let found = self.read(middle - 1, 1)?;
            let date = found.first().and_then(|(_, bytes)| decode_event(bytes).ok());
            match date {
                Some(event) if event.at.date_ms < date_ms => low = event.sequence + 1,
                _ => high = middle,
            }
        }
        Ok(low.max(1) - 1)
    }

    /// Reads everything that is kept and proves it. Blocks, for some seconds for
    /// each million events.
    ///
    /// # Errors
    ///
    /// As [`History::read`].
    pub fn audit(&self) -> Result<Audited, ImageError> {
        let head = self.shared.state().ledger.last_event();
        let (bounds, disk) = (self.bounds(), self.store.bounds());
        let on_disk = disk.last > 0;
        let mut auditor = match on_disk {
            true => Auditor::new(disk.first - 1, disk.before),
            false => Auditor::new(0, ChainHash::default()),
        };
        let mut at = if on_disk { disk.first - 1 } else { 0 };
        let mut dates_ms = (0, 0);
        while at < head.0 {
            let page = self.read(at, AUDIT_PAGE)?;
            let page = page.iter().filter(|(number, _)| *number <= head.0);
            let before = at;
            for (number, event) in page {
                auditor.observe(event);
                at = *number;
                if let Ok(event) = decode_event(event) {
                    dates_ms.1 = event.at.date_ms;
                    if dates_ms.0 == 0 {
                        dates_ms.0 = event.at.date_ms;
                    }
                }
            }
            if at == before {
                break;
            }
        }
        Ok(Audited { audit: auditor.finish(head), bounds, dates_ms })
    }

    /// What another node is sent that has a gap after this number: the events,
    /// and if they begin later than wanted, the chain's head before the first.
    pub(crate) fn part(&self, after: u64, count: usize) -> Result<Part, ImageError> {
        let Bounds { first, before, last, gap, after_gap, .. } = self.store.bounds();
        if last == 0 {
            return Ok(Part::default());
        }
        // Who has a gap of his own is of no help with what he lacks himself.
        let (first, before) = match gap {
            None => (first, before),
            Some((_, to)) if after >= to => (to + 1, after_gap),
            Some(_) => return Ok(Part::default()),
        };
        // What is only in memory yet is as good.
        let events = self.read(after.max(first - 1), count)?;
        Ok(Part { first, before, events })
    }
}

/// A part of a history, on its way to a node that lacks it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Part {
    /// The first event that the sender keeps. 0: it can be of no help.
    pub(crate) first: u64,
    /// The chain's head before it.
    pub(crate) before: ChainHash,
    pub(crate) events: Vec<Kept>,
}
