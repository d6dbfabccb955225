//! A node's directory: copied aside, brought back, and altered at one place.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Chooses other places: a number, or `any` for places that were never tried.
const SEED_VARIABLE: &str = "TRIAD_DAMAGE_SEED";
/// The places that are tried unless told otherwise. What guards every change
/// tries the same ones each time; `any` is for those who look for more.
const SEED: u64 = 1;
/// What a disk loses in one piece.
const SECTOR_BYTES: u64 = 512;

/// One thing that happens to one file.
#[derive(Clone, Debug)]
pub enum Damage {
    /// One bit of one byte is another.
    Flip { at: u64, bit: u8 },
    /// A sector reads as zeros.
    Zero { at: u64 },
    /// The file ends earlier.
    Cut { length: u64 },
    /// The file is gone.
    Gone,
    /// The file cannot be read: a folder stands in its place, which no one can
    /// read as a file, whoever he is.
    Unreadable,
    /// The file is this one, of another node or cluster.
    Other(PathBuf),
}

impl Damage {
    /// Does it to a file.
    pub fn to(&self, path: &Path) {
        let open = || fs::File::options().read(true).write(true).open(path).unwrap();
        match self {
            Damage::Flip { at, bit } => {
                let (file, mut byte) = (open(), [0]);
                file.read_exact_at(&mut byte, *at).unwrap();
                file.write_all_at(&[byte[0] ^ (1 << bit)], *at).unwrap();
            }
            Damage::Zero { at } => {
                let file = open();
                let length = file.metadata().unwrap().len();
                let zeros = vec![0; SECTOR_BYTES.min(length - at) as usize];
                file.write_all_at(&zeros, *at).unwrap();
            }
            Damage::Cut { length } => open().set_len(*length).unwrap(),
            Damage::Gone => fs::remove_file(path).unwrap(),
            Damage::Unreadable => {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            }
            Damage::Other(other) => {
                fs::copy(other, path).unwrap();
            }
        }
    }
}

/// The dice of this run; the seed is printed.
pub fn dice() -> StdRng {
    let given = std::env::var(SEED_VARIABLE).ok();
    let seed = match given.as_deref() {
        None => SEED,
        Some("any") => drawn(),
        Some(text) => text.parse().expect("a seed is a number, or `any`"),
    };
    println!("{SEED_VARIABLE}={seed}");
    StdRng::seed_from_u64(seed)
}

fn drawn() -> u64 {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).expect("the system has randomness");
    u64::from_ne_bytes(seed)
}

/// What happens to one file of this content, `samples` times each where there
/// is a place to choose. Only places that say something are chosen: most of a
/// log's segment is zeros that were never written.
pub fn damages(content: &[u8], samples: usize, dice: &mut StdRng) -> Vec<Damage> {
    let written: Vec<u64> =
        (0_u64..).zip(content).filter(|(_, b)| **b != 0).map(|(at, _)| at).collect();
    let mut damages = vec![Damage::Gone, Damage::Unreadable];
    for _ in 0..samples {
        let mut somewhere = || written.get(dice.random_range(0..written.len().max(1))).copied();
        if let Some(at) = somewhere() {
            damages.push(Damage::Flip { at, bit: (at % 8) as u8 });
        }
        if let Some(at) = somewhere() {
            damages.push(Damage::Zero { at: at / SECTOR_BYTES * SECTOR_BYTES });
        }
        if let Some(at) = somewhere() {
            damages.push(Damage::Cut { length: at });
        }
    }
    damages
}

/// A folder, copied aside.
pub struct Kept {
    folder: PathBuf,
    aside: PathBuf,
}

impl Kept {
    /// Copies `folder` to `aside`, which does not exist.
    pub fn new(folder: &Path, aside: PathBuf) -> Self {
        copy_folder(folder, &aside);
        Kept { folder: folder.to_owned(), aside }
    }

    /// Puts all of it back as it was.
    pub fn bring_back(&self) {
        fs::remove_dir_all(&self.folder).unwrap();
        copy_folder(&self.aside, &self.folder);
    }

    /// Its files with something in them, by their paths below the folder.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.aside.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let metadata = entry.metadata().unwrap();
                if metadata.is_dir() {
                    folders.push(entry.path());
                } else if metadata.len() > 0 {
                    files.push(entry.path().strip_prefix(&self.aside).unwrap().to_owned());
                }
            }
        }
        files.sort();
        files
    }

    /// What one of its files holds.
    pub fn content(&self, file: &Path) -> Vec<u8> {
        fs::read(self.aside.join(file)).unwrap()
    }
}

/// Copies a folder with everything in it.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
