//! The events in the image: one record each, and one that says what is there.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use triad_ledger::{ChainHash, decode_event};

use super::{Db, Handle, ImageBatch, ImageError, failed, opened, prefixed, seal, unseal};
use crate::history::{Bounds, EventStore, Kept, Part, Retention};

const EVENT: u8 = b'e';
const BOUNDS: &[u8] = b"h";
/// Events trimmed with one batch, beyond as many as it adds: old ones go, but
/// not all at once.
const TRIM_MAX: usize = 1_024;

#[derive(Clone, PartialEq, prost::Message)]
struct BoundsMessage {
    #[prost(uint64, tag = "1")]
    first: u64,
    #[prost(bytes = "vec", tag = "2")]
    before: Vec<u8>,
    #[prost(uint64, tag = "3")]
    last: u64,
    #[prost(uint64, tag = "4")]
    bytes: u64,
    #[prost(uint64, tag = "5")]
    gap_from: u64,
    #[prost(uint64, tag = "6")]
    gap_to: u64,
    #[prost(bytes = "vec", tag = "7")]
    after_gap: Vec<u8>,
}

/// The events of a sled image.
pub(super) struct SledEvents {
    path: PathBuf,
    /// For readers, who take turns.
    db: Mutex<Handle>,
    bounds: Mutex<Bounds>,
}

impl SledEvents {
    pub(super) fn open(path: PathBuf, db: Db) -> Result<Self, ImageError> {
        let found = db.get(BOUNDS).map_err(|error| failed(path.clone(), error))?;
        let bounds = match found {
            None => Bounds { first: 1, ..Bounds::default() },
            Some(value) => {
                let damaged = |what: String| ImageError::Damaged { path: path.clone(), what };
                let value = unseal(&path, BOUNDS, &value)?;
                let message: BoundsMessage = prost::Message::decode(value.as_slice())
                    .map_err(|error| damaged(error.to_string()))?;
                let chain = |head: Vec<u8>| {
                    let head = head.try_into();
                    head.map(ChainHash).map_err(|_| damaged("the history\'s chain".into()))
                };
                let gap = (message.gap_from > 0).then_some((message.gap_from, message.gap_to));
                Bounds {
                    first: message.first,
                    before: chain(message.before)?,
                    last: message.last,
                    bytes: message.bytes,
                    gap,
                    after_gap: match gap {
                        Some(_) => chain(message.after_gap)?,
                        None => ChainHash::default(),
                    },
                }
            }
        };
        Ok(SledEvents { path, db: Mutex::new(Some(db)), bounds: Mutex::new(bounds) })
    }

