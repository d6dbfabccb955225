//! How a node's disk does, what its peers say of theirs, and whether one of them
//! should lead instead (P16).
//!
//! Every answer of a follower to its leader says how its disk does. A leader
//! whose disk is nearly full, or much slower than that of a follower, hands
//! leadership over. See docs/decisions/0015-sick-disks.md.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::disk::{DirectoryLock, Disk, DiskFile};
use crate::histogram::{Counted, Histogram};
use crate::mutation::{self, Mutation};

/// The fastest of so many syncs in a row is what a disk is judged by: one that
/// takes long happens on every disk.
const SYNCS_JUDGED: usize = 3;
/// Syncs of this age say nothing of now.
const SYNC_AGE_MAX: Duration = Duration::from_secs(10);
/// A sync that is not done after this long needs no second one.
const STUCK: Duration = Duration::from_secs(1);
/// A disk with less room is as good as full: the log's next segments, and the
/// image's next files, may not fit.
const ROOM_MIN_BYTES: u64 = 32 << 20;
/// How long what the disk said of its room is taken for true.
const ROOM_AGE_MAX: Duration = Duration::from_secs(1);
/// Faster disks are no reason for anything.
const SLOW: Duration = Duration::from_millis(200);
/// A leader leaves only for a disk that is so many times as fast.
const FASTER: u32 = 4;
/// A peer that has said nothing for so long is not known to be well.
const WORD_AGE_MAX: Duration = Duration::from_secs(2);

/// How a disk does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DiskHealth {
    /// What a sync takes; zero if none was needed lately.
    pub(crate) sync: Duration,
    /// There is hardly any room; or the node is drained, and must not lead either.
    pub(crate) is_full: bool,
    /// The node is drained.
    pub(crate) is_drained: bool,
}

/// The disk of this node, and those of its peers.
#[derive(Debug)]
pub(crate) struct Health {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    syncs: Arc<Mutex<Syncs>>,
    sync_times: Arc<Histogram>,
    peers: Mutex<BTreeMap<u64, (DiskHealth, Instant)>>,
    room: Arc<Mutex<Room>>,
    /// The disk answers at once, and in the same way each time.
    inline: bool,
    drained: AtomicBool,
    /// Somebody stood for election who lacks what this node has, since it last knew a leader.
    wanted: AtomicBool,
}

/// How much room there is, as far as is known.
#[derive(Debug)]
struct Room {
    free_bytes: Option<u64>,
    looked: Option<Instant>,
    /// Somebody asks the disk right now, and nobody else needs to.
    is_asked: bool,
}

