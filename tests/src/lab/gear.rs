//! What a lab has besides its network, for those tests that need it: disks,
//! clocks that can be set, and small programs in C, built when they are needed.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::tool::run;
use crate::node::Node;
use crate::program::repository;

/// One kind of equipment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gear {
    /// Each node keeps its data on an ext4 file system of its own.
    Disks {
        /// How large.
        mib: u64,
    },
    /// Each node's wall clock can be set. Its monotonic clock is the machine's.
    Clocks,
    /// Each node's syncs can be made to fail or to take long.
    SickDisks,
    /// Packets between hosts can be made to take long, come twice, or be
    /// overtaken. They then do not pass where others are dropped.
    Switch,
}

/// How a disk does what it is asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncs {
    /// As it can.
    Well,
    /// An I/O error.
    Failing,
    /// Only after so long.
    Slow(Duration),
}

/// Builds one of the programs in `tests/lab`, into `folder`.
///
/// # Errors
///
/// If there is no compiler.
pub fn build(folder: &Path, name: &str, is_library: bool) -> Result<PathBuf, String> {
    let built = folder.join(name);
    let source = repository().join("tests/lab").join(name).with_extension("c");
    let mut arguments = vec!["-O1", "-Wall", "-Werror"];
    if is_library {
        arguments.extend(["-shared", "-fPIC"]);
    }
    let (output, source) = (built.to_string_lossy(), source.to_string_lossy());
    arguments.extend(["-o", &output, &source]);
    run("cc", &arguments)?;
    Ok(built)
}

/// Puts `node`'s data onto the disk that is mounted there.
pub fn move_data(node: &Node, mount_point: &Path) {
    let (old, new) = (node.data(), mount_point.join("data"));
    fs::create_dir(&new).expect("the disk is new");
    copy(&old, &new);
    fs::remove_dir_all(&old).expect("it is ours");
    symlink(&new, &old).expect("its name is free");
}

/// Copies a directory's files and directories into another, durably.
pub fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("it is a directory").flatten() {
        let copied = to.join(entry.file_name());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            fs::create_dir(&copied).expect("its name is free");
            copy(&entry.path(), &copied);
        } else {
            fs::copy(entry.path(), &copied).expect("there is room");
            File::open(&copied).and_then(|file| file.sync_all()).expect("there is room");
        }
    }
    File::open(to).and_then(|folder| folder.sync_all()).expect("it is a directory");
}

/// Removes what is in a directory.
pub fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).expect("it is a directory").flatten() {
        let path = entry.path();
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// Gives `node` a clock that [`set_clock`] can set.
///
/// # Errors
///
/// If there is no libfaketime.
pub fn give_clock(node: &mut Node) -> Result<(), String> {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    let library = libraries.find(|path| path.exists());
    node.preload.push(library.ok_or("there is no libfaketime; run tests/setup.sh")?);
    set_clock(node, 0);
    let clock = clock_file(node).display().to_string();
    for (name, value) in [
        ("FAKETIME_TIMESTAMP_FILE", clock.as_str()),
        ("FAKETIME_CACHE_DURATION", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ] {
        node.environment.push((name.into(), value.into()));
    }
    Ok(())
}

/// Sets `node`'s wall clock to the machine's and so many seconds.
pub fn set_clock(node: &Node, offset_s: i64) {
    write_whole(&clock_file(node), &format!("{offset_s:+}\n"));
}

/// Lets `node`'s syncs be ordered by [`set_syncs`].
pub fn give_sick_disk(node: &mut Node, library: &Path) {
    node.preload.push(library.to_owned());
    set_syncs(node, Syncs::Well);
    let control = sick_file(node).display().to_string();
    node.environment.push(("LAB_DISK".into(), control));
}

/// From now on.
pub fn set_syncs(node: &Node, syncs: Syncs) {
    let order = match syncs {
        Syncs::Well => "well".into(),
        Syncs::Failing => "fail".into(),
        Syncs::Slow(wait) => format!("slow {}", wait.as_millis()),
    };
    write_whole(&sick_file(node), &order);
}

fn clock_file(node: &Node) -> PathBuf {
    node.directory.join("clock")
}

fn sick_file(node: &Node) -> PathBuf {
    node.directory.join("syncs")
}

/// Who reads it meanwhile sees the old or the new.
fn write_whole(path: &Path, text: &str) {
    let new = path.with_extension("new");
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, path));
    written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