    fn lock(&self) -> MutexGuard<'_, Bounds> {
        self.bounds.lock().expect("no panic while held")
    }

    /// The readers' handle. None of them reads while it is held.
    pub(super) fn handle(&self) -> MutexGuard<'_, Handle> {
        // One that panicked has changed nothing.
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was written is durable.
    pub(super) fn are_now(&self, bounds: Bounds) {
        *self.lock() = bounds;
    }

    /// Adds the events of a batch, and removes what is too old or too much.
    pub(super) fn add(
        &self,
        db: &Db,
        out: &mut sled::Batch,
        batch: &ImageBatch,
        retention: Retention,
    ) -> Result<Bounds, ImageError> {
        let mut bounds = *self.lock();
        let (ledgers_last, ledgers_chain) = batch.last_event;
        // A snapshot: what happened between is not here.
        let comes_first = batch.events.first().map_or(ledgers_last + 1, |(first, _)| *first);
        if comes_first > bounds.last + 1 {
            if !batch.events.is_empty() {
                let what = format!("event {comes_first} follows {}", bounds.last);
                return Err(ImageError::Damaged { path: self.path.clone(), what });
            }
            if let Some((_, to)) = bounds.gap {
                // What lies between two gaps is asked for again with them.
                let between = (to.max(bounds.first - 1), bounds.last);
                self.forget(db, out, &mut bounds, between)?;
            }
            let is_kept = |(from, _)| bounds.first < from;
            let kept_none = bounds.first > bounds.last || !bounds.gap.is_none_or(is_kept);
            let from = match bounds.gap {
                _ if kept_none => 1,
                Some((from, _)) => from,
                None => bounds.last + 1,
            };
            if kept_none {
                (bounds.first, bounds.before) = (ledgers_last + 1, ledgers_chain);
            }
            bounds.gap = Some((from, ledgers_last));
            bounds.after_gap = ledgers_chain;
            bounds.last = ledgers_last;
        }
        let known = bounds.last;
        for (number, event) in batch.events.iter().filter(|(number, _)| *number > known) {
            self.insert(out, &mut bounds, *number, event);
            bounds.last = *number;
        }
        self.trim(db, out, &mut bounds, batch, retention)?;
        write(out, &bounds);
        Ok(bounds)
    }

    fn insert(&self, out: &mut sled::Batch, bounds: &mut Bounds, number: u64, event: &[u8]) {
        let key = key(number);
        out.insert(key.as_slice(), seal(&key, event));
        bounds.bytes += event.len() as u64;
    }

    fn trim(
        &self,
        db: &Db,
        out: &mut sled::Batch,
        bounds: &mut Bounds,
        batch: &ImageBatch,
        retention: Retention,
    ) -> Result<(), ImageError> {
        let Some((_, newest)) = batch.events.last() else { return Ok(()) };
        let date = |event: &[u8]| decode_event(event).map_or(0, |event| event.at.date_ms);
        let oldest_ms = retention.max_age_ms.map(|age| date(newest).saturating_sub(age));
        for _ in 0..batch.events.len() + TRIM_MAX {
            // What this batch adds is not on disk yet, and stays.
            let next = match bounds.gap {
                Some((from, to)) if from == bounds.first => to + 1,
                _ => bounds.first,
            };
            let oldest = self.read_from(db, next - 1, next, 1)?.pop();
            let Some((number, event)) = oldest else { return Ok(()) };
            let too_much = retention.max_bytes.is_some_and(|max| bounds.bytes > max);
            let too_old = oldest_ms.is_some_and(|oldest_ms| date(&event) < oldest_ms);
            if !too_much && !too_old {
                return Ok(());
            }
            out.remove(key(number).as_slice());
            if number > bounds.first {
                // Nobody had what was missing before it.
                bounds.before = bounds.after_gap;
            }
            bounds.gap = bounds.gap.filter(|(_, to)| *to > number);
            bounds.first = number + 1;
            bounds.before = bounds.before.extend(&event);
            bounds.bytes = bounds.bytes.saturating_sub(event.len() as u64);
        }
        Ok(())
    }

    /// Adds a part of what is missing.
    pub(super) fn fill(
        &self,
        db: &Db,
        out: &mut sled::Batch,
        part: &Part,
    ) -> Result<Bounds, ImageError> {
        let mut bounds = *self.lock();
        let Some((from, to)) = bounds.gap else { return Ok(bounds) };
        let kept_none = bounds.first > to;
        if part.first > to {
            // Nobody keeps them any more. What is older here is connected to
            // nothing; what comes after is, from where the sender's begins.
            if !kept_none {
                let older = (bounds.first - 1, part.first - 1);
                self.forget(db, out, &mut bounds, older)?;
                (bounds.first, bounds.before) = (part.first, part.before);
            }
            bounds.gap = None;
            write(out, &bounds);
            return Ok(bounds);
        }
        if part.first > from && !kept_none {
            // What was here is older than what anybody else keeps.
            let older = (bounds.first - 1, from - 1);
            self.forget(db, out, &mut bounds, older)?;
        }
        if part.first > from || kept_none {
            (bounds.first, bounds.before) = (part.first.max(from), part.before);
        }
        let mut next = bounds.first.max(from);
        for (number, event) in part.events.iter().filter(|(number, _)| *number <= to) {
            if *number == next {
                self.insert(out, &mut bounds, *number, event);
                next += 1;
            }
        }
        bounds.gap = (next <= to).then_some((next, to));
        write(out, &bounds);
        Ok(bounds)
    }

    fn forget(
        &self,
        db: &Db,
        out: &mut sled::Batch,
        bounds: &mut Bounds,
        (mut after, through): (u64, u64),
    ) -> Result<(), ImageError> {
        while let Some((number, event)) = self.read_from(db, after, through, 1)?.pop() {
            out.remove(key(number).as_slice());
            bounds.bytes = bounds.bytes.saturating_sub(event.len() as u64);
            after = number;
        }
        Ok(())
    }
}

