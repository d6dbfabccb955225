//! A disk of a node's own: an ext4 file system in a file, which can lose power,
//! be full, and come back.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::tool::{self, run, run_line};

/// The mount point in a node's directory.
const MOUNT: &str = "disk";
/// What fills a disk.
const FILLER: &str = "filler";
/// How often it is looked whether a file system is free: some milliseconds each.
const LOOKS_MAX: usize = 2_000;
/// What is written to the filler at once.
static CHUNK: [u8; 64 << 10] = [0x55; 64 << 10];

/// An image file, mounted. It is unmounted when this is dropped.
pub struct Disk {
    image: PathBuf,
    mount_point: PathBuf,
}

impl Disk {
    /// Makes and mounts the disk of the node with this directory.
    ///
    /// # Errors
    ///
    /// Why this machine does not allow it.
    pub fn make(directory: &Path, mib: u64) -> Result<Self, String> {
        let disk = Disk { image: directory.join("disk.ext4"), mount_point: directory.join(MOUNT) };
        let made = File::create(&disk.image).and_then(|image| image.set_len(mib << 20));
        made.and_then(|()| fs::create_dir(&disk.mount_point)).map_err(|error| error.to_string())?;
        run("mkfs.ext4", &["-q", "-F", "-m", "0", &disk.image.to_string_lossy()])?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn mount_point(&self) -> &Path {
        &self.mount_point
    }

    fn mount(&self) -> Result<(), String> {
        let (image, mount_point) = (self.image.display(), self.mount_point.display());
        run_line(&format!("mount -o loop {image} {mount_point}")).map(drop)
    }

    /// The machine is switched on again: the file system is read anew from what
    /// had reached it. No process may use it.
    ///
    /// # Panics
    ///
    /// If it is in use for longer than a process that was killed needs to be gone.
    pub fn remount(&self) {
        run_line(&format!("umount {}", self.mount_point.display())).expect("nobody uses it");
        // The kernel lets go of what a dead process had mounted a moment after its death. Mounted
        // before that, it would be the same file system, without power.
        let is_free = (0..LOOKS_MAX).any(|_| !self.is_held());
        assert!(is_free, "{} is still in use", self.image.display());
        self.mount().expect("the journal makes it whole");
    }

    fn is_held(&self) -> bool {
        let held_by = run_line(&format!("losetup -j {}", self.image.display()));
        !held_by.expect("losetup is there").trim().is_empty()
    }

    /// Leaves so much free, or less: with 0, not a byte.
    ///
    /// # Errors
    ///
    /// Anything but that there is no space left.
    pub fn fill(&self, left_mib: u64) -> io::Result<()> {
        let filler = self.mount_point.join(FILLER);
        let mut filler = File::options().create(true).append(true).open(filler)?;
        while left_mib == 0 || self.free_bytes()? > left_mib << 20 {
            match filler.write(&CHUNK) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error),
            }
        }
        // Or it would be full in memory only, until the kernel looks again.
        filler.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let room = rustix::fs::statvfs(&self.mount_point)?;
        Ok(room.f_bavail * room.f_frsize)
    }

    /// Takes away what [`Disk::fill`] wrote.
    pub fn empty(&self) {
        fs::remove_file(self.mount_point.join(FILLER)).expect("it was filled");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A node that is being killed may still hold it; then it goes with the node.
        detach(&self.mount_point);
    }
}

/// Cuts the power of all these disks at one moment.
pub fn cut_power(program: &Path, disks: &[&Disk]) {
    let points: Vec<&Path> = disks.iter().map(|disk| disk.mount_point()).collect();
    tool::run(&program.to_string_lossy(), &points).expect("ext4 can be shut down");
}

/// Unmounts what killed tests left behind.
pub fn sweep() {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    for point in points.filter(|p| p.contains("/triad-tests-") && p.ends_with(MOUNT)) {
        detach(Path::new(point));
    }
}

fn detach(mount_point: &Path) {
    if let Err(error) = run_line(&format!("umount --lazy {}", mount_point.display())) {
        eprintln!("{} is left behind: {error}", mount_point.display());
    }
}