impl Health {
    /// Of the disk on which `folder` is. A simulated one is asked where its answer
    /// is wanted, `inline`; a real one may hang, and is asked beside.
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: PathBuf, inline: bool) -> Self {
        // The node is about to read its log from there.
        let free_bytes = if inline { None } else { disk.free_bytes(&folder).ok().flatten() };
        let looked = (!inline).then(Instant::now);
        let room = Room { free_bytes, looked, is_asked: false };
        Health {
            disk,
            folder,
            inline,
            syncs: Arc::default(),
            sync_times: Arc::default(),
            peers: Mutex::default(),
            room: Arc::new(Mutex::new(room)),
            drained: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
        }
    }

    /// From now on this node is not to lead, or may again.
    pub(crate) fn drain(&self, drained: bool) {
        self.want(false);
        self.drained.store(drained, Ordering::SeqCst);
    }

    /// Whether this node is not to lead.
    pub(crate) fn is_drained(&self) -> bool {
        self.drained.load(Ordering::SeqCst)
    }

    /// Whether somebody stood for election who lacks what this node has, and nobody has led since.
    pub(crate) fn want(&self, wanted: bool) {
        self.wanted.store(wanted, Ordering::SeqCst);
    }

    /// Whether this node has to stand although it is drained: another tried, and cannot win.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::SeqCst)
    }

    /// Whether a peer has said lately that it is not to lead.
    pub(crate) fn is_unfit(&self, peer: u64, now: Instant) -> bool {
        self.said_lately(peer, now).is_some_and(|health| health.is_full)
    }

    /// Whether a peer has said lately that it is drained.
    pub(crate) fn is_peer_drained(&self, peer: u64, now: Instant) -> bool {
        self.said_lately(peer, now).is_some_and(|health| health.is_drained)
    }

    /// Whether a peer has answered lately.
    pub(crate) fn is_heard(&self, peer: u64, now: Instant) -> bool {
        self.said_lately(peer, now).is_some()
    }

    fn said_lately(&self, peer: u64, now: Instant) -> Option<DiskHealth> {
        let peers = lock(&self.peers);
        let (health, at) = peers.get(&peer)?;
        (now < *at + WORD_AGE_MAX).then_some(*health)
    }

    /// The disk, with its syncs measured.
    pub(crate) fn measured(&self) -> Arc<dyn Disk> {
        Arc::new(Measured {
            disk: self.disk.clone(),
            syncs: self.syncs.clone(),
            times: self.sync_times.clone(),
        })
    }

    /// What the syncs of the measured disk took.
    pub(crate) fn sync_times(&self) -> Counted {
        self.sync_times.counted()
    }

    /// How this node's disk does.
    pub(crate) fn own(&self, now: Instant) -> DiskHealth {
        let is_drained = self.is_drained();
        // A disk that does not say is judged by its syncs alone.
        let has_no_room = self.free_bytes(now).is_some_and(|free| free < ROOM_MIN_BYTES);
        DiskHealth {
            sync: lock(&self.syncs).time(now),
            is_full: has_no_room || is_drained,
            is_drained,
        }
    }

    /// A peer says how its disk does.
    pub(crate) fn heard(&self, peer: u64, health: DiskHealth, now: Instant) {
        lock(&self.peers).insert(peer, (health, now));
    }

    /// The one of these nodes that should lead instead of this one, if any, and
    /// how its disk does.
    pub(crate) fn healthier(&self, voters: &[u64], now: Instant) -> Option<(u64, DiskHealth)> {
        let own = self.own(now);
        let peers = lock(&self.peers);
        let voting = peers.iter().filter(|(peer, _)| voters.contains(peer));
        let lately = voting.filter(|(_, (_, at))| now < *at + WORD_AGE_MAX);
        best(own, lately.map(|(peer, (health, _))| (*peer, *health)))
    }

    /// Room on the disk, bytes; `None` where the disk does not say.
    /// Asked with every answer to the leader, and looked up once a second, by one at
    /// a time: while a disk hangs, this says what it said last.
    pub(crate) fn free_bytes(&self, now: Instant) -> Option<u64> {
        let mut room = lock(&self.room);
        let is_old = room.looked.is_none_or(|at| now >= at + ROOM_AGE_MAX);
        if !is_old || room.is_asked {
            return room.free_bytes;
        }
        room.looked = Some(now);
        if self.inline {
            room.free_bytes = self.disk.free_bytes(&self.folder).ok().flatten();
            return room.free_bytes;
        }
        room.is_asked = true;
        let (disk, folder, asked) = (self.disk.clone(), self.folder.clone(), self.room.clone());
        tokio::task::spawn_blocking(move || {
            let free_bytes = disk.free_bytes(&folder).ok().flatten();
            let mut room = lock(&asked);
            room.free_bytes = free_bytes;
            room.is_asked = false;
        });
        room.free_bytes
    }
}

/// Who of `peers` is so much healthier than `own` that it should lead.
fn best(
    own: DiskHealth,
    peers: impl Iterator<Item = (u64, DiskHealth)>,
) -> Option<(u64, DiskHealth)> {
    let is_better = |other: &DiskHealth| {
        !other.is_full && (own.is_full || (own.sync >= SLOW && other.sync * FASTER <= own.sync))
    };
    if mutation::is_on(Mutation::SickDiskLeads) {
        return None;
    }
    peers.filter(|(_, other)| is_better(other)).min_by_key(|(peer, other)| (other.sync, *peer))
}

/// The syncs of one disk: those under way, and those that were done lately.
#[derive(Debug, Default)]
struct Syncs {
    under_way: BTreeMap<u64, Instant>,
    done: VecDeque<(Instant, Duration)>,
    next: u64,
}

impl Syncs {
    fn begin(&mut self, now: Instant) -> u64 {
        let ticket = self.next;
        self.next += 1;
        self.under_way.insert(ticket, now);
        ticket
    }