impl SledEvents {
    fn read_from(
        &self,
        db: &Db,
        after: u64,
        through: u64,
        count: usize,
    ) -> Result<Vec<Kept>, ImageError> {
        let mut events = Vec::new();
        if after >= through {
            return Ok(events);
        }
        let (from, to) = (key(after + 1), key(through));
        for found in db.range(from..=to).take(count) {
            let (key, value) = found.map_err(|error| failed(self.path.clone(), error))?;
            let number = key.get(1..).and_then(|number| number.try_into().ok());
            let number = u64::from_be_bytes(number.ok_or_else(|| ImageError::Damaged {
                path: self.path.clone(),
                what: "the number of an event".to_owned(),
            })?);
            events.push((number, unseal(&self.path, &key, &value)?.into()));
        }
        Ok(events)
    }
}

impl EventStore for SledEvents {
    fn bounds(&self) -> Bounds {
        *self.lock()
    }

    fn read(&self, after: u64, through: u64, count: usize) -> Result<Vec<Kept>, ImageError> {
        let handle = self.handle();
        self.read_from(opened(&handle, &self.path)?, after, through, count)
    }
}

pub(super) fn key(number: u64) -> Vec<u8> {
    prefixed(EVENT, &number.to_be_bytes())
}

fn write(out: &mut sled::Batch, bounds: &Bounds) {
    let (gap_from, gap_to) = bounds.gap.unwrap_or_default();
    let message = BoundsMessage {
        first: bounds.first,
        before: bounds.before.0.to_vec(),
        last: bounds.last,
        bytes: bounds.bytes,
        gap_from,
        gap_to,
        after_gap: bounds.after_gap.0.to_vec(),
    };
    out.insert(BOUNDS, seal(BOUNDS, &prost::Message::encode_to_vec(&message)));
}

#[cfg(test)]
mod tests {
    use triad_ledger::{At, Event, Happening, encode_event};

    use super::super::{Image, SledImage};
    use super::*;
    use crate::types::{LeaderId, LogId, StoredMembership};
    use openraft::vote::RaftLeaderId;

    const DAY_MS: u64 = 86_400_000;
    const KEEP_ALL: Retention = Retention { max_age_ms: None, max_bytes: None };

    /// One event for each day.
    fn event(sequence: u64) -> Kept {
        let at = At { date_ms: sequence * DAY_MS, index: sequence, ..At::default() };
        let what = Happening::PolicySet { version: sequence };
        let event = Event { sequence, at, by: None, holder: None, pools: Vec::new(), what };
        (sequence, encode_event(&event).into())
    }

    fn chain(through: u64) -> ChainHash {
        (1..=through).fold(ChainHash::default(), |chain, n| chain.extend(&event(n).1))
    }

    fn batch(events: std::ops::RangeInclusive<u64>) -> ImageBatch {
        let last = *events.end();
        ImageBatch {
            applied: LogId::new(LeaderId::new(1, 1), last),
            membership: StoredMembership::default(),
            hash: Default::default(),
            changes: Vec::new(),
            events: events.map(event).collect(),
            last_event: (last, chain(last)),
        }
    }

    /// A snapshot of the ledger after this event.
    fn snapshot(through: u64) -> ImageBatch {
        ImageBatch { events: Vec::new(), ..batch(1..=through) }
    }

    fn image(retention: Retention) -> (tempfile::TempDir, SledImage) {
        let folder = tempfile::tempdir().expect("a folder");
        let image = SledImage::open(folder.path(), "tc-1", retention).expect("opens");
        (folder, image)
    }

    /// What is kept, and that the chain from its beginning is the true one.
    fn kept(image: &SledImage) -> Vec<u64> {
        let events = image.events();
        let kept = events.read(0, u64::MAX, 10_000).expect("readable");
        let bounds = events.bounds();
        assert_eq!(bounds.bytes, kept.iter().map(|(_, event)| event.len() as u64).sum::<u64>());
        if bounds.gap.is_none() && !kept.is_empty() {
            assert_eq!(kept[0].0, bounds.first);
            let end = kept.iter().fold(bounds.before, |chain, (_, event)| chain.extend(event));
            assert_eq!(end, chain(bounds.last), "{bounds:?}");
        }
        kept.into_iter().map(|(number, _)| number).collect()
    }

