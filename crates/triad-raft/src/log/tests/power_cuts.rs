//! Power cuts at every kind of moment: acknowledged entries and votes always survive (P2, P8).

use super::torn_disk::{Dice, TornDisk};
use super::{Contents, open, payload, position};
use crate::log::{Log, LogError};

/// What the log may hold after a cut: what was acknowledged, or that and a part, in order, of
/// what was under way.
struct Possible(Vec<Contents>);

impl Possible {
    fn last(&self) -> &Contents {
        self.0.last().expect("something is always possible")
    }

    fn then(&mut self, change: impl FnOnce(&mut Contents)) {
        let mut next = self.last().clone();
        change(&mut next);
        self.0.push(next);
    }

    fn acknowledged(&mut self) {
        self.0.drain(..self.0.len() - 1);
    }
}

/// One thing that Raft does with its log.
fn act(log: &mut Log, possible: &mut Possible, dice: &mut Dice, life: u64) -> Result<(), LogError> {
    match dice.below(20) {
        0 => {
            let vote = dice.next().to_le_bytes().to_vec();
            possible.then(|contents| contents.vote = Some(vote.clone()));
            log.save_vote(vote)?;
        }
        1 => {
            let next = possible.last().next.unwrap_or(0);
            let first = possible.last().purged.map_or(0, |purged| purged + 1);
            let from = next.saturating_sub(dice.below(6)).max(first);
            if from < next {
                possible.then(|contents| {
                    contents.entries.retain(|&index, _| index < from);
                    contents.next = Some(from);
                });
                log.truncate(from)?;
            }
            // Not flushed: it becomes durable with what follows.
            return Ok(());
        }
        2 => {
            let next = possible.last().next.unwrap_or(0);
            let beyond = if dice.below(5) == 0 { 7 } else { 0 };
            let index = (next + beyond).saturating_sub(1 + dice.below(10));
            if possible.last().purged.is_none_or(|purged| purged < index) {
                possible.then(|contents| {
                    contents.entries.retain(|&kept, _| kept > index);
                    contents.purged = Some(index);
                    contents.next = contents.next.max(Some(index + 1));
                });
                log.purge(position(index))?;
            }
        }
        3 => log.seal()?,
        _ => {
            for _ in 0..1 + dice.below(8) {
                let index = possible.last().next.unwrap_or(0);
                let bytes = payload(index, life);
                possible.then(|contents| {
                    contents.entries.insert(index, bytes.clone());
                    contents.next = Some(index + 1);
                });
                log.append(index, &bytes)?;
                log.commit(position(index.saturating_sub(2)));
            }
            log.flush()?;
        }
    }
    possible.acknowledged();
    Ok(())
}

/// Opens the log, with the power going once or twice while it recovers.
fn recover(disk: &TornDisk, dice: &mut Dice) -> Log {
    for _ in 0..2 {
        disk.power_off_after(dice.below(60));
        match open(disk) {
            // It lives on, with the power going a little later.
            Ok(log) => return log,
            Err(LogError::Disk { .. }) => disk.restart(dice),
            Err(error) => panic!("{error}"),
        }
    }
    open(disk).unwrap()
}

fn lives(seed: u64) {
    let mut dice = Dice::new(seed);
    let disk = TornDisk::default();
    let mut possible = Possible(vec![Contents::default()]);
    for life in 0..6 {
        let mut log = recover(&disk, &mut dice);
        disk.power_off_after(u64::MAX);
        let found = Contents::of(&log);
        assert!(
            possible.0.contains(&found),
            "seed {seed}, life {life}: found {:?}, purged {:?}, possible were {:?}",
            log.bounds(),
            log.purged(),
            possible.0.iter().map(|c| (c.entries.len(), c.next, c.purged)).collect::<Vec<_>>(),
        );
        possible = Possible(vec![found]);
        disk.power_off_after(dice.below(150));
        while act(&mut log, &mut possible, &mut dice, life).is_ok() {}
        drop(log);
        disk.restart(&mut dice);
    }
}

#[test]
fn what_was_acknowledged_survives_every_power_cut() {
    for seed in 0..400 {
        lives(seed);
    }
}