    fn end(&mut self, ticket: u64, now: Instant) {
        let Some(began) = self.under_way.remove(&ticket) else { return };
        self.done.push_back((now, now.saturating_duration_since(began)));
        while self.done.len() > SYNCS_JUDGED {
            self.done.pop_front();
        }
    }

    fn time(&self, now: Instant) -> Duration {
        let lately = self.done.iter().filter(|(at, _)| now < *at + SYNC_AGE_MAX);
        let took: Vec<Duration> = lately.map(|(_, took)| *took).collect();
        let usual = match took.len() {
            SYNCS_JUDGED => took.into_iter().min().unwrap_or_default(),
            _ => Duration::ZERO,
        };
        let began = self.under_way.values().min();
        let stuck = began.map(|began| now.saturating_duration_since(*began));
        usual.max(stuck.filter(|time| *time >= STUCK).unwrap_or_default())
    }
}

/// A disk whose syncs are measured.
#[derive(Debug)]
struct Measured {
    disk: Arc<dyn Disk>,
    syncs: Arc<Mutex<Syncs>>,
    times: Arc<Histogram>,
}

impl Measured {
    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let (disk, syncs, times) = (self.disk.clone(), self.syncs.clone(), self.times.clone());
        Box::new(MeasuredFile { file, disk, syncs, times })
    }
}