    #[test]
    fn the_history_survives_a_restart_and_what_comes_twice_is_kept_once() {
        let (folder, mut image) = image(KEEP_ALL);
        image.write(&batch(1..=5)).expect("written");
        drop(image);
        let mut image = SledImage::open(folder.path(), "tc-1", KEEP_ALL).expect("opens");
        // After a restart the log's tail is applied again.
        image.write(&batch(4..=7)).expect("written");
        assert_eq!(kept(&image), [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn old_events_and_too_many_are_trimmed_and_the_rest_stays_provable() {
        let (_folder, mut image) =
            image(Retention { max_age_ms: Some(10 * DAY_MS), max_bytes: None });
        image.write(&batch(1..=8)).expect("written");
        image.write(&batch(9..=15)).expect("written");
        assert_eq!(kept(&image).first(), Some(&5));
        let size = event(20).1.len() as u64;
        image.retention = Retention { max_age_ms: None, max_bytes: Some(6 * size) };
        image.write(&batch(16..=20)).expect("written");
        // What a batch adds is never trimmed by itself.
        let first = *kept(&image).first().expect("some");
        assert!((15..=16).contains(&first), "{first}");
        assert_eq!(image.events().bounds().first, first);
    }

    /// What another node sends in parts of three events.
    fn fill(image: &mut SledImage, sender: &SledImage) {
        for _ in 0..100 {
            let Some((from, _)) = image.events().bounds().gap else { return };
            let Bounds { first, before, last, .. } = sender.events().bounds();
            let events = sender.events().read((from - 1).max(first - 1), last, 3);
            let part = Part { first, before, events: events.expect("readable") };
            image.fill(&part).expect("filled");
        }
        panic!("never filled");
    }

    #[test]
    fn a_gap_is_filled_by_another_node() {
        let (_one, mut sender) = image(KEEP_ALL);
        sender.write(&batch(1..=20)).expect("written");
        for older in [0, 4] {
            let (_two, mut image) = image(KEEP_ALL);
            if older > 0 {
                image.write(&batch(1..=older)).expect("written");
            }
            image.replace(&snapshot(12)).expect("replaced");
            assert_eq!(image.events().bounds().gap, Some((older + 1, 12)));
            image.write(&batch(13..=15)).expect("written");
            fill(&mut image, &sender);
            assert_eq!(kept(&image), (1..=15).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_nobody_keeps_any_more_is_given_up() {
        for (older, first_kept) in [(0, 9), (4, 9), (4, 14)] {
            let (_one, mut sender) = image(KEEP_ALL);
            sender.write(&batch(1..=(first_kept - 1))).expect("written");
            sender.retention = Retention { max_age_ms: None, max_bytes: Some(0) };
            sender.write(&batch(first_kept..=20)).expect("written");
            assert_eq!(kept(&sender).first(), Some(&first_kept));
            let (_two, mut image) = image(KEEP_ALL);
            if older > 0 {
                image.write(&batch(1..=older)).expect("written");
            }
            image.replace(&snapshot(12)).expect("replaced");
            image.write(&batch(13..=15)).expect("written");
            fill(&mut image, &sender);
            assert_eq!(kept(&image), (first_kept..=15).collect::<Vec<_>>(), "{older}");
        }
    }

    #[test]
    fn a_second_snapshot_before_the_gap_is_filled_makes_one_gap() {
        let (_one, mut sender) = image(KEEP_ALL);
        sender.write(&batch(1..=30)).expect("written");
        for older in [0, 4] {
            let (_two, mut image) = image(KEEP_ALL);
            if older > 0 {
                image.write(&batch(1..=older)).expect("written");
            }
            image.replace(&snapshot(12)).expect("replaced");
            image.write(&batch(13..=15)).expect("written");
            image.replace(&snapshot(20)).expect("replaced");
            assert_eq!(image.events().bounds().gap, Some((older + 1, 20)));
            assert_eq!(kept(&image), (1..=older).collect::<Vec<_>>());
            image.write(&batch(21..=22)).expect("written");
            fill(&mut image, &sender);
            assert_eq!(kept(&image), (1..=22).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_gap_that_nobody_fills_ends_when_its_time_to_be_trimmed_comes() {
        for older in [0, 4] {
            let (folder, mut image) = image(KEEP_ALL);
            if older > 0 {
                image.write(&batch(1..=older)).expect("written");
            }
            image.replace(&snapshot(12)).expect("replaced");
            image.write(&batch(13..=15)).expect("written");
            drop(image);
            let retention = Retention { max_age_ms: Some(10 * DAY_MS), max_bytes: None };
            let mut image = SledImage::open(folder.path(), "tc-1", retention).expect("opens");
            image.write(&batch(16..=22)).expect("written");
            for last in 23..=40 {
                image.write(&batch(last..=last)).expect("written");
            }
            assert_eq!(image.events().bounds().gap, None);
            assert_eq!(kept(&image), (30..=40).collect::<Vec<_>>());
        }
    }
}
