//! The events in the image: in files beside the store, and in the store what is there.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use triad_ledger::{ChainHash, decode_event};

use super::segments::{Addition, Segments};
use super::{Db, ImageBatch, ImageError, failed, seal, unseal};
use crate::history::{Bounds, EventStore, Kept, Part, Retention};

const BOUNDS: &[u8] = b"h";
const FOLDER: &str = "history";
/// Events trimmed with one batch, beyond as many as it adds: old ones go, but
/// not all at once.
const TRIM_MAX: usize = 1_024;
/// Events that are looked at in one go when some are to go.
const TRIM_PAGE: usize = 256;

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

/// The events of an image.
pub(super) struct Events {
    path: PathBuf,
    /// Readers and the one that writes take turns; nobody writes to a file meanwhile. Held while a
    /// disk is read, which may take long.
    kept: Mutex<State>,
    /// What is there, for whoever must not wait for that.
    bounds: Mutex<Bounds>,
}

/// What is there, durably.
struct State {
    bounds: Bounds,
    segments: Segments,
}

/// What is added with a batch: in the files already, and there once the batch is in the store.
pub(super) struct Pending {
    bounds: Bounds,
    addition: Addition,
}

impl Events {
    pub(super) fn open(path: PathBuf, cluster_id: &str, db: &Db) -> Result<Self, ImageError> {
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
        let segments = Segments::open(path.join(FOLDER), cluster_id, &bounds)?;
        let kept = Mutex::new(State { bounds, segments });
        Ok(Events { path, kept, bounds: Mutex::new(bounds) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // One that panicked has changed nothing.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) -> Pending {
        let state = self.lock();
        Pending { bounds: state.bounds, addition: state.segments.addition() }
    }

    fn finish(&self, out: &mut sled::Batch, mut pending: Pending) -> Result<Pending, ImageError> {
        pending.addition.write()?;
        write(out, &pending.bounds);
        Ok(pending)
    }

    /// The batch is in the store.
    pub(super) fn are_now(&self, pending: Pending) {
        let mut state = self.lock();
        state.bounds = pending.bounds;
        state.segments.are_now(pending.addition, &pending.bounds);
        *self.bounds_now() = pending.bounds;
    }

    fn bounds_now(&self) -> MutexGuard<'_, Bounds> {
        self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the events of a batch, and removes what is too old or too much.
    pub(super) fn add(
        &self,
        out: &mut sled::Batch,
        batch: &ImageBatch,
        retention: Retention,
    ) -> Result<Pending, ImageError> {
        let mut pending = self.begin();
        let bounds = &mut pending.bounds;
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
                self.forget(bounds, between)?;
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
            pending.addition.append(*number, event)?;
            bounds.bytes += event.len() as u64;
            bounds.last = *number;
        }
        self.trim(bounds, batch, retention)?;
        self.finish(out, pending)
    }

    fn trim(
        &self,
        bounds: &mut Bounds,
        batch: &ImageBatch,
        retention: Retention,
    ) -> Result<(), ImageError> {
        let Some((_, newest)) = batch.events.last() else { return Ok(()) };
        let date = |event: &[u8]| decode_event(event).map_or(0, |event| event.at.date_ms);
        let oldest_ms = retention.max_age_ms.map(|age| date(newest).saturating_sub(age));
        let mut left = batch.events.len() + TRIM_MAX;
        while left > 0 {
            // What this batch adds is not there for readers yet, and stays.
            let next = match bounds.gap {
                Some((from, to)) if from == bounds.first => to + 1,
                _ => bounds.first,
            };
            let oldest = self.lock().segments.read(next..=bounds.last, left.min(TRIM_PAGE))?;
            if oldest.is_empty() {
                return Ok(());
            }
            for (number, event) in oldest {
                let too_much = retention.max_bytes.is_some_and(|max| bounds.bytes > max);
                let too_old = oldest_ms.is_some_and(|oldest_ms| date(&event) < oldest_ms);
                if !too_much && !too_old {
                    return Ok(());
                }
                if number > bounds.first {
                    // Nobody had what was missing before it.
                    bounds.before = bounds.after_gap;
                }
                bounds.gap = bounds.gap.filter(|(_, to)| *to > number);
                bounds.first = number + 1;
                bounds.before = bounds.before.extend(&event);
                bounds.bytes = bounds.bytes.saturating_sub(event.len() as u64);
                left -= 1;
            }
        }
        Ok(())
    }

    /// Adds a part of what is missing.
    pub(super) fn fill(&self, out: &mut sled::Batch, part: &Part) -> Result<Pending, ImageError> {
        let mut pending = self.begin();
        let bounds = &mut pending.bounds;
        let Some((from, to)) = bounds.gap else { return self.finish(out, pending) };
        let kept_none = bounds.first > to;
        if part.first > to {
            // Nobody keeps them any more. What is older here is connected to
            // nothing; what comes after is, from where the sender's begins.
            if !kept_none {
                let older = (bounds.first - 1, part.first - 1);
                self.forget(bounds, older)?;
                (bounds.first, bounds.before) = (part.first, part.before);
            }
            bounds.gap = None;
            return self.finish(out, pending);
        }
        if part.first > from && !kept_none {
            // What was here is older than what anybody else keeps.
            let older = (bounds.first - 1, from - 1);
            self.forget(bounds, older)?;
        }
        if part.first > from || kept_none {
            (bounds.first, bounds.before) = (part.first.max(from), part.before);
        }
        let mut next = bounds.first.max(from);
        for (number, event) in part.events.iter().filter(|(number, _)| *number <= to) {
            if *number == next {
                pending.addition.append(*number, event)?;
                bounds.bytes += event.len() as u64;
                next += 1;
            }
        }
        bounds.gap = (next <= to).then_some((next, to));
        self.finish(out, pending)
    }

    /// Events that count no more: their files go when what is there now is written down.
    fn forget(&self, bounds: &mut Bounds, (after, through): (u64, u64)) -> Result<(), ImageError> {
        let mut next = after + 1;
        while next <= through {
            let page = self.lock().segments.read(next..=through, TRIM_PAGE)?;
            let Some((last, _)) = page.last() else { break };
            next = last + 1;
            let bytes: usize = page.iter().map(|(_, event)| event.len()).sum();
            bounds.bytes = bounds.bytes.saturating_sub(bytes as u64);
        }
        Ok(())
    }
}

#[cfg(all(feature = "seeded-bugs", debug_assertions))]
impl Events {
    /// Makes another event of one, with a checksum that is right.
    pub(super) fn rewrite(&self, number: u64, event: &[u8]) -> Result<(), ImageError> {
        self.lock().segments.rewrite(number, event)
    }
}

impl EventStore for Events {
    fn bounds(&self) -> Bounds {
        *self.bounds_now()
    }