impl Disk for Measured {
    fn create_dir(&self, folder: &Path) -> io::Result<()> {
        self.disk.create_dir(folder)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.disk.open(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.disk.create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        self.disk.sync_dir(folder)
    }

    fn sync_delay(&self) -> Duration {
        self.disk.sync_delay()
    }

    fn lock_dir(&self, folder: &Path, name: &str) -> io::Result<Box<dyn DirectoryLock>> {
        self.disk.lock_dir(folder, name)
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<Option<u64>> {
        self.disk.free_bytes(folder)
    }
}

#[derive(Debug)]
struct MeasuredFile {
    file: Box<dyn DiskFile>,
    disk: Arc<dyn Disk>,
    syncs: Arc<Mutex<Syncs>>,
    times: Arc<Histogram>,
}

impl DiskFile for MeasuredFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        let began = Instant::now();
        let ticket = lock(&self.syncs).begin(began);
        let synced = self.file.sync_data();
        let ended = Instant::now() + self.disk.sync_delay();
        lock(&self.syncs).end(ticket, ended);
        self.times.add(ended.saturating_duration_since(began));
        synced
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn set_length(&self, length_bytes: u64) -> io::Result<()> {
        self.file.set_length(length_bytes)
    }
}

/// A measurement is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn slow(ms: u64) -> DiskHealth {
        DiskHealth { sync: Duration::from_millis(ms), ..DiskHealth::default() }
    }

    #[test]
    fn one_long_sync_is_no_slow_disk_and_three_are() {
        let (mut syncs, t) = (Syncs::default(), Instant::now());
        let mut at = t;
        let mut sync = |syncs: &mut Syncs, took: u64| {
            let ticket = syncs.begin(at);
            at += ms(took);
            syncs.end(ticket, at);
            at
        };
        for took in [2, 700, 3] {
            sync(&mut syncs, took);
        }
        assert_eq!(syncs.time(t + ms(800)), ms(2));
        sync(&mut syncs, 500);
        let last = sync(&mut syncs, 400);
        assert_eq!(syncs.time(last), ms(3));
        let last = sync(&mut syncs, 600);
        assert_eq!(syncs.time(last), ms(400));
        assert_eq!(syncs.time(last + SYNC_AGE_MAX), Duration::ZERO, "long ago");
    }

    #[test]
    fn a_sync_that_does_not_end_is_noticed() {
        let (mut syncs, t) = (Syncs::default(), Instant::now());
        syncs.begin(t);
        assert_eq!(syncs.time(t + ms(999)), Duration::ZERO);
        assert_eq!(syncs.time(t + ms(1_500)), ms(1_500));
    }

    #[test]
    fn a_leader_leaves_for_a_disk_that_is_much_better() {
        let full = DiskHealth { is_full: true, ..slow(1) };
        let who = |own, peers: [DiskHealth; 2]| {
            best(own, [2, 3].into_iter().zip(peers)).map(|(peer, _)| peer)
        };
        assert_eq!(who(slow(500), [slow(90), slow(2)]), Some(3));
        assert_eq!(who(slow(500), [slow(90), slow(200)]), Some(2));
        assert_eq!(who(slow(500), [slow(130), slow(200)]), None, "not that much better");
        assert_eq!(who(slow(150), [slow(1), slow(1)]), None, "fast enough");
        assert_eq!(who(slow(500), [full, slow(130)]), None);
        assert_eq!(who(full, [slow(900), full]), Some(2), "slow is better than full");
        assert_eq!(who(full, [full, full]), None);
        // Whoever is left for is never so much worse that it goes back.
        assert_eq!(who(slow(2), [slow(500), slow(90)]), None);
    }

    #[test]
    fn a_peer_that_is_silent_is_not_known_to_be_well() {
        let health = Health::new(Arc::new(crate::disk::RealDisk), PathBuf::from("/nowhere"), true);
        let now = Instant::now();
        let ticket = lock(&health.syncs).begin(now);
        let later = now + ms(1_500);
        health.heard(2, slow(1), now);
        let who = |at| health.healthier(&[1, 2], at).map(|(peer, _)| peer);
        assert_eq!(who(later), Some(2));
        assert_eq!(health.healthier(&[1, 3], later), None, "it does not vote");
        assert_eq!(who(now + WORD_AGE_MAX), None);
        lock(&health.syncs).end(ticket, later);
        assert_eq!(who(later), None);
    }

    /// A disk that does not answer until it is let go, and counts who asks.
    #[derive(Debug, Default)]
    struct Hung {
        asked: std::sync::atomic::AtomicUsize,
        room: Mutex<u64>,
    }

    impl Disk for Hung {
        fn free_bytes(&self, _: &Path) -> io::Result<Option<u64>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            Ok(Some(*lock(&self.room)))
        }

        fn create_dir(&self, _: &Path) -> io::Result<()> {
            unreachable!("nothing is made")
        }

        fn list(&self, _: &Path) -> io::Result<Vec<String>> {
            unreachable!("nothing is listed")
        }

        fn open(&self, _: &Path) -> io::Result<Box<dyn DiskFile>> {
            unreachable!("nothing is opened")
        }

        fn create(&self, _: &Path) -> io::Result<Box<dyn DiskFile>> {
            unreachable!("nothing is made")
        }

        fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
            unreachable!("nothing is renamed")
        }

        fn remove(&self, _: &Path) -> io::Result<()> {
            unreachable!("nothing is removed")
        }

        fn sync_dir(&self, _: &Path) -> io::Result<()> {
            unreachable!("nothing is synced")
        }

        fn lock_dir(&self, _: &Path, _: &str) -> io::Result<Box<dyn DirectoryLock>> {
            unreachable!("nothing is locked")
        }

        fn sync_delay(&self) -> Duration {
            ms(250)
        }
    }

    /// Else a simulated disk is never slow, and whatever a slow one breaks is never seen.
    #[test]
    fn a_measured_disk_is_as_slow_as_the_disk_is() {
        let health = Health::new(Arc::new(Hung::default()), PathBuf::from("/nowhere"), false);
        assert_eq!(health.measured().sync_delay(), ms(250));
    }

    #[tokio::test]
    async fn a_disk_that_hangs_is_asked_by_one_and_waited_for_by_nobody() {
        let disk = Arc::new(Hung { room: Mutex::new(1 << 40), ..Hung::default() });
        let health = Health::new(disk.clone(), PathBuf::from("/nowhere"), false);
        let mut now = Instant::now();
        {
            let mut held = disk.room.lock().expect("free");
            *held = 7;
            for _ in 0..100 {
                now += ROOM_AGE_MAX;
                assert_eq!(health.free_bytes(now), Some(1 << 40));
                assert!(!health.own(now).is_full);
            }
        }
        while lock(&health.room).is_asked {
            tokio::task::yield_now().await;
        }
        assert_eq!(disk.asked.load(Ordering::SeqCst), 2, "at the start, and once since");
        assert_eq!(health.free_bytes(now), Some(7));
        assert!(health.own(now).is_full);
    }
}
