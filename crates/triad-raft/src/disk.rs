//! The only door of this crate to the file system: folders, files, and what makes them durable.
//!
//! Everything that is kept on disk goes through [`Disk`], so that the same code runs on a real
//! file system and on a simulated one that loses power in the middle of a write.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// A file system, seen from a node. Names become durable only through [`Disk::sync_dir`], bytes
/// only through [`DiskFile::sync_data`].
pub trait Disk: Debug + Send + Sync {
    /// Makes `folder` and every missing folder above it, each one durable in its parent.
    fn create_dir(&self, folder: &Path) -> io::Result<()>;

    /// The names of everything in `folder`, sorted.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Makes a new, empty file; one that is already there is emptied.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, in one step; a file of that name is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file. Handles that are still open stay readable.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in `folder` durable: files made, renamed and removed.
    fn sync_dir(&self, folder: &Path) -> io::Result<()>;

    /// How much longer a sync takes now than the call that asks for it. For simulated disks,
    /// whose calls take no time at all.
    fn sync_delay(&self) -> Duration {
        Duration::ZERO
    }

    /// Takes `folder` for this process alone, through the lock file `name` in it, until the
    /// returned guard is dropped. Fails with [`io::ErrorKind::WouldBlock`] when another has it.
    fn lock_dir(&self, folder: &Path, name: &str) -> io::Result<Box<dyn DirectoryLock>>;

    /// How much may still be written to the disk that holds `folder`, in bytes; `None` if nobody
    /// knows.
    fn free_bytes(&self, _folder: &Path) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

/// An open file, read and written at given offsets. Reads and writes are whole or an error.
pub trait DiskFile: Debug + Send + Sync {
    /// Fills `buffer` from `offset` on; a file that ends before is
    /// [`io::ErrorKind::UnexpectedEof`].
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, growing the file where needed. Not durable yet.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes all bytes written so far durable, and the length where it changed. After an error
    /// nothing is known about any unsynced byte, and a second call proves nothing.
    fn sync_data(&self) -> io::Result<()>;

    /// The length of the file in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Cuts or grows the file to `length_bytes`; grown space reads as zeros.
    fn set_length(&self, length_bytes: u64) -> io::Result<()>;
}

/// A folder held by one process. The folder is free again when this is dropped.
pub trait DirectoryLock: Debug + Send + Sync {}

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            self.create_dir(parent)?;
        }
        match fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        self.sync_dir(parent.unwrap_or(Path::new(".")))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn free_bytes(&self, folder: &Path) -> io::Result<Option<u64>> {
        let room = rustix::fs::statvfs(folder)?;
        Ok(Some(room.f_bavail.saturating_mul(room.f_frsize)))
    }

    fn lock_dir(&self, folder: &Path, name: &str) -> io::Result<Box<dyn DirectoryLock>> {
        let path = folder.join(name);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(RealLock { _file: file })),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_length(&self, length_bytes: u64) -> io::Result<()> {
        self.0.set_len(length_bytes)
    }
}

/// The kernel releases the lock when the file is closed, even if the process is killed.
#[derive(Debug)]
struct RealLock {
    _file: File,
}

impl DirectoryLock for RealLock {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once_and_free_again_after_the_guard_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let guard = RealDisk.lock_dir(folder.path(), "lock").unwrap();
        let second = RealDisk.lock_dir(folder.path(), "lock").unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        drop(guard);
        RealDisk.lock_dir(folder.path(), "lock").unwrap();
    }

    #[test]
    fn bytes_and_names_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let nested = folder.path().join("a/b");
        RealDisk.create_dir(&nested).unwrap();
        RealDisk.create_dir(&nested).unwrap();
        let file = RealDisk.create(&nested.join("x.new")).unwrap();
        file.write_at(b"seats", 3).unwrap();
        file.sync_data().unwrap();
        RealDisk.rename(&nested.join("x.new"), &nested.join("x")).unwrap();
        RealDisk.sync_dir(&nested).unwrap();
        assert_eq!(RealDisk.list(&nested).unwrap(), ["x"]);
        let file = RealDisk.open(&nested.join("x")).unwrap();
        assert_eq!(file.length().unwrap(), 8);
        let mut read = [0; 8];
        file.read_at(&mut read, 0).unwrap();
        assert_eq!(&read, b"\0\0\0seats");
        assert!(file.read_at(&mut read, 1).is_err());
        RealDisk.remove(&nested.join("x")).unwrap();
        assert!(RealDisk.list(&nested).unwrap().is_empty());
    }
}
