//! What a back-up is when its process starts: files in its data directory, which
//! outlive a crash at any point.
//!
//! `alone`: it goes on alone from what it has. `anew`: the main has taken over what
//! it granted, and its data is to be removed, so that it follows again from nothing.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::serve::JOINING;

const ALONE: &str = "alone";
const ANEW: &str = "anew";
/// What a back-up keeps, and removes before it follows again.
const DATA: [&str; 3] = ["log", "image", "snapshot"];

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn set(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    fs::write(folder.join(name), text)?;
    File::open(folder.join(name))?.sync_all()?;
    sync(folder)
}

fn remove(folder: &Path, name: &str) -> io::Result<()> {
    match fs::remove_file(folder.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => sync(folder),
    }
}

/// Whether the back-up serves in the place of its main.
pub(crate) fn goes_on_alone(data_dir: &Path) -> bool {
    data_dir.join(ALONE).exists()
}

/// From the next start on it does.
pub(super) fn go_on_alone(data_dir: &Path) -> io::Result<()> {
    set(data_dir, ALONE, "This back-up serves in the place of its main server.\n")
}

/// At the next start it removes its data and follows again.
pub(super) fn begin_anew(data_dir: &Path) -> io::Result<()> {
    set(data_dir, ANEW, "The main server has taken over what is here; it is to be removed.\n")
}

/// Removes the data if that was asked for. Broken off at any point it is done again.
pub(crate) fn begin_anew_if_asked(data_dir: &Path) -> io::Result<()> {
    if !data_dir.join(ANEW).exists() {
        return Ok(());
    }
    tracing::info!("the main server has taken over what this back-up granted; following it again");
    for name in DATA {
        match fs::remove_dir_all(data_dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    set(data_dir, JOINING, "This node follows its main server from nothing.\n")?;
    remove(data_dir, ALONE)?;
    remove(data_dir, ANEW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_back_up_that_begins_anew_has_nothing_but_the_mark_of_one_that_joins() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path();
        begin_anew_if_asked(data).expect("nothing was asked");
        for name in DATA {
            fs::create_dir(data.join(name)).expect("a new folder");
            fs::write(data.join(name).join("file"), "x").expect("a new file");
        }
        go_on_alone(data).expect("it is written");
        assert!(goes_on_alone(data));
        begin_anew(data).expect("it is written");
        // As after a crash in the middle.
        fs::remove_dir_all(data.join("image")).expect("it is there");
        begin_anew_if_asked(data).expect("it is done");
        begin_anew_if_asked(data).expect("and done once");
        let left = fs::read_dir(data).expect("it is there").flatten();
        let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
        assert_eq!(left, [JOINING]);
    }
}