    fn read(&self, after: u64, through: u64, count: usize) -> Result<Vec<Kept>, ImageError> {
        let mut state = self.lock();
        let Bounds { first, last, .. } = state.bounds;
        let from = after.saturating_add(1).max(first);
        let through = through.min(last);
        if from > through { Ok(Vec::new()) } else { state.segments.read(from..=through, count) }
    }
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

    /// Who applies entries asks for the bounds, and a disk may hang under whoever reads the history.
    #[test]
    fn the_bounds_are_told_while_the_history_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let image = SledImage::open(folder.path(), "tc-1", KEEP_ALL).expect("opens");
        let events = image.events.clone();
        let _reads = events.lock();
        let (told, bounds) = std::sync::mpsc::channel();
        let asks = events.clone();
        std::thread::spawn(move || told.send(asks.bounds()));
        let told = bounds.recv_timeout(std::time::Duration::from_secs(10));
        assert_eq!(told.expect("nobody waits for the disk").first, 1);
    }

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

    /// The names of the files of events.
    fn files(folder: &tempfile::TempDir) -> Vec<String> {
        let listed = std::fs::read_dir(folder.path().join(FOLDER)).expect("a folder");
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.expect("listed").file_name().into_string().expect("a name")
        };
        let mut names: Vec<String> = listed.map(name).collect();
        names.sort();
        names
    }

    fn file(folder: &tempfile::TempDir, first: u64) -> PathBuf {
        folder.path().join(FOLDER).join(format!("{first:020}.events"))
    }

    /// A machine that lost power between the files and the store has more in the files.
    #[test]
    fn what_was_never_agreed_on_is_written_anew() {
        let (folder, mut image) = image(KEEP_ALL);
        image.write(&batch(1..=5)).expect("written");
        drop(image);
        let more = std::fs::read(file(&folder, 1)).expect("readable");
        std::fs::write(file(&folder, 1), [&more[..], b"half of an event"].concat()).expect("more");
        std::fs::write(file(&folder, 6), b"TRIA").expect("more");
        std::fs::write(file(&folder, 9), &more).expect("more");
        let mut image = SledImage::open(folder.path(), "tc-1", KEEP_ALL).expect("opens");
        assert_eq!(files(&folder).len(), 1);
        assert_eq!(kept(&image), (1..=5).collect::<Vec<_>>());
        image.write(&batch(6..=8)).expect("written");
        drop(image);
        let image = SledImage::open(folder.path(), "tc-1", KEEP_ALL).expect("opens");
        assert_eq!(kept(&image), (1..=8).collect::<Vec<_>>());
        assert_eq!(files(&folder).len(), 2);
    }

    /// Damage is never read as events, and the error names the file.
    #[test]
    fn a_damaged_file_of_events_is_named() {
        let (folder, mut image) = image(KEEP_ALL);
        image.write(&batch(1..=50)).expect("written");
        let bounds = image.events().bounds();
        drop(image);
        let path = file(&folder, 1);
        let whole = std::fs::read(&path).expect("readable");
        let named = |error: ImageError| {
            assert!(matches!(error, ImageError::Damaged { .. }), "{error}");
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        };
        let read = || {
            let mut segments = Segments::open(folder.path().join(FOLDER), "tc-1", &bounds)?;
            segments.read(1..=50, 50)
        };
        assert_eq!(read().expect("whole").len(), 50);
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            std::fs::write(&path, &bytes).expect("altered");
            named(read().expect_err("it is altered"));
        }
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).expect("cut");
            named(read().expect_err("it is cut"));
        }
        std::fs::remove_file(&path).expect("removed");
        named(SledImage::open(folder.path(), "tc-1", KEEP_ALL).err().expect("it is missing"));
    }

    /// Another cluster's file of the same numbers is no part of this history.
    #[test]
    fn events_of_another_cluster_are_refused() {
        let (folder, mut image) = image(KEEP_ALL);
        image.write(&batch(1..=5)).expect("written");
        let others = tempfile::tempdir().expect("a folder");
        let mut other = SledImage::open(others.path(), "tc-2", KEEP_ALL).expect("opens");
        other.write(&batch(1..=5)).expect("written");
        std::fs::copy(file(&others, 1), file(&folder, 1)).expect("copied");
        image.events().read(0, 5, 5).expect_err("of another cluster");
    }

    /// What is trimmed leaves the disk, by whole files.
    #[test]
    fn files_whose_events_are_trimmed_are_removed() {
        use rand::rngs::StdRng;
        use rand::{RngExt, SeedableRng};
        const MAX: u64 = 8 << 20;
        let mut dice = StdRng::seed_from_u64(7);
        let (folder, mut image) = image(Retention { max_age_ms: None, max_bytes: Some(MAX) });
        let mut most = 0;
        for index in 1..=100 {
            let last = index * 1_000;
            let mut event = || (0..1_000).map(|_| dice.random::<u8>()).collect::<Vec<_>>().into();
            let events = (last - 999..=last).map(|n| (n, event()));
            let batch = ImageBatch { events: events.collect(), ..snapshot_at(last) };
            image.write(&batch).expect("written");
            let length = |name: &String| {
                std::fs::metadata(folder.path().join(FOLDER).join(name)).expect("there").len()
            };
            most = most.max(files(&folder).iter().map(length).sum());
        }
        assert!((MAX..MAX * 2).contains(&most), "{most}");
        let Bounds { first, last, bytes, .. } = image.events().bounds();
        assert_eq!((last, bytes), (100_000, (last + 1 - first) * 1_000));
        assert!(bytes <= MAX && bytes + 1_000 > MAX);
        drop(image);
        let image = SledImage::open(folder.path(), "tc-1", KEEP_ALL).expect("opens");
        let events = image.events().read(0, last, usize::MAX).expect("readable");
        assert!(events.iter().map(|(number, _)| *number).eq(first..=last));
    }

    fn snapshot_at(index: u64) -> ImageBatch {
        ImageBatch { last_event: (index, ChainHash::default()), ..batch(1..=1) }
    }
}
